//! What a request says of the readings that it brings: their format, their mapping, and their place in a stream.

use std::sync::Arc;

use sluicegate_decode::{Format, Mapping, Precision};
use warp::http::{HeaderMap, HeaderName, header};

use super::mappings::Mappings;
use crate::{
    model::{Epoch, Seq, StreamId},
    router::rest::{
        params::{Params, invalid},
        problem::{Kind, Problem},
    },
};

/// Of line protocol. It has no type of its own that is registered, and `text/plain` may be anything.
const LINE_PROTOCOL: &str = "application/vnd.influxdata.line-protocol";

pub(super) const STREAM_ID: HeaderName = HeaderName::from_static("stream-id");
pub(super) const STREAM_EPOCH: HeaderName = HeaderName::from_static("stream-epoch");
pub(super) const FIRST_SEQ: HeaderName = HeaderName::from_static("first-seq");

/// How the readings lie in the body.
#[derive(Clone, Debug)]
pub(super) enum Shape {
    /// Line by line.
    Lines(Arc<Mapping>),
    /// Line by line, the first of which names the columns.
    Table,
    /// As one document of JSON, or as a few.
    Document(Arc<Mapping>),
}

/// The place of the readings in a stream.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) stream: StreamId,
    /// None: the stream is opened first.
    pub(super) epoch: Option<Epoch>,
    pub(super) first_seq: Seq,
}

/// What a request says.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) shape: Shape,
    /// The name of the mapping, which is that of the format where the request names none.
    pub(super) mapping: Option<String>,
    /// Of times in line protocol.
    pub(super) precision: Option<Precision>,
    /// None of readings that belong to no stream.
    pub(super) place: Option<Place>,
}

impl Asked {
    /// Reads the parameters and the headers of `POST /readings`.
    pub(super) fn of(
        query: &str,
        headers: &HeaderMap,
        mappings: &Mappings,
    ) -> Result<Self, Problem> {
        let params = Params::parse(query, &["format", "mapping", "precision"])?;
        let written = match params.get("format")? {
            Some(name) => Written::named(&name)?,
            None => Written::of_type(headers)?,
        };
        let named = params.get("mapping")?;
        let shape = match &named {
            Some(name) => written.by(name, mappings)?,
            None => written.usual(mappings),
        };
        let usual = match shape {
            // Nobody else has this one.
            Shape::Table => None,
            Shape::Lines(_) | Shape::Document(_) => Some(written.format().as_str().to_owned()),
        };
        Ok(Self {
            shape,
            mapping: named.or(usual),
            precision: precision(&params)?,
            place: place(headers)?,
        })
    }
}

/// The unit of times in line protocol.
pub(super) fn precision(params: &Params<'_>) -> Result<Option<Precision>, Problem> {
    let Some(text) = params.get("precision")? else {
        return Ok(None);
    };
    match Precision::of_parameter(&text) {
        Some(precision) => Ok(Some(precision)),
        None => Err(invalid("precision", &text, "ns, us, ms, s, m, h or auto")),
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Json,
    Ndjson,
    Csv,
    Influx,
}

impl Written {
    fn named(name: &str) -> Result<Self, Problem> {
        match name {
            "json" => Ok(Self::Json),
            "ndjson" => Ok(Self::Ndjson),
            "csv" => Ok(Self::Csv),
            "influx" => Ok(Self::Influx),
            other => Err(invalid("format", other, "json, ndjson, csv or influx")),
        }
    }

    fn of_type(headers: &HeaderMap) -> Result<Self, Problem> {
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|it| it.to_str().ok());
        let mut parts = content_type.unwrap_or_default().split(';').map(str::trim);
        let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
        let refused = |detail: String| Err(Problem::new(Kind::UnsupportedMediaType, detail));
        let is_foreign = |part: &str| {
            part.split_once('=').is_some_and(|(name, charset)| {
                let charset = charset.trim_matches('"');
                let known = ["utf-8", "utf8", "us-ascii"];
                name.eq_ignore_ascii_case("charset")
                    && !known.iter().any(|it| charset.eq_ignore_ascii_case(it))
            })
        };
        if parts.any(is_foreign) {
            return refused("Send the body in UTF-8.".to_owned());
        }
        match &*essence {
            "application/json" => Ok(Self::Json),
            "application/x-ndjson"
            | "application/ndjson"
            | "application/jsonl"
            | "application/x-jsonlines"
            | "application/jsonlines" => Ok(Self::Ndjson),
            "text/csv" => Ok(Self::Csv),
            LINE_PROTOCOL => Ok(Self::Influx),
            "text/plain" => refused(format!(
                "text/plain may be anything: send line protocol as {LINE_PROTOCOL} or with ?format=influx."
            )),
            _ => refused(format!(
                "Send readings as application/json, application/x-ndjson, text/csv or {LINE_PROTOCOL}, or say it in \
                 ?format=json, ndjson, csv or influx."
            )),
        }
    }

    fn format(self) -> Format {
        match self {
            Self::Json | Self::Ndjson => Format::Json,
            Self::Csv => Format::Csv,
            Self::Influx => Format::Influx,
        }
    }

    /// As the mapping of this format says, or in our own words where there is none.
    fn usual(self, mappings: &Mappings) -> Shape {
        match (self, mappings.of_format(self.format())) {
            (Self::Csv, None) => Shape::Table,
            (Self::Json, mapping) => Shape::Document(mapping.unwrap_or_else(|| mappings.json())),
            (Self::Ndjson, mapping) => Shape::Lines(mapping.unwrap_or_else(|| mappings.json())),
            (_, mapping) => Shape::Lines(mapping.unwrap_or_else(|| mappings.line_protocol())),
        }
    }

    fn by(self, name: &str, mappings: &Mappings) -> Result<Shape, Problem> {
        let Some(mapping) = mappings.named(name) else {
            let must = format!(
                "one of rest.mappings, which has {}",
                mappings.names().unwrap_or("none")
            );
            return Err(invalid("mapping", name, &must));
        };
        let of = mapping.settings().format;
        if of != self.format() {
            let must = format!(
                "a mapping of {}, and this one is of {}",
                self.format().as_str(),
                of.as_str()
            );
            return Err(invalid("mapping", name, &must));
        }
        Ok(match self {
            Self::Json => Shape::Document(mapping),
            _ => Shape::Lines(mapping),
        })
    }
}

