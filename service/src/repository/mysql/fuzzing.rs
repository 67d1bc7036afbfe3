//! The text of a LOAD, without a database to read it.

use super::{
    table::RowFormat,
    tsv::{RowWriter, SeriesNames, SeriesTexts},
};
use crate::repository::{LoadBatch, RowIds};

/// All rows of the batch, with ids from 1.
#[must_use]
pub fn load_text(batch: &dyn LoadBatch, timestamp_decimals: u8) -> Vec<u8> {
    let mut text = Vec::new();
    let writer = RowWriter {
        columns: batch.columns(),
        names: &SeriesNames::Texts(SeriesTexts::of(batch)),
        dropped: &Vec::new(),
        format: RowFormat {
            with_id: true,
            numbered: false,
            timestamp_decimals,
        },
        ids: RowIds { first: 1, step: 1 },
    };
    let (next, rows) = writer.write(0..batch.rows(), usize::MAX, &mut text);
    assert_eq!((next, rows), (batch.rows(), batch.rows()));
    text
}
