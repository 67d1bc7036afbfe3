//! What every way in promises: acknowledged is committed, once, in order, gap-free (P1, P2).

use sluicegate_proto::v1::{OpenStreamRequest, ResumeStream, SensorBatch, Series};
use tonic::Code;

use crate::common::{
    database::Database,
    on_each_engine,
    readings::{
        assert_same, assert_stored, column_batch, columns, header, position, reading, readings,
        resume, rows,
    },
    service::{AckedCall, Service},
};

on_each_engine! {
    a_reading_is_committed_when_its_call_returns,
    a_batch_is_committed_when_its_call_returns,
    a_stream_of_rows_is_committed_when_its_call_returns,
    a_stream_of_columns_extends_its_dictionary_as_it_goes,
    an_acknowledged_reading_is_in_the_table,
    an_anonymous_stream_is_committed,
    a_resent_batch_is_stored_once,
    of_an_overlapping_batch_only_the_new_readings_are_stored,
    an_overlap_with_rejected_readings_counts_each_once,
    a_fenced_writer_is_aborted_and_the_new_one_commits,
    a_fenced_stream_does_not_hurt_another_in_the_same_batch,
    a_stream_is_resumed_by_the_writer_that_holds_it_and_by_no_other,
    a_gap_is_out_of_range,
    a_stream_that_was_never_opened_is_refused,
    an_epoch_that_the_ledger_does_not_know_is_named_beside_the_one_it_knows,
}

async fn a_reading_is_committed_when_its_call_returns(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    for n in 1..=20 {
        let reply = client
            .send_sensor_reading(reading(n))
            .await
            .expect("stored");
        assert_eq!(reply.into_inner().committed, 1);
        assert_eq!(database.count("sensor_readings").await, n);
    }
    assert_stored(&database, 1..21).await;
    service.close().await;
}

async fn a_batch_is_committed_when_its_call_returns(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let batch = SensorBatch {
        readings: readings(1..5_001),
        position: None,
    };
    let reply = client
        .send_sensor_batch(batch)
        .await
        .expect("stored")
        .into_inner();
    assert_eq!(
        (reply.received, reply.committed, reply.committed_seq),
        (5_000, 5_000, 0)
    );
    assert_stored(&database, 1..5_001).await;
    service.close().await;
}

async fn a_stream_of_rows_is_committed_when_its_call_returns(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let at = service.open("rows").await;
    let messages = vec![
        resume("rows", &at),
        rows(readings(1..1_001)),
        rows(readings(1_001..3_001)),
    ];
    let reply = client
        .stream_readings(tokio_stream::iter(messages))
        .await
        .expect("stored")
        .into_inner();
    assert_eq!(
        (reply.received, reply.committed, reply.committed_seq),
        (3_000, 3_000, 3_000)
    );
    assert_stored(&database, 1..3_001).await;
    service.close().await;
}

async fn a_stream_of_columns_extends_its_dictionary_as_it_goes(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let at = service.open("columns").await;
    let mut known = column_batch(1_001..2_001);
    (known.series, known.extend_dictionary) = (Vec::new(), true);
    let mut more = column_batch(2_001..2_002);
    more.series = vec![Series {
        id1: 70,
        id2: "late".into(),
        sensor_type: "humidity".into(),
    }];
    (more.extend_dictionary, more.series_index) = (true, vec![7]);
    let messages = [column_batch(1..1_001), known, more].map(columns);
    let messages = [resume("columns", &at)].into_iter().chain(messages);
    let reply = client
        .stream_readings(tokio_stream::iter(messages))
        .await
        .expect("stored")
        .into_inner();
    assert_eq!(
        (reply.received, reply.committed, reply.committed_seq),
        (2_001, 2_001, 2_001)
    );
    let stored = database.stored().await;
    let mut sent = readings(1..2_002);
    let late = &mut sent[2_000];
    (late.id1, late.id2, late.sensor_type) = (70, "late".into(), "humidity".into());
    assert_same(stored.iter().map(|row| &row.reading), &sent);
    service.close().await;
}

async fn an_acknowledged_reading_is_in_the_table(database: Database) {
    let service = Service::start(&database).await;
    let at = service.open("acked").await;
    let mut call = AckedCall::resume(&mut service.client().await, "acked", &at).await;
    for step in 0..20 {
        call.send(columns(column_batch(step * 500 + 1..step * 500 + 501)))
            .await;
        let ack = call.until_acked(step * 500 + 1).await;
        assert!(database.count("sensor_readings").await >= ack.committed_seq);
    }
    let last = call.finish().await;
    assert_eq!(
        (last.committed_seq, last.committed, last.draining),
        (10_000, 10_000, false)
    );
    assert_stored(&database, 1..10_001).await;
    service.close().await;
}

async fn an_anonymous_stream_is_committed(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let messages = vec![columns(column_batch(1..101)), rows(readings(101..201))];
    let reply = client
        .stream_readings(tokio_stream::iter(messages))
        .await
        .expect("stored")
        .into_inner();
    assert_eq!(
        (reply.received, reply.committed, reply.committed_seq),
        (200, 200, 0)
    );
    assert_stored(&database, 1..201).await;
    service.close().await;
}

