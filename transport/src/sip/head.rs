//! Start line and header lines as ranges into the received bytes.
//!
//! A message keeps the buffer it came in. Reading finds the lines once, notes which name each has, and
//! decodes the few fields that every layer needs; everything else is read when somebody asks.

use std::net::IpAddr;

use bytes::{Bytes, BytesMut};
use bytestring::ByteString;
use memchr::{memchr, memchr2, memrchr};
use smallvec::SmallVec;

use super::header::{Name, NameAddr, Params, Via, elements};
use super::method::is_token;
use super::{Method, StatusCode};

/// Header lines of the largest head we read.
pub const HEADERS_MAX: usize = 128;

/// Bytes of the longest header line, folds undone.
pub const LINE_BYTES_MAX: usize = 8 * 1024;

/// Via elements of the longest way a request may have come (RFC 3261 starts Max-Forwards at 70).
pub const VIAS_MAX: usize = 70;

/// A request or a response.
#[derive(Clone, Debug)]
pub enum Message {
    /// A request.
    Request(Request),
    /// A response.
    Response(Response),
}

/// Why a message is refused. The text is the reason phrase of the 400 (or other status) that says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct ParseError {
    /// 400 in most cases; 413, 416, 505 where RFC 3261 says so.
    pub status: StatusCode,
    /// What is wrong, short and for humans: `Missing To Header`.
    pub reason: &'static str,
}

impl ParseError {
    pub(crate) const fn bad_request(reason: &'static str) -> ParseError {
        ParseError {
            status: StatusCode::BAD_REQUEST,
            reason,
        }
    }

    pub(crate) const fn unsupported_scheme() -> ParseError {
        ParseError {
            status: StatusCode::UNSUPPORTED_URI_SCHEME,
            reason: "Unsupported URI Scheme",
        }
    }
}

/// A range of the head. Heads are shorter than 64 KiB, so two bytes each are enough.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    from: u16,
    to: u16,
}

impl Span {
    fn of(from: usize, to: usize) -> Span {
        Span {
            from: from as u16,
            to: to as u16,
        }
    }
}

/// One header line.
#[derive(Clone, Copy, Debug)]
struct Line {
    known: Option<Name>,
    name: Span,
    value: Span,
}

/// The bytes of a head and where its lines are.
#[derive(Clone, Debug)]
struct Head {
    text: ByteString,
    start: Span,
    lines: SmallVec<[Line; 16]>,
}

impl Head {
    fn text(&self, span: Span) -> &str {
        // Spans are cut at ASCII, so between characters.
        &self.text[usize::from(span.from)..usize::from(span.to)]
    }

    fn all(&self, name: Name) -> impl Iterator<Item = &str> {
        self.lines
            .iter()
            .filter(move |line| line.known == Some(name))
            .map(|line| self.text(line.value))
    }

    fn first(&self, name: Name) -> Option<&str> {
        self.all(name).next()
    }

    fn named(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lines
            .iter()
            .map(|line| (self.text(line.name), self.text(line.value)))
    }

    fn others<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h str> {
        self.named()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }

    /// The only line of that name.
    fn single(
        &self,
        name: Name,
        missing: &'static str,
        twice: &'static str,
    ) -> Result<Span, ParseError> {
        let mut lines = self.lines.iter().filter(|line| line.known == Some(name));
        let first = lines.next().ok_or(ParseError::bad_request(missing))?;
        if lines.next().is_some() {
            return Err(ParseError::bad_request(twice));
        }
        Ok(first.value)
    }

    /// The parts of a Via element of this head.
    fn top_via(&self, element: &str) -> Result<TopVia, ParseError> {
        let via = Via::parse(element)?;
        Ok(TopVia {
            element: self.span_of(element),
            transport: self.span_of(via.transport),
            host: self.span_of(via.host),
            port: via.port,
            params: self.span_of(via.params.0),
        })
    }

    /// The method that a slice of the head names.
    fn method(&self, token: &str) -> Option<Method> {
        Method::known(token.as_bytes())
            .or_else(|| Method::parse(&self.text.as_bytes().slice_ref(token.as_bytes())))
    }