fn place(headers: &HeaderMap) -> Result<Option<Place>, Problem> {
    let [stream, epoch, first_seq] =
        [STREAM_ID, STREAM_EPOCH, FIRST_SEQ].map(|name| headers.get(name));
    let problem = |name: HeaderName, kind, detail: String| Problem::of(name.as_str(), kind, detail);
    let Some(stream) = stream else {
        return match epoch.or(first_seq) {
            None => Ok(None),
            Some(_) => Err(problem(
                STREAM_ID,
                Kind::MissingParameter,
                "stream-epoch and first-seq are places in a stream: name it in the header stream-id.".to_owned(),
            )),
        };
    };
    let Some(first_seq) = first_seq else {
        return Err(problem(
            FIRST_SEQ,
            Kind::MissingParameter,
            "Readings of a stream have their places in it: say in the header first-seq which the first of them has, from 1."
                .to_owned(),
        ));
    };
    let stream = stream.to_str().map(StreamId::parse);
    let stream = match stream {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => {
            return Err(problem(
                STREAM_ID,
                Kind::InvalidParameter,
                format!("{error}."),
            ));
        }
        Err(_) => {
            let detail =
                "stream-id holds characters that a header cannot carry: take another name.";
            return Err(problem(
                STREAM_ID,
                Kind::InvalidParameter,
                detail.to_owned(),
            ));
        }
    };
    let number = |name: HeaderName, value: &warp::http::HeaderValue| {
        let number = value
            .to_str()
            .ok()
            .and_then(|text| text.parse::<u64>().ok());
        number.filter(|&number| number > 0).ok_or_else(|| {
            let detail = format!("{name} is a whole number from 1 to {}.", u64::MAX);
            problem(name, Kind::InvalidParameter, detail)
        })
    };
    let epoch = epoch.map(|epoch| number(STREAM_EPOCH, epoch)).transpose()?;
    Ok(Some(Place {
        stream,
        epoch: epoch.map(Epoch),
        first_seq: Seq(number(FIRST_SEQ, first_seq)?),
    }))
}

#[cfg(test)]
mod tests {
    use warp::http::HeaderValue;

    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        pairs.collect()
    }

    #[test]
    fn the_type_says_the_format_and_text_may_be_anything() {
        for (content_type, expected) in [
            ("application/json", Ok(Written::Json)),
            ("application/json; charset=UTF-8", Ok(Written::Json)),
            ("application/x-ndjson", Ok(Written::Ndjson)),
            ("Text/CSV;header=present", Ok(Written::Csv)),
            (LINE_PROTOCOL, Ok(Written::Influx)),
            ("text/plain; charset=utf-8", Err("?format=influx")),
            ("application/json; charset=latin1", Err("UTF-8")),
            ("application/xml", Err("application/x-ndjson")),
            ("", Err("?format=json")),
        ] {
            let found = Written::of_type(&headers(&[("content-type", content_type)]));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{content_type}"),
                (Err(problem), Err(word)) => {
                    assert_eq!(problem.kind, Kind::UnsupportedMediaType);
                    assert!(problem.detail.contains(word), "{}", problem.detail);
                }
                (found, _) => panic!("{content_type}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_place_needs_a_stream_and_a_number() {
        let all = [
            ("stream-id", "a"),
            ("stream-epoch", "3"),
            ("first-seq", "9"),
        ];
        let found = place(&headers(&all)).unwrap().unwrap();
        assert_eq!(found.stream.as_str(), "a");
        assert_eq!((found.epoch, found.first_seq), (Some(Epoch(3)), Seq(9)));
        assert!(place(&headers(&[])).unwrap().is_none());
        for (pairs, parameter) in [
            (&all[..1], "first-seq"),
            (&all[..2], "first-seq"),
            (&all[1..], "stream-id"),
            (&[("stream-id", "a"), ("first-seq", "0")], "first-seq"),
            (&[("stream-id", " "), ("first-seq", "1")], "stream-id"),
            (&[("stream-id", "lane:x"), ("first-seq", "1")], "stream-id"),
        ] {
            let problem = place(&headers(pairs)).unwrap_err();
            assert_eq!(problem.parameter.as_deref(), Some(parameter), "{pairs:?}");
        }
    }
}
