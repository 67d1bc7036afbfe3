//! What was sent is what is stored, byte for byte (P3).

use proptest::{
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use sluicegate::embedded_db::Engine;
use sluicegate_proto::v1::{ColumnBatch, SensorBatch, SensorReading, Series};

use crate::common::{
    database::Database,
    on_each_engine,
    poison::poison,
    readings::{BASE_US, assert_same, column_batch, columns, reading, rows},
    service::Service,
};

on_each_engine! {
    any_sensor_type_is_stored_byte_for_byte,
    ids_that_differ_by_case_or_accent_stay_apart,
    fifty_characters_fit_and_fifty_one_are_rejected,
    an_id_that_a_reader_could_misread_is_rejected,
    every_finite_double_is_stored_bit_for_bit,
    the_sign_of_zero_is_kept_where_the_engine_keeps_it,
    what_is_not_a_number_is_rejected,
    columns_store_the_same_as_rows,
}

fn batch(readings: Vec<SensorReading>) -> SensorBatch {
    SensorBatch {
        readings,
        position: None,
    }
}

/// Sends the readings in one batch, and asserts that all of them are stored as they were sent.
async fn assert_round_trip(database: &Database, readings: Vec<SensorReading>) {
    let service = Service::start(database).await;
    let sent = batch(readings.clone());
    let reply = service.client().await.send_sensor_batch(sent).await;
    let reply = reply.expect("stored").into_inner();
    assert_eq!(reply.rejected_readings, []);
    assert_same(
        database.stored().await.iter().map(|row| &row.reading),
        &readings,
    );
    service.close().await;
}

async fn any_sensor_type_is_stored_byte_for_byte(database: Database) {
    let mut readings = Vec::new();
    for (n, text) in (1..).zip(poison()) {
        readings.push(SensorReading {
            sensor_type: text,
            ..reading(n)
        });
    }
    // Arbitrary characters as well.
    let mut runner = TestRunner::deterministic();
    let texts = proptest::collection::vec(proptest::char::any(), 1..=50);
    for n in 1_000..2_000 {
        let text = texts.new_tree(&mut runner).expect("a text").current();
        readings.push(SensorReading {
            sensor_type: text.into_iter().collect(),
            ..reading(n)
        });
    }
    assert_round_trip(&database, readings).await;
}

async fn ids_that_differ_by_case_or_accent_stay_apart(database: Database) {
    let ids = [
        "a", "A", "á", "Á", "a\u{301}", "ß", "ss", "ı", "i", "\\N", "it's", "a\\",
    ];
    let of = |id2: &str| SensorReading {
        id2: id2.to_owned(),
        ..reading(1)
    };
    assert_round_trip(&database, ids.map(of).to_vec()).await;
    for id2 in ids {
        let sql = "SELECT COUNT(*) FROM sensor_readings WHERE id2 = ?";
        let mut conn = database.connect().await;
        let count = mysql_async::prelude::Queryable::exec_first(&mut conn, sql, (id2,)).await;
        assert_eq!(
            count.expect("counts"),
            Some(1_u64),
            "{id2:?} is an id of its own"
        );
    }
}

async fn fifty_characters_fit_and_fifty_one_are_rejected(database: Database) {
    let service = Service::start(&database).await;
    let of = |length: usize| SensorReading {
        id2: "é".repeat(length),
        sensor_type: "🌡".repeat(length),
        ..reading(1)
    };
    let long_type = SensorReading {
        id2: "short".to_owned(),
        ..of(51)
    };
    let sent = batch(vec![of(50), of(51), long_type]);
    let reply = service.client().await.send_sensor_batch(sent).await;
    let reply = reply.expect("stored").into_inner();
    let fields: Vec<_> = reply
        .rejected_readings
        .iter()
        .map(|note| (note.seq, note.field.as_str()))
        .collect();
    assert_eq!(fields, [(2, "id2"), (3, "sensor_type")]);
    assert_same(
        database.stored().await.iter().map(|row| &row.reading),
        &[of(50)],
    );
    service.close().await;
}

async fn an_id_that_a_reader_could_misread_is_rejected(database: Database) {
    let service = Service::start(&database).await;
    let ids = ["", " a", "a ", "a\tb", "a\0", "\n", "\u{a0}a"];
    let of = |id2: &str| SensorReading {
        id2: id2.to_owned(),
        ..reading(1)
    };
    let sent = batch(ids.map(of).to_vec());
    let reply = service.client().await.send_sensor_batch(sent).await;
    let reply = reply.expect("answered").into_inner();
    assert_eq!((reply.committed, reply.rejected), (0, ids.len() as u64));
    let kept: Vec<String> = database
        .quarantined()
        .await
        .into_iter()
        .map(|row| row.id2)
        .collect();
    assert_eq!(kept, ids, "the quarantine has them as they were sent");
    service.close().await;
}

fn doubles() -> Vec<f64> {
    let mut values = vec![
        0.0,
        5e-324,
        -5e-324,
        2.225_073_858_507_201e-308,
        f64::MIN_POSITIVE,
        f64::EPSILON,
        0.1,
        1.0 / 3.0,
        1e15,
        1e16,
        9_007_199_254_740_993.0,
        1e22,
        1e23,
        f64::MAX,
        f64::MIN,
    ];
    let mut runner = TestRunner::deterministic();
    let bits = proptest::num::u64::ANY;
    while values.len() < 2_000 {
        let value = f64::from_bits(bits.new_tree(&mut runner).expect("bits").current());
        if value.is_finite() && value != 0.0 {
            values.push(value);
        }
    }
    values
}

async fn every_finite_double_is_stored_bit_for_bit(database: Database) {
    let of = |(n, value)| SensorReading {
        sensor_value: Some(value),
        ..reading(n)
    };
    assert_round_trip(&database, (1..).zip(doubles()).map(of).collect()).await;
}

async fn the_sign_of_zero_is_kept_where_the_engine_keeps_it(database: Database) {
    let service = Service::start(&database).await;
    let values = [-0.0, 0.0, -1.0];
    let mut batch = column_batch(1..4);
    batch.sensor_value = values.to_vec();
    let as_rows = (4..7).zip(values).map(|(n, value)| SensorReading {
        sensor_value: Some(value),
        ..reading(n)
    });
    let messages = tokio_stream::iter([columns(batch), rows(as_rows.collect())]);
    let reply = service.client().await.stream_readings(messages).await;
    assert_eq!(reply.expect("stored").into_inner().committed, 6);
    let signs = database.stored().await;
    let signs = signs
        .iter()
        .map(|row| row.reading.sensor_value().is_sign_negative());
    // MariaDB stores every zero as a positive one, even with INSERT.
    let of_zero = database.engine() == Engine::MySql;
    assert_eq!(
        signs.collect::<Vec<_>>(),
        [of_zero, false, true, of_zero, false, true]
    );
    service.close().await;
}

async fn what_is_not_a_number_is_rejected(database: Database) {
    let service = Service::start(&database).await;
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let of = |value| SensorReading {
        sensor_value: Some(value),
        ..reading(1)
    };
    let mut readings = values.map(of).to_vec();
    readings.push(reading(2));
    let reply = service
        .client()
        .await
        .send_sensor_batch(batch(readings))
        .await;
    let reply = reply.expect("stored").into_inner();
    assert_eq!((reply.committed, reply.rejected), (1, 3));
    let kept = database
        .quarantined()
        .await
        .into_iter()
        .map(|row| row.sensor_value);
    assert_eq!(kept.collect::<Vec<_>>(), ["NaN", "inf", "-inf"]);
    let refused = service
        .client()
        .await
        .send_sensor_reading(of(f64::NAN))
        .await;
    assert_eq!(
        refused.expect_err("rejected").code(),
        tonic::Code::InvalidArgument
    );
    service.close().await;
}

async fn columns_store_the_same_as_rows(database: Database) {
    let service = Service::start(&database).await;
    let series: Vec<Series> = poison()
        .into_iter()
        .map(|sensor_type| Series {
            id1: i32::MIN,
            id2: "'x'\\".into(),
            sensor_type,
        })
        .collect();
    let values = doubles();
    let count = values.len();
    let index: Vec<u32> = (0..count as u32).map(|n| n % series.len() as u32).collect();
    // Not in order of time, and several of the same instant.
    let delta: Vec<i64> = (0..count as i64)
        .map(|n| (n * 7_919) % 1_000 - 500)
        .collect();
    let sent: Vec<SensorReading> = (0..count)
        .map(|n| {
            let Series {
                id1,
                id2,
                sensor_type,
            } = series[index[n] as usize].clone();
            SensorReading {
                sensor_value: Some(values[n]),
                sensor_type,
                id1,
                id2,
                timestamp_us: Some(BASE_US + delta[n]),
            }
        })
        .collect();
    let message = columns(ColumnBatch {
        series,
        extend_dictionary: false,
        series_index: index,
        sensor_value: values,
        base_timestamp_us: BASE_US,
        timestamp_delta_us: delta,
        series_tags: Vec::new(),
    });
    let reply = service
        .client()
        .await
        .stream_readings(tokio_stream::iter([message]))
        .await;
    assert_eq!(reply.expect("stored").into_inner().committed, count as u64);
    assert_same(
        database.stored().await.iter().map(|row| &row.reading),
        &sent,
    );
    service.close().await;
}
