//! The quarantine is held to a size and an age: bad readings must not fill the disk (P5).

use mysql_async::prelude::Queryable as _;
use sluicegate::usecase::manage::partitions::Retention;

use crate::common::{
    database::Database,
    on_each_engine,
    readings::{column_batch, columns},
    service::Service,
    until,
};

on_each_engine! {
    the_newest_rejections_are_kept,
    old_rejections_are_removed,
}

async fn the_newest_rejections_are_kept(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.quarantine.max_rows = Some(1_000);
    })
    .await;
    let mut batch = column_batch(1..5_001);
    batch.sensor_value.fill(f64::NAN);
    let sent = tokio_stream::iter([columns(batch)]);
    let reply = service.client().await.stream_readings(sent).await;
    assert_eq!(reply.expect("answered").into_inner().rejected, 5_000);
    until("the oldest are removed", || async {
        database.count("rejected_readings").await == 1_000
    })
    .await;
    let kept = database.quarantined().await;
    assert!(kept.iter().all(|row| row.seq > 4_000));
    service.close_after_deletes().await;
}

async fn old_rejections_are_removed(database: Database) {
    Service::start(&database).await.close().await;
    let insert = |seq: u64, age: &str| {
        format!(
            "INSERT INTO rejected_readings (seq, field, reason, sensor_value, sensor_type, id1, id2, timestamp_us, \
             rejected_at) VALUES ({seq}, 'id2', 'old', '1', 't', 1, 'a', 0, UTC_TIMESTAMP(6) - INTERVAL {age})"
        )
    };
    let mut conn = database.connect().await;
    for (seq, age) in [(1, "3 HOUR"), (2, "2 HOUR"), (3, "30 MINUTE")] {
        conn.query_drop(insert(seq, age)).await.expect("inserted");
    }
    let service = Service::start_with(&database, |settings| {
        let hour: Result<Retention, _> = "1h".parse();
        settings.quarantine.retention = Some(hour.expect("a time"));
    })
    .await;
    until("the old ones are removed", || async {
        database.count("rejected_readings").await == 1
    })
    .await;
    assert_eq!(database.quarantined().await[0].seq, 3);
    service.close_after_deletes().await;
}