    /// The span of a slice of the head.
    fn span_of(&self, part: &str) -> Span {
        let from = part.as_ptr() as usize - self.text.as_ptr() as usize;
        Span::of(from, from + part.len())
    }
}

/// A request as received.
#[derive(Clone, Debug)]
pub struct Request {
    head: Head,
    method: Method,
    uri: Span,
    body: Bytes,
    cseq: u32,
    from_tag: Span,
    to_tag: Option<Span>,
    max_forwards: u8,
    via: TopVia,
    source: Option<(IpAddr, u16)>,
}

/// The top Via, read once for all who ask.
#[derive(Clone, Copy, Debug, Default)]
struct TopVia {
    element: Span,
    transport: Span,
    host: Span,
    port: Option<u16>,
    params: Span,
}

/// A response as received.
#[derive(Clone, Debug)]
pub struct Response {
    head: Head,
    status: StatusCode,
    body: Bytes,
    cseq: u32,
    method: Method,
}

/// What could be read of a message that is refused.
#[derive(Debug)]
pub struct Refused {
    /// Why.
    pub error: ParseError,
    /// The request, when enough of it is legible to be answered (Via, From, To, Call-ID, CSeq); never
    /// an ACK.
    pub answerable: Option<Request>,
}

impl Message {
    /// Reads one message. For a datagram the body ends where Content-Length says, and surplus bytes
    /// are dropped; a body shorter than Content-Length is a 400 (RFC 3261 §18.3).
    ///
    /// Every rule that RFC 3261 puts on the head of any request is checked here: mandatory headers
    /// once each, CSeq and its method, Max-Forwards a number, tags legible. Line ends may be a bare LF.
    ///
    /// # Errors
    /// [`Refused`], with the request if it can be answered.
    pub fn parse(bytes: Bytes) -> Result<Message, Box<Refused>> {
        let silent = |error| {
            Box::new(Refused {
                error,
                answerable: None,
            })
        };
        let (head, after, whole) = scan(bytes).map_err(silent)?;
        if head
            .text(head.start)
            .get(..8)
            .is_some_and(|begin| begin.eq_ignore_ascii_case("SIP/2.0 "))
        {
            return response(head, after).map(Message::Response).map_err(silent);
        }
        request(head, after, whole).map(Message::Request)
    }
}

/// Finds the lines. Returns the head, what follows it, and whether all of it is as it should be.
#[allow(clippy::type_complexity)] // three things that belong to one moment
fn scan(bytes: Bytes) -> Result<(Head, Bytes, Result<(), ParseError>), ParseError> {
    const EMPTY: ParseError = ParseError::bad_request("Empty Message");
    let mut whole = Ok(());
    //= RFC 3261 7.5
    //# empty lines before the start line are passed over
    let begin = bytes
        .iter()
        .position(|byte| !matches!(byte, b'\r' | b'\n'))
        .ok_or(EMPTY)?;
    let mut text = bytes.slice(begin..);
    let (end, folded) = head_end(&text);
    let mut after = text.split_off(end);
    if folded {
        text = unfolded(&text);
    }
    if text.len() > usize::from(u16::MAX) {
        after = Bytes::new();
        text.truncate(usize::from(u16::MAX));
        whole = Err(ParseError {
            status: StatusCode::ENTITY_TOO_LARGE,
            reason: "Head Larger Than 65535 Bytes",
        });
    }
    //= RFC 3261 7.3.1
    //# heads are UTF-8
    if let Err(error) = std::str::from_utf8(&text) {
        text.truncate(error.valid_up_to());
        whole = Err(ParseError::bad_request("Head Is Not UTF-8"));
    }
    let mut head = Head {
        text: ByteString::try_from(text).unwrap_or_default(),
        start: Span::default(),
        lines: SmallVec::new(),
    };
    let mut at = 0;
    let mut first = true;
    while at < head.text.len() {
        let bytes = head.text.as_bytes();
        let line_end = memchr(b'\n', &bytes[at..]).map_or(bytes.len(), |found| at + found);
        let mut last = line_end;
        if last > at && bytes[last - 1] == b'\r' {
            last -= 1;
        }
        let span = Span {
            from: at as u16,
            to: last as u16,
        };
        at = line_end + 1;
        if first {
            head.start = span;
            first = false;
        } else if span.from == span.to {
            break;
        } else if usize::from(span.to - span.from) > LINE_BYTES_MAX {
            whole = whole.and(Err(ParseError::bad_request("Header Line Too Long")));
        } else if head.lines.len() == HEADERS_MAX {
            whole = whole.and(Err(ParseError::bad_request("Too Many Header Lines")));
            break;
        } else {
            match line(bytes, span) {
                Some(line) => head.lines.push(line),
                None => whole = whole.and(Err(ParseError::bad_request("Malformed Header Line"))),
            }
        }
    }
    Ok((head, after, whole))
}

