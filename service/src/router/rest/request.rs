//! A request as handlers see it.

use std::{pin::Pin, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt as _};
use percent_encoding::percent_decode_str;
use sluicegate_transport::{Peer, http::AskedName};
use tokio_util::sync::CancellationToken;
use warp::http::{HeaderMap, Version, header};

use super::problem::{Kind, Problem};
use crate::auth::{Admitted, Need};

/// Bodies hold two values: more than this is a mistake.
const BODY_LIMIT_BYTES: usize = 64 << 10;
/// So much of a body that is too large is still read, for its client to read the answer before it finds the connection
/// closed.
const DISCARDED_BYTES: usize = 2 << 20;
const BODY_DEADLINE: Duration = Duration::from_secs(10);

pub(super) type BodyStream = Pin<Box<dyn Stream<Item = Result<Bytes, warp::Error>> + Send>>;

pub(super) struct Request {
    /// Under which the log and the audit log speak of it.
    pub(super) id: String,
    pub(super) version: Version,
    /// Under which name it reached us.
    pub(super) name: AskedName,
    pub(super) peer: Option<Peer>,
    /// None where nobody is asked who they are.
    pub(super) admitted: Option<Admitted>,
    /// What stands behind the question mark.
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    /// The variable segments of the path, as sent.
    pub(super) segments: Vec<String>,
    pub(super) body: BodyStream,
}

impl Request {
    /// Whether the gate, if there is one, has asked the caller for what the route needs.
    pub(super) fn was_asked(&self, need: Need) -> bool {
        let admitted = self.admitted.as_ref();
        admitted.is_none_or(|admitted| admitted.need == need)
    }

    /// Cancelled when what let the caller in is no longer good.
    pub(super) fn ended(&self) -> Option<CancellationToken> {
        let principal = self.admitted.as_ref()?.principal.as_ref()?;
        Some(principal.ended.clone())
    }

    /// The variable segment of the path, decoded.
    pub(super) fn segment(&self) -> Result<String, Problem> {
        let raw = self.segments.first().map_or("", String::as_str);
        let decoded = percent_decode_str(raw).decode_utf8();
        decoded.map(Into::into).map_err(|_| {
            Problem::of(
                "id",
                Kind::InvalidParameter,
                "The last part of the path is not UTF-8 behind its percent signs.",
            )
        })
    }

    pub(super) fn header(&self, name: header::HeaderName) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Refuses an answer of unknown length over a connection that only its end would delimit: a client could not tell
    /// the whole of it from one that was cut off.
    pub(super) fn require_chunks(&self) -> Result<(), Problem> {
        if self.version >= Version::HTTP_11 {
            return Ok(());
        }
        Err(Problem::new(
            Kind::HttpTooOld,
            "An export or a stream of events needs HTTP/1.1 or later, since over HTTP/1.0 nobody can tell a whole one from \
             one that was cut off: behind nginx, set proxy_http_version 1.1.",
        ))
    }

    /// A body that says that it is JSON.
    pub(super) async fn json(&mut self) -> Result<Bytes, Problem> {
        let media_type = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let refused = |detail| Err(Problem::new(Kind::UnsupportedMediaType, detail));
        let mut parts = media_type.split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default();
        if !essence.eq_ignore_ascii_case("application/json") {
            return refused("Send the body as JSON, with Content-Type: application/json.");
        }
        let is_foreign = |part: &str| {
            part.split_once('=').is_some_and(|(name, charset)| {
                let charset = charset.trim_matches('"');
                let is_utf8 = ["utf-8", "utf8"].map(|utf8| charset.eq_ignore_ascii_case(utf8));
                name.eq_ignore_ascii_case("charset") && !is_utf8.contains(&true)
            })
        };
        if parts.any(is_foreign) {
            return refused("Send the body in UTF-8, the only charset that JSON has.");
        }
        self.bytes().await
    }

    /// A body that says that it is JSON, and whether it is one document rather than a line each.
    pub(super) async fn json_or_lines(
        &mut self,
        limit_bytes: usize,
    ) -> Result<(Bytes, bool), Problem> {
        let media_type = self.header(header::CONTENT_TYPE).unwrap_or_default();
        let essence = media_type.split(';').next().unwrap_or_default().trim();
        let is = |known: &str| essence.eq_ignore_ascii_case(known);
        let is_document = is("application/json");
        if !is_document && !is("application/x-ndjson") && !is("application/ndjson") {
            let detail =
                "Send an array as application/json, or a line for each as application/x-ndjson.";
            return Err(Problem::new(Kind::UnsupportedMediaType, detail));
        }
        Ok((self.bytes_up_to(limit_bytes).await?, is_document))
    }

    pub(super) async fn bytes(&mut self) -> Result<Bytes, Problem> {
        self.bytes_up_to(BODY_LIMIT_BYTES).await
    }

    async fn bytes_up_to(&mut self, limit_bytes: usize) -> Result<Bytes, Problem> {
        tokio::time::timeout(BODY_DEADLINE, self.read(limit_bytes))
            .await
            .unwrap_or_else(|_| {
                let seconds = BODY_DEADLINE.as_secs();
                let detail = format!("The body was not complete within {seconds} s.");
                Err(Problem::new(Kind::BodyTooSlow, detail))
            })
    }

    async fn read(&mut self, limit_bytes: usize) -> Result<Bytes, Problem> {
        let announced = self.header(header::CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.parse::<usize>().ok());
        if announced.is_some_and(|length| length > limit_bytes) {
            return Err(self.too_large(limit_bytes).await);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = self.body.next().await {
            let chunk = chunk.map_err(|_| {
                Problem::new(
                    Kind::MalformedBody,
                    "The body ended before it was complete.",
                )
            })?;
            if body.len() + chunk.len() > limit_bytes {
                return Err(self.too_large(limit_bytes).await);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    async fn too_large(&mut self, limit_bytes: usize) -> Problem {
        // Who waits for a word before sending it has not sent it yet.
        let is_coming = !self.headers.contains_key(header::EXPECT);
        let mut discarded = 0;
        while is_coming && discarded < DISCARDED_BYTES {
            match self.body.next().await {
                Some(Ok(chunk)) => discarded += chunk.len(),
                _ => break,
            }
        }
        let detail = format!("The body may have {limit_bytes} bytes.");
        Problem::new(Kind::BodyTooLarge, detail)
    }
}
