//! The same streams into every layout, lane and batch size.

use std::collections::BTreeSet;

use sluicegate::{config::Settings, repository::mysql::Layout};
use sluicegate_proto::v1::SensorReading;

use crate::common::{
    database::{Database, Stored},
    engines::layout,
    on_each_engine,
    program::{Program, command, end_of},
    readings::{
        BASE_US, assert_same, assert_stored, column_batch, columns, reading, readings, resume, rows,
    },
    service::{AckedCall, Service},
};

on_each_engine! {
    every_layout_stores_the_same_with_ids_that_grow,
    lanes_write_into_subpartitions_of_their_own,
    many_streams_share_one_lane,
    a_message_larger_than_a_batch_is_stored,
    readings_out_of_order_are_stored_in_order_of_time,
    a_layout_that_is_not_the_tables_is_said,
    a_table_that_was_dropped_is_not_created_again_in_silence,
}

async fn a_table_that_was_dropped_is_not_created_again_in_silence(database: Database) {
    let (url, arguments) = (database.url(), ["migrate", "--database-url"]);
    let migrate = || end_of(command(&[&arguments[..], &[&url]].concat()));
    let cure = "DELETE FROM schema_migrations WHERE version = 1";
    assert_eq!(migrate().await.code, Some(0));
    database.run("DROP TABLE rejected_readings").await;
    let ended = migrate().await;
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for part in [
        "the table rejected_readings is missing",
        "0001_ledger",
        cure,
    ] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
    database.run(cure).await;
    assert_eq!(migrate().await.code, Some(0));
    assert_eq!(database.count("rejected_readings").await, 0);
}

async fn a_layout_that_is_not_the_tables_is_said(database: Database) {
    let sentence = "the layout that was asked for (--layout) is not the table's";
    for (flags, is_said) in [
        (&["--layout", "hashed"][..], false),
        (&["--layout", "seed"], true),
        // Nothing is asked for, but by whoever tests another layout.
        (&[], layout().is_some()),
    ] {
        let program = Program::start(&database.url(), flags).await;
        program.terminate();
        let said = program.ended().await.stderr;
        assert_eq!(said.contains(sentence), is_said, "{flags:?}: {said}");
        if is_said {
            assert!(said.contains("found=\"hashed\""), "{said}");
        }
    }
}

async fn every_layout_stores_the_same_with_ids_that_grow(database: Database) {
    for (layout, name) in [
        (Layout::Seed, "seed"),
        (Layout::Partitioned, "partitioned"),
        (Layout::Hashed, "hashed"),
        (Layout::Series, "series"),
    ] {
        let database = database.server.schema().await;
        let with_layout = |settings: &mut Settings| settings.layout = Some(layout);
        let mut stored_before = 0;
        let mut last_id = 0;
        for restart in 0..2_u64 {
            let service = Service::start_with(&database, with_layout).await;
            assert_eq!(service.readiness().await["storage"]["layout"], name);
            let at = service.open("layout").await;
            let mut call = AckedCall::resume(&mut service.client().await, "layout", &at).await;
            for step in 0..10 {
                let second = restart * 10 + step;
                // Whole seconds, which every layout can hold.
                let timestamp_us = BASE_US + second as i64 * 1_000_000;
                let of = |n| SensorReading {
                    timestamp_us: Some(timestamp_us),
                    ..reading(n)
                };
                let first = at.committed_seq + step * 100 + 1;
                call.send(rows((first..first + 100).map(of).collect()))
                    .await;
                call.until_acked(first + 99).await;
            }
            call.finish().await;
            service.close().await;
            let stored = database.stored().await;
            assert_eq!(stored.len() as u64, (restart + 1) * 1_000);
            for row in &stored[stored_before..] {
                assert!(
                    row.id > last_id,
                    "{name}: ids grow with time, also over a restart"
                );
                last_id = row.id;
            }
            stored_before = stored.len();
        }
        let values = database
            .stored()
            .await
            .into_iter()
            .map(|row| row.reading.sensor_value() as u64);
        assert!(values.eq(1..2_001), "{name}: in order and gap-free");
    }
}

