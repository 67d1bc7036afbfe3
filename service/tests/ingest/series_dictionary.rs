//! The layout `series`: the dictionary of a call keeps the numbers of its series, for as long as the table has them.

use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{ColumnBatch, SensorReading, Series};

use crate::common::{
    database::Database,
    on_each_engine,
    readings::{BASE_US, assert_same, columns, reading, rows},
    service::{AckedCall, Service},
};

on_each_engine! {
    a_dictionary_outlives_the_table_that_its_numbers_are_of,
}

const NAMES: [&str; 3] = ["a", "b", "c"];

async fn start_as(database: &Database, instance: &str) -> Service {
    Service::start_with(database, |settings| {
        settings.layout = Some(Layout::Series);
        settings.instance = Some(instance.to_owned());
    })
    .await
}

fn of(id2: &str, n: u64) -> SensorReading {
    SensorReading {
        id1: 1,
        id2: id2.to_owned(),
        sensor_type: "temperature".to_owned(),
        ..reading(n)
    }
}

/// A reading of each of the names. Only the first message brings them.
fn of_each(first: u64, with_names: bool) -> ColumnBatch {
    let named = |id2: &&str| Series {
        id1: 1,
        id2: (*id2).to_owned(),
        sensor_type: "temperature".to_owned(),
    };
    let numbers = first..first + NAMES.len() as u64;
    ColumnBatch {
        series: match with_names {
            true => NAMES.iter().map(named).collect(),
            false => Vec::new(),
        },
        extend_dictionary: !with_names,
        series_index: (0..NAMES.len() as u32).collect(),
        sensor_value: numbers.clone().map(|n| n as f64).collect(),
        base_timestamp_us: BASE_US,
        timestamp_delta_us: numbers.map(|n| n as i64).collect(),
        series_tags: Vec::new(),
    }
}

async fn a_dictionary_outlives_the_table_that_its_numbers_are_of(database: Database) {
    let service = start_as(&database, "one").await;
    let at = service.open("columns").await;
    let mut call = AckedCall::resume(&mut service.client().await, "columns", &at).await;
    // With the first message the names get their numbers, with the second one the dictionary knows them.
    for (first, with_names) in [(1, true), (4, false), (7, false)] {
        call.send(columns(of_each(first, with_names))).await;
        call.until_acked(first + 2).await;
    }
    // Everything is gone, and somebody else gives the same numbers to others.
    for statement in [
        "TRUNCATE TABLE readings",
        "TRUNCATE TABLE series",
        "UPDATE id_blocks SET next_id = 1 WHERE name = 'series'",
    ] {
        database.run(statement).await;
    }
    let other = start_as(&database, "other").await;
    let theirs = [of("c", 21), of("b", 22), of("z", 23), of("a", 24)];
    for (one, stream) in theirs.iter().zip(["p", "q", "r", "s"]) {
        let at = other.open(stream).await;
        let mut call = AckedCall::resume(&mut other.client().await, stream, &at).await;
        call.send(rows(vec![one.clone()])).await;
        call.until_acked(1).await;
        call.finish().await;
    }
    for first in [10, 13] {
        call.send(columns(of_each(first, false))).await;
        call.until_acked(first + 2).await;
    }
    call.finish().await;
    let sent = (10..).zip(NAMES.iter().cycle()).take(6);
    let sent: Vec<_> = sent.map(|(n, id2)| of(id2, n)).collect();
    let stored = database.stored().await;
    assert_same(
        stored.iter().map(|row| &row.reading),
        theirs.iter().chain(&sent),
    );
    other.close_after_deletes().await;
    service.close_after_deletes().await;
}
