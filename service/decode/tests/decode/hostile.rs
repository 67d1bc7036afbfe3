//! Whatever bytes come, there are readings and faults, and both are within their bounds.

use std::sync::{Arc, LazyLock};

use proptest::prelude::*;
use sluicegate_decode::{Decoder, Limits, LineBuffer, Mapping};

use crate::common::{context, mapping};

static MAPPINGS: LazyLock<Vec<Arc<Mapping>>> = LazyLock::new(|| {
    [
        "{format: influx}",
        "{format: influx, id2: {tag: a, default: x}, time: {unit: s}}",
        "{format: json, records: /r, value: {each: /f}, tags: /t, time: {root: /at, unit: s}}",
        "{format: json, value: {each: ''}, id1: {pointer: /i, default: 0}, id2: {pointer: /t/a}, time: {pointer: /at, unit: rfc3339, default: arrival}}",
        "{format: csv, columns: [a, b], value: {column: b}, sensor_type: {constant: t}, id1: {constant: 1}, id2: {column: a}, time: {column: b, unit: ns}}",
        "{format: plain, sensor_type: {constant: t}, id1: {constant: 1}, id2: {constant: x}}",
    ]
    .iter()
    .map(|settings| Arc::new(mapping(settings)))
    .collect()
});

fn try_all(payload: &[u8]) -> Result<(), TestCaseError> {
    for mapping in MAPPINGS.iter() {
        let limits = Limits::default();
        let mut decoder = Decoder::new(Arc::clone(mapping), limits);
        let mut message = decoder.message(&context()).unwrap();
        let mut outcomes = 0;
        let mut wrong = None;
        let counts = message.whole(payload, |outcome| {
            outcomes += 1;
            match outcome {
                Ok(reading) => {
                    let is_right = reading.sensor_value.is_finite()
                        && reading.sensor_type.text.chars().count() <= limits.sensor_type_chars
                        && reading.id2.text.chars().count() <= limits.id2_chars;
                    if !is_right {
                        wrong = Some(format!("{reading:?}"));
                    }
                }
                Err(fault) => {
                    let texts = [fault.found.as_deref(), fault.place.as_deref()];
                    let is_right = texts
                        .into_iter()
                        .flatten()
                        .all(|text| text.chars().count() <= 64 && !text.contains(char::is_control));
                    if !is_right {
                        wrong = Some(format!("{fault:?}"));
                    }
                }
            }
        });
        prop_assert_eq!(wrong, None);
        prop_assert_eq!(counts.readings + counts.faults, outcomes);
        prop_assert!(outcomes <= payload.len() as u64 / 2 + 1);
        let mut lines = LineBuffer::new(mapping, 100);
        for piece in payload.chunks(7) {
            lines.push(piece);
            while let Some(line) = lines.take() {
                message.line(line, |outcome| drop(outcome));
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn arbitrary_bytes_never_panic(payload in prop::collection::vec(any::<u8>(), 0..200)) {
        try_all(&payload)?;
    }

    /// Of the letters that mean something.
    #[test]
    fn arbitrary_text_never_panics(payload in r#"([a-c0-9é\u{0}\u{feff} ,=\\"'{}\[\]:.\-+eEiut;#\n\r\t]|"[rftia]":|null|true|1e999|\\u00|🌡| ){0,120}"#) {
        try_all(payload.as_bytes())?;
    }

    /// Real requests with a few bytes changed.
    #[test]
    fn changed_requests_never_panic(
        which in 0..2_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        end in any::<prop::sample::Index>(),
    ) {
        let requests = [
            &include_bytes!("../requests/telegraf-influxdb_v2-001.body")[..],
            &include_bytes!("../requests/telegraf-http-json-001.body")[..],
        ];
        let mut payload = requests[which].to_vec();
        for (at, byte) in changes {
            let at = at.index(payload.len());
            payload[at] = byte;
        }
        payload.truncate(end.index(payload.len()) + 1);
        try_all(&payload)?;
    }
}
