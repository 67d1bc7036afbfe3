//! Reads tables of readings, as they were exported or as others wrote them with the same columns.

use std::{
    fs::File,
    io::{BufReader, Read as _, Seek as _, SeekFrom},
};

use arrow_array::RecordBatch;
use arrow_ipc::reader::StreamReader;
use parquet::{
    arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder},
    basic::Compression,
    file::metadata::ParquetMetaData,
};

use super::{
    columns::{Columns, Gathering},
    fault::Fault,
    named_columns::NamedColumns,
};

/// Rows of a batch of a Parquet file. Those of a stream of Arrow are as it has them.
const BATCH_ROWS: usize = 8_192;
/// What a stream of Arrow ends with, and must, or nobody would know whether it is whole.
const END_OF_STREAM: [u8; 8] = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0];

enum Batches {
    Arrow(StreamReader<BufReader<File>>),
    Parquet(ParquetRecordBatchReader),
}

/// A table, batch by batch.
pub struct TableReader {
    batches: Batches,
    rows_read: u64,
}

impl TableReader {
    /// A stream of Arrow (the IPC streaming format).
    ///
    /// # Errors
    /// When it is none, or was cut off.
    pub fn arrow(mut file: File) -> Result<Self, Fault> {
        let mut end = [0; END_OF_STREAM.len()];
        let ends = file
            .seek(SeekFrom::End(-(end.len() as i64)))
            .and_then(|_| file.read_exact(&mut end))
            .and_then(|()| file.rewind());
        if ends.is_err() || end != END_OF_STREAM {
            return Err(Fault::of_file(
                "the mark of its end is missing: it was cut off, or is no stream of Arrow",
            ));
        }
        let reader = StreamReader::try_new(BufReader::new(file), None);
        let reader = reader.map_err(|error| Fault::of_file(error.to_string()))?;
        Ok(Self::new(Batches::Arrow(reader)))
    }

    /// A file of Parquet.
    ///
    /// # Errors
    /// When it is none, was cut off, or is packed in a way that is not read here.
    pub fn parquet(file: File) -> Result<Self, Fault> {
        let refused = |error: parquet::errors::ParquetError| {
            Fault::of_file(format!("it was cut off, or is no file of Parquet: {error}"))
        };
        let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(refused)?;
        expect_packing(builder.metadata())?;
        let reader = builder.with_batch_size(BATCH_ROWS).build();
        Ok(Self::new(Batches::Parquet(reader.map_err(refused)?)))
    }

    fn new(batches: Batches) -> Self {
        Self {
            batches,
            rows_read: 0,
        }
    }

    /// The readings that follow; None behind the last one.
    ///
    /// # Errors
    /// When a column is missing or of another type, or has a value that no reading has.
    pub fn read(&mut self) -> Result<Option<Columns>, Fault> {
        let batch = match &mut self.batches {
            Batches::Arrow(batches) => batches.next(),
            Batches::Parquet(batches) => batches.next(),
        };
        let Some(batch) = batch else {
            return Ok(None);
        };
        let after = self.rows_read;
        let batch = batch
            .map_err(|error| Fault::of_file(format!("behind row {after} it is broken: {error}")))?;
        self.rows_read += batch.num_rows() as u64;
        gathered(&batch, after).map(Some)
    }
}

fn expect_packing(metadata: &ParquetMetaData) -> Result<(), Fault> {
    let columns = metadata
        .row_groups()
        .iter()
        .flat_map(|group| group.columns());
    for column in columns {
        match column.compression() {
            Compression::UNCOMPRESSED | Compression::ZSTD(_) => {}
            other => {
                let name = format!("{other:?}");
                let reason = format!("it is packed with {name}: write it with zstd, or unpacked");
                return Err(Fault::of_file(reason));
            }
        }
    }
    Ok(())
}

/// The readings of a batch, of which the first is the one behind row `after`.
fn gathered(batch: &RecordBatch, after: u64) -> Result<Columns, Fault> {
    let columns = NamedColumns::of(batch)?;
    let mut gathering = Gathering::default();
    for row in 0..batch.num_rows() {
        let at = |(column, reason): (&'static str, String)| {
            Fault::at(after + 1 + row as u64, column, reason)
        };
        let id1 = columns.id1(row).map_err(at)?;
        let id2 = columns.id2(row).map_err(at)?;
        let sensor_type = columns.sensor_type(row).map_err(at)?;
        let sensor_value = columns.sensor_value(row).map_err(at)?;
        let timestamp_us = columns.timestamp_us(row).map_err(at)?;
        gathering.push((id1, id2, sensor_type), sensor_value, timestamp_us);
    }
    Ok(gathering.done())
}