/// Where the head ends (behind its empty line), and whether a line of it is folded.
fn head_end(text: &[u8]) -> (usize, bool) {
    let mut folded = false;
    let mut at = 0;
    while let Some(found) = memchr(b'\n', &text[at..]) {
        at += found + 1;
        match &text[at..] {
            [b'\n', ..] => return (at + 1, folded),
            [b'\r', b'\n', ..] => return (at + 2, folded),
            [b' ' | b'\t', ..] => folded = true,
            _ => {}
        }
    }
    (text.len(), folded)
}

/// The head with each fold replaced by blanks of the same length, so that its lines are lines.
//= RFC 3261 7.3.1
//# a line that begins with white space continues the one before
fn unfolded(text: &[u8]) -> Bytes {
    let mut plain = BytesMut::from(text);
    for at in 1..plain.len() {
        if matches!(plain[at], b' ' | b'\t') && plain[at - 1] == b'\n' {
            plain[at - 1] = b' ';
            if at >= 2 && plain[at - 2] == b'\r' {
                plain[at - 2] = b' ';
            }
        }
    }
    plain.freeze()
}

/// A header line: a token, white space perhaps, a colon, a value. Anything else before the colon is
/// refused, for what one server takes for a header and the next does not is an attack.
fn line(head: &[u8], span: Span) -> Option<Line> {
    let blank = |at: usize| matches!(head[at], b' ' | b'\t');
    let (begin, end) = (usize::from(span.from), usize::from(span.to));
    let colon = begin + memchr(b':', &head[begin..end])?;
    let mut name_end = colon;
    while name_end > begin && blank(name_end - 1) {
        name_end -= 1;
    }
    let name = &head[begin..name_end];
    if !is_token(name) {
        return None;
    }
    let (mut from, mut to) = (colon + 1, end);
    while from < to && blank(from) {
        from += 1;
    }
    while to > from && blank(to - 1) {
        to -= 1;
    }
    Some(Line {
        known: Name::of(name),
        name: Span::of(begin, name_end),
        value: Span::of(from, to),
    })
}

fn request(
    head: Head,
    after: Bytes,
    whole: Result<(), ParseError>,
) -> Result<Request, Box<Refused>> {
    let (method, uri, start) = match start_line(&head) {
        Ok(start) => start,
        Err(error) => {
            return Err(Box::new(Refused {
                error,
                answerable: None,
            }));
        }
    };
    let mut request = Request {
        method,
        uri,
        body: after,
        cseq: 0,
        from_tag: Span::default(),
        to_tag: None,
        max_forwards: 70,
        via: TopVia::default(),
        source: None,
        head,
    };
    let checked = whole.and(start).and_then(|()| request.check());
    match checked {
        Ok(()) => Ok(request),
        Err(error) => {
            request.body = Bytes::new();
            let answerable = request.is_answerable().then_some(request);
            Err(Box::new(Refused { error, answerable }))
        }
    }
}

