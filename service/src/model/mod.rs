//! The nouns that every layer shares. This module knows no other.

mod limits;
mod long_name;
mod point_in_time;
mod position;
mod principal;
mod reading;
mod rejection;
mod selection;
mod stored;
mod time_span;
mod time_window;

pub use limits::{AbsentValue, Limits, TimestampRange};
pub use long_name::LongName;
pub use point_in_time::PointInTime;
pub use position::{
    Epoch, Resumption, ResumptionError, Seq, SourceMark, SourcePosition, SourcePositionTooLong,
    StreamHeader, StreamId, StreamIdError, StreamPosition,
};
pub use principal::{PrincipalName, Reach};
pub use reading::{Reading, SentReading, Series};
pub use rejection::{Fault, Field, KEPT_CHARS, KeptSeries, Origin, Rejection, Undecoded};
pub use selection::{IdPair, Order, Place, ReadingKey, Selection, TimeRange};
pub use stored::{
    Bucket, BucketKey, BucketWidth, Change, Latest, QuarantineKey, QuarantineOf, Quarantined,
    StoredReading, StreamStanding,
};
pub use time_span::{OrNone, TimeSpan};
pub use time_window::{TimeFault, TimeWindow};
