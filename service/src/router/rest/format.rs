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
}

const OFFERED: [(Format, &str); 3] = [
    (Format::Json, "application/json"),
    (Format::Ndjson, "application/x-ndjson"),
    (Format::Csv, "text/csv"),
];

impl Format {
    /// By `format`, or else by the header Accept.
    pub(super) fn of(request: &Request, params: &Params<'_>) -> Result<Self, Problem> {
        match params.get("format")?.as_deref() {
            Some("json") => Ok(Self::Json),
            Some("ndjson") => Ok(Self::Ndjson),
            Some("csv") => Ok(Self::Csv),
            Some(other) => Err(invalid("format", other, "json, ndjson or csv")),
            None => accepted(request.header(header::ACCEPT).unwrap_or("*/*")),
        }
    }
}

/// The offered format with the highest weight; among equals, the one that is named first, and JSON for a wildcard.
fn accepted(accept: &str) -> Result<Format, Problem> {
    let mut best: Option<(Format, f32)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let range = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok());
        let weight: f32 = weight.unwrap_or(1.0);
        let offered = OFFERED.iter().find(|(_, name)| {
            let of_type = |range: &str| name.split('/').next() == Some(range);
            range == "*/*" || range == *name || range.strip_suffix("/*").is_some_and(of_type)
        });
        if let Some(&(format, _)) = offered
            && weight > best.map_or(0.0, |(_, weight)| weight)
        {
            best = Some((format, weight));
        }
    }
    best.map(|(format, _)| format).ok_or_else(|| {
        Problem::new(
            Kind::NotAcceptable,
            "This path offers application/json, application/x-ndjson and text/csv.",
        )
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
            ("image/png", None),
            ("text/csv;q=0", None),
            ("", None),
        ] {
            assert_eq!(accepted(accept).ok(), expected, "{accept}");
        }
    }
}