/// Method and Request-URI; an error beside them when the line is not as it should be but says who
/// wants what.
#[allow(clippy::type_complexity)] // the two kinds of error are the point
fn start_line(head: &Head) -> Result<(Method, Span, Result<(), ParseError>), ParseError> {
    const MALFORMED: ParseError = ParseError::bad_request("Malformed Request Line");
    let text = head.text(head.start);
    let blank = memchr(b' ', text.as_bytes()).ok_or(MALFORMED)?;
    let (method, rest) = (&text[..blank], &text[blank + 1..]);
    let method = head.method(method).ok_or(MALFORMED)?;
    let trimmed = rest.trim_ascii_end();
    let blank = memrchr(b' ', trimmed.as_bytes()).ok_or(MALFORMED)?;
    let (uri, version) = (&trimmed[..blank], &trimmed[blank + 1..]);
    let well = match version {
        _ if version.eq_ignore_ascii_case("SIP/2.0") => {
            //= RFC 3261 7.1
            //# single blanks between the three parts, none inside the Request-URI, none at the end
            let exact = rest.len() == uri.len() + 1 + version.len();
            let one = !uri.is_empty()
                && !uri
                    .bytes()
                    .any(|byte| byte <= b' ' || matches!(byte, b'<' | b'>' | b'"'));
            if exact && one { Ok(()) } else { Err(MALFORMED) }
        }
        _ if version
            .get(..4)
            .is_some_and(|name| name.eq_ignore_ascii_case("SIP/")) =>
        {
            Err(ParseError {
                status: StatusCode::VERSION_NOT_SUPPORTED,
                reason: "Version Not Supported",
            })
        }
        _ => return Err(MALFORMED),
    };
    Ok((method, head.span_of(uri.trim_ascii()), well))
}

fn response(head: Head, after: Bytes) -> Result<Response, ParseError> {
    const MALFORMED: ParseError = ParseError::bad_request("Malformed Status Line");
    let text = head.text(head.start);
    let code = text
        .get(8..11)
        .filter(|code| code.bytes().all(|byte| byte.is_ascii_digit()))
        .ok_or(MALFORMED)?;
    if !matches!(text.as_bytes().get(11), None | Some(b' ')) {
        return Err(MALFORMED);
    }
    let status = code
        .parse()
        .ok()
        .and_then(StatusCode::new)
        .ok_or(MALFORMED)?;
    let (cseq, method) = cseq(&head)?;
    for (name, missing) in [
        (Name::Via, "Missing Via Header"),
        (Name::CallId, "Missing Call-ID Header"),
        (Name::To, "Missing To Header"),
    ] {
        head.first(name).ok_or(ParseError::bad_request(missing))?;
    }
    let body = body(&head, after)?;
    Ok(Response {
        head,
        status,
        body,
        cseq,
        method,
    })
}

fn cseq(head: &Head) -> Result<(u32, Method), ParseError> {
    const BAD: ParseError = ParseError::bad_request("Bad CSeq");
    let span = head.single(Name::CSeq, "Missing CSeq Header", "Two CSeq Headers")?;
    let text = head.text(span);
    let blank = memchr2(b' ', b'\t', text.as_bytes()).ok_or(BAD)?;
    let (number, method) = (&text[..blank], &text[blank + 1..]);
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BAD);
    }
    //= RFC 3261 8.1.1.5
    //# a CSeq number is below 2^31
    let number = number
        .parse()
        .ok()
        .filter(|number| *number < 1 << 31)
        .ok_or(BAD)?;
    Ok((number, head.method(method.trim_ascii()).ok_or(BAD)?))
}

/// The body, as long as Content-Length says; all there is without one (datagrams only, the framer sees
/// to streams).
//= RFC 3261 18.3
//# surplus bytes of a datagram are dropped; missing ones are an error
fn body(head: &Head, mut after: Bytes) -> Result<Bytes, ParseError> {
    let mut lines = head.all(Name::ContentLength);
    let Some(text) = lines.next() else {
        return Ok(after);
    };
    if lines.any(|other| other != text) {
        return Err(ParseError::bad_request("Two Content-Length Headers"));
    }
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let length: usize = digits
        .then(|| text.parse().ok())
        .flatten()
        .ok_or(ParseError::bad_request("Bad Content-Length"))?;
    if length > after.len() {
        return Err(ParseError::bad_request("Body Shorter Than Content-Length"));
    }
    after.truncate(length);
    Ok(after)
}

