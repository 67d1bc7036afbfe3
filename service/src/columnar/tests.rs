use std::io::Write as _;

use proptest::prelude::*;

use super::*;
use crate::model::{Reading, Series};

fn writers() -> [(&'static str, Box<dyn TableWriter>); 2] {
    [
        ("arrow", Box::new(ArrowStreamWriter::new().unwrap())),
        ("parquet", Box::new(ParquetWriter::new().unwrap())),
    ]
}

fn open(format: &str, bytes: &[u8]) -> Result<TableReader, Fault> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    match format {
        "arrow" => TableReader::arrow(file),
        _ => TableReader::parquet(file),
    }
}

/// All of it, bit for bit.
fn read(format: &str, bytes: &[u8]) -> Result<Vec<(Series, u64, i64)>, Fault> {
    let mut reader = open(format, bytes)?;
    let mut all = Vec::new();
    while let Some(columns) = reader.read()? {
        for row in 0..columns.len() {
            let series = columns.series[columns.series_index[row] as usize].clone();
            let value = columns.sensor_value[row].to_bits();
            all.push((series, value, columns.timestamp_us[row]));
        }
    }
    Ok(all)
}

fn exact(pages: &[Vec<StoredReading>]) -> Vec<(Series, u64, i64)> {
    let exact = |stored: &StoredReading| {
        let Reading {
            series,
            sensor_value,
            timestamp_us,
        } = stored.reading.clone();
        (series, sensor_value.to_bits(), timestamp_us)
    };
    pages.iter().flatten().map(exact).collect()
}

fn written(mut writer: Box<dyn TableWriter>, pages: &[Vec<StoredReading>]) -> Vec<Vec<u8>> {
    let mut pieces: Vec<_> = pages
        .iter()
        .map(|page| writer.write(page).unwrap())
        .collect();
    pieces.push(writer.finish().unwrap());
    pieces
}

