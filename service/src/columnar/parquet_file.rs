//! Readings as a file of Parquet, in row groups of bounded size.

use parquet::{
    arrow::ArrowWriter,
    basic::{Compression, Encoding, ZstdLevel},
    file::properties::{EnabledStatistics, WriterProperties},
    schema::types::ColumnPath,
};

use super::{
    TableWriter, WriteError,
    schema::{record_batch, schema},
};
use crate::model::StoredReading;

/// What a file takes while it is written: the row group that is gathered, the same as it is written, and what the footer keeps of all.
pub const PARQUET_BYTES: usize = 16 << 20;
/// Row groups of a file at the most: the footer names all of them, and is in memory until the end.
pub const ROW_GROUPS_MAX: usize = 4_096;

/// A row group ends once it has so many rows, or takes so many bytes. Readers skip what they do not need by the row group.
const ROW_GROUP_ROWS: usize = 1 << 17;
const ROW_GROUP_BYTES: usize = 2 << 20;
/// A page and a dictionary of a column, before they are compressed.
const PAGE_BYTES: usize = 128 << 10;
/// Rows after which the size of a page is looked at.
const WRITE_ROWS: usize = 256;

/// A file that is written as its readings come.
pub struct ParquetWriter {
    writer: ArrowWriter<Vec<u8>>,
}

impl ParquetWriter {
    /// # Errors
    /// None that is known of.
    pub fn new() -> Result<Self, WriteError> {
        let column = |name: &str| ColumnPath::from(name);
        let properties = WriterProperties::builder()
            .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
            .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
            .set_max_row_group_bytes(Some(ROW_GROUP_BYTES))
            .set_data_page_size_limit(PAGE_BYTES)
            .set_dictionary_page_size_limit(PAGE_BYTES)
            .set_write_batch_size(WRITE_ROWS)
            // Of pages they would make the footer grow with each.
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            // Numbers that grow evenly: the distances take few bits.
            .set_column_encoding(column("id"), Encoding::DELTA_BINARY_PACKED)
            .set_column_dictionary_enabled(column("id"), false)
            .set_column_encoding(column("timestamp"), Encoding::DELTA_BINARY_PACKED)
            .set_column_dictionary_enabled(column("timestamp"), false)
            // The same readings make the same file.
            .set_created_by("sluicegate".to_owned())
            .build();
        let writer = ArrowWriter::try_new(Vec::new(), schema(), Some(properties))?;
        Ok(Self { writer })
    }

    /// What the row group takes that is gathered.
    #[cfg(test)]
    pub(super) fn memory_bytes(&self) -> usize {
        self.writer.memory_size()
    }
}

impl TableWriter for ParquetWriter {
    fn write(&mut self, readings: &[StoredReading]) -> Result<Vec<u8>, WriteError> {
        self.writer.write(&record_batch(readings)?)?;
        if self.writer.flushed_row_groups().len() >= ROW_GROUPS_MAX {
            return Err(WriteError::TooManyRowGroups);
        }
        self.writer
            .sync()
            .map_err(parquet::errors::ParquetError::from)?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<u8>, WriteError> {
        self.writer.finish()?;
        Ok(std::mem::take(self.writer.inner_mut()))
    }
}
