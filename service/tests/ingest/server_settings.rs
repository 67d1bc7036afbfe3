//! Settings of the server that ingestion depends on (these tests change them globally).

use crate::common::{
    alone_on_each_engine,
    database::Database,
    readings::{assert_stored, column_batch, columns, reading, rows},
    service::Service,
};

alone_on_each_engine! {
    local_infile_off_is_named,
    a_small_packet_is_named,
    the_smallest_packet_that_is_accepted_takes_any_number_of_rejections,
    what_an_acknowledgement_survives_is_published,
}

async fn refusal(database: &Database) -> String {
    match Service::try_start(database, |_| {}).await {
        Err(sentence) => sentence,
        Ok(_) => panic!("the service starts"),
    }
}

async fn local_infile_off_is_named(database: Database) {
    database.run("SET GLOBAL local_infile = 0").await;
    let sentence = refusal(&database).await;
    assert!(
        sentence.contains("SET GLOBAL local_infile = 1"),
        "{sentence}"
    );
    database.run("SET GLOBAL local_infile = 1").await;
    Service::start(&database).await.close().await;
}

async fn a_small_packet_is_named(database: Database) {
    database.run("SET GLOBAL max_allowed_packet = 524288").await;
    let sentence = refusal(&database).await;
    assert!(sentence.contains("max_allowed_packet"), "{sentence}");
    database
        .run("SET GLOBAL max_allowed_packet = 67108864")
        .await;
    Service::start(&database).await.close().await;
}

async fn the_smallest_packet_that_is_accepted_takes_any_number_of_rejections(database: Database) {
    database
        .run("SET GLOBAL max_allowed_packet = 1048576")
        .await;
    let service = Service::start(&database).await;
    let mut batch = column_batch(1..20_001);
    batch.sensor_value[10_000..].fill(f64::NAN);
    let mut longest = reading(1);
    // Each byte of them is escaped.
    (longest.id2, longest.sensor_type) = ("'".repeat(600_000), "\\".repeat(600_000));
    let messages = [columns(batch), rows(vec![longest])];
    let mut client = service.client().await;
    let reply = client.stream_readings(tokio_stream::iter(messages)).await;
    let reply = reply.expect("stored").into_inner();
    assert_eq!((reply.committed, reply.rejected), (10_000, 10_001));
    assert_eq!(service.figure("retries").await, 0);
    assert_stored(&database, 1..10_001).await;
    assert_eq!(database.count("rejected_readings").await, 10_001);
    service.close().await;
    database
        .run("SET GLOBAL max_allowed_packet = 67108864")
        .await;
}

async fn what_an_acknowledgement_survives_is_published(database: Database) {
    for (flush, durability) in [(2, "process_crash"), (0, "process_crash"), (1, "full")] {
        let set = format!("SET GLOBAL innodb_flush_log_at_trx_commit = {flush}");
        database.run(&set).await;
        let service = Service::start(&database).await;
        let readiness = service.readiness().await;
        assert_eq!(
            readiness["storage"]["durability"], durability,
            "with {flush}"
        );
        let reply = service.client().await.send_sensor_reading(reading(1)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
        service.close().await;
    }
}
