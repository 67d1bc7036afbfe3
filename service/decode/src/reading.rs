//! What comes out: a reading, borrowed from the decoder, and the counts of a message.

use std::ops::AddAssign;

use crate::{fault::Position, tags::Tag};

/// One measured value. It lives until the decoder goes on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reading<'a> {
    /// Always finite.
    pub sensor_value: f64,
    pub sensor_type: Name<'a>,
    pub id1: i32,
    /// Made of tags it fits a table; otherwise it is as the payload has it, and may hold what no table takes.
    pub id2: Name<'a>,
    /// Microseconds since the Unix epoch, UTC. Any: what the table takes is for the caller to say.
    pub timestamp_us: i64,
    /// Where it stood. A line or a record can hold several.
    pub position: Position,
    /// Which of several values of its record it is.
    pub value: Option<&'a str>,
    /// What its record says of its series.
    pub series_tags: SeriesTags<'a>,
}

/// Tags of a series, by the mapping's `series_tags`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SeriesTags<'a> {
    pub(crate) all: &'a [Tag<'a>],
    pub(crate) names: &'a [String],
}

impl<'a> SeriesTags<'a> {
    /// Name and value of each, in the order of their names. One without a value is not among them.
    pub fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let told = self.all.iter().filter(move |(name, value)| {
            !value.is_empty() && self.names.iter().any(|wanted| wanted == name)
        });
        told.map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

/// A text that fits its column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// Never longer than its limit, if that leaves place for a hash; see [`Limits`](crate::Limits).
    pub text: &'a str,
    /// The whole text, where `text` is its beginning, `~` and a hash of it.
    pub full: Option<&'a str>,
}

/// What became of a message, or of a part of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    pub readings: u64,
    /// Each is one [`Fault`](crate::Fault) that was handed out.
    pub faults: u64,
    /// Values that are no numbers, beside others that may be: text fields of line protocol, members below `each`.
    pub left_out: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.readings += other.readings;
        self.faults += other.faults;
        self.left_out += other.left_out;
    }
}
