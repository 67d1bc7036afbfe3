//! Readings as tables, Arrow or Parquet, made while they are sent.

use utoipa::ToSchema;

use super::export::{Encoder, Unencoded};
use crate::{
    columnar::{ArrowStreamWriter, ParquetWriter, TableWriter, WriteError},
    model::StoredReading,
};

/// A table, as it is
#[derive(ToSchema)]
#[schema(as = Table, value_type = String, format = Binary)]
#[allow(dead_code, reason = "read by the derive only")]
pub(super) struct TableBytes(Vec<u8>);

/// A table that is being written; None once it has ended.
pub(super) struct Table(Option<Box<dyn TableWriter>>);

impl Table {
    pub(super) fn arrow() -> Result<Self, WriteError> {
        Ok(Self(Some(Box::new(ArrowStreamWriter::new()?))))
    }

    pub(super) fn parquet() -> Result<Self, WriteError> {
        Ok(Self(Some(Box::new(ParquetWriter::new()?))))
    }
}

impl Encoder<StoredReading> for Table {
    fn piece(&mut self, page: Option<Vec<StoredReading>>) -> Result<Vec<u8>, Unencoded> {
        let piece = match (page, &mut self.0) {
            (Some(page), Some(writer)) => writer.write(&page),
            (None, writer) => writer.take().map_or(Ok(Vec::new()), TableWriter::finish),
            (Some(_), None) => Ok(Vec::new()),
        };
        piece.map_err(|error| Unencoded(error.to_string()))
    }
}
