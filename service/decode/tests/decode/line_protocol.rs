//! Line protocol without any setting: what every client of InfluxDB may write, and what it may not.

use std::sync::Arc;

use sluicegate_decode::{Counts, Decoder, Limits, Mapping};

use crate::common::{ARRIVAL_US, context, decode, influx, influx_in, mapping, reading};

#[test]
fn every_type_of_number_is_a_value_and_texts_are_counted() {
    let decoded = influx(r#"m a=1i,b=2u,c=3.5,d=-0,e=t,f=FALSE,g="12",h=1e3,i=.5,j=5. 1000"#);
    assert_eq!(
        decoded.values(),
        [1.0, 2.0, 3.5, -0.0, 1.0, 0.0, 1e3, 0.5, 5.0]
    );
    assert!(decoded.values()[3].is_sign_negative());
    let counts = Counts {
        readings: 9,
        faults: 0,
        left_out: 1,
    };
    assert_eq!(decoded.counts, counts);
    assert_eq!(influx(r#"m g="only text""#).counts.left_out, 1);
}

#[test]
fn ids_come_from_tags_of_these_names() {
    let id1_and_id2 = |line: &str| {
        let decoded = influx(line);
        assert_eq!(decoded.sentences(), [""; 0], "{line}");
        let first = &decoded.readings[0];
        (first.1, first.2.clone())
    };
    assert_eq!(id1_and_id2("m v=1"), (0, "-".to_owned()));
    assert_eq!(id1_and_id2("m,id1=-7 v=1"), (-7, "-".to_owned()));
    assert_eq!(id1_and_id2("m,id2=BOILER v=1"), (0, "BOILER".to_owned()));
    assert_eq!(
        id1_and_id2("m,id1=4,id2=BOILER v=1"),
        (4, "BOILER".to_owned())
    );
    assert_eq!(id1_and_id2("m,host=a,id1=4 v=1"), (4, "host=a".to_owned()));
    assert_eq!(
        id1_and_id2("m,host=a,cpu=b v=1"),
        (0, "cpu=b,host=a".to_owned())
    );
    assert_eq!(
        id1_and_id2("m,host=a,id1=4,id2=B v=1"),
        (4, "B,host=a".to_owned())
    );
}

#[test]
fn an_id1_that_is_no_canonical_integer_is_a_fault_for_it_could_be_anothers() {
    for id1 in ["abc", "007", "+4", "-0", "4.0", "2147483648"] {
        let decoded = influx(format!("m,id1={id1} v=1,w=2\nm,id1=4 v=3"));
        assert_eq!(decoded.values(), [3.0], "{id1}");
        let sentence = &decoded.sentences()[0];
        assert!(
            sentence.starts_with(&format!(
                "line 1: id1 (tag id1) is `{id1}`, expected a whole number"
            )),
            "{sentence}"
        );
    }
}

#[test]
fn escapes_are_those_of_the_reference() {
    let decoded = influx(
        r#"my\ measure\,ment=x,tag\ key=tag\,value\=1,other=a\b field\ key="a \"quoted\", = text",n\=1=2i 1"#,
    );
    assert_eq!(
        decoded.readings,
        [reading(
            "my measure,ment=x.n=1",
            0,
            r"other=a\\b,tag key=tag\,value\=1",
            2.0,
            0
        )]
    );
}

#[test]
fn comments_empty_lines_and_all_ends_of_lines_are_taken() {
    let decoded = influx("\u{feff}# c=1\r\n\r\n   \n\ta v=1  \r\n  b v=2 1000 \n#\nc v=3");
    assert_eq!(decoded.sentences(), [""; 0]);
    assert_eq!(
        decoded.readings,
        [
            reading("a.v", 0, "-", 1.0, ARRIVAL_US),
            reading("b.v", 0, "-", 2.0, 1),
            reading("c.v", 0, "-", 3.0, ARRIVAL_US),
        ]
    );
}

#[test]
fn a_malformed_line_says_why_and_loses_no_other() {
    for (line, fault) in [
        (
            "m",
            "payload (after the end of the line) is missing, expected a space and fields",
        ),
        (
            "m ",
            "payload (after the end of the line) is missing, expected a space and fields",
        ),
        (
            ",t=1 v=1",
            "payload is `,t=1 v=1`, expected the name of a measurement",
        ),
        (
            "m, v=1",
            "payload is ` v=1`, expected the name of a tag after the comma",
        ),
        (
            "m,t v=1",
            "payload (t) is ` v=1`, expected `=` and a value after the name of a tag",
        ),
        (
            "m,t= v=1",
            "tags (t) is missing, expected a value, or no such tag",
        ),
        (
            "m,t=a=b v=1",
            r"payload (t) is `=b v=1`, expected `\=` for an equals sign that belongs to a tag",
        ),
        ("m,t=1,t=2 v=1", "tags is `t`, expected each tag once"),
        (
            "m v",
            "payload (v) is missing, expected `=` and a value after the name of a field",
        ),
        (
            "m v=",
            "sensor_value (v) is ``, expected a number, true, false, or a text in quotes",
        ),
        (
            "m v=1,",
            "payload (after the end of the line) is missing, expected the name of a field",
        ),
        (
            "m v=1,,w=2",
            "payload is `,w=2`, expected the name of a field",
        ),
        (
            "m v=abc",
            "sensor_value (v) is `abc`, expected a number, true, false, or a text in quotes",
        ),
        (
            "m v=21,5",
            "payload (5) is missing, expected `=` and a value after the name of a field",
        ),
        ("m v=1 2 3", "payload is `3`, expected the end of the line"),
        (
            "m v=1 abc",
            "timestamp_us (the time) is `abc`, expected a whole number",
        ),
        (
            "m v=1 1.5",
            "timestamp_us (the time) is `1.5`, expected a whole number",
        ),
        (
            "m v=\"a",
            "payload (v) is `\"a`, expected a quote at the end of the text",
        ),
        (
            "m v=\"a\"b",
            "payload is `b`, expected a comma, a space or the end of the line after a text",
        ),
        (
            "m v=1,w=2 99999999999999999999",
            "timestamp_us (the time) is `99999999999999999999`, expected",
        ),
    ] {
        let decoded = influx(format!("good v=1\n{line}\ngood v=2\n"));
        assert_eq!(decoded.values(), [1.0, 2.0], "{line}");
        let sentences = decoded.sentences();
        assert_eq!(sentences.len(), 1, "{sentences:?}");
        assert!(
            sentences[0].starts_with(&format!("line 2: {fault}")),
            "{line}: {}",
            sentences[0]
        );
        assert_eq!(decoded.counts.faults, 1);
    }
}

#[test]
fn a_number_that_is_none_is_one_reading_less() {
    let decoded = influx("m a=1,b=NaN,c=-Inf,d=1e400,e=9223372036854775808i,f=-1u,g=2 1000");
    assert_eq!(decoded.values(), [1.0, 2.0]);
    assert_eq!(
        decoded.sentences(),
        [
            "line 1: sensor_value (b) is `NaN`, expected a finite number, at most 1.8e308",
            "line 1: sensor_value (c) is `-Inf`, expected a finite number, at most 1.8e308",
            "line 1: sensor_value (d) is `1e400`, expected a finite number, at most 1.8e308",
            "line 1: sensor_value (e) is `9223372036854775808i`, expected an integer of 64 bits",
            "line 1: sensor_value (f) is `-1u`, expected an integer of 64 bits",
        ]
    );
}

#[test]
fn times_are_in_the_precision_of_the_request() {
    for (precision, time, us) in [
        ("", "1795771800250000999", 1_795_771_800_250_000),
        ("u", "1795771800250000", 1_795_771_800_250_000),
        ("ms", "1795771800250", 1_795_771_800_250_000),
        ("s", "-1", -1_000_000),
        ("m", "29929530", 1_795_771_800_000_000),
        ("auto", "1795771800250", 1_795_771_800_250_000),
    ] {
        let decoded = influx_in(precision, format!("m v=1 {time}"));
        assert_eq!(decoded.readings[0].4, us, "{precision}");
    }
    let decoded = influx_in("s", "m v=1 9223372036854775807\nm v=2 1");
    assert_eq!(decoded.values(), [2.0]);
    let of_mapping = mapping("{format: influx, time: {unit: s}}");
    assert_eq!(decode(&of_mapping, "m v=1 2").readings[0].4, 2_000_000);
    let of_arrival = mapping("{format: influx, time: arrival}");
    assert_eq!(decode(&of_arrival, "m v=1 2").readings[0].4, ARRIVAL_US);
}

#[test]
fn a_field_that_is_there_twice_gives_two_readings() {
    assert_eq!(influx("m v=1,v=2 1000").values(), [1.0, 2.0]);
}

#[test]
fn bytes_that_are_no_text_lose_their_own_line_alone() {
    let decoded = influx(b"a v=1\nb\xff\xfe v=2\n\xc3 v=3\nc\0 v=4\n");
    assert_eq!(decoded.values(), [1.0, 4.0]);
    assert_eq!(
        decoded.sentences(),
        [
            "line 2: payload is `b\u{fffd}\u{fffd} v=2`, expected text in UTF-8",
            "line 3: payload is `\u{fffd} v=3`, expected text in UTF-8",
        ]
    );
}

#[test]
fn what_is_longer_than_its_column_comes_with_its_full_text() {
    let mut decoder = Decoder::new(Arc::new(Mapping::line_protocol()), Limits::default());
    let mut seen = Vec::new();
    let line = format!("m,host={} {}=1", "h".repeat(60), "f".repeat(60));
    let counts = decoder
        .message(&context())
        .unwrap()
        .whole(line.as_bytes(), |outcome| {
            let reading = outcome.unwrap();
            for name in [reading.sensor_type, reading.id2] {
                assert_eq!(name.text.chars().count(), 50);
                seen.push((name.text.to_owned(), name.full.map(str::to_owned)));
            }
        });
    assert_eq!(counts.readings, 1);
    assert!(
        seen[0].0.starts_with("m.fffffffffffffffffffff~"),
        "{seen:?}"
    );
    assert!(
        seen[1].0.starts_with("host=hhhhhhhhhhhhhhhhhh~"),
        "{seen:?}"
    );
    assert_eq!(seen[0].1, Some(format!("m.{}", "f".repeat(60))));
    assert_eq!(seen[1].1, Some(format!("host={}", "h".repeat(60))));
}

#[test]
fn a_mapping_may_say_which_tags_make_a_series() {
    let line = "boiler,host=edge-7,id1=4,id2=BOILER,site=north temperature=21.5";
    let id2 = |settings: &str| decode(&mapping(settings), line).readings[0].2.clone();
    assert_eq!(
        id2("{format: influx, ignored_tags: [host, site]}"),
        "BOILER"
    );
    assert_eq!(
        id2("{format: influx, ignored_tags: [host]}"),
        "BOILER,site=north"
    );
    assert_eq!(id2("{format: influx, id2: {tag: site}}"), "north");
    let other = mapping("{format: influx, id1: {tag: unit, default: 9}, sensor_type: {tag: host}}");
    assert_eq!(
        decode(&other, line).readings,
        [reading(
            "edge-7.temperature",
            9,
            "BOILER,id1=4,site=north",
            21.5,
            ARRIVAL_US
        )]
    );
}
