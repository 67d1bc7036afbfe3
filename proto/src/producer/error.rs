//! Why a producer stops, and which refusals of the service are worth another attempt.

use std::time::Duration;

use tonic::{Code, Status};

/// Bytes of the longest source position.
pub(crate) const MAX_POSITION_BYTES: usize = 1_024;

/// A producer that returned one of these has ended, except for [`UnknownSeries`](Self::UnknownSeries),
/// [`Absent`](Self::Absent), [`SourcePosition`](Self::SourcePosition), [`Tags`](Self::Tags) and
/// [`UnequalColumns`](Self::UnequalColumns), which refuse one call and take nothing.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ProducerError {
    /// A setting of the builder is out of range.
    #[error("the setting {setting} is wrong: {reason}")]
    InvalidSetting {
        /// The builder method.
        setting: &'static str,
        /// What it should be.
        reason: String,
    },
    /// Another writer opened the same stream, or wrote to it.
    #[error("another writer has taken over the stream {stream_id:?}")]
    Fenced {
        /// The stream.
        stream_id: String,
    },
    /// The service refused for a reason that another attempt would not change.
    #[error("the service refused ({code:?}): {message}")]
    Refused {
        /// The gRPC code.
        code: Code,
        /// The service's explanation.
        message: String,
    },
    /// Nothing went forward for as long as `give_up_after` allows: refused, unreachable, or left without an
    /// acknowledgement.
    #[error("gave up after {after_s:.1} s without progress: {last}", after_s = .after.as_secs_f64())]
    GaveUp {
        /// Time without progress.
        after: Duration,
        /// The last failure.
        last: String,
    },
    /// The service lost readings that it had acknowledged: the producer no longer has them.
    #[error(
        "the stream is at position {found}, but {acknowledged} was acknowledged: the service has lost readings"
    )]
    PositionLost {
        /// The last position that was acknowledged.
        acknowledged: u64,
        /// The position of the service now.
        found: u64,
    },
    /// The handle belongs to another producer.
    #[error("the series handle {index} is not one of this producer")]
    UnknownSeries {
        /// The handle.
        index: u32,
    },
    /// The reading given to `send` has no value or no time.
    #[error("the reading has no {field}")]
    Absent {
        /// The field.
        field: &'static str,
    },
    /// A source position is longer than the service keeps, or the producer is anonymous.
    #[error("the source position {reason}")]
    SourcePosition {
        /// What is wrong with it.
        reason: String,
    },
    /// Tags that no series may have, or that cannot be told.
    #[error("the tags {reason}")]
    Tags {
        /// What is wrong with them.
        reason: String,
    },
    /// The columns of `push_columns` differ in length.
    #[error(
        "the columns differ in length: {series} series, {values} values, {timestamps} timestamps"
    )]
    UnequalColumns {
        /// Length of the series column.
        series: usize,
        /// Length of the value column.
        values: usize,
        /// Length of the time column.
        timestamps: usize,
    },
    /// The task that delivers is gone, which happens when its runtime shuts down.
    #[error("the producer has stopped")]
    Stopped,
}

/// What to do about a status that ended a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Reconnect and send the rest again.
    Retry,
    /// The position was wrong: ask for it and send the rest again, but not forever.
    Reposition,
    /// The dictionary of the call is too large: send batches with dictionaries of their own.
    ShrinkDictionary,
    /// Another writer has the stream.
    Fenced,
    /// Another attempt would end the same way.
    Final,
}

pub(super) fn judge(status: &Status) -> Verdict {
    match status.code() {
        Code::Aborted => Verdict::Fenced,
        Code::OutOfRange | Code::FailedPrecondition => Verdict::Reposition,
        Code::ResourceExhausted => Verdict::ShrinkDictionary,
        Code::Ok
        | Code::Unavailable
        | Code::Cancelled
        | Code::Unknown
        | Code::Internal
        | Code::DeadlineExceeded => Verdict::Retry,
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => Verdict::Final,
    }
}

impl From<Status> for ProducerError {
    fn from(status: Status) -> Self {
        Self::Refused {
            code: status.code(),
            message: status.message().to_owned(),
        }
    }
}

pub(super) fn wrong(setting: &'static str, reason: &str) -> ProducerError {
    ProducerError::InvalidSetting {
        setting,
        reason: reason.to_owned(),
    }
}
