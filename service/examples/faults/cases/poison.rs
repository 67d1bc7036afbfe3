//! Poison in one reading of a hundred: texts that a field separator, an escape or a character set could damage, values
//! and times at the edge, and readings that must be rejected. What is good is stored bit for bit, what is bad lies in
//! quarantine with its position, and nothing is silently changed (P3, P5).

use std::collections::BTreeMap;

use anyhow::Result;
use mysql_async::prelude::Queryable as _;
use sluicegate_proto::{
    producer::{Encoding, Producer},
    v1::SensorReading,
};

use crate::{
    database::Schema,
    judge::{hold_books, hold_ledger},
    lab::Lab,
    layout::has_numbers,
    outcome::Outcome,
    poison_texts::poison,
    stack::{Stack, end},
    verdict::{Verdict, hold},
};

/// 2026-01-01T00:00:00Z.
const BASE_US: i64 = 1_767_225_600_000_000;
/// 1000-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z: what a DATETIME(6) holds.
const FIRST_US: i64 = -30_610_224_000_000_000;
const LAST_US: i64 = 253_402_300_799_999_999;
const BAD_SHARE: u64 = 100;
/// Beside it, the generator's own kinds of bad readings at the same share.
const LOAD: &str =
    "--rate 40000 --connections 2 --types a:3,b=sine --id1 0..9 --id2 x-[0..9] --bad 0.01";

/// A reading, and the field that it has to be rejected for.
struct Sent {
    reading: SensorReading,
    refused: Option<&'static str>,
}

pub(crate) async fn run(lab: &mut Lab) -> Result<Outcome> {
    let rounds = lab.scale.times(50, 2);
    // Times at the ends of what the table holds are good ones here.
    let any_time = ["--ingest-earliest=none", "--ingest-max-ahead=none"];
    let stack = Stack::start(lab, &any_time).await?;
    let generator = stack.generator(lab, LOAD).await?;
    let mut poisoned = 0;
    let mut judged_by_hand = Verdict::none();
    for (name, encoding) in [("rows", Encoding::Rows), ("columns", Encoding::Columns)] {
        let sent = mixed(name, rounds);
        poisoned += sent.iter().filter(|one| is_poison(one)).count() as u32;
        let mut producer = Producer::builder(stack.front.url())
            .stream_id(name)
            .encoding(encoding)
            .connect()
            .await?;
        for one in &sent {
            producer.send(one.reading.clone()).await?;
        }
        let summary = producer.close().await?;
        let bad = sent.iter().filter(|one| one.refused.is_some()).count() as u64;
        hold!(
            (summary.rejected, summary.committed) == (bad, sent.len() as u64 - bad),
            "{bad} of {} readings are bad: {summary:?}",
            sent.len()
        );
        hold_stored(&stack.schema, name, &sent).await?;
        hold_quarantined(&stack.schema, name, &sent).await?;
        judged_by_hand.sent += sent.len() as u64;
        judged_by_hand.acknowledged += sent.len() as u64 - bad;
        judged_by_hand.found += sent.len() as u64 - bad;
        judged_by_hand.rejected += bad;
    }
    generator.stop()?;
    let (report, journal) = generator.ended().await?;
    hold_books(&stack.service).await?;
    let mut verdict = Verdict::of(lab, &stack.schema, &[journal]).await?;
    verdict.hold()?;
    hold!(
        verdict.rejected > report.sent / (2 * BAD_SHARE),
        "of {} readings, one in {BAD_SHARE} is bad, and {} were rejected",
        report.sent,
        verdict.rejected
    );
    hold_ledger(&stack.schema).await?;
    verdict.add(&judged_by_hand);
    end(stack.service).await?;
    stack.schema.drop().await?;
    Ok(Outcome::of_verdict(poisoned, verdict.clone())
        .figure("rejected_readings", verdict.rejected as f64)
        .figure("silent_changes", verdict.altered as f64))
}

fn is_poison(one: &Sent) -> bool {
    one.reading.sensor_type != "good"
}

/// Every kind of poison, each after 99 good readings, again and again.
fn mixed(id2: &str, rounds: u32) -> Vec<Sent> {
    let mut sent = Vec::new();
    for kind in (0..rounds).flat_map(|_| kinds()) {
        for _ in 1..BAD_SHARE {
            let number = sent.len() as i64;
            sent.push(Sent {
                reading: SensorReading {
                    sensor_value: Some(number as f64 / 7.0),
                    sensor_type: "good".to_owned(),
                    id1: 7_000,
                    id2: id2.to_owned(),
                    timestamp_us: Some(BASE_US + number),
                },
                refused: None,
            });
        }
        let mut one = kind;
        if one.reading.id2.is_empty() && one.refused != Some("id2") {
            id2.clone_into(&mut one.reading.id2);
        }
        one.reading.id1 = 7_000;
        if one.reading.timestamp_us.is_none() {
            one.reading.timestamp_us = Some(BASE_US + sent.len() as i64);
        }
        sent.push(one);
    }
    sent
}

