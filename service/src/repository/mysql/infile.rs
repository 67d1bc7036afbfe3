//! The in-memory "file" that LOAD DATA LOCAL reads: chunks of whole rows, made as they are asked for.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use futures::{StreamExt as _, stream, stream::BoxStream};

use super::{
    table::RowFormat,
    tsv::{RowWriter, SeriesNames},
};
use crate::{
    ledger::DroppedRows,
    repository::{LoadBatch, RowIds},
};

/// Small enough that encoding one does not hold up the runtime (about a millisecond) and that it stays far below
/// every server's max_allowed_packet; large enough that its overhead does not show.
pub(super) const CHUNK_BYTES: usize = 256 * 1024;
/// The longest row: two texts of 50 characters, escaped, and the numbers.
const ROW_MAX_BYTES: usize = 1024;

/// The rows of one LOAD statement.
#[derive(Clone)]
pub(super) struct Infile {
    pub(super) batch: Arc<dyn LoadBatch>,
    pub(super) names: Arc<SeriesNames>,
    pub(super) positions: Range<u32>,
    pub(super) dropped: Arc<DroppedRows>,
    pub(super) format: RowFormat,
    pub(super) ids: RowIds,
    /// Counts the rows that were sent, to be held against the server's own count.
    pub(super) sent: Arc<AtomicU32>,
}

impl Infile {
    pub(super) fn chunks(self) -> BoxStream<'static, std::io::Result<Bytes>> {
        stream::unfold(self, |mut file| async move {
            if file.positions.is_empty() {
                return None;
            }
            let mut chunk = Vec::with_capacity(CHUNK_BYTES + ROW_MAX_BYTES);
            let writer = RowWriter {
                columns: file.batch.columns(),
                names: &file.names,
                dropped: &file.dropped,
                format: file.format,
                ids: file.ids,
            };
            let (next, rows) = writer.write(file.positions.clone(), CHUNK_BYTES, &mut chunk);
            file.positions.start = next;
            file.sent.fetch_add(rows, Ordering::Relaxed);
            // An empty packet would end the file early.
            (!chunk.is_empty()).then(|| (Ok(Bytes::from(chunk)), file))
        })
        .boxed()
    }
}
