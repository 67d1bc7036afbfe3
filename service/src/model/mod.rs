//! The nouns that every layer shares. This module knows no other.

mod limits;
mod position;
mod reading;
mod rejection;
mod selection;
mod stored;
mod time_span;

pub use limits::{Limits, TimestampRange};
pub use position::{
    Epoch, Resumption, ResumptionError, Seq, StreamHeader, StreamId, StreamIdError, StreamPosition,
};
pub use reading::{Reading, Series};
pub use rejection::{Fault, Field, KEPT_CHARS, KeptSeries, Rejection};
pub use selection::{IdPair, Order, Place, ReadingKey, Selection, TimeRange};
pub use stored::{
    Bucket, BucketKey, BucketWidth, Change, Latest, QuarantineKey, QuarantineOf, Quarantined,
    StoredReading, StreamStanding,
};
pub use time_span::TimeSpan;
