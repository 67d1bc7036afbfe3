//! The selection of a request. One parser for every route.

use super::{
    params::{Params, invalid, missing},
    problem::{Kind, Problem},
    time::parse_instant,
};
use crate::model::{IdPair, Order, Selection, TimeRange, fault_of_tag_name, fault_of_tag_value};

/// Readings of a JSON page unless the request says otherwise.
pub(super) const DEFAULT_LIMIT: usize = 1_000;
/// Readings of a JSON page at the most.
pub(super) const MAX_LIMIT: usize = 10_000;
/// Id pairs of a request at the most.
pub(super) const MAX_PAIRS: usize = Selection::PAIRS_MAX;

/// What a path selects by; what it does not name it does not take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum By {
    Time,
    Ids,
    IdsTime,
    /// By time and, if given, by ids.
    TimeMaybeIds,
}

impl By {
    /// The parameters of the selection, and those that `more` adds.
    pub(super) fn names(self, more: &[&'static str]) -> Vec<&'static str> {
        let of_selection: &[&str] = match self {
            Self::Time => &["from_time", "to_time", "sensor_type"],
            Self::Ids => &["id1", "id2", "sensor_type"],
            Self::IdsTime | Self::TimeMaybeIds => {
                &["from_time", "to_time", "id1", "id2", "sensor_type"]
            }
        };
        [of_selection, more].concat()
    }
}

pub(super) fn selection(params: &Params<'_>, by: By) -> Result<Selection, Problem> {
    let time = match by {
        By::Ids => None,
        By::Time | By::IdsTime | By::TimeMaybeIds => Some(time_range(params)?),
    };
    let tags = tags(params)?;
    let pairs = match by {
        By::Time => None,
        By::Ids | By::IdsTime => match pairs(params)? {
            None if tags.is_empty() => {
                return Err(missing(
                    "id1",
                    "name the series by id1 and id2, as in id1=0,1&id2=A,B",
                ));
            }
            pairs => pairs,
        },
        By::TimeMaybeIds => pairs(params)?,
    };
    Ok(Selection {
        time,
        pairs,
        sensor_type: params.get("sensor_type")?,
        tags,
    })
}

/// Tags of a selection at the most.
const MAX_TAGS: usize = Selection::TAGS_MAX;

/// Names and values of tags; none where none are given, or taken.
pub(super) fn tags(params: &Params<'_>) -> Result<Vec<(String, String)>, Problem> {
    let given = params.list("tags")?.unwrap_or_default();
    if given.len() > MAX_TAGS {
        let detail = format!("tags has {}: select by at most {MAX_TAGS}.", given.len());
        return Err(Problem::of("tags", Kind::InvalidParameter, detail));
    }
    let must = "names and values of tags, as in site:north,line:7";
    let tag = |text: &String| {
        let (name, value) = text.split_once(':')?;
        let is_fit = fault_of_tag_name(name).is_none() && fault_of_tag_value(value).is_none();
        is_fit.then(|| (name.to_owned(), value.to_owned()))
    };
    let tags = given
        .iter()
        .map(|text| tag(text).ok_or_else(|| invalid("tags", text, must)));
    tags.collect()
}

fn time_range(params: &Params<'_>) -> Result<TimeRange, Problem> {
    let from_us = instant(params, "from_time")?;
    let to_us = instant(params, "to_time")?;
    if from_us >= to_us {
        return Err(Problem::of(
            "to_time",
            Kind::InvalidParameter,
            "to_time must lie behind from_time: the range holds from_time and ends before to_time.",
        ));
    }
    Ok(TimeRange { from_us, to_us })
}

/// How an instant is written.
const INSTANT: &str = "RFC 3339 as in 2026-01-31T12:00:00Z, or milliseconds since the Unix epoch";

fn instant(params: &Params<'_>, name: &str) -> Result<i64, Problem> {
    maybe_instant(params, name)?.ok_or_else(|| missing(name, &format!("give {INSTANT}")))
}

pub(super) fn maybe_instant(params: &Params<'_>, name: &str) -> Result<Option<i64>, Problem> {
    let Some(text) = params.get(name)? else {
        return Ok(None);
    };
    let at = parse_instant(&text).ok_or_else(|| invalid(name, &text, INSTANT))?;
    Ok(Some(at))
}

/// The pairs in the order given, each once; None when neither list is given.
fn pairs(params: &Params<'_>) -> Result<Option<Vec<IdPair>>, Problem> {
    let (id1, id2) = match (params.list("id1")?, params.list("id2")?) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(missing("id2", "every id1 needs its id2")),
        (None, Some(_)) => return Err(missing("id1", "every id2 needs its id1")),
        (Some(id1), Some(id2)) => (id1, id2),
    };
    if id1.len() != id2.len() {
        let detail = format!(
            "id1 has {} values and id2 has {}: they are paired by position, so both need the same number.",
            id1.len(),
            id2.len()
        );
        return Err(Problem::of("id2", Kind::InvalidParameter, detail));
    }
    if id1.len() > MAX_PAIRS {
        let detail = format!(
            "id1 and id2 name {} pairs: ask for at most {MAX_PAIRS}.",
            id1.len()
        );
        return Err(Problem::of("id1", Kind::InvalidParameter, detail));
    }
    let mut pairs = Vec::with_capacity(id1.len());
    let mut seen = std::collections::HashSet::new();
    for (id1, id2) in id1.iter().zip(id2) {
        let must = "whole numbers from -2147483648 to 2147483647, separated by commas";
        let id1 = id1.parse().map_err(|_| invalid("id1", id1, must))?;
        let pair = IdPair { id1, id2 };
        if seen.insert(pair.clone()) {
            pairs.push(pair);
        }
    }
    Ok(Some(pairs))
}

pub(super) fn order(params: &Params<'_>) -> Result<Order, Problem> {
    match params.get("order")?.as_deref() {
        None | Some("asc") => Ok(Order::Ascending),
        Some("desc") => Ok(Order::Descending),
        Some(other) => Err(invalid("order", other, "asc or desc")),
    }
}

/// The limit of a page.
pub(super) fn limit(params: &Params<'_>) -> Result<usize, Problem> {
    let limit = any_limit(params)?.unwrap_or(DEFAULT_LIMIT as u64);
    let fits = usize::try_from(limit)
        .ok()
        .filter(|&limit| limit <= MAX_LIMIT);
    fits.ok_or_else(|| {
        let must = format!("1 to {MAX_LIMIT}; for more, ask for application/x-ndjson or text/csv");
        invalid("limit", &limit.to_string(), &must)
    })
}

/// The limit of an export, which may be any.
pub(super) fn any_limit(params: &Params<'_>) -> Result<Option<u64>, Problem> {
    let Some(text) = params.get("limit")? else {
        return Ok(None);
    };
    let limit = text.parse::<u64>().ok().filter(|&limit| limit > 0);
    let must = "a whole number from 1";
    limit.map(Some).ok_or_else(|| invalid("limit", &text, must))
}

#[cfg(any(test, feature = "fuzzing"))]
fn encoded(text: &str) -> String {
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A selection as a client would write it.
#[cfg(any(test, feature = "fuzzing"))]
pub(super) fn written(selection: &Selection) -> String {
    let mut parts = Vec::new();
    if let Some(TimeRange { from_us, to_us }) = selection.time {
        let at = |at_us: i64| match at_us % 1_000 {
            0 => (at_us / 1_000).to_string(),
            _ => encoded(&super::time::format_instant(at_us)),
        };
        parts.push(format!("from_time={}&to_time={}", at(from_us), at(to_us)));
    }
    if let Some(pairs) = &selection.pairs {
        let id1: Vec<_> = pairs.iter().map(|pair| pair.id1.to_string()).collect();
        let escaped = |pair: &IdPair| pair.id2.replace('\\', r"\\").replace(',', r"\,");
        let id2: Vec<_> = pairs.iter().map(escaped).collect();
        let (id1, id2) = (id1.join(","), encoded(&id2.join(",")));
        parts.push(format!("id2={id2}&id1={id1}"));
    }
    let sensor_type = selection.sensor_type.as_ref();
    parts.extend(sensor_type.map(|it| format!("sensor_type={}", encoded(it))));
    parts.join("&")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(by: By, query: &str) -> Result<Selection, Problem> {
        selection(&Params::parse(query, &by.names(&["limit"]))?, by)
    }

    fn fault(by: By, query: &str) -> (Kind, Option<String>) {
        let problem = parse(by, query).expect_err(query);
        (problem.kind, problem.parameter)
    }

    #[test]
    fn ids_are_paired_by_position_and_each_pair_counts_once() {
        let query = r"id1=0,-1%2C0,5&id2=A,B\,%20b%2CA,c\\\d";
        let selection = parse(By::Ids, query).expect("parses");
        let pair = |id1, id2: &str| IdPair {
            id1,
            id2: id2.to_owned(),
        };
        let expected = vec![pair(0, "A"), pair(-1, "B, b"), pair(5, r"c\\d")];
        assert_eq!(selection.pairs, Some(expected));
        assert_eq!(selection.time, None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let named = |kind, name: &str| (kind, Some(name.to_owned()));
        let (from, to) = ("from_time=1", "to_time=2");
        for (by, query, expected) in [
            (By::Time, "", named(Kind::MissingParameter, "from_time")),
            (By::Time, from, named(Kind::MissingParameter, "to_time")),
            (By::Ids, "", named(Kind::MissingParameter, "id1")),
            (By::Ids, "id1=1", named(Kind::MissingParameter, "id2")),
            (By::Ids, "id2=A", named(Kind::MissingParameter, "id1")),
            (
                By::Ids,
                "id1=1,2&id2=A",
                named(Kind::InvalidParameter, "id2"),
            ),
            (
                By::Ids,
                "id1=1.0&id2=A",
                named(Kind::InvalidParameter, "id1"),
            ),
            (By::Ids, "id1=1&id2=", named(Kind::InvalidParameter, "id2")),
            (
                By::Ids,
                "id1=1&id2=%ff",
                named(Kind::InvalidParameter, "id2"),
            ),
            (
                By::Ids,
                "id1=1&id1=2&id2=A",
                named(Kind::RepeatedParameter, "id1"),
            ),
            (
                By::Ids,
                "colour=red",
                named(Kind::UnknownParameter, "colour"),
            ),
            (By::Ids, from, named(Kind::UnknownParameter, "from_time")),
            (By::Time, "id1=1", named(Kind::UnknownParameter, "id1")),
        ] {
            assert_eq!(fault(by, query), expected, "{query}");
        }
        let reversed = format!("{to}&from_time=2");
        assert_eq!(
            fault(By::Time, &reversed),
            named(Kind::InvalidParameter, "to_time")
        );
        assert!(parse(By::TimeMaybeIds, &format!("{from}&{to}")).is_ok());
    }

    #[test]
    fn a_limit_has_its_bounds() {
        let limit_of = |query: &str| {
            let params = Params::parse(query, &["limit"]).expect("parses");
            limit(&params).ok()
        };
        assert_eq!(limit_of(""), Some(DEFAULT_LIMIT));
        assert_eq!(limit_of("limit=10000"), Some(MAX_LIMIT));
        for query in ["limit=0", "limit=10001", "limit=-1", "limit=x", "limit=1e3"] {
            assert_eq!(limit_of(query), None, "{query}");
        }
    }

    prop_compose! {
        fn any_selection()(
            from_us in -60_000_000_000_000_000_i64..250_000_000_000_000_000,
            length_us in 1_i64..1_000_000_000_000,
            pairs in proptest::collection::vec((any::<i32>(), ".{1,9}|[a,\\\\]{1,9}"), 1..9),
            sensor_type in proptest::option::of("(?s).{1,50}"),
        ) -> Selection {
            let mut seen = std::collections::HashSet::new();
            let pairs = pairs.into_iter().map(|(id1, id2)| IdPair { id1, id2 });
            Selection {
                time: Some(TimeRange { from_us, to_us: from_us + length_us }),
                pairs: Some(pairs.filter(|pair| seen.insert(pair.clone())).collect()),
                sensor_type,
                tags: Vec::new(),
            }
        }
    }

    proptest! {
        #[test]
        fn a_selection_that_is_written_reads_back(selection in any_selection()) {
            let by_time = Selection { pairs: None, ..selection.clone() };
            let by_ids = Selection { time: None, ..selection.clone() };
            for (by, selection) in [
                (By::IdsTime, &selection), (By::TimeMaybeIds, &selection), (By::TimeMaybeIds, &by_time),
                (By::Time, &by_time), (By::Ids, &by_ids),
            ] {
                prop_assert_eq!(parse(by, &written(selection)), Ok(selection.clone()));
            }
        }

        #[test]
        fn no_query_string_panics(query in "[a-z0-9_=&,%+:TZ. -]{0,80}|(?s).{0,80}") {
            for by in [By::Time, By::Ids, By::IdsTime, By::TimeMaybeIds] {
                let _ = parse(by, &query);
            }
        }

        #[test]
        fn no_value_panics(value in "(?s).{0,40}", name in "from_time|to_time|id1|id2|sensor_type|limit") {
            let names = By::IdsTime.names(&["limit"]);
            let query = format!("{name}={value}&from_time=1&to_time=2&id1=1&id2=A");
            if let Ok(params) = Params::parse(&query, &names) {
                let _ = (selection(&params, By::IdsTime), limit(&params), order(&params));
            }
        }
    }
}
