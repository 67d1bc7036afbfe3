//! Settings of the server that ingestion depends on (these tests change them globally).

use crate::common::{
    alone_on_each_engine, database::Database, readings::reading, service::Service,
};

alone_on_each_engine! {
    local_infile_off_is_named,
    a_small_packet_is_named,
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