async fn a_resent_batch_is_stored_once(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let at = service.open("resent").await;
    let batch = SensorBatch {
        readings: readings(1..101),
        position: Some(position("resent", at.epoch, 1)),
    };
    let first = client
        .send_sensor_batch(batch.clone())
        .await
        .expect("stored")
        .into_inner();
    assert_eq!(
        (first.committed, first.duplicate, first.committed_seq),
        (100, 0, 100)
    );
    let second = client
        .send_sensor_batch(batch)
        .await
        .expect("stored")
        .into_inner();
    assert_eq!(
        (second.committed, second.duplicate, second.committed_seq),
        (0, 100, 100)
    );
    assert_stored(&database, 1..101).await;
    service.close().await;
}

async fn of_an_overlapping_batch_only_the_new_readings_are_stored(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let at = service.open("overlap").await;
    let of = |numbers: std::ops::Range<u64>| SensorBatch {
        position: Some(position("overlap", at.epoch, numbers.start)),
        readings: readings(numbers),
    };
    client.send_sensor_batch(of(1..101)).await.expect("stored");
    let reply = client
        .send_sensor_batch(of(51..151))
        .await
        .expect("stored")
        .into_inner();
    assert_eq!(
        (reply.committed, reply.duplicate, reply.committed_seq),
        (50, 50, 150)
    );
    assert_stored(&database, 1..151).await;
    service.close().await;
}

async fn an_overlap_with_rejected_readings_counts_each_once(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let at = service.open("overlap").await;
    // Every tenth reading is bad.
    let of = |numbers: std::ops::Range<u64>| {
        let mut batch = readings(numbers.clone());
        for reading in batch
            .iter_mut()
            .filter(|reading| reading.sensor_value() % 10.0 == 0.0)
        {
            reading.sensor_value = Some(f64::NAN);
        }
        SensorBatch {
            position: Some(position("overlap", at.epoch, numbers.start)),
            readings: batch,
        }
    };
    let first = client
        .send_sensor_batch(of(1..101))
        .await
        .expect("stored")
        .into_inner();
    assert_eq!(
        (first.committed, first.rejected, first.duplicate),
        (90, 10, 0)
    );
    let second = client
        .send_sensor_batch(of(46..146))
        .await
        .expect("stored")
        .into_inner();
    assert_eq!(
        (second.committed, second.rejected, second.duplicate),
        (41, 4, 55)
    );
    let told: Vec<u64> = second
        .rejected_readings
        .iter()
        .map(|note| note.seq)
        .collect();
    assert_eq!(told, [110, 120, 130, 140]);
    let sent: Vec<_> = readings(1..146)
        .into_iter()
        .filter(|reading| reading.sensor_value() % 10.0 != 0.0)
        .collect();
    assert_same(
        database.stored().await.iter().map(|row| &row.reading),
        &sent,
    );
    service.close().await;
}

async fn a_fenced_writer_is_aborted_and_the_new_one_commits(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let old = service.open("fenced").await;
    let mut old_call = AckedCall::resume(&mut client, "fenced", &old).await;
    old_call.send(rows(readings(1..11))).await;
    old_call.until_acked(10).await;
    let new = service.open("fenced").await;
    assert!(new.epoch > old.epoch);
    assert_eq!(new.committed_seq, 10);
    let new_call = AckedCall::resume(&mut client, "fenced", &new).await;
    old_call.send(rows(readings(11..21))).await;
    assert_eq!(old_call.failure().await.code(), Code::Aborted);
    new_call.send(rows(readings(11..31))).await;
    assert_eq!(new_call.finish().await.committed_seq, 30);
    // Turned away before anything is sent as well.
    let mut late = AckedCall::resume(&mut client, "fenced", &old).await;
    assert_eq!(late.failure().await.code(), Code::Aborted);
    assert_stored(&database, 1..31).await;
    assert_eq!(service.figure("turned_away").await, 10);
    service.close().await;
}

async fn a_fenced_stream_does_not_hurt_another_in_the_same_batch(database: Database) {
    // One lane and a long linger put both streams into one batch.
    let service = Service::start_with(&database, |settings| {
        settings.ingest.lanes = Some(1);
        settings.ingest.linger_ms = Some(1_000);
    })
    .await;
    let mut client = service.client().await;
    let (fenced, other) = (service.open("fenced").await, service.open("other").await);
    let mut fenced_call = AckedCall::resume(&mut client, "fenced", &fenced).await;
    let mut other_call = AckedCall::resume(&mut client, "other", &other).await;
    // The first acknowledgement says that the call has begun.
    fenced_call.until_acked(0).await;
    other_call.until_acked(0).await;
    service.open("fenced").await;
    fenced_call.send(rows(readings(1..11))).await;
    other_call.send(rows(readings(11..21))).await;
    fenced_call.send(rows(readings(21..31))).await;
    assert_eq!(fenced_call.failure().await.code(), Code::Aborted);
    assert_eq!(other_call.finish().await.committed, 10);
    assert_stored(&database, 11..21).await;
    assert_eq!(service.figure("batches").await, 1, "they shared a batch");
    service.close().await;
}

