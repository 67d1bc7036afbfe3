//! Why a query was not answered, as problem documents.

use super::problem::{Kind, Problem};
use crate::usecase::{
    live::{Full, LiveError},
    manage::{Busy, Costly, QueryError},
};

impl From<QueryError> for Problem {
    fn from(error: QueryError) -> Self {
        let bucket = |detail| Self::of("bucket", Kind::InvalidParameter, detail);
        match error {
            QueryError::Storage(error) => error.into(),
            QueryError::Busy(busy) => busy.into(),
            QueryError::TooManyBuckets { buckets, most } => bucket(format!(
                "The range from from_time to to_time has {buckets} buckets of this width, and {most} are the most \
                 (rest.max_buckets): take a wider bucket or a shorter range."
            )),
            QueryError::TooManySeries { most } => Self::of(
                "tags",
                Kind::InvalidParameter,
                format!(
                    "The tags select more than {most} series: give more tags, or name the series by id1 and id2."
                ),
            ),
            QueryError::NoSeries => Self::no_series(),
            QueryError::TooManyReadings { expected, most } => Self::of(
                "to_time",
                Kind::InvalidParameter,
                format!(
                    "The database expects to read {expected} readings for this, and {most} are the most \
                     (rest.max_scanned_rows): take a shorter range or fewer id pairs."
                ),
            ),
        }
    }
}

impl From<LiveError> for Problem {
    fn from(error: LiveError) -> Self {
        match error {
            LiveError::Query(error) => error.into(),
            LiveError::Full(Full { budget_bytes }) => Self::new(
                Kind::Busy,
                format!(
                    "Others who watch fill the {budget_bytes} bytes that there are (rest.live_bytes): try again later, or watch \
                     fewer series."
                ),
            ),
        }
    }
}

impl From<Busy> for Problem {
    fn from(busy: Busy) -> Self {
        let detail = match busy.with {
            Costly::HeavyQuery => {
                format!("{busy} (rest.max_heavy_queries): try again in a moment.")
            }
            Costly::Export => format!("{busy} (rest.max_exports): try again in a moment."),
            Costly::Replay => "Another replay is under way: try again in a moment.".to_owned(),
        };
        Self::new(Kind::Busy, detail)
    }
}
