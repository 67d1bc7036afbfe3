//! In which format readings are asked for.

use warp::http::header;

use super::{
    params::{Params, invalid},
    problem::{Kind, Problem},
    request::Request,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Ndjson,
    Csv,
    /// The IPC streaming format.
    Arrow,
    Parquet,
}

/// A format, its name in a query and as a media type.
type Named = (Format, &'static str, &'static str);

const OFFERED: [Named; 5] = [
    (Format::Json, "json", "application/json"),
    (Format::Ndjson, "ndjson", "application/x-ndjson"),
    (Format::Csv, "csv", "text/csv"),
    (
        Format::Arrow,
        "arrow",
        "application/vnd.apache.arrow.stream",
    ),
    (Format::Parquet, "parquet", "application/vnd.apache.parquet"),
];
/// Of them those of lines, which anything can be written as.
const LINES: usize = 3;

impl Format {
    /// By `format`, or else by the header Accept: of readings that are stored.
    pub(super) fn of_readings(request: &Request, params: &Params<'_>) -> Result<Self, Problem> {
        Self::of(request, params, &OFFERED)
    }

    /// The same, of what has no tables.
    pub(super) fn of_lines(request: &Request, params: &Params<'_>) -> Result<Self, Problem> {
        Self::of(request, params, &OFFERED[..LINES])
    }

    fn of(request: &Request, params: &Params<'_>, offered: &[Named]) -> Result<Self, Problem> {
        let Some(asked) = params.get("format")? else {
            return accepted(request.header(header::ACCEPT).unwrap_or("*/*"), offered);
        };
        let named = offered.iter().find(|(_, name, _)| *name == asked);
        let names = || listed(offered.iter().map(|(_, name, _)| *name), "or");
        named.map_or_else(|| Err(invalid("format", &asked, &names())), |it| Ok(it.0))
    }
}

impl Format {
    /// What an export says that it is, and whether it gains nothing by compression.
    pub(super) fn sent(self) -> (&'static str, bool) {
        match self {
            Self::Csv => ("text/csv; charset=utf-8", false),
            Self::Json | Self::Ndjson => ("application/x-ndjson", false),
            Self::Arrow => ("application/vnd.apache.arrow.stream", false),
            Self::Parquet => ("application/vnd.apache.parquet", true),
        }
    }
}

/// As people write a list.
fn listed<'a>(words: impl Iterator<Item = &'a str>, before_last: &str) -> String {
    let words: Vec<_> = words.collect();
    match words.split_last() {
        Some((last, others)) => format!("{} {before_last} {last}", others.join(", ")),
        None => String::new(),
    }
}

/// The offered format with the highest weight; among equals, the one that is named first, and JSON for a wildcard.
fn accepted(accept: &str, offered: &[Named]) -> Result<Format, Problem> {
    let mut best: Option<(Format, f32)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
        let weight: f32 = weight.unwrap_or(1.0);
        let named = offered.iter().find(|(_, _, name)| {
            let of_type = |range: &str| name.split('/').next() == Some(range);
            range == "*/*" || range == *name || range.strip_suffix("/*").is_some_and(of_type)
        });
        if let Some(&(format, ..)) = named
            && weight > best.map_or(0.0, |(_, weight)| weight)
        {
            best = Some((format, weight));
        }
    }
    best.map(|(format, _)| format).ok_or_else(|| {
        let types = listed(offered.iter().map(|(.., name)| *name), "and");
        Problem::new(Kind::NotAcceptable, format!("This path offers {types}."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_with_the_highest_weight_wins() {
        for (accept, expected) in [
            ("*/*", Some(Format::Json)),
            (
                "text/html,application/xhtml+xml,*/*;q=0.8",
                Some(Format::Json),
            ),
            ("text/csv", Some(Format::Csv)),
            ("text/*", Some(Format::Csv)),
            (
                "application/x-ndjson, application/json;q=0.5",
                Some(Format::Ndjson),
            ),
            ("application/json;q=0.1, text/csv;q=0.2", Some(Format::Csv)),
            ("application/vnd.apache.arrow.stream", Some(Format::Arrow)),
            ("application/vnd.apache.parquet", Some(Format::Parquet)),
            ("image/png", None),
            ("text/csv;q=0", None),
            ("", None),
        ] {
            assert_eq!(accepted(accept, &OFFERED).ok(), expected, "{accept}");
        }
    }
    #[test]
    fn what_has_no_tables_does_not_offer_them() {
        let refused = accepted("application/vnd.apache.parquet", &OFFERED[..LINES]).unwrap_err();
        let offered = "This path offers application/json, application/x-ndjson and text/csv.";
        assert_eq!(refused.detail, offered);
    }
}
