//! What a message brings besides its payload: topic, headers, time of arrival; and payloads that are just a number.

use std::sync::Arc;

use sluicegate_decode::{
    Context, Counts, Decoder, Limits, Line, LineBuffer, Mapping, Position, TriedReading, try_out,
};

use crate::common::{ARRIVAL_US, Decoded, context, decode, decode_with, mapping, reading};

const PLAIN: &str = "{format: plain, topic: 'plant/{id1}/{id2}/{sensor_type}'}";

fn at<'a>(topic: &'a str, headers: &'a [(&'a str, &'a str)]) -> Context<'a> {
    Context {
        topic: Some(topic),
        headers,
        ..context()
    }
}

#[test]
fn a_payload_that_is_a_number_is_a_reading() {
    let plain = mapping(PLAIN);
    for (payload, value) in [
        ("21.5", 21.5),
        (" -7\r\n", -7.0),
        ("true", 1.0),
        ("\u{feff}1e3", 1000.0),
    ] {
        let decoded = decode_with(
            &plain,
            &at("plant/4/BOILER/temperature", &[]),
            payload.as_bytes(),
        );
        assert_eq!(
            decoded.readings,
            [reading("temperature", 4, "BOILER", value, ARRIVAL_US)],
            "{payload:?}"
        );
    }
    for (payload, fault) in [
        (
            &b""[..],
            "sensor_value (the payload) is missing, expected a number",
        ),
        (
            b"21.5 \xc2\xb0C",
            "sensor_value (the payload) is `21.5 °C`, expected a number",
        ),
        (
            b"21.5\0",
            "sensor_value (the payload) is `21.5\\u{0}`, expected a number",
        ),
        (
            b"21,5",
            "sensor_value (the payload) is `21,5`, expected a number with a point, not a comma",
        ),
        (
            b"1\n2",
            "sensor_value (the payload) is `1\\n2`, expected a number",
        ),
        (
            b"inf",
            "sensor_value (the payload) is `inf`, expected a finite number, at most 1.8e308",
        ),
        (b"\xff", "payload is `\u{fffd}`, expected text in UTF-8"),
    ] {
        let decoded = decode_with(&plain, &at("plant/4/BOILER/temperature", &[]), payload);
        assert_eq!(decoded.sentences(), [format!("the message: {fault}")]);
    }
}

#[test]
fn a_topic_that_does_not_fit_is_said_before_the_payload_is_read() {
    let plain = mapping(PLAIN);
    let decoded = decode_with(&plain, &at("plant/4", &[]), b"1");
    assert_eq!(
        decoded.sentences(),
        [
            "the message: topic is `plant/4`, expected a topic as in mapping.topic: plant/{id1}/{id2}/{sensor_type}"
        ]
    );
    assert!(decode(&plain, "1").sentences()[0].contains("topic is missing"));
    let decoded = decode_with(&plain, &at("plant/four/B/t", &[]), b"1");
    assert!(decoded.sentences()[0].contains("id1 (the topic) is `four`"));
}

#[test]
fn headers_and_constants_give_fields() {
    let by_headers = mapping(
        "
format: json
value: { pointer: '' }
sensor_type: { header: X-Type, default: unknown }
id1: { header: device }
id2: { constant: plant-7 }
time: { header: sent, unit: ms }
",
    );
    let headers: Vec<_> = by_headers.headers().collect();
    assert_eq!(headers, ["X-Type", "device", "sent"]);
    let decoded = decode_with(
        &by_headers,
        &at("", &[("x-type", "t"), ("Device", "4"), ("sent", "1000")]),
        b"2.5",
    );
    assert_eq!(
        decoded.readings,
        [reading("t", 4, "plant-7", 2.5, 1_000_000)]
    );
    let decoded = decode_with(
        &by_headers,
        &at("", &[("device", "4"), ("sent", "1000")]),
        b"[1,\"2\"]",
    );
    assert_eq!(decoded.values(), [1.0, 2.0]);
    assert_eq!(decoded.readings[0].0, "unknown");
    let decoded = decode_with(&by_headers, &at("", &[("sent", "1000")]), b"1");
    assert!(
        decoded.sentences()[0].contains("id1 (header device) is missing"),
        "{:?}",
        decoded.sentences()
    );
}

#[test]
fn lines_can_come_one_at_a_time_and_at_their_own_times() {
    let text = b"\xef\xbb\xbfa v=1\nb v=oops\n\n c v=2\r\nd v=3 4000";
    let mut decoder = Decoder::new(Arc::new(Mapping::line_protocol()), Limits::default());
    let mut lines = LineBuffer::new(&Mapping::line_protocol(), 1_000);
    let mut message = decoder.message(&context()).unwrap();
    let mut decoded = Decoded::default();
    for (at, piece) in text.chunks(5).enumerate() {
        lines.push(piece);
        if at == text.len() / 5 {
            lines.finish();
        }
        message.arrived(at as i64);
        while let Some(line) = lines.take() {
            decoded.counts += message.line(line, |outcome| match outcome {
                Ok(reading) => decoded.readings.push(crate::common::owned(&reading)),
                Err(fault) => decoded.faults.push(fault),
            });
        }
    }
    assert_eq!(decoded.values(), [1.0, 2.0, 3.0]);
    let times: Vec<_> = decoded.readings.iter().map(|reading| reading.4).collect();
    assert_eq!(times, [1, 5, 4]);
    assert!(decoded.sentences()[0].starts_with("line 2: "));
    let counts = Counts {
        readings: 3,
        faults: 1,
        left_out: 0,
    };
    assert_eq!(decoded.counts, counts);
}