/// One reading of each kind. An absent time and an empty id are filled in by its place.
fn kinds() -> Vec<Sent> {
    let plain = || SensorReading {
        sensor_value: Some(1.5),
        sensor_type: "edge".to_owned(),
        ..SensorReading::default()
    };
    let good = |reading| Sent {
        reading,
        refused: None,
    };
    let bad = |field, reading| Sent {
        reading,
        refused: Some(field),
    };
    let of_type = |text: String| SensorReading {
        sensor_type: text,
        ..plain()
    };
    let of_id2 = |text: &str| SensorReading {
        id2: text.to_owned(),
        ..plain()
    };
    let of_value = |value| SensorReading {
        sensor_value: Some(value),
        ..plain()
    };
    let at = |timestamp_us| SensorReading {
        timestamp_us: Some(timestamp_us),
        ..plain()
    };
    let mut kinds: Vec<Sent> = poison()
        .into_iter()
        .map(|text| good(of_type(text)))
        .collect();
    kinds.extend(
        ["a", "A", "á", "a\u{301}", "ß", "\\N", "it's", "a\\", "🌡"].map(|id2| good(of_id2(id2))),
    );
    kinds.extend(
        [f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 0.1].map(|value| good(of_value(value))),
    );
    kinds.extend([FIRST_US, -1, LAST_US].map(|time| good(at(time))));
    kinds.extend(
        ["", " a", "a ", "a\tb", "a\nb", "\u{7f}", "\0"].map(|id2| bad("id2", of_id2(id2))),
    );
    kinds.push(bad("id2", of_id2(&"x".repeat(51))));
    kinds.push(bad("sensor_type", of_type("🌡".repeat(51))));
    kinds.push(bad("sensor_type", of_type(String::new())));
    kinds.extend(
        [f64::NAN, f64::INFINITY, f64::NEG_INFINITY]
            .map(|value| bad("sensor_value", of_value(value))),
    );
    kinds.extend(
        [FIRST_US - 1, LAST_US + 1, i64::MIN, i64::MAX].map(|time| bad("timestamp_us", at(time))),
    );
    kinds
}

/// Type, id2, value in bits and time.
type Key = (String, String, u64, i64);

/// Exactly the good readings are stored, bit for bit.
async fn hold_stored(schema: &Schema, id2: &str, sent: &[Sent]) -> Result<()> {
    let sql = "SELECT sensor_type, id2, sensor_value, TIMESTAMPDIFF(MICROSECOND, '1970-01-01', ts) \
               FROM sensor_readings WHERE id1 = 7000";
    let mut conn = schema.connect().await?;
    let rows: Vec<(String, String, f64, i64)> = conn.exec(sql, ()).await?;
    conn.disconnect().await?;
    let mut counts: BTreeMap<Key, i64> = BTreeMap::new();
    for (sensor_type, id2, value, at) in rows {
        *counts
            .entry((sensor_type, id2, value.to_bits(), at))
            .or_default() += 1;
    }
    for one in sent.iter().filter(|one| one.refused.is_none()) {
        let (bits, at) = (
            one.reading.sensor_value().to_bits(),
            one.reading.timestamp_us(),
        );
        let SensorReading {
            sensor_type, id2, ..
        } = one.reading.clone();
        *counts.entry((sensor_type, id2, bits, at)).or_default() -= 1;
    }
    let wrong: Vec<_> = counts
        .iter()
        .filter(|(_, count)| **count != 0)
        .take(5)
        .collect();
    hold!(
        wrong.is_empty(),
        "of {id2}, stored more or less often than sent: {wrong:?}"
    );
    conn = schema.connect().await?;
    // Out of the way of what is looked at next. A series keeps its names: its readings lose them.
    let away = match has_numbers() {
        true => {
            "UPDATE readings SET series_id = series_id + 2000000000 \
             WHERE series_id IN (SELECT series_id FROM series WHERE id1 = 7000)"
        }
        false => "UPDATE sensor_readings SET id1 = 7001 WHERE id1 = 7000",
    };
    conn.query_drop(away).await?;
    Ok(conn.disconnect().await?)
}

/// Position, field, and the reading: value as text, type, ids and time.
type Quarantined = (u64, String, String, String, i32, String, i64);

/// Every bad reading lies in quarantine, as it was sent, with its position and field.
async fn hold_quarantined(schema: &Schema, stream: &str, sent: &[Sent]) -> Result<()> {
    let sql = "SELECT seq, field, sensor_value, sensor_type, id1, id2, timestamp_us FROM rejected_readings \
               WHERE stream_id = ? ORDER BY seq";
    let mut conn = schema.connect().await?;
    let found: Vec<Quarantined> = conn.exec(sql, (stream,)).await?;
    conn.disconnect().await?;
    let bad = (1..).zip(sent).filter_map(|(seq, one)| {
        let (value, at) = (one.reading.sensor_value(), one.reading.timestamp_us());
        let SensorReading {
            sensor_type,
            id1,
            id2,
            ..
        } = one.reading.clone();
        let (field, value) = (one.refused?.to_owned(), format!("{value:?}"));
        Some((seq, field, value, sensor_type, id1, id2, at))
    });
    let expected: Vec<_> = bad.collect();
    let differs = expected
        .iter()
        .zip(&found)
        .find(|(expected, found)| expected != found);
    hold!(
        differs.is_none() && expected.len() == found.len(),
        "{} readings of {stream} are bad, {} lie in quarantine: {differs:?}",
        expected.len(),
        found.len()
    );
    Ok(())
}