impl Request {
    /// Everything RFC 3261 §8.1.1 asks of any request, first fault first.
    fn check(&mut self) -> Result<(), ParseError> {
        let head = &self.head;
        let mut vias = head.all(Name::Via).flat_map(elements);
        let top = vias
            .next()
            .ok_or(ParseError::bad_request("Missing Via Header"))?;
        if vias.take(VIAS_MAX).count() == VIAS_MAX {
            return Err(ParseError::bad_request("Too Many Via Headers"));
        }
        let via = head.top_via(top)?;
        let from = head.single(Name::From, "Missing From Header", "Two From Headers")?;
        let to = head.single(Name::To, "Missing To Header", "Two To Headers")?;
        let call_id = head.single(
            Name::CallId,
            "Missing Call-ID Header",
            "Two Call-ID Headers",
        )?;
        if call_id.from == call_id.to {
            return Err(ParseError::bad_request("Empty Call-ID"));
        }
        let (cseq, method) = cseq(head)?;
        //= RFC 3261 8.1.1.5
        //# the method of CSeq is the method of the request
        if method != self.method {
            return Err(ParseError::bad_request("CSeq Method Is Not The Method"));
        }
        let tag = |span: Span, bad: &'static str| -> Result<Option<Span>, ParseError> {
            let address =
                NameAddr::parse(head.text(span)).map_err(|_| ParseError::bad_request(bad))?;
            let tag = address.params.get("tag");
            if tag.is_some_and(|tag| !is_token(tag.as_bytes())) {
                return Err(ParseError::bad_request(bad));
            }
            Ok(tag.map(|tag| head.span_of(tag)))
        };
        let from_tag = tag(from, "Bad From")?.unwrap_or_default();
        let to_tag = tag(to, "Bad To")?;
        let max_forwards = match head
            .lines
            .iter()
            .any(|line| line.known == Some(Name::MaxForwards))
        {
            false => 70,
            true => {
                let span = head.single(Name::MaxForwards, "", "Two Max-Forwards Headers")?;
                let text = head.text(span);
                let digits = text.bytes().all(|byte| byte.is_ascii_digit());
                //= RFC 3261 20.22
                //# Max-Forwards is a number from 0 to 255
                digits
                    .then(|| text.parse().ok())
                    .flatten()
                    .ok_or(ParseError::bad_request("Bad Max-Forwards"))?
            }
        };
        let body = body(head, std::mem::take(&mut self.body))?;
        self.via = via;
        self.cseq = cseq;
        self.from_tag = from_tag;
        self.to_tag = to_tag;
        self.max_forwards = max_forwards;
        self.body = body;
        Ok(())
    }

    /// Whether a refusal of it would find its way and its transaction.
    fn is_answerable(&mut self) -> bool {
        let copied = [Name::From, Name::To, Name::CallId, Name::CSeq];
        let top = self
            .head
            .first(Name::Via)
            .and_then(|line| elements(line).next());
        let Some(Ok(via)) = top.map(|top| self.head.top_via(top)) else {
            return false;
        };
        self.via = via;
        self.method != Method::Ack
            && copied
                .into_iter()
                .all(|name| self.head.first(name).is_some())
    }

    /// The method.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The Request-URI as written.
    #[must_use]
    pub fn uri(&self) -> &str {
        self.head.text(self.uri)
    }

    /// The body, as long as Content-Length says.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// Puts another body in the place of the one that came, whose Content-Length stays as it was written.
    pub fn replace_body(&mut self, body: Bytes) {
        self.body = body;
    }

    /// The first header of that name, unfolded and trimmed.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&str> {
        self.head.first(name)
    }

    /// All header lines of that name, top first.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = &str> {
        self.head.all(name)
    }

    /// All header lines of a name that has no [`Name`], in any letter case.
    pub fn other_headers<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.head.others(name)
    }

    /// The elements of a header that is a comma list, over all its lines; commas in quotes and angle
    /// brackets do not separate.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        self.head.all(name).flat_map(elements)
    }

    /// Every header line with its name as written, in order.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.named()
    }

    /// From.
    ///
    /// # Panics
    /// For a request that [`Message::parse`] refused.
    #[must_use]
    pub fn from(&self) -> NameAddr<'_> {
        NameAddr::parse(self.head.first(Name::From).unwrap_or_default())
            .expect("parse checked From")
    }

    /// To.
    ///
    /// # Panics
    /// For a request that [`Message::parse`] refused.
    #[must_use]
    pub fn to(&self) -> NameAddr<'_> {
        NameAddr::parse(self.head.first(Name::To).unwrap_or_default()).expect("parse checked To")
    }

    /// From tag; empty for RFC 2543 clients.
    #[must_use]
    pub fn from_tag(&self) -> &str {
        self.head.text(self.from_tag)
    }

    /// To tag; `None` outside a dialog.
    #[must_use]
    pub fn to_tag(&self) -> Option<&str> {
        self.to_tag.map(|tag| self.head.text(tag))
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.head.first(Name::CallId).unwrap_or_default()
    }

    /// CSeq number.
    #[must_use]
    pub fn cseq(&self) -> u32 {
        self.cseq
    }

    /// The top Via's value as written.
    #[must_use]
    pub fn top_via(&self) -> &str {
        self.head.text(self.via.element)
    }

    /// The top Via.
    #[must_use]
    pub fn via(&self) -> Via<'_> {
        Via {
            transport: self.head.text(self.via.transport),
            host: self.head.text(self.via.host),
            port: self.via.port,
            params: Params(self.head.text(self.via.params)),
        }
    }

    /// Max-Forwards; 70 when absent.
    #[must_use]
    pub fn max_forwards(&self) -> u8 {
        self.max_forwards
    }

    /// Expires in seconds, saturated at `u32::MAX`.
    ///
    /// # Errors
    /// 400 when it is there and not a number.
    pub fn expires(&self) -> Result<Option<u32>, ParseError> {
        let Some(text) = self.head.first(Name::Expires) else {
            return Ok(None);
        };
        // Some clients put parameters behind it, as in a Contact.
        let digits = text.split(';').next().unwrap_or_default().trim();
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ParseError::bad_request("Bad Expires"));
        }
        Ok(Some(digits.parse().unwrap_or(u32::MAX)))
    }

    /// Writes `received` and `rport` of the top Via down for the responses (RFC 3261 §18.2.1,
    /// RFC 3581 §4). Called once, by the worker, before anybody answers.
    pub fn set_source(&mut self, address: IpAddr, port: u16) {
        self.source = Some((address, port));
    }

    /// Where the request came from, as the worker noted it.
    #[must_use]
    pub fn source(&self) -> Option<(IpAddr, u16)> {
        self.source
    }
}

impl Response {
    /// The status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The first header of that name, unfolded and trimmed.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&str> {
        self.head.first(name)
    }

    /// All header lines of that name, top first.
    pub fn headers(&self, name: Name) -> impl Iterator<Item = &str> {
        self.head.all(name)
    }

    /// All header lines of a name that has no [`Name`], in any letter case.
    pub fn other_headers<'r>(&'r self, name: &'r str) -> impl Iterator<Item = &'r str> {
        self.head.others(name)
    }

    /// Every header line with its name as written, in order.
    pub fn lines(&self) -> impl Iterator<Item = (&str, &str)> {
        self.head.named()
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// To tag.
    #[must_use]
    pub fn to_tag(&self) -> Option<&str> {
        NameAddr::parse(self.head.first(Name::To)?)
            .ok()?
            .params
            .get("tag")
    }

    /// Branch of the top Via; it names our client transaction.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        let via = elements(self.head.first(Name::Via)?).next()?;
        Via::parse(via).ok()?.branch()
    }

    /// Call-ID.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.head.first(Name::CallId).unwrap_or_default()
    }

    /// CSeq number and method.
    #[must_use]
    pub fn cseq(&self) -> (u32, &Method) {
        (self.cseq, &self.method)
    }
}
