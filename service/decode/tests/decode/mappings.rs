//! Settings that do not fit together are refused when the mapping is made, by their key.

use sluicegate_decode::{Mapping, MappingSettings};

use crate::common::{mapping, refusal};

#[test]
fn what_does_not_fit_is_said_with_its_key() {
    const IDS: &str = "sensor_type: {constant: t}, id1: {constant: 1}, id2: {constant: x}";
    for (settings, sentence) in [
        (
            "format: json",
            "mapping.value is missing: it comes from `pointer`, `header`, `constant`, or {value} in mapping.topic",
        ),
        (
            "format: plain",
            "mapping.sensor_type is missing: it comes from `header`, `constant`, or {sensor_type} in mapping.topic",
        ),
        (
            "format: plain, topic: '{sensor_type}/{id1}'",
            "mapping.id2 is missing",
        ),
        (
            "format: csv, value: {column: 1}",
            "mapping.sensor_type is missing: it comes from `column`",
        ),
        (
            "format: plain, topic: 'a/{id3}'",
            "mapping.topic holds {id3}: it may hold {value}, {sensor_type}, {id1}, {id2}, {time}",
        ),
        (
            "format: plain, topic: 'a/{id1}', id1: {constant: 1}",
            "mapping.sensor_type is missing",
        ),
        (
            "format: plain, sensor_type: {constant: t}, topic: 'a/{id1}', id1: {constant: 1}",
            "mapping.id1 is given twice: here, and by {id1} in mapping.topic",
        ),
        (
            "format: influx, id1: {tag: a, constant: 1}",
            "mapping.id1 is given twice: by `tag` and by `constant`",
        ),
        (
            "format: influx, id1: {default: 1}",
            "mapping.id1 has a default, and names no source",
        ),
        (
            "format: influx, id1: {constant: 1.5}",
            "mapping.id1.constant is `1.5`, expected a whole number",
        ),
        (
            "format: influx, id1: {tag: x, default: many}",
            "mapping.id1.default is `many`, expected a whole number",
        ),
        (
            "format: influx, id1: {constant: 1, default: 2}",
            "mapping.id1.default is never used",
        ),
        (
            "format: influx, id2: {constant: ''}",
            "mapping.id2.constant is ``, expected a text that is not empty",
        ),
        ("format: influx, id2: {tag: ''}", "mapping.id2.tag is empty"),
        (
            "format: influx, id2: {header: ''}",
            "mapping.id2.header is empty",
        ),
        (
            "format: influx, id2: {pointer: /a}",
            "mapping.id2.pointer is for the format json",
        ),
        (
            "format: influx, id2: {column: 1}",
            "mapping.id2.column is for the format csv",
        ),
        (
            "format: influx, value: {constant: 1}",
            "mapping.value is what a payload of the format influx says itself",
        ),
        (
            "format: influx, time: {unit: rfc3339}",
            "mapping.time.unit is rfc3339: lines have numbers",
        ),
        (
            "format: influx, id1: {tag: x, unit: s}",
            "mapping.id1.unit is for the time alone",
        ),
        (
            "format: influx, tags: /a",
            "mapping.tags means nothing for the format influx",
        ),
        (
            "format: influx, columns: [a]",
            "mapping.columns means nothing for the format influx",
        ),
        (
            "format: influx, ignored_tags: [id2]",
            "mapping.ignored_tags names `id2`, which is a field",
        ),
        (
            "format: plain, ignored_tags: [x]",
            "mapping.ignored_tags is for mappings that have tags",
        ),
        (
            "format: json, records: name, IDS, value: {pointer: /v}",
            "mapping.records is `name`, which is no JSON pointer: it begins with `/`, such as `/name`",
        ),
        (
            "format: json, records: '', IDS, value: {pointer: /v}",
            "mapping.records is empty",
        ),
        (
            "format: json, IDS, value: {pointer: v}",
            "mapping.value.pointer is `v`, which is no JSON pointer",
        ),
        (
            "format: json, IDS, value: {pointer: /a~2}",
            "mapping.value.pointer is `/a~2`, which is no JSON pointer: `~` is written `~0`",
        ),
        (
            "format: json, IDS, value: {pointer: /v}, time: {pointer: /v/t, unit: s}",
            "mapping.value points to `/v`, in which another pointer looks",
        ),
        (
            "format: json, IDS, value: {each: /v, default: 1}",
            "mapping.value.default is never used",
        ),
        (
            "format: json, value: {pointer: /v}, sensor_type: {each: /t}",
            "mapping.sensor_type.each is for the value alone",
        ),
        (
            "format: json, tags: /f, sensor_type: {constant: t}, value: {each: /f}",
            "mapping.value.each is where mapping.tags points to",
        ),
        (
            "format: json, IDS, value: {tag: x}",
            "mapping.value.tag is for mappings that have tags",
        ),
        (
            "format: json, IDS, value: {constant: x}",
            "mapping.value.constant is `x`, expected a number",
        ),
        (
            "format: json, IDS, value: {pointer: /v}, time: {pointer: /t}",
            "mapping.time.unit is missing: s, ms, us, ns or rfc3339",
        ),
        (
            "format: json, IDS, value: {pointer: /v}, time: {unit: s}",
            "mapping.time has a unit, and names no source",
        ),
        (
            "format: json, IDS, value: {pointer: /v}, time: {pointer: /t, unit: s, default: now}",
            "mapping.time.default is `now`: a time that is missing can only be `arrival`",
        ),
        (
            "format: csv, IDS, value: {column: 0}",
            "mapping.value.column is 0: columns are counted from 1",
        ),
        (
            "format: csv, IDS, value: {column: v}",
            "mapping.value.column is the name `v`: mapping.columns has to say which column that is",
        ),
        (
            "format: csv, columns: [a, b], IDS, value: {column: v}",
            "mapping.value.column is `v`, which is none of a, b",
        ),
        (
            "format: csv, columns: [a, b], IDS, value: {column: 3}",
            "mapping.value.column is 3, and mapping.columns names 2",
        ),
        (
            "format: csv, columns: [a, a], IDS, value: {column: 1}",
            "mapping.columns names `a` twice",
        ),
        (
            "format: csv, delimiter: '\"', IDS, value: {column: 1}",
            "mapping.delimiter is `\\\"`",
        ),
    ] {
        let settings = settings.replace("IDS", IDS);
        let error = refusal(&format!("{{{settings}}}"))
            .expect_err(&settings)
            .to_string();
        assert!(error.starts_with(sentence), "{settings}\n  {error}");
    }
}

