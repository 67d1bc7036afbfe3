//! The doors that readings come in through.

/// Through which door a call's readings came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryDoor {
    Unary,
    Batch,
    Stream,
    StreamAcked,
    /// A request to REST that brings readings.
    Http,
    /// What is fetched from a broker.
    Source,
}

/// Rejected readings that a stream reports one by one; the rest is counted, and all are in quarantine.
const STREAM_NOTES: usize = 100;
/// Rejections that the answer to one lot lists: at 255 characters each it stays below the 4 MiB that clients take by
/// default, whatever the characters.
const LOT_NOTES: usize = 1_000;

impl EntryDoor {
    pub(super) const ALL: [Self; 6] = [
        Self::Unary,
        Self::Batch,
        Self::Stream,
        Self::StreamAcked,
        Self::Http,
        Self::Source,
    ];

    /// As `sluicegen run --mode` calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Unary => "unary",
            Self::Batch => "batch",
            Self::Stream => "stream",
            Self::StreamAcked => "stream-acked",
            Self::Http => "http",
            Self::Source => "source",
        }
    }

    /// Rejections that are told one by one.
    pub(super) fn notes_limit(self) -> usize {
        match self {
            Self::Unary | Self::Batch => LOT_NOTES,
            Self::Stream | Self::StreamAcked | Self::Http | Self::Source => STREAM_NOTES,
        }
    }
}
