//! Readings as tables of columns: a stream of Arrow, or a file of Parquet. Knows the model alone.
//!
//! Both are written page by page, and each page is let go once it is written: what is kept is bounded, whatever the number of readings.
//! Whatever stops in the middle is refused by whoever reads it, for what it ends with is missing.

mod arrow_stream;
mod columns;
mod fault;
mod named_columns;
mod parquet_file;
mod schema;
mod table_reader;

pub use self::{
    arrow_stream::ArrowStreamWriter,
    columns::{Columns, Gathering},
    fault::Fault,
    parquet_file::{PARQUET_BYTES, ParquetWriter, ROW_GROUPS_MAX},
    schema::COLUMNS,
    table_reader::TableReader,
};
use crate::model::StoredReading;

/// Writes readings as a table, piece by piece.
pub trait TableWriter: Send {
    /// The bytes that follow: of some readings, of which there may be none yet.
    ///
    /// # Errors
    /// When they cannot be written; nothing may follow then.
    fn write(&mut self, readings: &[StoredReading]) -> Result<Vec<u8>, WriteError>;

    /// The bytes that end the table, without which nobody takes it for whole.
    ///
    /// # Errors
    /// As `write`.
    fn finish(self: Box<Self>) -> Result<Vec<u8>, WriteError>;
}

/// Why a table cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    #[error("{0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    #[error("{0}")]
    Parquet(#[from] parquet::errors::ParquetError),
    #[error(
        "a Parquet file may have {ROW_GROUPS_MAX} row groups, and these readings need more: export a shorter range, or as arrow"
    )]
    TooManyRowGroups,
}

#[cfg(test)]
mod tests;
