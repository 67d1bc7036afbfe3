//! Readings that only the database refuses: who sends many of them waits for them alone (P5).

use sluicegate_proto::v1::SensorBatch;

use crate::common::{
    database::Database,
    on_each_engine,
    readings::{column_batch, columns, reading, readings},
    service::{AckedCall, Service},
};

on_each_engine! {
    a_call_of_refused_readings_holds_no_other_up,
    a_stream_with_refused_readings_stays_in_order,
}

const CHECK: &str = "ALTER TABLE sensor_readings ADD CONSTRAINT sane CHECK (sensor_value < 100000)";
const BAD: u64 = 10_000;

async fn a_call_of_refused_readings_holds_no_other_up(database: Database) {
    let service = Service::start_with(&database, |settings| {
        settings.ingest.lanes = Some(1);
    })
    .await;
    database.run(CHECK).await;
    let mut client = service.client().await;
    let at = service.open("offender").await;
    let mut call = AckedCall::resume(&mut client, "offender", &at).await;
    let mut batch = column_batch(1..BAD + 1);
    batch.sensor_value.fill(1e6);
    call.send(columns(batch)).await;
    for n in 1..=3 {
        let reply = client.send_sensor_reading(reading(n)).await;
        assert_eq!(reply.expect("stored").into_inner().committed, 1);
    }
    let refused = database.count("rejected_readings").await;
    assert!(
        refused < BAD,
        "the others waited until all {refused} were found"
    );
    let ack = call.until_acked(BAD).await;
    assert_eq!((ack.committed, ack.rejected), (0, BAD));
    call.finish().await;
    service.close().await;
}

/// Good and bad readings in turn, in many messages of two calls, one of them without a name, and a third that is good.
async fn a_stream_with_refused_readings_stays_in_order(database: Database) {
    const MESSAGE: u64 = 400;
    const MESSAGES: u64 = 12;
    let service = Service::start_with(&database, |settings| {
        settings.ingest.lanes = Some(1);
    })
    .await;
    database.run(CHECK).await;
    let mut client = service.client().await;
    let at = service.open("mixed").await;
    let mut call = AckedCall::resume(&mut client, "mixed", &at).await;
    let innocent = service.open("innocent").await;
    let mut innocents = AckedCall::resume(&mut client, "innocent", &innocent).await;
    let mut anonymous = client.clone();
    let sending = tokio::spawn(async move {
        let mut bad = readings(1..2_001);
        for one in bad.iter_mut().step_by(3) {
            one.sensor_value = Some(2e6);
        }
        let batch = SensorBatch {
            readings: bad,
            position: None,
        };
        anonymous.send_sensor_batch(batch).await
    });
    for message in 0..MESSAGES {
        let first = message * MESSAGE + 1;
        let mut batch = column_batch(first..first + MESSAGE);
        if message != 5 {
            batch
                .sensor_value
                .iter_mut()
                .step_by(2)
                .for_each(|value| *value = 1e6);
        }
        // One dictionary for all of them.
        if message > 0 {
            batch.extend_dictionary = true;
            batch.series.clear();
        }
        call.send(columns(batch)).await;
        innocents
            .send(columns(column_batch(first..first + MESSAGE)))
            .await;
    }
    let all = MESSAGES * MESSAGE;
    let ack = innocents.until_acked(all).await;
    assert_eq!((ack.committed, ack.rejected), (all, 0));
    let ack = call.until_acked(all).await;
    let bad = (MESSAGES - 1) * MESSAGE / 2;
    assert_eq!((ack.committed, ack.rejected), (all - bad, bad));
    let reply = sending
        .await
        .expect("no panic")
        .expect("stored")
        .into_inner();
    assert_eq!((reply.committed, reply.rejected), (1_333, 667));
    assert_eq!(
        database.count("sensor_readings").await,
        all + all - bad + 1_333
    );
    let seqs: Vec<u64> = database
        .quarantined()
        .await
        .into_iter()
        .filter(|row| row.stream_id.is_some())
        .map(|row| row.seq)
        .collect();
    let expected = (0..MESSAGES)
        .filter(|&message| message != 5)
        .flat_map(|message| (message * MESSAGE + 1..(message + 1) * MESSAGE + 1).step_by(2));
    assert!(seqs.into_iter().eq(expected), "with their positions");
    innocents.finish().await;
    call.finish().await;
    service.close().await;
}
