//! Bodies that Telegraf and InfluxDB's clients have sent, after their compression was undone.

use std::{collections::BTreeSet, fs, path::Path};

use crate::common::{ARRIVAL_US, Decoded, Owned, decode, influx, influx_in, mapping, reading};

/// What a user of Telegraf's HTTP output has to set for JSON.
const TELEGRAF: &str = "
format: json
records: /metrics
value: { each: /fields }
sensor_type: { pointer: /name }
tags: /tags
time: { pointer: /timestamp, unit: s }
";

fn body(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/requests")
        .join(name);
    fs::read(path).unwrap()
}

fn sorted(decoded: &Decoded) -> Vec<String> {
    let mut lines: Vec<_> = decoded
        .readings
        .iter()
        .map(|reading| format!("{reading:?}"))
        .collect();
    lines.sort();
    lines
}

fn assert_holds(decoded: &Decoded, expected: &Owned) {
    let found = decoded
        .readings
        .iter()
        .filter(|reading| *reading == expected)
        .count();
    assert_eq!(found, 1, "{expected:?}");
}

#[test]
fn every_number_of_telegraf_is_a_reading_and_texts_are_left_out() {
    for (name, readings, left_out) in [
        ("telegraf-influxdb_v2-001.body", 118, 2),
        ("telegraf-influxdb_v2-002.body", 148, 2),
        ("telegraf-influxdb-002.body", 118, 2),
        ("telegraf-http-influx-001.body", 118, 2),
        ("telegraf-http-influx-002.body", 148, 2),
    ] {
        let decoded = influx(body(name));
        assert_eq!(decoded.sentences(), [""; 0], "{name}");
        assert_eq!(decoded.readings.len(), readings, "{name}");
        assert_eq!(decoded.counts.left_out, left_out, "{name}");
    }
}

#[test]
fn readings_of_telegraf_are_exact() {
    let decoded = influx(body("telegraf-influxdb_v2-001.body"));
    for expected in [
        reading(
            "mem.available_percent",
            0,
            "host=edge-7",
            85.993_403_684_738_72,
            1_795_785_959_000_000,
        ),
        reading(
            "mem.vmalloc_total",
            0,
            "host=edge-7",
            35_184_372_087_808.0,
            1_795_785_959_000_000,
        ),
        reading(
            "net.speed",
            0,
            "host=edge-7,interface=lo",
            -1.0,
            1_795_785_960_000_000,
        ),
        reading(
            "cpu.usage_idle",
            0,
            "cpu=cpu0,host=edge-7",
            68.817_204_301_024_73,
            1_795_785_960_000_000,
        ),
        reading(
            "cpu.usage_idle",
            0,
            "cpu=cpu1,host=edge-7",
            14.285_714_285_712_63,
            1_795_785_960_000_000,
        ),
        reading(
            "boiler.temperature",
            4,
            r"BOILER,host=edge-7,site=north wing\, hall\=2",
            35.202_882_761_865_666,
            1_795_785_959_000_000,
        ),
    ] {
        assert_holds(&decoded, &expected);
    }
}

#[test]
fn telegraf_gives_the_same_readings_as_json_and_as_line_protocol() {
    let telegraf = mapping(TELEGRAF);
    for number in ["001", "002"] {
        let json = decode(
            &telegraf,
            body(&format!("telegraf-http-json-{number}.body")),
        );
        let lines = influx(body(&format!("telegraf-influxdb_v2-{number}.body")));
        assert_eq!(json.sentences(), [""; 0]);
        assert_eq!(json.counts, lines.counts);
        assert_eq!(sorted(&json), sorted(&lines));
    }
}

#[test]
fn series_that_differ_in_a_tag_stay_apart() {
    let decoded = influx(body("telegraf-influxdb_v2-002.body"));
    let idle: BTreeSet<_> = decoded
        .readings
        .iter()
        .filter(|reading| reading.0 == "cpu.usage_idle")
        .map(|reading| reading.2.as_str())
        .collect();
    let expected = [
        "cpu=cpu-total,host=edge-7",
        "cpu=cpu0,host=edge-7",
        "cpu=cpu1,host=edge-7",
    ];
    assert!(idle.iter().eq(&expected), "{idle:?}");
}

#[test]
fn clients_write_without_any_setting() {
    let at_us = 1_795_771_800_249_000;
    assert_eq!(
        influx_in("ms", body("python-influxdb-client-001.body")).readings,
        [
            reading("boiler.open", 4, "BOILER", 1.0, at_us),
            reading("boiler.temperature", 4, "BOILER", 81.5, at_us),
        ]
    );
    assert_eq!(
        influx_in("ns", body("python-influxdb-client-002.body")).readings,
        [reading("boiler.temperature", 4, "BOILER", 82.0, ARRIVAL_US)]
    );
    let at_us = 1_795_771_800_250_000;
    assert_eq!(
        influx_in("ms", body("python-influxdb-001.body")).readings,
        [
            reading("boiler.n", 4, "BOILER", 3.0, at_us),
            reading("boiler.temperature", 4, "BOILER", 81.5, at_us),
        ]
    );
    assert_eq!(
        influx_in("ns", body("python-influxdb3-001.body")).readings,
        [reading("boiler.temperature", 4, "BOILER", 81.5, at_us)]
    );
}