/// Two streams at once, of which each gets one of two lanes: into the table as it is made, and into one that somebody
/// divided by time alone.
async fn lanes_write_into_subpartitions_of_their_own(database: Database) {
    let by_time_alone = "ALTER TABLE sensor_readings PARTITION BY RANGE COLUMNS (ts) \
                         (PARTITION p_rest VALUES LESS THAN (MAXVALUE))";
    for (subpartitions, alter) in [(2, None), (1, Some(by_time_alone))] {
        let database = database.server.schema().await;
        Service::start(&database).await.close().await;
        if let Some(sql) = alter {
            database.run(sql).await;
        }
        let service = Service::start(&database).await;
        let mut calls = Vec::new();
        for stream in ["one", "two"] {
            let at = service.open(stream).await;
            calls.push(AckedCall::resume(&mut service.client().await, stream, &at).await);
        }
        for (first, call) in [1, 1_001].into_iter().zip(&calls) {
            call.send(rows(readings(first..first + 1_000))).await;
        }
        for call in calls {
            call.finish().await;
        }
        service.close().await;
        assert_stored(&database, 1..2_001).await;
        let stored = database.stored().await;
        let share = |ids: &[Stored]| -> BTreeSet<i64> {
            ids.iter().map(|row| row.id % subpartitions).collect()
        };
        let (one, two) = (share(&stored[..1_000]), share(&stored[1_000..]));
        assert_eq!(
            (one.len(), two.len()),
            (1, 1),
            "{alter:?}: each in one of them"
        );
        assert_eq!(one == two, subpartitions == 1, "{alter:?}: not in the same");
        let step = stored[1].id - stored[0].id;
        assert_eq!(
            step, subpartitions,
            "no more ids are left out than there must be"
        );
    }
}

async fn many_streams_share_one_lane(database: Database) {
    let service = Service::start_with(&database, |settings| settings.ingest.lanes = Some(1)).await;
    let mut calls = Vec::new();
    for stream in 0..5_u64 {
        let name = format!("stream-{stream}");
        let at = service.open(&name).await;
        calls.push(AckedCall::resume(&mut service.client().await, &name, &at).await);
    }
    for step in 0..20 {
        for (stream, call) in (0..).zip(&calls) {
            let first = stream * 2_000 + step * 100 + 1;
            call.send(columns(column_batch(first..first + 100))).await;
        }
    }
    for call in calls {
        let last = call.finish().await;
        assert_eq!((last.committed, last.committed_seq), (2_000, 2_000));
    }
    assert_stored(&database, 1..10_001).await;
    service.close().await;
}

async fn a_message_larger_than_a_batch_is_stored(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.ingest.max_batch_rows = Some(10);
        settings.ingest.linger_ms = Some(0);
    })
    .await;
    let at = service.open("large").await;
    let messages = (0..20).map(|n| columns(column_batch(n * 500 + 1..n * 500 + 501)));
    let messages = [resume("large", &at)].into_iter().chain(messages);
    let messages = tokio_stream::iter(messages.collect::<Vec<_>>());
    let reply = service.client().await.stream_readings(messages).await;
    assert_eq!(reply.expect("stored").into_inner().committed_seq, 10_000);
    assert_stored(&database, 1..10_001).await;
    service.close().await;
}

async fn readings_out_of_order_are_stored_in_order_of_time(database: Database) {
    let service = Service::start(&database).await;
    // 7,919 is prime to the count, so that every number comes once.
    let shuffled: Vec<_> = (0..5_000).map(|n| reading(n * 7_919 % 5_000 + 1)).collect();
    let message = tokio_stream::iter([rows(shuffled.clone())]);
    let reply = service.client().await.stream_readings(message).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 5_000);
    let stored = database.stored().await;
    assert!(stored.is_sorted_by_key(|row| row.id), "ids follow the time");
    assert_same(stored.iter().map(|row| &row.reading), &shuffled);
    service.close().await;
}
