//! The nouns that every layer shares. This module knows no other.

mod limits;
mod long_name;
mod point_in_time;
mod position;
mod principal;
mod quarantine;
mod reading;
mod rejection;
pub mod rollup;
mod selection;
mod series_bounds;
mod series_info;
mod series_set;
mod stored;
mod tags;
mod time_span;
mod time_window;
mod undecoded;

pub use limits::{AbsentValue, Limits, TimestampRange};
pub use long_name::LongName;
pub use point_in_time::PointInTime;
pub use position::{
    Epoch, Resumption, ResumptionError, Seq, SourceMark, SourcePosition, SourcePositionTooLong,
    StreamHeader, StreamId, StreamIdError, StreamPosition,
};
pub use principal::{PrincipalName, Reach};
pub use quarantine::{
    KeptPayload, QuarantineFilter, QuarantineKey, QuarantineOf, QuarantineStretch, Quarantined,
    Restored, Revived,
};
pub use reading::{Reading, SentReading, Series};
pub use rejection::{Fault, Field, KEPT_CHARS, KeptSeries, Rejection};
pub use selection::{IdPair, Order, Place, ReadingKey, Selection, TimeRange};
pub use series_bounds::{SeriesBound, SeriesBounds};
pub use series_info::{SeriesFilter, SeriesInfo, SeriesPlace};
pub use series_set::SeriesSet;
pub use stored::{Bucket, BucketKey, BucketWidth, Change, Latest, StoredReading, StreamStanding};
pub use tags::{
    TAG_NAME_MAX_CHARS, TAG_VALUE_MAX_CHARS, TAGS_MAX, TagChanges, TaggedSeries, Tags,
    fault_of_tag_name, fault_of_tag_value, fault_of_tags,
};
pub use time_span::{OrNone, TimeSpan};
pub use time_window::{TimeFault, TimeWindow};
pub use undecoded::{Origin, PayloadContext, ReadBy, Undecoded};
