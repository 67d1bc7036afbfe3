//! What the API shows of series.

use serde::Serialize;
use utoipa::ToSchema;

use super::time::format_instant;
use crate::model::{SeriesInfo, Tags};

const DAY_US: i64 = 86_400_000_000;

/// A series
#[derive(Serialize, ToSchema)]
#[schema(as = Series)]
pub(super) struct SeriesView {
    /// Its number, which is given to it alone, for ever
    #[schema(example = 1)]
    series_id: u32,
    #[schema(example = 0)]
    id1: i32,
    #[schema(example = "A")]
    id2: String,
    #[schema(example = "temperature")]
    sensor_type: String,
    /// When its first reading came; RFC 3339, UTC
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    first_seen: String,
    /// The day on which a reading of it was last stored, UTC; null where that was not noted yet
    #[schema(example = "2026-01-31")]
    last_seen: Option<String>,
    /// What people say of it
    #[schema(example = json!({"site": "north"}))]
    tags: Tags,
}

impl From<SeriesInfo> for SeriesView {
    fn from(info: SeriesInfo) -> Self {
        let day = |day: i32| {
            let mut text = format_instant(i64::from(day) * DAY_US);
            text.truncate("2026-01-31".len());
            text
        };
        Self {
            series_id: info.number,
            id1: info.series.id1,
            id2: info.series.id2,
            sensor_type: info.series.sensor_type,
            first_seen: format_instant(info.first_seen_us),
            last_seen: info.last_seen_day.map(day),
            tags: info.tags,
        }
    }
}

/// A page of series
#[derive(Serialize, ToSchema)]
#[schema(as = SeriesList)]
pub(super) struct SeriesListView {
    pub(super) series: Vec<SeriesView>,
    /// Series of this page
    #[schema(example = 1)]
    pub(super) count: usize,
    /// Give it as `cursor` to get the next page; null on the last one
    #[schema(example = "AZy2...")]
    pub(super) next_cursor: Option<String>,
}

/// How many there are
#[derive(Serialize, ToSchema)]
#[schema(as = Counted)]
pub(super) struct CountedView {
    #[schema(example = 1)]
    pub(super) count: u64,
}

/// What became of the lines of a request
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Tagged)]
pub(super) struct TaggedView {
    /// Lines that came
    #[schema(example = 2)]
    pub(super) received_count: u64,
    /// Series that were tagged
    #[schema(example = 2)]
    pub(super) tagged_count: u64,
    /// Lines that could not be done
    #[schema(example = 0)]
    pub(super) rejected_count: u64,
    /// The first 100 of them
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) rejections: Vec<TaggingRejectedView>,
}

/// A line that could not be done
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = TaggingRejected)]
pub(super) struct TaggingRejectedView {
    /// Its line, or its place in the array, counted from 1
    #[schema(example = 2)]
    pub(super) line: u64,
    #[schema(example = "tags.site")]
    pub(super) field: String,
    #[schema(example = "must have 1 to 255 characters")]
    pub(super) reason: String,
}

/// What was removed
#[derive(Serialize, ToSchema)]
#[schema(as = RemovedSeries)]
pub(super) struct RemovedSeriesView {
    /// Series that were removed, or would be
    #[schema(example = 0)]
    pub(super) removed_count: u64,
    pub(super) dry_run: bool,
}
