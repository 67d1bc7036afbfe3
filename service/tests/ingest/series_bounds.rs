//! How many series are let in, and what becomes of readings whose series is gone.

use std::time::Duration;

use mysql_async::prelude::Queryable as _;
use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{SensorBatch, SensorReading};

use crate::common::{
    database::Database,
    on_each_engine,
    readings::reading,
    service::Service,
    tokens::{Tokens, with_token},
    until,
};

on_each_engine! {
    a_series_beyond_the_most_is_rejected_and_hurts_no_other,
    each_principal_has_its_own_new_series_within_an_hour,
    removed_series_make_room_for_others,
    readings_whose_series_is_gone_are_counted,
    a_series_stays_although_its_first_reading_is_only_about_to_be_committed,
}

fn of(id2: &str, n: u64) -> SensorReading {
    SensorReading {
        id2: id2.to_owned(),
        id1: 1,
        sensor_type: "temperature".to_owned(),
        ..reading(n)
    }
}

fn batch(names: &[&str]) -> SensorBatch {
    let readings = names.iter().zip(1..).map(|(name, n)| of(name, n));
    SensorBatch {
        readings: readings.collect(),
        position: None,
    }
}

async fn a_series_beyond_the_most_is_rejected_and_hurts_no_other(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.layout = Some(Layout::Series);
        settings.series.max = Some(3);
    })
    .await;
    let mut client = service.client().await;
    let names = ["a", "b", "a", "c", "d", "e", "d"];
    for expected in [(4, 3), (4, 3)] {
        let reply = client.send_sensor_batch(batch(&names)).await;
        let reply = reply.expect("answered").into_inner();
        assert_eq!((reply.committed, reply.rejected), expected);
    }
    assert_eq!(database.count("series").await, 3);
    let rejected = database.quarantined().await;
    assert_eq!(rejected.len(), 6);
    for one in &rejected {
        assert_eq!(one.field, "series", "{one:?}");
        let reason = "there are 3 already, as many as series.max allows";
        assert!(one.reason.contains(reason), "{one:?}");
        assert!(["d", "e"].contains(&one.id2.as_str()), "{one:?}");
    }
    service.close().await;
}

async fn each_principal_has_its_own_new_series_within_an_hour(database: Database) {
    let tokens = Tokens::new();
    let (press, mill) = (
        tokens.make("press-4", "ingest"),
        tokens.make("mill-1", "ingest"),
    );
    let service = Service::start_with(&database, |settings| {
        tokens.asked_for(settings);
        settings.layout = Some(Layout::Series);
        settings.series.new_per_hour = Some(2);
        settings.ingest.lanes = Some(1);
    })
    .await;
    let mut client = service.client().await;
    for (token, names, expected) in [
        (&press, ["a", "b", "c"], (2, 1)),
        (&mill, ["x", "a", "b"], (3, 0)),
        (&mill, ["y", "z", "x"], (2, 1)),
        // What is known is no new series.
        (&press, ["x", "y", "a"], (3, 0)),
    ] {
        let call = with_token(batch(&names), token);
        let reply = client.send_sensor_batch(call).await;
        let reply = reply.expect("answered").into_inner();
        assert_eq!((reply.committed, reply.rejected), expected, "{names:?}");
    }
    let rejected = database.quarantined().await;
    let names: Vec<_> = rejected.iter().map(|one| one.id2.as_str()).collect();
    // The newest first.
    assert_eq!(names, ["z", "c"]);
    let reason = "has brought 2 new ones within an hour, as many as series.new_per_hour allows";
    assert!(rejected[1].reason.contains(reason), "{rejected:?}");
    service.close().await;
}

async fn removed_series_make_room_for_others(database: Database) {
    let limited = |settings: &mut sluicegate::config::Settings| {
        settings.layout = Some(Layout::Series);
        settings.series.max = Some(2);
    };
    let service = Service::start_with(&database, limited).await;
    let unused = "INSERT INTO series (series_id, id1, id2, sensor_type, first_seen, last_seen) \
                  VALUES (1, 1, 'unused', 't', NOW(), NOW())";
    database.run(unused).await;
    let mut client = service.client().await;
    let reply = client.send_sensor_batch(batch(&["a", "a"])).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 2);
    database
        .run("DELETE FROM series WHERE id2 = 'unused'")
        .await;
    let reply = client.send_sensor_batch(batch(&["b", "a"])).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 2);
    assert_eq!(database.count("series").await, 2);
    service.close().await;
}

async fn readings_whose_series_is_gone_are_counted(database: Database) {
    let on_series = |settings: &mut sluicegate::config::Settings| {
        settings.layout = Some(Layout::Series);
    };
    let service = Service::start_with(&database, on_series).await;
    let mut client = service.client().await;
    let names = ["a", "b", "c", "b", "d", "e", "f", "f"];
    let reply = client.send_sensor_batch(batch(&names)).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 8);
    let standing = service.readiness().await["series"].clone();
    assert_eq!(standing["readings_without_series"], 0, "{standing}");
    service.close().await;
    // In the middle and at the end, as a restore of an older copy leaves it.
    for statement in [
        "DROP TRIGGER series_with_readings_stay",
        "DELETE FROM series WHERE id2 IN ('b', 'e', 'f')",
    ] {
        database.run(statement).await;
    }
    let service = Service::start_with(&database, on_series).await;
    until("they are counted", || async {
        service.readiness().await["series"]["readings_without_series"] == 5
    })
    .await;
    let readiness = service.readiness().await;
    assert_eq!(readiness["series"]["missing_series"], 3, "{readiness}");
    assert_eq!(readiness["ready"], true, "{readiness}");
    service.close().await;
}

/// The look for readings must not be older than the wait for those who are about to store some, whatever the removing session has
/// set.
async fn a_series_stays_although_its_first_reading_is_only_about_to_be_committed(
    database: Database,
) {
    let on_series = |settings: &mut sluicegate::config::Settings| {
        settings.layout = Some(Layout::Series);
    };
    let service = Service::start_with(&database, on_series).await;
    let mut client = service.client().await;
    let reply = client.send_sensor_batch(batch(&["a"])).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 1);
    service.close().await;
    for isolation in ["REPEATABLE READ", "READ COMMITTED"] {
        database.run("DELETE FROM readings").await;
        // As a loader does it.
        let mut loading = database.connect().await;
        for statement in [
            "START TRANSACTION",
            "SELECT generation FROM series_generation LOCK IN SHARE MODE",
            "INSERT INTO readings (ts, id, series_id, sensor_value) VALUES ('2026-01-01', 1, 1, 7)",
        ] {
            loading.query_drop(statement).await.expect(statement);
        }
        let mut other = database.connect().await;
        let set = format!("SET SESSION TRANSACTION ISOLATION LEVEL {isolation}");
        other.query_drop(set).await.expect("set");
        let removing = tokio::spawn(async move {
            let removed = other.query_drop("DELETE FROM series WHERE id2 = 'a'").await;
            removed.is_ok()
        });
        until("it waits for the loader", || async {
            let of_trigger = [
                "DELETE FROM series%",
                "UPDATE series_generation%",
                "%FROM readings%",
            ];
            database.running(&of_trigger).await == 1
        })
        .await;
        tokio::time::sleep(Duration::from_millis(200)).await;
        loading.query_drop("COMMIT").await.expect("committed");
        assert!(
            !removing.await.expect("ends"),
            "{isolation}: it has a reading"
        );
        let found = "sensor_readings WHERE id2 = 'a'";
        assert_eq!(database.count(found).await, 1, "{isolation}");
    }
}
