//! Sets of ids, written as lists of single ids and ranges.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Ids that one set may have.
const MAX_IDS: usize = 1_000_000;

/// Values of `id1`: `0..9,15`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id1Set {
    text: String,
    pub(crate) ids: Vec<i32>,
}

/// Values of `id2`: `boiler,gate-[00..99]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Id2Set {
    text: String,
    pub(crate) ids: Vec<String>,
}

impl FromStr for Id1Set {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |item: &str| {
            format!("{item:?} is no id1: expected 32-bit integers and ranges, such as 0..9,15")
        };
        let mut ids = Vec::new();
        for item in text.split(',').map(str::trim) {
            let (from, to) = item.split_once("..").unwrap_or((item, item));
            let (Ok(from), Ok(to)) = (from.parse::<i32>(), to.parse::<i32>()) else {
                return Err(wrong(item));
            };
            if from > to {
                return Err(wrong(item));
            }
            ids.extend((from..=to).take(MAX_IDS + 1));
            check(&mut ids)?;
        }
        Ok(Self {
            text: text.to_owned(),
            ids,
        })
    }
}

impl FromStr for Id2Set {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ids = Vec::new();
        for item in text.split(',').map(str::trim) {
            match item.split_once('[') {
                None => ids.push(item.to_owned()),
                Some((before, rest)) => ids.extend(range(item, before, rest)?),
            }
            if ids.iter().any(String::is_empty) {
                return Err("an id2 is empty".to_owned());
            }
            check(&mut ids)?;
        }
        Ok(Self {
            text: text.to_owned(),
            ids,
        })
    }
}

/// `gate-[00..99]`: the numbers have as many digits as the first one.
fn range(item: &str, before: &str, rest: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("{item:?} is no range of id2: expected one such as gate-[00..99]");
    let (numbers, after) = rest.split_once(']').ok_or_else(wrong)?;
    let (from_text, to) = numbers.split_once("..").ok_or_else(wrong)?;
    let (from, to): (u32, u32) = match (from_text.parse(), to.parse()) {
        (Ok(from), Ok(to)) if from <= to => (from, to),
        _ => return Err(wrong()),
    };
    let digits = from_text.len();
    let name = |number| format!("{before}{number:0digits$}{after}");
    Ok((from..=to).take(MAX_IDS + 1).map(name).collect())
}

fn check<T>(ids: &mut [T]) -> Result<(), String> {
    match ids.len() <= MAX_IDS {
        true => Ok(()),
        false => Err(format!("a set has at most {MAX_IDS} ids")),
    }
}

macro_rules! as_text {
    ($set:ty) => {
        impl fmt::Display for $set {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl Serialize for $set {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }

        impl<'de> Deserialize<'de> for $set {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = text(deserializer)?;
                text.parse().map_err(de::Error::custom)
            }
        }
    };
}

as_text!(Id1Set);
as_text!(Id2Set);

/// Takes a text, a number, or a list of them, which is joined.
pub(super) fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    deserializer.deserialize_any(TextVisitor)
}

struct TextVisitor;

impl<'de> de::Visitor<'de> for TextVisitor {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number or a list of them")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<String, E> {
        Ok(number.to_string())
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut items: A) -> Result<String, A::Error> {
        let mut all: Vec<String> = Vec::new();
        while let Some(Item(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(all.join(","))
    }
}

struct Item(String);

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_single_or_ranges() {
        assert_eq!("-1..1,7".parse::<Id1Set>().unwrap().ids, [-1, 0, 1, 7]);
        assert_eq!(
            "a,b-[08..10]x".parse::<Id2Set>().unwrap().ids,
            ["a", "b-08x", "b-09x", "b-10x"]
        );
        for wrong in ["", "x", "3..1", "99999999999", "0..2000000000"] {
            assert!(wrong.parse::<Id1Set>().is_err(), "{wrong}");
        }
        for wrong in ["", "a,,b", "a[1..0]", "a[1", "a[1]"] {
            assert!(wrong.parse::<Id2Set>().is_err(), "{wrong}");
        }
    }
}
