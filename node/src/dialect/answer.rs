//! A response that needs no machine: status, reason, header lines.

use std::borrow::Cow;

use bytes::Bytes;
use transport::sip::write::Reply;
use transport::sip::{ParseError, Request, StatusCode};

/// A row of the refusal table: a status and the phrase that says what is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The status.
    pub status: StatusCode,
    /// The reason phrase.
    pub reason: &'static str,
}

/// A response that can be written at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Status and reason phrase.
    pub row: Row,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Option<(&'static str, Vec<u8>)>,
}

impl Answer {
    /// The answer that a row of the table stands for.
    #[must_use]
    pub fn of(row: Row) -> Answer {
        Answer {
            row,
            headers: Vec::new(),
            body: None,
        }
    }

    /// What a message gets that cannot be read.
    #[must_use]
    pub fn of_parse(error: &ParseError) -> Answer {
        Answer::of(Row {
            status: error.status,
            reason: error.reason,
        })
    }

    /// Adds a header line.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Answer {
        self.headers.push((name, value.into()));
        self
    }

    /// Adds a body with its type.
    #[must_use]
    pub fn with_body(mut self, content_type: &'static str, body: Vec<u8>) -> Answer {
        self.body = Some((content_type, body));
        self
    }

    /// The value of a header line that was added.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| &**value)
    }

    /// The body that was added, with its type.
    #[must_use]
    pub fn body(&self) -> Option<(&str, &[u8])> {
        let (media, body) = self.body.as_ref()?;
        Some((media, body))
    }

    /// The response to `request`.
    #[must_use]
    pub fn write(&self, request: &Request, to_tag: &str) -> Bytes {
        let reply = Reply::with_reason(request, self.row.status, self.row.reason, Some(to_tag));
        let reply = self
            .headers
            .iter()
            .fold(reply, |reply, (name, value)| reply.header(name, value));
        match &self.body {
            Some((content_type, body)) => reply.body(content_type, body),
            None => reply.finish(),
        }
    }
}