#[test]
fn unknown_keys_are_refused() {
    for settings in [
        "{format: json, valeu: {pointer: /v}}",
        "{format: json, value: {pointr: /v}}",
        "{format: json, time: {pointer: /t, unit: seconds}}",
        "{format: json, time: now}",
        "{format: xml}",
        "{}",
    ] {
        assert!(
            serde_norway::from_str::<MappingSettings>(settings).is_err(),
            "{settings}"
        );
    }
}

#[test]
fn settings_are_written_as_they_were_read() {
    for settings in [
        "{format: influx, time: arrival, ignored_tags: [host]}",
        "{format: json, value: {each: /f}, id1: {pointer: /i, default: 3}, id2: {constant: x}, time: {pointer: /t, unit: rfc3339}}",
        "{format: csv, columns: [a, b], delimiter: ;, value: {column: b}, sensor_type: {constant: t}, id1: {constant: 1}, id2: {column: 1}}",
    ] {
        let read: MappingSettings = serde_norway::from_str(settings).unwrap();
        let written = serde_norway::to_string(&read).unwrap();
        assert_eq!(
            serde_norway::from_str::<MappingSettings>(&written).unwrap(),
            read,
            "{written}"
        );
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(
            serde_json::from_str::<MappingSettings>(&json).unwrap(),
            read,
            "{json}"
        );
        assert_eq!(mapping(settings).settings(), &read);
    }
    let error = serde_norway::from_str::<MappingSettings>("{format: json, time: {pointr: /v}}")
        .unwrap_err();
    assert!(error.to_string().contains("pointr"), "{error}");
}

#[test]
fn line_protocol_without_settings_is_that_of_its_settings() {
    let built = Mapping::line_protocol();
    let read = Mapping::new(built.settings()).unwrap();
    assert_eq!(format!("{built:?}"), format!("{read:?}"));
}
