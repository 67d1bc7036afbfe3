//! The body of an update.

use std::{cell::RefCell, fmt};

use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, SeqAccess, Visitor},
};
use utoipa::ToSchema;

use super::problem::{Kind, Problem};
use crate::model::Change;

/// New values, either or both
#[derive(Debug, Default, PartialEq, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(min_properties = 1)]
pub(super) struct NewValues {
    /// A finite number
    #[schema(example = 21.5)]
    sensor_value: Option<f64>,
    /// 1 to 50 characters
    #[schema(example = "temperature", min_length = 1, max_length = 50)]
    sensor_type: Option<String>,
}

impl From<NewValues> for Change {
    fn from(values: NewValues) -> Self {
        Self {
            sensor_value: values.sensor_value,
            sensor_type: values.sensor_type,
        }
    }
}

impl NewValues {
    /// Reads them, and names the field that is wrong.
    pub(super) fn parse(body: &[u8]) -> Result<Self, Problem> {
        // In two steps, to tell what is not JSON from what is other JSON than expected.
        serde_json::from_slice::<IgnoredAny>(body).map_err(|error| not_json(&error))?;
        let mut values = Self::default();
        let mut names = Vec::new();
        for (name, given) in fields(body)? {
            let wrong = |reason: &str| Err(of_field(&name, reason));
            if names.contains(&name) {
                return wrong("is given more than once");
            }
            match (name.as_str(), given) {
                ("sensor_value" | "sensor_type", Given::Null) => {}
                ("sensor_value", Given::Number(value)) => values.sensor_value = Some(value),
                ("sensor_type", Given::Text(text)) => values.sensor_type = Some(text),
                ("sensor_value", given) => {
                    return wrong(&format!("is {given}, but must be a number"));
                }
                ("sensor_type", given) => {
                    return wrong(&format!("is {given}, but must be a text"));
                }
                _ => {
                    return wrong(
                        "is not known here: the body holds sensor_value, sensor_type or both",
                    );
                }
            }
            names.push(name);
        }
        Ok(values)
    }
}

/// The fields of a body that is JSON.
fn fields(body: &[u8]) -> Result<Vec<(String, Given)>, Problem> {
    let at = RefCell::default();
    let mut reader = serde_json::Deserializer::from_slice(body);
    reader.deserialize_any(Fields { at: &at }).map_err(|error| {
        // Numbers have no bounds in JSON, so this is no mistake of its form; the library tells it by its words alone.
        let is_too_large = error.to_string().starts_with("number out of range");
        match at.take() {
            Some(name) if is_too_large => {
                of_field(&name, "is out of the range that a 64-bit number has")
            }
            None if is_too_large || error.is_data() => {
                Problem::new(Kind::InvalidChange, "The body has to be a JSON object.")
            }
            _ => not_json(&error),
        }
    })
}

fn of_field(name: &str, reason: &str) -> Problem {
    const SHOWN: usize = 64;
    let name: String = name.chars().take(SHOWN).collect();
    Problem::of(&name, Kind::InvalidChange, format!("{name} {reason}."))
}

fn not_json(error: &serde_json::Error) -> Problem {
    let (line, column) = (error.line(), error.column());
    let detail = format!("The body is not JSON: see line {line}, column {column}.");
    Problem::new(Kind::MalformedBody, detail)
}

/// Collects the fields of an object, and notes at which of them it is.
struct Fields<'a> {
    at: &'a RefCell<Option<String>>,
}

impl<'de> Visitor<'de> for Fields<'_> {
    type Value = Vec<(String, Given)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            self.at.replace(Some(name.clone()));
            fields.push((name, map.next_value()?));
        }
        Ok(fields)
    }
}

/// The value of a field, as far as it matters here.
enum Given {
    Null,
    Number(f64),
    Text(String),
    Other(&'static str),
}

impl fmt::Display for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Number(_) => "a number",
            Self::Text(_) => "a text",
            Self::Other(kind) => kind,
        })
    }
}

impl<'de> Deserialize<'de> for Given {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Given;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: Error>(self) -> Result<Given, E> {
        Ok(Given::Null)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Given, E> {
        Ok(Given::Number(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Given, E> {
        Ok(Given::Number(value as f64))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Given, E> {
        Ok(Given::Number(value as f64))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Given, E> {
        Ok(Given::Text(text.to_owned()))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Given, E> {
        Ok(Given::Other("true or false"))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Given, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Given::Other("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Given, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Given::Other("an object"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_that_is_wrong_is_named_in_plain_words() {
        let unknown = "is not known here: the body holds sensor_value, sensor_type or both";
        for (body, field, reason) in [
            (
                r#"{"sensor_value": 1e400}"#,
                "sensor_value",
                "is out of the range that a 64-bit number has",
            ),
            (
                r#"{"sensor_value": -1e400}"#,
                "sensor_value",
                "is out of the range that a 64-bit number has",
            ),
            (
                r#"{"sensor_value": "5"}"#,
                "sensor_value",
                "is a text, but must be a number",
            ),
            (
                r#"{"sensor_value": [1e400]}"#,
                "sensor_value",
                "is a list, but must be a number",
            ),
            (
                r#"{"sensor_type": 5}"#,
                "sensor_type",
                "is a number, but must be a text",
            ),
            (
                r#"{"sensor_type": {}}"#,
                "sensor_type",
                "is an object, but must be a text",
            ),
            (
                r#"{"sensor_type": false}"#,
                "sensor_type",
                "is true or false, but must be a text",
            ),
            (r#"{"sensor_value": 5, "id1": 3}"#, "id1", unknown),
            (r#"{"id1": null}"#, "id1", unknown),
            (
                r#"{"sensor_value": 1, "sensor_value": 2}"#,
                "sensor_value",
                "is given more than once",
            ),
        ] {
            let refused = NewValues::parse(body.as_bytes()).expect_err("wrong");
            let expected = Problem::of(field, Kind::InvalidChange, format!("{field} {reason}."));
            assert_eq!(refused, expected, "{body}");
        }
        let long = format!(r#"{{"{}": 1}}"#, "x".repeat(10_000));
        let refused = NewValues::parse(long.as_bytes()).expect_err("unknown");
        assert!(refused.detail.len() < 400, "{refused:?}");
    }

    #[test]
    fn what_is_not_json_and_what_is_no_object_are_told_apart() {
        for body in [
            &b""[..],
            b"{",
            b"[1,",
            b"{} {}",
            b"{\"sensor_value\": NaN}",
            b"{\"sensor_type\": \"\xff\"}",
            b"{\"sensor_type\": \"\\ud800\"}",
        ] {
            let refused = NewValues::parse(body).expect_err("not JSON");
            assert_eq!(refused.kind, Kind::MalformedBody, "{refused:?}");
        }
        for body in ["null", "5", "[]", "\"sensor_value\"", "1e400"] {
            let refused = NewValues::parse(body.as_bytes()).expect_err("no object");
            assert_eq!(refused.kind, Kind::InvalidChange, "{body}: {refused:?}");
        }
    }

    #[test]
    fn values_are_read_as_they_are_written() {
        let parse = |body: &str| NewValues::parse(body.as_bytes()).expect("good");
        assert_eq!(parse("{}"), NewValues::default());
        assert_eq!(
            parse(r#"{"sensor_type": null, "sensor_value": null}"#),
            NewValues::default()
        );
        let both = NewValues {
            sensor_value: Some(-5.0),
            sensor_type: Some("é".to_owned()),
        };
        assert_eq!(
            parse(r#"{"sensor_type": "\u00e9", "sensor_value": -5}"#),
            both
        );
    }
}
