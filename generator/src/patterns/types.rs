//! Sensor types, their shares and their values.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de};
use utoipa::ToSchema;

use super::Values;

/// A sensor type: as a flag `NAME[:WEIGHT][=VALUES]`, in a file also as a map.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct SensorType {
    /// Its name.
    #[schema(min_length = 1)]
    pub name: String,
    /// Its share is its weight over the sum of all weights; 1 to 1,000.
    #[schema(minimum = 1, maximum = 1_000)]
    pub weight: u32,
    /// How its values come about; without it as `values` says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "normal:20:5")]
    pub values: Option<Values>,
}

impl SensorType {
    fn new(name: String, weight: u32, values: Option<Values>) -> Result<Self, String> {
        if name.is_empty() {
            return Err("a sensor type has an empty name".to_owned());
        }
        if !(1..=1_000).contains(&weight) {
            return Err(format!("the weight of {name} must be 1 to 1000"));
        }
        Ok(Self {
            name,
            weight,
            values,
        })
    }
}

impl FromStr for SensorType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (head, values) = match text.split_once('=') {
            Some((head, values)) => (head, Some(values.parse()?)),
            None => (text, None),
        };
        let (name, weight) = match head.split_once(':') {
            Some((name, weight)) => {
                let weight = weight.parse();
                (
                    name,
                    weight.map_err(|_| format!("the weight of {name} is no number"))?,
                )
            }
            None => (head, 1),
        };
        Self::new(name.to_owned(), weight, values)
    }
}

impl<'de> Deserialize<'de> for SensorType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Map {
    name: String,
    #[serde(default = "one")]
    weight: u32,
    values: Option<Values>,
}

fn one() -> u32 {
    1
}

impl<'de> de::Visitor<'de> for Visitor {
    type Value = SensorType;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a sensor type: NAME[:WEIGHT][=VALUES], or a map of name, weight and values")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<SensorType, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<SensorType, A::Error> {
        let map = Map::deserialize(de::value::MapAccessDeserializer::new(map))?;
        SensorType::new(map.name, map.weight, map.values).map_err(de::Error::custom)
    }
}

/// An order in which types take turns, so that each has its share and none comes in a lump.
pub(crate) fn turns(types: &[SensorType]) -> Vec<usize> {
    let divisor = types.iter().map(|one| one.weight).fold(0, greatest_divisor);
    let weights: Vec<i64> = types
        .iter()
        .map(|one| i64::from(one.weight / divisor.max(1)))
        .collect();
    let total: i64 = weights.iter().sum();
    let mut credit = vec![0; weights.len()];
    (0..total)
        .map(|_| {
            for (credit, weight) in credit.iter_mut().zip(&weights) {
                *credit += weight;
            }
            let mut richest = 0;
            for place in 1..credit.len() {
                if credit[place] > credit[richest] {
                    richest = place;
                }
            }
            credit[richest] -= total;
            richest
        })
        .collect()
}

fn greatest_divisor(a: u32, b: u32) -> u32 {
    match b {
        0 => a,
        _ => greatest_divisor(b, a % b),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types(texts: &[&str]) -> Vec<SensorType> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_type_has_a_weight_and_values_of_its_own() {
        let one: SensorType = "rain:3=uniform:0:10".parse().unwrap();
        assert_eq!((one.name.as_str(), one.weight), ("rain", 3));
        assert_eq!(
            one.values,
            Some(Values::Uniform {
                from: 0.0,
                to: 10.0
            })
        );
        for wrong in ["", ":3", "rain:0", "rain:x", "rain=dice"] {
            assert!(wrong.parse::<SensorType>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn types_take_turns_by_weight() {
        assert_eq!(turns(&types(&["a", "b", "c"])), [0, 1, 2]);
        assert_eq!(turns(&types(&["a:4", "b:2"])), [0, 1, 0]);
        let turns = turns(&types(&["a:5", "b:3", "c:2"]));
        let share = |wanted| turns.iter().filter(|&&one| one == wanted).count();
        assert_eq!([share(0), share(1), share(2)], [5, 3, 2]);
    }
}
