use proptest::prelude::*;
use stream_readings_request::Message::{Columns, Rows};

use super::*;

fn reading(text: &str) -> SensorReading {
    SensorReading {
        sensor_type: text.to_owned(),
        id2: text.to_owned(),
        ..SensorReading::default()
    }
}

fn weight(request: &StreamReadingsRequest) -> Weight {
    let encoded = request.encode_to_vec();
    StreamReadingsRequest::count(&encoded).expect("protobuf")
}

fn decoded(encoded: &[u8]) -> (Weight, StreamReadingsRequest) {
    let weight = StreamReadingsRequest::count(encoded).expect("protobuf");
    let mut request = StreamReadingsRequest::with_room(&weight);
    request.merge(encoded).expect("protobuf");
    (weight, request)
}

proptest! {
    #[test]
    fn a_decoded_message_takes_no_more_than_it_was_weighed(
        rows in proptest::collection::vec(".{0,20}", 0..50),
        series in proptest::collection::vec(".{0,20}", 0..50),
        index in proptest::collection::vec(any::<u32>(), 0..200),
        values in proptest::collection::vec(any::<f64>(), 0..200),
        deltas in proptest::collection::vec(any::<i64>(), 0..200),
        source_position in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let readings: Vec<_> = rows.iter().map(|text| reading(text)).collect();
        let rows = StreamReadingsRequest {
            message: Some(Rows(SensorBatch { readings, position: None })),
            source_position: source_position.clone(),
        };
        let series: Vec<_> = series
            .iter()
            .map(|text| Series { id1: 1, id2: text.clone(), sensor_type: text.clone() })
            .collect();
        let counts = (series.len(), index.len(), values.len(), deltas.len());
        let columns = StreamReadingsRequest {
            message: Some(Columns(ColumnBatch {
                series,
                series_index: index,
                sensor_value: values,
                timestamp_delta_us: deltas,
                ..ColumnBatch::default()
            })),
            source_position,
        };
        for request in [&rows, &columns] {
            let (weight, decoded) = decoded(&request.encode_to_vec());
            prop_assert_eq!(&decoded, request);
            prop_assert!(bytes_of(&decoded) <= weight.bytes(), "{:?}", weight);
        }
        let counted = weight(&columns);
        prop_assert_eq!(
            (counted.series, counted.series_index, counted.sensor_value, counted.timestamp_delta_us),
            counts
        );
    }

    #[test]
    fn what_is_no_protobuf_is_found_out_or_decoded_within_its_weight(
        encoded in proptest::collection::vec(any::<u8>(), 0..300)
    ) {
        if let Ok(weight) = StreamReadingsRequest::count(&encoded) {
            let mut request = StreamReadingsRequest::with_room(&weight);
            if request.merge(&encoded[..]).is_ok() {
                prop_assert!(bytes_of(&request) <= weight.bytes(), "{:?}", weight);
            }
        }
    }
}

#[test]
fn a_message_is_one_thing() {
    let rows = StreamReadingsRequest {
        message: Some(Rows(SensorBatch {
            readings: vec![reading("a")],
            position: None,
        })),
        ..StreamReadingsRequest::default()
    };
    let columns = StreamReadingsRequest {
        message: Some(Columns(ColumnBatch::default())),
        ..StreamReadingsRequest::default()
    };
    let (rows, columns) = (rows.encode_to_vec(), columns.encode_to_vec());
    let weigh = |parts: &[&[u8]]| StreamReadingsRequest::weigh(&parts.concat());
    assert!(
        matches!(weigh(&[&rows, &rows]), Ok(Ok(_))),
        "they are merged"
    );
    for parts in [[&rows[..], &columns[..]], [&columns, &rows]] {
        let refused = weigh(&parts);
        assert!(
            matches!(&refused, Ok(Err(IngestError::Malformed { field, .. })) if field == "message"),
            "{refused:?}"
        );
    }
}

/// Protobuf lets a writer spell a column element by element, and a field more than once.
#[test]
fn unpacked_columns_and_repeated_fields_are_counted() {
    let mut element: Vec<u8> = vec![3 << 3, 7, 4 << 3 | 1];
    element.extend(1.0_f64.to_le_bytes());
    element.extend([6 << 3, 2]);
    let batch = element.repeat(3);
    let mut field: Vec<u8> = vec![3 << 3 | 2, batch.len() as u8];
    field.extend(&batch);
    let (weight, request) = decoded(&field.repeat(2));
    assert_eq!(
        (
            weight.series_index,
            weight.sensor_value,
            weight.timestamp_delta_us
        ),
        (6, 6, 6)
    );
    let Some(Columns(batch)) = request.message else {
        panic!("columns");
    };
    assert_eq!(batch.series_index, [7; 6]);
    assert_eq!(batch.timestamp_delta_us, [1; 6]);
}