prop_compose! {
    fn any_stored()(
        id in any::<i64>(),
        id1 in any::<i32>(),
        id2 in "(?s).{1,50}",
        sensor_type in "a|b|temperature|(?s).{1,50}",
        sensor_value in any::<f64>().prop_filter("finite", |value| value.is_finite()),
        timestamp_us in any::<i64>(),
    ) -> StoredReading {
        let series = Series { id1, id2, sensor_type };
        StoredReading { id, reading: Reading { series, sensor_value, timestamp_us } }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_is_written_reads_back_bit_for_bit_and_no_part_of_it_does(
        pages in proptest::collection::vec(proptest::collection::vec(any_stored(), 0..40), 0..5),
        cut in any::<proptest::sample::Index>(),
    ) {
        for (format, writer) in writers() {
            let pieces = written(writer, &pages);
            let whole = pieces.concat();
            prop_assert_eq!(read(format, &whole).unwrap(), exact(&pages), "{}", format);
            let cut = &whole[..cut.index(whole.len())];
            prop_assert!(read(format, cut).is_err(), "{} of {}", cut.len(), whole.len());
        }
    }
}

fn numbered(n: i64) -> StoredReading {
    StoredReading {
        id: n,
        reading: Reading {
            series: Series {
                id1: i32::try_from(n % 7).unwrap(),
                id2: format!("gate-{}", n % 5),
                sensor_type: "temperature".to_owned(),
            },
            sensor_value: n as f64 / 3.0,
            timestamp_us: n * 1_000,
        },
    }
}

fn pages(rows: i64) -> impl Iterator<Item = Vec<StoredReading>> {
    let firsts = (0..rows).step_by(2_000);
    firsts.map(move |first| (first..rows.min(first + 2_000)).map(numbered).collect())
}

#[test]
fn the_same_readings_make_the_same_bytes() {
    let pages: Vec<_> = pages(5_000).collect();
    for ((format, first), (_, second)) in writers().into_iter().zip(writers()) {
        let (first, second) = (written(first, &pages), written(second, &pages));
        assert_eq!(first.concat(), second.concat(), "{format}");
    }
}

/// A stream that stops after any of its pieces ends in the middle of a message.
#[test]
fn no_piece_of_a_stream_of_arrow_ends_with_a_whole_message() {
    let pages: Vec<_> = pages(5_000).collect();
    let pieces = written(Box::new(ArrowStreamWriter::new().unwrap()), &pages);
    for sent in 1..pieces.len() {
        let part = pieces[..sent].concat();
        assert!(read("arrow", &part).is_err(), "{sent} pieces");
    }
}

#[test]
fn row_groups_are_bounded_and_what_is_written_is_let_go() {
    let mut writer = ParquetWriter::new().unwrap();
    let mut bytes = Vec::new();
    let mut most = 0;
    for page in pages(300_000) {
        let piece = writer.write(&page).unwrap();
        most = most.max(piece.len());
        bytes.extend(piece);
    }
    bytes.extend(Box::new(writer).finish().unwrap());
    assert!(most < 4 << 20, "{most}");
    let mut reader = open("parquet", &bytes).unwrap();
    let mut rows = 0;
    while let Some(columns) = reader.read().unwrap() {
        rows += columns.len();
    }
    assert_eq!(rows, 300_000);
}

#[test]
fn texts_without_end_make_smaller_row_groups() {
    let mut writer = ParquetWriter::new().unwrap();
    let mut largest = 0;
    for page in pages(60_000) {
        let long = page.into_iter().map(|mut stored| {
            // Nothing that packs well.
            let number = u128::from(stored.id.unsigned_abs())
                .wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
            stored.reading.series.id2 = format!("{number:039}{:011}", number >> 90);
            stored.reading.series.sensor_type = format!("{:050}", number >> 3);
            stored
        });
        writer.write(&long.collect::<Vec<_>>()).unwrap();
        largest = largest.max(writer.memory_bytes());
    }
    assert!(largest < 6 << 20, "{largest}");
}

fn table(columns: Vec<(&str, arrow_array::ArrayRef)>) -> Vec<u8> {
    let batch = arrow_array::RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn what_is_wrong_with_a_table_is_named() {
    use std::sync::Arc;

    use arrow_array::{
        ArrayRef, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray,
        TimestampNanosecondArray,
    };

    let id1: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let text: ArrayRef = Arc::new(StringArray::from(vec!["a", "b"]));
    let value: ArrayRef = Arc::new(Float64Array::from(vec![1.0, -0.0]));
    let time: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![5, 6]).with_timezone("UTC"));
    let good = || {
        vec![
            ("id1", id1.clone()),
            ("id2", text.clone()),
            ("sensor_type", text.clone()),
            ("sensor_value", value.clone()),
            ("timestamp", time.clone()),
        ]
    };
    assert_eq!(read("arrow", &table(good())).unwrap().len(), 2);
    let nulls: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None]));
    let local: ArrayRef = Arc::new(TimestampMicrosecondArray::from(vec![5, 6]));
    let nanos: ArrayRef = Arc::new(TimestampNanosecondArray::from(vec![5, 6]).with_timezone("UTC"));
    let bad: [(&str, Option<ArrayRef>, &str); 7] = [
        ("id2", None, "column id2: it is missing"),
        ("id2", Some(nulls), "row 2, column id2: it is null"),
        (
            "id1",
            Some(Arc::new(Int64Array::from(vec![1, 1 << 40]))),
            "row 2, column id1: 1099511627776 does not fit into 32 bits",
        ),
        (
            "sensor_value",
            Some(Arc::new(Float64Array::from(vec![f64::NAN, 1.0]))),
            "row 1, column sensor_value: NaN is not a finite number",
        ),
        (
            "sensor_value",
            Some(text.clone()),
            "column sensor_value: it is of the type Utf8, and has to be float64",
        ),
        (
            "timestamp",
            Some(local),
            "column timestamp: it is of the type Timestamp(µs), and has to be a timestamp in microseconds of UTC",
        ),
        (
            "timestamp",
            Some(nanos),
            "column timestamp: it is of the type Timestamp(ns, \"UTC\"), and has to be a timestamp in microseconds of UTC",
        ),
    ];
    for (name, other, expected) in bad {
        let columns = good()
            .into_iter()
            .filter_map(|(column, array)| match column == name {
                true => Some((column, other.clone()?)),
                false => Some((column, array)),
            });
        let fault = read("arrow", &table(columns.collect())).unwrap_err();
        assert_eq!(fault.to_string(), expected);
    }
}

#[test]
fn what_is_no_table_is_refused() {
    for format in ["arrow", "parquet"] {
        for bytes in [&b""[..], b"PAR1", b"id,id1\n1,2\n", &[0xff; 64]] {
            assert!(read(format, bytes).is_err(), "{format}: {bytes:?}");
        }
    }
}