async fn a_stream_is_resumed_by_the_writer_that_holds_it_and_by_no_other(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let mut resume_stream = async |stream_id: &str, held_epoch, next_epoch| {
        let request = OpenStreamRequest {
            stream_id: stream_id.to_owned(),
            resume: Some(ResumeStream {
                held_epoch,
                next_epoch,
            }),
        };
        let opened = client.open_stream(request).await;
        opened
            .map(|opened| opened.into_inner())
            .map_err(|status| status.code())
    };
    let first = service.open("held").await.epoch;
    let mut old_call =
        AckedCall::begin(&mut service.client().await, header("held", first, 1)).await;
    old_call.send(rows(readings(1..11))).await;
    old_call.until_acked(10).await;

    // An answer may be lost: the second request is the same as one.
    for _ in 0..2 {
        let resumed = resume_stream("held", first, first + 70_000).await;
        let resumed = resumed.expect("still held");
        assert_eq!((resumed.epoch, resumed.committed_seq), (first + 70_000, 10));
    }
    old_call.send(rows(readings(11..21))).await;
    assert_eq!(old_call.failure().await.code(), Code::Aborted);
    let mut new_call = AckedCall::begin(
        &mut service.client().await,
        header("held", first + 70_000, 11),
    )
    .await;
    new_call.send(rows(readings(11..31))).await;
    new_call.until_acked(30).await;

    // The other writer is not disturbed.
    let other = service.open("held").await;
    let refused = resume_stream("held", first + 70_000, first + 140_000).await;
    assert_eq!(refused.expect_err("another one holds it"), Code::Aborted);
    let other_call =
        AckedCall::begin(&mut service.client().await, header("held", other.epoch, 31)).await;
    other_call.send(rows(readings(31..41))).await;
    assert_eq!(other_call.finish().await.committed_seq, 40);
    assert_stored(&database, 1..41).await;

    let never = resume_stream("never opened", 1, 70_000).await;
    assert_eq!(never.expect_err("unknown"), Code::FailedPrecondition);
    let later = resume_stream("held", other.epoch + 1, other.epoch + 70_000).await;
    assert_eq!(later.expect_err("unknown"), Code::FailedPrecondition);
    for next in [other.epoch, other.epoch + (1 << 32) + 1] {
        let wrong = resume_stream("held", other.epoch, next).await;
        assert_eq!(wrong.expect_err("no next epoch"), Code::InvalidArgument);
    }
    service.close().await;
}

async fn a_gap_is_out_of_range(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let at = service.open("gap").await;
    let batch = SensorBatch {
        readings: readings(1..11),
        position: Some(position("gap", at.epoch, 2)),
    };
    let refused = client
        .send_sensor_batch(batch)
        .await
        .expect_err("leaves a gap");
    assert_eq!(refused.code(), Code::OutOfRange);
    let messages = vec![header("gap", at.epoch, 2), rows(readings(2..11))];
    let refused = client
        .stream_readings(tokio_stream::iter(messages))
        .await
        .expect_err("leaves a gap");
    assert_eq!(refused.code(), Code::OutOfRange);
    assert_eq!(database.count("sensor_readings").await, 0);
    service.close().await;
}

async fn a_stream_that_was_never_opened_is_refused(database: Database) {
    let service = Service::start(&database).await;
    let mut client = service.client().await;
    let mut call = AckedCall::begin(&mut client, header("unknown", 1, 1)).await;
    assert_eq!(call.failure().await.code(), Code::FailedPrecondition);
    service.close().await;
}

async fn an_epoch_that_the_ledger_does_not_know_is_named_beside_the_one_it_knows(
    database: Database,
) {
    let service = Service::start(&database).await;
    let at = service.open("restored").await;
    let mut call = AckedCall::begin(&mut service.client().await, header("restored", 2, 1)).await;
    let of_header = call.failure().await;
    // The ledger goes back while a call is open.
    let mut open = AckedCall::resume(&mut service.client().await, "restored", &at).await;
    open.send(rows(readings(1..11))).await;
    open.until_acked(10).await;
    database
        .run("UPDATE ingest_streams SET epoch = 0 WHERE stream_id = 'restored'")
        .await;
    open.send(rows(readings(11..21))).await;
    let of_batch = open.failure().await;
    for (refused, known, held) in [(of_header, 1, 2), (of_batch, 0, 1)] {
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        for part in [
            format!("epoch {known}"),
            format!("epoch {held}"),
            "OpenStream".to_owned(),
        ] {
            assert!(refused.message().contains(&part), "{refused:?}");
        }
    }
    assert_stored(&database, 1..11).await;
    service.close().await;
}
