//! What a SUBSCRIBE of standard presence says to save traffic: conditions (RFC 5839), pace (RFC 6446), filters
//! (RFC 4660), patches (RFC 5263), compression.

use shard::document::filter::{self, FilterError};
use shard::subscription::dialog::Format;
use shard::subscription::savers::{Asked, Condition, Wanted};
use transport::sip::header::{Event, MediaType};
use transport::sip::uri::Uri;
use transport::sip::{Name, Request};

use super::{Answer, address_of, refusal};

/// What patches come in.
pub const PIDF_DIFF: &str = "application/pidf-diff+xml";

/// What filters come in.
pub const SIMPLE_FILTER: &str = "application/simple-filter+xml";

/// The header of conditions: it has no place in the table of names.
const SUPPRESS_IF_MATCH: &str = "Suppress-If-Match";

/// Whether what is shown in a format can be saved on: the documents that the RFCs know.
#[must_use]
pub fn applies(format: Format) -> bool {
    matches!(format, Format::Pidf | Format::Pres)
}

/// What a SUBSCRIBE to this address says; `None` where it says nothing.
///
/// # Errors
/// 400 for what cannot be read, 488 for filters that are not done here.
pub fn asked(request: &Request, presentity: &str) -> Result<Option<Box<Asked>>, Answer> {
    let event = Event::parse(request.header(Name::Event).unwrap_or_default());
    check_rate(event)?;
    let asked = Asked {
        condition: condition(request)?,
        min_interval_s: interval(event, "min-interval")?,
        max_interval_s: interval(event, "max-interval")?,
        // What a dialog was opened with is what its watcher reads: a refresh may add to it.
        partial: reads_patches(request).then_some(true),
        gzip: reads(request, "gzip").then_some(true),
        filter: wanted(request, presentity)?,
    };
    Ok((asked != Asked::default()).then(|| Box::new(asked)))
}

/// The condition, where it is one that can be true: tags that are none of ours never are.
//= RFC 5839 5.2
//# a SUBSCRIBE has one condition: a tag, or * for whatever there is
fn condition(request: &Request) -> Result<Option<Condition>, Answer> {
    let mut conditions = request.other_headers(SUPPRESS_IF_MATCH);
    let Some(text) = conditions.next() else {
        return Ok(None);
    };
    if conditions.next().is_some() || text.contains(',') {
        return Err(Answer::of(refusal::MANY_TAGS));
    }
    Ok(match text.trim() {
        "*" => Some(Condition::Any),
        tag => parse_tag(tag).map(Condition::Is),
    })
}

/// A tag of what is seen, as it is written.
#[must_use]
pub fn write_tag(tag: u64) -> String {
    format!("{tag:016x}")
}

fn parse_tag(text: &str) -> Option<u64> {
    let digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    let is = text.len() == 16 && text.bytes().all(digit);
    is.then(|| u64::from_str_radix(text, 16).ok()).flatten()
}

//= RFC 6446 4.1
//# whole seconds, in the Event header
fn interval(event: Event<'_>, name: &str) -> Result<u32, Answer> {
    let Some(text) = event.params.get(name) else {
        return Ok(0);
    };
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits {
        // What does not fit is longer than anybody waits.
        Ok(text.parse().unwrap_or(u32::MAX))
    } else {
        Err(Answer::of(refusal::BAD_INTERVAL))
    }
}

//= RFC 6446 6.1
//= type=exception
//# adaptive-min-rate is read and not granted, and no NOTIFY says it: an average would have to be counted
fn check_rate(event: Event<'_>) -> Result<(), Answer> {
    let Some(text) = event.params.get("adaptive-min-rate") else {
        return Ok(());
    };
    let digits = |text: &str, max: usize| {
        (1..=max).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
    };
    let is = text
        .split_once('.')
        .is_some_and(|(whole, part)| digits(whole, 2) && digits(part, 10));
    is.then_some(())
        .ok_or_else(|| Answer::of(refusal::BAD_INTERVAL))
}

//= RFC 5263 4.2
//# who lists the type of patches in Accept may be sent them
fn reads_patches(request: &Request) -> bool {
    let mut accepted = request.values(Name::Accept).map(MediaType::parse);
    accepted.any(|media| media.essence.eq_ignore_ascii_case(PIDF_DIFF) && media.accepts(PIDF_DIFF))
}

/// The format of a list for who asks: compressed for who reads that, as Linphone says of itself, however small it is.
pub fn list_format(request: &Request) -> Format {
    match reads(request, "deflate") {
        true => Format::RlmiDeflated,
        false => Format::Rlmi,
    }
}

//= RFC 3261 20.2
//# who lists a coding in Accept-Encoding may be sent it
fn reads(request: &Request, wanted: &str) -> bool {
    let mut accepted = request.values(Name::AcceptEncoding).map(MediaType::parse);
    accepted.any(|coding| {
        let refused = coding
            .params
            .get("q")
            .is_some_and(|q| q.trim_matches(['0', '.']).is_empty());
        coding.essence.eq_ignore_ascii_case(wanted) && !refused
    })
}

//= RFC 4660 5.2
//# filters are the body of a SUBSCRIBE; those that are not supported get 488
fn wanted(request: &Request, presentity: &str) -> Result<Wanted, Answer> {
    let media = request.header(Name::ContentType).map(MediaType::parse);
    let is = media.is_some_and(|media| media.essence.eq_ignore_ascii_case(SIMPLE_FILTER));
    if !is || request.body().is_empty() {
        return Ok(Wanted::Same);
    }
    let names = |uri: &str| Uri::parse(uri).is_ok_and(|uri| address_of(&uri) == presentity);
    filter::parse(request.body(), &names).map_err(|error| {
        let (row, error) = match error {
            FilterError::Malformed(error) => (refusal::BAD_FILTER, error),
            FilterError::Unsupported(error) => (refusal::FILTER_UNSUPPORTED, error),
        };
        Answer::of(row).with("Warning", format!("399 lamplight \"{error}\""))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_has_one_spelling() {
        for tag in [0, 1, 0xabcd, u64::MAX] {
            assert_eq!(parse_tag(&write_tag(tag)), Some(tag));
        }
        for text in [
            "",
            "*",
            "1",
            "000000000000000G",
            "000000000000000A",
            "+00000000000000a",
        ] {
            assert_eq!(parse_tag(text), None, "{text}");
        }
    }

    //= RFC 6446 6.1
    //= type=test
    #[test]
    fn a_rate_is_a_decimal() {
        for (text, expected) in [
            ("presence", true),
            ("presence;adaptive-min-rate=0.15", true),
            ("presence;adaptive-min-rate=1", false),
            ("presence;adaptive-min-rate=.5", false),
            ("presence;adaptive-min-rate=123.5", false),
        ] {
            assert_eq!(check_rate(Event::parse(text)).is_ok(), expected, "{text}");
        }
    }

    //= RFC 6446 4.1
    //= type=test
    #[test]
    fn an_interval_is_whole_seconds() {
        for (text, expected) in [
            ("presence", Some(0)),
            ("presence;min-interval=5", Some(5)),
            ("presence; id=1; min-interval = 60", Some(60)),
            ("presence;min-interval=99999999999", Some(u32::MAX)),
            ("presence;min-interval", None),
            ("presence;min-interval=-1", None),
            ("presence;min-interval=1.5", None),
        ] {
            let interval = interval(Event::parse(text), "min-interval").ok();
            assert_eq!(interval, expected, "{text}");
        }
    }
}
