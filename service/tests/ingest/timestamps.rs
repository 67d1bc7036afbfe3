//! Instants are stored as they were sent, whatever the server's time zone: the tests' own has another than UTC.

use sluicegate::repository::mysql::Layout;
use sluicegate_proto::v1::{SensorBatch, SensorReading};

use crate::common::{
    database::Database,
    on_each_engine,
    readings::{BASE_US, assert_same, reading},
    service::Service,
};

on_each_engine! {
    instants_are_stored_to_the_microsecond,
    instants_beyond_the_table_are_rejected,
    instants_around_a_change_of_clocks_stay_apart,
    the_seed_layout_cuts_to_seconds_and_never_rounds,
}

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
/// 0000-01-01 is no date that a table holds; 1000-01-01 and 9999-12-31 are the ends of what is supported.
const FIRST_US: i64 = -30_610_224_000_000_000;
const LAST_US: i64 = 253_402_300_799_999_999;

fn at(instants: &[i64]) -> Vec<SensorReading> {
    let of = |&timestamp_us| SensorReading {
        timestamp_us,
        ..reading(1)
    };
    instants.iter().map(of).collect()
}

fn batch(readings: Vec<SensorReading>) -> SensorBatch {
    SensorBatch {
        readings,
        position: None,
    }
}

async fn instants_are_stored_to_the_microsecond(database: Database) {
    let service = Service::start(&database).await;
    let instants = [
        FIRST_US,
        -1,
        -SECOND - 1,
        -86_400 * SECOND,
        0,
        1,
        999_999,
        BASE_US + 123_456,
        2_147_483_648 * SECOND,
        // 2024-02-29T23:59:59.999999Z and the instant after.
        1_709_251_199_999_999,
        1_709_251_200_000_000,
        LAST_US,
    ];
    let sent = at(&instants);
    let reply = service
        .client()
        .await
        .send_sensor_batch(batch(sent.clone()))
        .await;
    assert_eq!(reply.expect("stored").into_inner().rejected_readings, []);
    assert_same(
        database.stored().await.iter().map(|row| &row.reading),
        &sent,
    );
    service.close().await;
}

async fn instants_beyond_the_table_are_rejected(database: Database) {
    let service = Service::start(&database).await;
    let instants = [FIRST_US - 1, LAST_US + 1, i64::MIN, i64::MAX];
    let reply = service
        .client()
        .await
        .send_sensor_batch(batch(at(&instants)))
        .await;
    let reply = reply.expect("answered").into_inner();
    assert_eq!((reply.committed, reply.rejected), (0, 4));
    assert!(
        reply
            .rejected_readings
            .iter()
            .all(|note| note.field == "timestamp_us")
    );
    let kept: Vec<i64> = database
        .quarantined()
        .await
        .into_iter()
        .map(|row| row.timestamp_us)
        .collect();
    assert_eq!(kept, instants);
    service.close().await;
}

/// Half hours around the changes of clocks in New York and Berlin in 2025.
fn around_clock_changes() -> Vec<i64> {
    let changes = [1_741_503_600, 1_762_063_200, 1_743_296_400, 1_761_440_400];
    let around = changes.map(|change| (-4..=4).map(move |step| change * SECOND + step * HOUR / 2));
    around.into_iter().flatten().collect()
}

async fn instants_around_a_change_of_clocks_stay_apart(database: Database) {
    for layout in [Layout::Partitioned, Layout::Seed] {
        let database = database.server.schema().await;
        let service =
            Service::start_with(&database, |settings| settings.layout = Some(layout)).await;
        let sent = at(&around_clock_changes());
        let reply = service
            .client()
            .await
            .send_sensor_batch(batch(sent.clone()))
            .await;
        assert_eq!(reply.expect("stored").into_inner().rejected_readings, []);
        assert_same(
            database.stored().await.iter().map(|row| &row.reading),
            &sent,
        );
        service.close().await;
    }
}

async fn the_seed_layout_cuts_to_seconds_and_never_rounds(database: Database) {
    let service =
        Service::start_with(&database, |settings| settings.layout = Some(Layout::Seed)).await;
    let readiness = service.readiness().await;
    assert_eq!(readiness["storage"]["layout"], "seed");
    assert_eq!(readiness["storage"]["timestamp_decimals"], 0);
    let last = 2_147_483_647 * SECOND;
    let instants = [
        SECOND,
        BASE_US + 1,
        BASE_US + 500_000,
        BASE_US + 999_999,
        last + 999_999,
    ];
    let beyond = [0, SECOND - 1, -1, last + SECOND];
    let sent = at(&[instants.as_slice(), beyond.as_slice()].concat());
    let reply = service.client().await.send_sensor_batch(batch(sent)).await;
    let reply = reply.expect("stored").into_inner();
    assert_eq!((reply.committed, reply.rejected), (5, 4));
    let cut = at(&instants.map(|instant| instant - instant % SECOND));
    assert_same(database.stored().await.iter().map(|row| &row.reading), &cut);
    service.close().await;
}
