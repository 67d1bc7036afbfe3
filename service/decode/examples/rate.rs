//! How fast payloads become readings, on one core: `cargo run --release -p sluicegate-decode --example rate [NAME]`.

use std::{error::Error, fmt::Write, hint::black_box, sync::Arc, time::Instant};

use sluicegate_decode::{Context, Counts, Decoder, Limits, Line, Mapping, MappingSettings};

const LINES: usize = 20_000;
/// Of which the fastest is shown: others work on the machine, too.
const ROUNDS: usize = 60;
const START_MS: usize = 1_795_771_800_000;

fn main() -> Result<(), Box<dyn Error>> {
    let json = mapping(
        r#"{"format": "json", "value": {"pointer": "/value"}, "sensor_type": {"pointer": "/type"},
            "id1": {"pointer": "/id1"}, "id2": {"pointer": "/id2"}, "time": {"pointer": "/time", "unit": "ms"}}"#,
    )?;
    let csv = mapping(
        r#"{"format": "csv", "columns": ["id1", "id2", "type", "time", "value"],
            "value": {"column": "value"}, "sensor_type": {"column": "type"}, "id1": {"column": "id1"},
            "id2": {"column": "id2"}, "time": {"column": "time", "unit": "ms"}}"#,
    )?;
    let influx = Mapping::line_protocol();
    let points = |text: &mut String, at: usize, value: f64| {
        write!(
            text,
            "boiler,id1={},id2=BOILER temperature={value} {}000000",
            at % 100,
            START_MS + at
        )
    };
    let tagged = |text: &mut String, at: usize, value: f64| {
        write!(
            text,
            "cpu,cpu=cpu{},host=edge-7 usage_user={value},usage_system={},usage_idle={},usage_nice=0,usage_iowait={},\
             usage_irq=0,usage_softirq=0i,usage_steal=0,usage_guest=0,usage_guest_nice=0 {}000000",
            at % 8,
            value / 2.0,
            100.0 - value,
            value / 3.0,
            START_MS + at
        )
    };
    let long = |text: &mut String, at: usize, value: f64| {
        write!(
            text,
            "docker_container_cpu,container_image=registry.example.com/plant/gateway,container_name=gateway-{},host=edge-7 \
             usage_percent={value} {}000000",
            at % 100,
            START_MS + at
        )
    };
    let objects = |text: &mut String, at: usize, value: f64| {
        write!(
            text,
            r#"{{"id1":{},"id2":"BOILER","type":"temperature","time":{},"value":{value}}}"#,
            at % 100,
            START_MS + at
        )
    };
    let columns = |text: &mut String, at: usize, value: f64| {
        write!(
            text,
            "{},BOILER,temperature,{},{value}",
            at % 100,
            START_MS + at
        )
    };
    println!(
        "{:<42} {:>12} {:>14} {:>9}",
        "", "lines/s", "readings/s", "MB/s"
    );
    measure("line protocol, one field", &influx, points)?;
    measure("line protocol, ten fields", &influx, tagged)?;
    measure("line protocol, tags to be hashed", &influx, long)?;
    measure("NDJSON", &json, objects)?;
    measure("CSV", &csv, columns)
}

fn mapping(settings: &str) -> Result<Mapping, Box<dyn Error>> {
    Ok(Mapping::new(&serde_json::from_str::<MappingSettings>(
        settings,
    )?)?)
}

fn measure(
    name: &str,
    mapping: &Mapping,
    line: impl Fn(&mut String, usize, f64) -> std::fmt::Result,
) -> Result<(), Box<dyn Error>> {
    let mut text = String::new();
    for at in 0..LINES {
        #[expect(clippy::cast_precision_loss, reason = "small")]
        line(&mut text, at, 20.0 + (at % 4096) as f64 / 100.0)?;
        text.push('\n');
    }
    let mut decoder = Decoder::new(Arc::new(mapping.clone()), Limits::default());
    let wanted = std::env::args().nth(1).unwrap_or_default();
    for way in ["whole", "by lines"] {
        let name = format!("{name}, {way}");
        if !name.contains(&wanted) {
            continue;
        }
        let mut fastest = f64::INFINITY;
        let mut counts = Counts::default();
        for _ in 0..ROUNDS {
            let start = Instant::now();
            counts = decode(&mut decoder, text.as_bytes(), way)?;
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
        assert_eq!(counts.faults, 0, "{name}");
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let [lines, readings, bytes] =
            [LINES, counts.readings as usize, text.len()].map(|n| n as f64 / fastest);
        println!(
            "{name:<42} {lines:>12.0} {readings:>14.0} {:>9.0}",
            bytes / 1e6
        );
    }
    Ok(())
}

fn decode(decoder: &mut Decoder, text: &[u8], way: &str) -> Result<Counts, Box<dyn Error>> {
    let mut counts = Counts::default();
    let mut message = decoder.message(&Context::default())?;
    if way == "whole" {
        counts += message.whole(text, |outcome| {
            let _ = black_box(outcome);
        });
        return Ok(counts);
    }
    for (number, bytes) in (1..).zip(text.split(|byte| *byte == b'\n')) {
        let line = Line {
            number,
            bytes,
            max_bytes: None,
        };
        counts += message.line(line, |outcome| {
            let _ = black_box(outcome);
        });
    }
    Ok(counts)
}
