//! What a writer that knows nothing of our reader has written is read back the same.

use std::collections::BTreeMap;

use proptest::prelude::*;
use sluicegate_decode::Mapping;

use crate::common::{ARRIVAL_US, Owned, decode, influx};

#[derive(Clone, Debug)]
enum Value {
    Float(f64),
    Integer(i64),
    Unsigned(u64),
    Bool(bool),
    Text(String),
}

#[derive(Clone, Debug)]
struct Point {
    measurement: String,
    tags: BTreeMap<String, String>,
    fields: Vec<(String, Value)>,
    time_ns: Option<i64>,
}

/// Names as InfluxDB takes them: no newline, and no backslash at the end, where it would escape what follows.
fn name() -> impl Strategy<Value = String> {
    (r"[a-z ,=\\é🌡\PC]{0,12}", r"[a-zA-Z0-9_é\PC&&[^\\]]").prop_map(|(a, b)| a + &b)
}

/// Backslashes before what is escaped have no form in the protocol.
fn is_writable(text: &str) -> bool {
    ![r"\ ", r"\,", r"\="].iter().any(|pair| text.contains(pair))
}

fn point() -> impl Strategy<Value = Point> {
    let value = prop_oneof![
        prop::num::f64::NORMAL.prop_map(Value::Float),
        any::<i64>().prop_map(Value::Integer),
        any::<u64>().prop_map(Value::Unsigned),
        any::<bool>().prop_map(Value::Bool),
        "[a-z\"\\\\ ,=\n#]{0,12}".prop_map(Value::Text),
    ];
    let writable = || name().prop_filter("has no form", |text| is_writable(text));
    let tag = writable().prop_filter("a field of ours", |key| {
        !matches!(key.as_str(), "id1" | "id2")
    });
    (
        writable().prop_filter("a comment", |text| !text.trim_start().starts_with('#')),
        prop::collection::btree_map(tag, writable(), 0..4),
        prop::collection::vec((writable(), value), 1..4),
        prop::option::of(any::<i64>()),
    )
        .prop_map(|(measurement, tags, fields, time_ns)| Point {
            measurement,
            tags,
            fields,
            time_ns,
        })
}

fn escaped(text: &str, special: &[char]) -> String {
    let mut written = String::new();
    for letter in text.chars() {
        if special.contains(&letter) {
            written.push('\\');
        }
        written.push(letter);
    }
    written
}

fn write(point: &Point) -> String {
    let mut line = escaped(&point.measurement, &[',', ' ']);
    for (key, value) in &point.tags {
        let special = [',', '=', ' '];
        line += &format!(",{}={}", escaped(key, &special), escaped(value, &special));
    }
    for (at, (key, value)) in point.fields.iter().enumerate() {
        line.push(if at == 0 { ' ' } else { ',' });
        line += &escaped(key, &[',', '=', ' ']);
        line += &match value {
            Value::Float(value) => format!("={value:e}"),
            Value::Integer(value) => format!("={value}i"),
            Value::Unsigned(value) => format!("={value}u"),
            Value::Bool(value) => format!("={value}"),
            Value::Text(value) => format!("=\"{}\"", escaped(value, &['"', '\\'])),
        };
    }
    if let Some(time) = point.time_ns {
        line += &format!(" {time}");
    }
    line + "\n"
}

#[expect(clippy::cast_precision_loss, reason = "as a double is what is stored")]
fn expected(point: &Point) -> Vec<(String, f64, i64)> {
    let time = point.time_ns.map_or(ARRIVAL_US, |ns| ns.div_euclid(1_000));
    point
        .fields
        .iter()
        .filter_map(|(key, value)| {
            let value = match value {
                Value::Float(value) => *value,
                Value::Integer(value) => *value as f64,
                Value::Unsigned(value) => *value as f64,
                Value::Bool(value) => f64::from(u8::from(*value)),
                Value::Text(_) => return None,
            };
            Some((format!("{}.{key}", point.measurement), value, time))
        })
        .collect()
}

fn without_ids((sensor_type, _, _, value, time): Owned) -> (String, f64, i64) {
    (sensor_type, value, time)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn what_is_written_is_read_back(points in prop::collection::vec(point(), 1..5)) {
        // Leading blanks of a line are none of its measurement's.
        let points: Vec<_> = points.into_iter().filter(|point| !point.measurement.starts_with(char::is_whitespace)).collect();
        let text: String = points.iter().map(write).collect();
        let decoded = influx(&text);
        prop_assert_eq!(decoded.sentences(), Vec::<String>::new(), "{}", text);
        // Names of this length are not shortened: 13 characters, a point, 13 characters.
        let expected: Vec<_> = points.iter().flat_map(expected).collect();
        let found: Vec<_> = decoded.readings.into_iter().map(without_ids).collect();
        prop_assert_eq!(found, expected, "{}", text);
    }

    /// Of few letters, so that lines differ little.
    #[test]
    fn points_that_differ_in_a_tag_are_of_different_series(
        sets in prop::collection::vec(
            prop::collection::btree_map(r"(id2|[a-b=,\\ ]{0,2}[ab])", r"[ab=,\\ ]{0,3}[ab\-]", 0..4),
            2..30,
        )
    ) {
        let sets: Vec<_> = sets
            .into_iter()
            .filter(|tags| tags.iter().all(|(key, value)| is_writable(key) && is_writable(value)))
            .collect();
        let mut seen = BTreeMap::new();
        for tags in sets {
            let point = Point {
                measurement: "m".to_owned(),
                tags: tags.clone(),
                fields: vec![("v".to_owned(), Value::Integer(1))],
                time_ns: None,
            };
            let decoded = decode(&Mapping::line_protocol(), write(&point));
            prop_assert_eq!(decoded.sentences(), Vec::<String>::new());
            let (_, id1, id2, ..) = decoded.readings[0].clone();
            let before = seen.entry((id1, id2)).or_insert_with(|| tags.clone());
            prop_assert_eq!(&*before, &tags);
        }
    }
}
