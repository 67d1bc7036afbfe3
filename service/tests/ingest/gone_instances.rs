//! Instances come and go, and each leaves the ledger rows of its lanes behind: those of the gone are forgotten.

use crate::common::{
    database::Database,
    on_each_engine,
    readings::{readings, rows},
    service::Service,
    until,
};

on_each_engine! {
    lanes_unheard_for_a_week_are_forgotten,
}

const LANES: &str = "ingest_streams WHERE stream_id LIKE 'lane:";

async fn lanes_unheard_for_a_week_are_forgotten(database: Database) {
    let old = Service::start_with(&database, |settings| {
        settings.instance = Some("resting".to_owned());
    })
    .await;
    let row = |stream: &str, age: &str| {
        let at = format!("UTC_TIMESTAMP(6) - INTERVAL {age}");
        format!(
            "INSERT INTO ingest_streams (stream_id, epoch, created_at, updated_at) VALUES ('{stream}', 1, {at}, {at})"
        )
    };
    for (stream, age) in [
        ("lane:gone/0", "8 DAY"),
        ("lane:gone/1", "8 DAY"),
        ("lane:away/0", "6 DAY"),
        ("gone", "800 DAY"),
    ] {
        database.run(&row(stream, age)).await;
    }
    // The lanes of a service that is there have not been written for long, as after a suspended host.
    let long_ago = "UPDATE ingest_streams SET updated_at = updated_at - INTERVAL 8 DAY \
                    WHERE stream_id LIKE 'lane:resting/%'";
    database.run(long_ago).await;

    let new = Service::start_with(&database, |settings| {
        settings.instance = Some("new".to_owned());
    })
    .await;
    until("the lanes of the gone are forgotten", || async {
        database.count(&format!("{LANES}gone/%'")).await == 0
    })
    .await;
    assert_eq!(database.count(&format!("{LANES}away/%'")).await, 1);
    assert!(database.count(&format!("{LANES}resting/%'")).await > 0);
    let streams = "ingest_streams WHERE stream_id = 'gone'";
    assert_eq!(database.count(streams).await, 1, "a stream is no lane");
    for service in [&old, &new] {
        let sent = tokio_stream::iter([rows(readings(1..101))]);
        let reply = service.client().await.stream_readings(sent).await;
        assert_eq!(reply.expect("answered").into_inner().committed, 100);
    }
    old.close().await;
    new.close().await;
}
