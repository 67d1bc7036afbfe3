//! Readings as a stream of Arrow: the IPC streaming format, a batch for each page.

use arrow_ipc::writer::StreamWriter;

use super::{
    TableWriter, WriteError,
    schema::{record_batch, schema},
};
use crate::model::StoredReading;

/// Bytes of each message that are kept back until something follows. A stream that stops between two messages looks whole to a reader,
/// for the mark of its end may be absent: so there must be no moment at which all of a message but nothing of the next is sent.
const KEPT_BACK_BYTES: usize = 8;

/// A stream of batches.
pub struct ArrowStreamWriter {
    writer: StreamWriter<Vec<u8>>,
}

impl ArrowStreamWriter {
    /// # Errors
    /// None that is known of.
    pub fn new() -> Result<Self, WriteError> {
        let writer = StreamWriter::try_new(Vec::new(), &schema())?;
        Ok(Self { writer })
    }
}

impl TableWriter for ArrowStreamWriter {
    fn write(&mut self, readings: &[StoredReading]) -> Result<Vec<u8>, WriteError> {
        if readings.is_empty() {
            return Ok(Vec::new());
        }
        self.writer.write(&record_batch(readings)?)?;
        let written = self.writer.get_mut();
        let kept_back = written.split_off(written.len().saturating_sub(KEPT_BACK_BYTES));
        Ok(std::mem::replace(written, kept_back))
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<u8>, WriteError> {
        self.writer.finish()?;
        Ok(std::mem::take(self.writer.get_mut()))
    }
}
