//! The bodies of requests that change tags.

use std::fmt;

use bytes::Bytes;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    problem::{Kind, Problem},
    series_views::TaggingRejectedView,
};
use crate::{
    model::{Series, TAGS_MAX, TagChanges, fault_of_tag_name, fault_of_tag_value},
    usecase::manage::{TaggedSeries, Tagging},
};

/// Lines that were not done are told up to so many.
pub(super) const TOLD_MAX: usize = 100;

/// The first that is wrong with some tags: of which, and what.
pub(super) fn fault_of(changes: &TagChanges, instead: bool) -> Option<(String, String)> {
    for (tag, value) in changes {
        if let Some(fault) = fault_of_tag_name(tag) {
            return Some((tag.clone(), fault));
        }
        let fault = match value {
            Some(value) => fault_of_tag_value(value),
            None if instead => Some("must have a value: who is not named is taken away".to_owned()),
            None => None,
        };
        if let Some(fault) = fault {
            return Some((tag.clone(), fault));
        }
    }
    (changes.len() > TAGS_MAX).then(|| {
        let fault = format!("are {}, but a series may have {TAGS_MAX}", changes.len());
        ("tags".to_owned(), fault)
    })
}

/// Tags as they are written, each once.
pub(super) struct Changes(pub(super) TagChanges);

impl<'de> Deserialize<'de> for Changes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Changes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of names and texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Changes, A::Error> {
                let mut changes = TagChanges::new();
                while let Some(tag) = map.next_key::<String>()? {
                    let value = map.next_value()?;
                    if changes.insert(tag.clone(), value).is_some() {
                        return Err(A::Error::custom(format!("{tag} is given more than once")));
                    }
                }
                Ok(Changes(changes))
            }
        }
        deserializer.deserialize_map(Once)
    }
}

pub(super) fn not_tags(error: &serde_json::Error) -> Problem {
    match error.is_data() {
        true => Problem::of(
            "tags",
            Kind::InvalidParameter,
            format!(
                "The body has to be an object of names and texts, or for many series an array of objects: {error}."
            ),
        ),
        false => Problem::new(
            Kind::MalformedBody,
            format!(
                "The body is not JSON: see line {}, column {}.",
                error.line(),
                error.column()
            ),
        ),
    }
}

pub(super) fn of_tag(tag: &str, fault: &str) -> Problem {
    const SHOWN_CHARS: usize = 64;
    let tag: String = tag.chars().take(SHOWN_CHARS).collect();
    Problem::of(&tag, Kind::InvalidParameter, format!("{tag} {fault}."))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    series_id: Option<u32>,
    id1: Option<i32>,
    id2: Option<String>,
    sensor_type: Option<String>,
    tags: Changes,
}

/// What a body with many lines asks for.
#[derive(Default)]
pub(super) struct Lines {
    /// Of each of the taggings: its line, and whether it is by number.
    pub(super) places: Vec<(u64, bool)>,
    pub(super) taggings: Vec<Tagging>,
    /// The first of them.
    pub(super) rejected: Vec<TaggingRejectedView>,
    pub(super) rejected_count: u64,
}

impl Lines {
    pub(super) fn read(body: &Bytes) -> Self {
        let mut lines = Self::default();
        for (line, text) in (1..).zip(body.split(|&byte| byte == b'\n')) {
            if !text.trim_ascii().is_empty() {
                lines.take(line, text);
            }
        }
        lines
    }

    pub(super) fn of_array(body: &Bytes) -> Result<Self, Problem> {
        let mut reader = serde_json::Deserializer::from_slice(body);
        let lines = reader
            .deserialize_seq(Elements)
            .map_err(|error| not_tags(&error))?;
        reader.end().map_err(|error| not_tags(&error))?;
        Ok(lines)
    }

    fn take(&mut self, line: u64, text: &[u8]) {
        match tagging(text) {
            Ok(tagging) => {
                let by_number = matches!(tagging.series, TaggedSeries::Number(_));
                self.places.push((line, by_number));
                self.taggings.push(tagging);
            }
            Err((field, reason)) => {
                self.rejected_count += 1;
                if self.rejected.len() < TOLD_MAX {
                    self.rejected.push(TaggingRejectedView {
                        line,
                        field,
                        reason,
                    });
                }
            }
        }
    }
}

/// The elements of an array, each taken as it comes.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Lines;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of objects")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Lines, A::Error> {
        let mut lines = Lines::default();
        let mut place = 0;
        while let Some(element) = elements.next_element::<&RawValue>()? {
            place += 1;
            lines.take(place, element.get().as_bytes());
        }
        Ok(lines)
    }
}

fn tagging(text: &[u8]) -> Result<Tagging, (String, String)> {
    let wrong = |field: &str, reason: &str| Err((field.to_owned(), reason.to_owned()));
    let line = serde_json::from_slice::<Line>(text)
        .map_err(|error| ("line".to_owned(), error.to_string()))?;
    let series = match line {
        Line {
            series_id: Some(number),
            id1: None,
            id2: None,
            sensor_type: None,
            ..
        } => TaggedSeries::Number(number),
        Line {
            series_id: None,
            id1: Some(id1),
            id2: Some(id2),
            sensor_type: Some(sensor_type),
            ..
        } => TaggedSeries::Names(Series {
            id1,
            id2,
            sensor_type,
        }),
        _ => {
            return wrong(
                "series_id",
                "name the series by series_id, or by id1, id2 and sensor_type",
            );
        }
    };
    let Changes(changes) = line.tags;
    match fault_of(&changes, false) {
        Some((tag, fault)) => wrong(&format!("tags.{tag}"), &fault),
        None => Ok(Tagging { series, changes }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_series_in_one_way_and_its_faults_by_field() {
        let good = [
            r#"{"series_id":7,"tags":{"site":"north","line":null}}"#,
            r#"{"id1":1,"id2":"a","sensor_type":"t","tags":{}}"#,
        ];
        for line in good {
            assert!(tagging(line.as_bytes()).is_ok(), "{line}");
        }
        for (line, field) in [
            (r#"{"series_id":7,"id1":1,"tags":{}}"#, "series_id"),
            (r#"{"id1":1,"tags":{}}"#, "series_id"),
            (r#"{"series_id":7,"tags":{"a b":"x"}}"#, "tags.a b"),
            (r#"{"series_id":7,"tags":{"site":""}}"#, "tags.site"),
            (r#"{"series_id":7,"tags":{"a":"1","a":"2"}}"#, "line"),
            (r#"{"series_id":7,"tags":{},"more":1}"#, "line"),
            ("[]", "line"),
            ("not JSON", "line"),
        ] {
            let (found, _) = tagging(line.as_bytes()).expect_err(line);
            assert_eq!(found, field, "{line}");
        }
    }

    #[test]
    fn lines_are_counted_from_1_with_empty_ones() {
        let body = Bytes::from_static(b"\n{\"series_id\":1,\"tags\":{}}\n\nx\n");
        let lines = Lines::read(&body);
        assert_eq!(lines.places, [(2, true)]);
        assert_eq!(lines.rejected[0].line, 4);
    }
}
