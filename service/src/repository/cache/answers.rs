//! What scripts answer.

use redis::Value;

use super::copies::{pair, stored};
use crate::model::{IdPair, StoredReading};

/// What is kept of a pair.
#[derive(Clone, Debug, PartialEq)]
pub enum PairCopy {
    /// Its newest readings, in the order of their types.
    Kept(Vec<StoredReading>),
    /// Nothing: what the table holds may be kept, under this nonce.
    Fill(String),
    /// Nothing, and nothing may be kept now.
    Missing,
}

/// What looking brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Looked {
    /// Of each pair.
    Copies(Vec<PairCopy>),
    /// These are further than the table was said to be.
    Newer(Vec<String>),
    /// These change something, and have not said here what.
    Open,
    /// These have committed or changed something of which nothing is known here.
    Behind(Vec<String>),
}

/// What is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub version: u64,
    pub pairs: Vec<IdPair>,
    /// No others are, or there are others that were told before.
    pub is_all: bool,
}

/// What became of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The cache is not as the writer left it.
    Anew,
    /// At this time, in milliseconds.
    At(u64, Wanted),
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        Value::SimpleString(text) => Some(text),
        _ => None,
    }
}

fn texts(value: Value) -> Option<Vec<String>> {
    list(value)?.into_iter().map(text).collect()
}

fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Int(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}

pub(super) fn looked(answer: Value, pairs: &[IdPair]) -> Option<Looked> {
    let mut parts = list(answer)?.into_iter().skip(1);
    let kind = text(parts.next()?)?;
    let rest = parts.next()?;
    Some(match &*kind {
        "ok" => {
            let copies = list(rest)?;
            if copies.len() != pairs.len() {
                return None;
            }
            let both = copies.into_iter().zip(pairs);
            let copies = both.map(|(copy, pair)| pair_copy(copy, pair));
            Looked::Copies(copies.collect::<Option<_>>()?)
        }
        "newer" => Looked::Newer(texts(rest)?),
        "open" => Looked::Open,
        "behind" => Looked::Behind(texts(rest)?),
        _ => return None,
    })
}

fn pair_copy(copy: Value, pair: &IdPair) -> Option<PairCopy> {
    let mut parts = texts(copy)?.into_iter();
    Some(match &*parts.next()? {
        "h" => {
            let readings = parts.map(|reading| stored(pair, &reading));
            let mut readings = readings.collect::<Option<Vec<_>>>()?;
            readings.sort_unstable_by(|one, other| {
                let sensor_type = |it: &StoredReading| it.reading.series.sensor_type.clone();
                sensor_type(one).cmp(&sensor_type(other))
            });
            PairCopy::Kept(readings)
        }
        "f" => PairCopy::Fill(parts.next()?),
        "m" => PairCopy::Missing,
        _ => return None,
    })
}

fn pairs_of(value: Value) -> Option<Vec<IdPair>> {
    texts(value)?.iter().map(|name| pair(name)).collect()
}

/// The time, and what is wanted.
pub(super) fn joined(answer: Value) -> Option<(u64, Wanted)> {
    let mut parts = list(answer)?.into_iter();
    let at_ms = number(&parts.next()?)?;
    let wanted = Wanted {
        version: number(&parts.next()?)?,
        pairs: pairs_of(parts.next()?)?,
        is_all: true,
    };
    Some((at_ms, wanted))
}

pub(super) fn pushed(answer: Value) -> Option<Pushed> {
    let mut parts = list(answer)?.into_iter();
    let at_ms = number(&parts.next()?)?;
    let second = parts.next()?;
    let Some(version) = number(&second) else {
        return (text(second)? == "anew").then_some(Pushed::Anew);
    };
    let is_all = text(parts.next()?)? == "all";
    let wanted = Wanted {
        version,
        pairs: pairs_of(parts.next()?)?,
        is_all,
    };
    Some(Pushed::At(at_ms, wanted))
}