#[test]
fn a_line_that_was_cut_off_is_a_fault() {
    let mut decoder = Decoder::new(Arc::new(Mapping::line_protocol()), Limits::default());
    let mut sentences = Vec::new();
    let line = Line {
        number: 9,
        bytes: b"a v=1",
        max_bytes: Some(5),
    };
    decoder.message(&context()).unwrap().line(line, |outcome| {
        sentences.push(outcome.unwrap_err().to_string())
    });
    assert_eq!(
        sentences,
        ["line 9: payload is `a v=1`, expected a line of at most 5 bytes"]
    );
}

/// What is handed out with each fault: its bytes, where in them, and which value.
fn pieces(mapping: Mapping, payload: &[u8]) -> Vec<(String, Position, Option<String>)> {
    let mut decoder = Decoder::new(Arc::new(mapping), Limits::default());
    let mut pieces = Vec::new();
    let mut message = decoder.message(&context()).unwrap();
    message.whole_in_pieces(payload, |outcome| {
        if let Err((fault, piece)) = outcome {
            let bytes = String::from_utf8_lossy(piece.bytes).into_owned();
            pieces.push((bytes, piece.position, fault.value.map(String::from)));
        }
    });
    pieces
}

#[test]
fn a_fault_comes_with_the_part_that_it_is_of() {
    let lines = b"a v=1\nb v=oops\n\nc v=1e999,w=2\n";
    assert_eq!(
        pieces(Mapping::line_protocol(), lines),
        [
            ("b v=oops".to_owned(), Position::Line(2), None),
            (
                "c v=1e999,w=2".to_owned(),
                Position::Line(4),
                Some("v".to_owned())
            ),
        ]
    );
    let json = "
format: json
value: { pointer: /v }
sensor_type: { constant: t }
id1: { constant: 1 }
id2: { constant: a }
";
    let array = br#"[{"v":1}, {"v":"x"} ,{"w":2}]"#;
    assert_eq!(
        pieces(mapping(json), array),
        [
            (r#"{"v":"x"}"#.to_owned(), Position::Message, None),
            (r#"{"w":2}"#.to_owned(), Position::Message, None),
        ]
    );
    // Of several records in a line nobody says which one it was.
    let mut decoder = Decoder::new(Arc::new(mapping(json)), Limits::default());
    let message = decoder.message(&context()).unwrap();
    for (line, is_whole) in [(r#"{"v":"x"}"#, true), (r#" [{"v":1},{"v":"x"}]"#, false)] {
        let line = Line {
            number: 1,
            bytes: line.as_bytes(),
            max_bytes: None,
        };
        assert_eq!(message.piece(line).is_whole, is_whole);
    }
    let below = br#"{"all":[{"v":1},{"v":"x"}]}"#;
    let whole = String::from_utf8_lossy(below).into_owned();
    assert_eq!(
        pieces(mapping(&format!("{json}records: /all\n")), below),
        [(whole, Position::Record(2), None)]
    );
    let open = br#"[{"v":1},{"v":"x"}"#;
    let whole = String::from_utf8_lossy(open).into_owned();
    let found = pieces(mapping(json), open);
    assert_eq!(found[0], (whole, Position::Record(2), None));
}

#[test]
fn a_mapping_can_be_tried_on_an_example() {
    let trial = try_out(
        &mapping(PLAIN),
        Limits::default(),
        &at("plant/4/BOILER/temperature", &[]),
        b"21.5",
    );
    let expected = TriedReading {
        sensor_value: 21.5,
        sensor_type: "temperature".to_owned(),
        id1: 4,
        id2: "BOILER".to_owned(),
        timestamp_us: ARRIVAL_US,
    };
    assert_eq!(trial.readings, [expected]);
    assert_eq!(
        trial.to_string(),
        "2026-11-27T17:20:00.123456Z  temperature = 21.5  (id1 4, id2 BOILER)\n\
         readings: 1, faults: 0, left out for being no numbers: 0"
    );
    let trial = try_out(&mapping(PLAIN), Limits::default(), &context(), b"21.5");
    assert!(
        trial
            .to_string()
            .starts_with("the message: topic is missing"),
        "{trial}"
    );
    let many = try_out(
        &Mapping::line_protocol(),
        Limits::default(),
        &context(),
        "m v=1\nx\n".repeat(100).as_bytes(),
    );
    assert_eq!(
        (many.readings.len(), many.faults.len(), many.counts.readings),
        (20, 20, 100)
    );
}
