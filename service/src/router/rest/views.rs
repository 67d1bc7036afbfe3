//! What the API shows, as JSON and in the OpenAPI document.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use utoipa::ToSchema;

use super::time::format_instant;
use crate::{
    model::{Bucket, Latest, Quarantined, StoredReading, StreamStanding},
    usecase::manage::Page,
};

/// A stored reading
#[derive(Serialize, ToSchema)]
#[schema(as = Reading)]
pub(super) struct ReadingView {
    /// Given by the service, unique
    #[schema(example = 1_000_042)]
    id: i64,
    #[schema(example = 0)]
    id1: i32,
    #[schema(example = "A")]
    id2: String,
    #[schema(example = "temperature")]
    sensor_type: String,
    #[schema(example = 21.5)]
    sensor_value: f64,
    /// RFC 3339, UTC, microseconds
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    timestamp: String,
    /// Microseconds since the Unix epoch
    #[schema(example = 1_769_860_800_000_000_i64)]
    timestamp_us: i64,
}

impl From<StoredReading> for ReadingView {
    fn from(stored: StoredReading) -> Self {
        let reading = stored.reading;
        Self {
            id: stored.id,
            id1: reading.series.id1,
            id2: reading.series.id2,
            sensor_type: reading.series.sensor_type,
            sensor_value: reading.sensor_value,
            timestamp: format_instant(reading.timestamp_us),
            timestamp_us: reading.timestamp_us,
        }
    }
}

/// A page of readings
#[derive(Serialize, ToSchema)]
#[schema(as = Readings)]
pub(super) struct ReadingsView {
    readings: Vec<ReadingView>,
    /// Readings of this page
    #[schema(example = 1)]
    count: usize,
    /// Give it as `cursor` to get the next page; null on the last one
    #[schema(example = "AZy2...")]
    next_cursor: Option<String>,
}

impl ReadingsView {
    pub(super) fn new<P>(page: Page<StoredReading, P>, cursor: impl Fn(&P) -> String) -> Self {
        Self {
            count: page.items.len(),
            next_cursor: page.next.as_ref().map(cursor),
            readings: page.items.into_iter().map(Into::into).collect(),
        }
    }
}

/// The newest reading of each pair
#[derive(Serialize, ToSchema)]
#[schema(as = LatestReadings)]
pub(super) struct LatestReadingsView {
    /// In the order of the pairs
    latest: Vec<LatestView>,
}

/// The newest reading of a pair
#[derive(Serialize, ToSchema)]
#[schema(as = Latest)]
struct LatestView {
    #[schema(example = 0)]
    id1: i32,
    #[schema(example = "A")]
    id2: String,
    /// null when the pair has none
    reading: Option<ReadingView>,
}

impl From<Vec<Latest>> for LatestReadingsView {
    fn from(latest: Vec<Latest>) -> Self {
        let view = |latest: Latest| LatestView {
            id1: latest.pair.id1,
            id2: latest.pair.id2,
            reading: latest.reading.map(Into::into),
        };
        Self {
            latest: latest.into_iter().map(view).collect(),
        }
    }
}

/// Figures of one series in one time bucket
#[derive(Serialize, ToSchema)]
#[schema(as = Bucket)]
pub(super) struct BucketView {
    /// Start of the bucket, RFC 3339, UTC
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    bucket: String,
    /// Start of the bucket, microseconds since the Unix epoch
    #[schema(example = 1_769_860_800_000_000_i64)]
    bucket_us: i64,
    #[schema(example = 0)]
    id1: i32,
    #[schema(example = "A")]
    id2: String,
    #[schema(example = "temperature")]
    sensor_type: String,
    /// Readings in the bucket
    #[schema(example = 60)]
    count: u64,
    #[schema(example = 20.0)]
    min: f64,
    #[schema(example = 22.0)]
    max: f64,
    /// null when the sum exceeds what a double holds
    #[schema(example = 21.0, nullable)]
    avg: f64,
    /// Value of the earliest reading
    #[schema(example = 20.0)]
    first: f64,
    /// Value of the newest reading
    #[schema(example = 22.0)]
    last: f64,
}

impl From<Bucket> for BucketView {
    fn from(bucket: Bucket) -> Self {
        Self {
            bucket: format_instant(bucket.start_us),
            bucket_us: bucket.start_us,
            id1: bucket.series.id1,
            id2: bucket.series.id2,
            sensor_type: bucket.series.sensor_type,
            count: bucket.count,
            min: bucket.min,
            max: bucket.max,
            avg: bucket.avg,
            first: bucket.first,
            last: bucket.last,
        }
    }
}

/// A page of buckets, ordered by time and series
#[derive(Serialize, ToSchema)]
#[schema(as = Buckets)]
pub(super) struct BucketsView {
    pub(super) buckets: Vec<BucketView>,
    /// What they are made from: rollups of these lengths, and `readings` where those did not suffice
    #[schema(example = json!(["1h", "readings"]))]
    pub(super) made_from: Vec<String>,
    /// Give it as `cursor` to get the next page; null on the last one
    pub(super) next_cursor: Option<String>,
}

/// Where a stream stands
#[derive(Serialize, ToSchema)]
#[schema(as = Stream)]
pub(super) struct StreamView {
    #[schema(example = "gateway-7")]
    stream_id: String,
    /// `stream`, or `lane` for a row that the service keeps of one of its own lanes, which counts anonymous readings
    #[schema(example = "stream")]
    kind: &'static str,
    /// Raised each time the stream is opened
    #[schema(example = 3)]
    epoch: u64,
    /// Position of the last reading that is settled; for a lane, the number of its last batch
    #[schema(example = 120_000)]
    committed_seq: u64,
    #[schema(example = 119_998)]
    committed: u64,
    #[schema(example = 2)]
    rejected: u64,
    #[schema(example = 0)]
    duplicate: u64,
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    created_at: String,
    #[schema(example = "2026-01-31T12:30:00.000000Z")]
    updated_at: String,
    /// The principal that it belongs to; null when it was never opened with a token, and for a lane
    #[schema(example = "press-4")]
    owner: Option<String>,
    /// Where its producer stood in its own source, in base64; null when it was never told
    #[schema(example = "b2Zmc2V0PTEyMDAwMA==")]
    source_position: Option<String>,
    /// Position of the last reading before `source_position`
    #[schema(example = 120_000)]
    source_seq: Option<u64>,
}

impl From<StreamStanding> for StreamView {
    fn from(stream: StreamStanding) -> Self {
        let is_lane = stream.stream_id.starts_with("lane:");
        Self {
            kind: if is_lane { "lane" } else { "stream" },
            stream_id: stream.stream_id,
            epoch: stream.epoch.0,
            committed_seq: stream.committed_seq.0,
            committed: stream.committed,
            rejected: stream.rejected,
            duplicate: stream.duplicate,
            created_at: format_instant(stream.created_us),
            updated_at: format_instant(stream.updated_us),
            owner: stream.owner,
            source_position: (stream.mark.as_ref())
                .map(|mark| BASE64_STANDARD.encode(mark.position.as_bytes())),
            source_seq: stream.mark.map(|mark| mark.seq.0),
        }
    }
}

/// A page of the ledger
#[derive(Serialize, ToSchema)]
#[schema(as = Streams)]
pub(super) struct StreamsView {
    pub(super) streams: Vec<StreamView>,
    /// Give it as `cursor` to get the next page; null on the last one
    pub(super) next_cursor: Option<String>,
}

/// A reading that was not stored, as it was sent; texts are cut after 255 characters
#[derive(Serialize, ToSchema)]
#[schema(as = Rejection)]
pub(super) struct RejectionView {
    #[schema(example = 17)]
    id: u64,
    /// null for a reading of an anonymous call
    #[schema(example = "gateway-7")]
    stream_id: Option<String>,
    /// Position in its stream or call, from 1
    #[schema(example = 4711)]
    seq: u64,
    /// The field that is wrong
    #[schema(example = "sensor_value")]
    field: String,
    #[schema(example = "sensor_value is not a finite number")]
    reason: String,
    #[schema(example = 0)]
    id1: i32,
    #[schema(example = "A")]
    id2: String,
    #[schema(example = "temperature")]
    sensor_type: String,
    /// As text, because NaN and the infinities have no number in JSON
    #[schema(example = "NaN")]
    sensor_value: String,
    #[schema(example = 1_769_860_800_000_000_i64)]
    timestamp_us: i64,
    #[schema(example = "2026-01-31T12:00:00.000000Z")]
    rejected_at: String,
    /// Where something came from that could not be decoded; null for a reading
    #[schema(example = "line 3")]
    origin: Option<String>,
    /// What could not be decoded, in base64; null for a reading. A page has at most 1,024 bytes of it, an export all that was
    /// kept: 8,192
    #[schema(example = "Ym9pbGVyIHRlbXBlcmF0dXJlPWhvdA==")]
    payload: Option<String>,
    /// How long it was, bytes
    #[schema(example = 22)]
    payload_bytes: Option<u64>,
}

impl From<Quarantined> for RejectionView {
    fn from(reading: Quarantined) -> Self {
        Self {
            id: reading.id,
            stream_id: reading.stream_id,
            seq: reading.seq.0,
            field: reading.field,
            reason: reading.reason,
            id1: reading.series.id1,
            id2: reading.series.id2,
            sensor_type: reading.series.sensor_type,
            sensor_value: reading.sensor_value,
            timestamp_us: reading.timestamp_us,
            rejected_at: format_instant(reading.rejected_us),
            origin: reading.origin,
            payload_bytes: (reading.payload.as_ref()).and_then(|payload| payload.whole_bytes),
            payload: (reading.payload).map(|payload| BASE64_STANDARD.encode(payload.bytes)),
        }
    }
}

/// A page of the quarantine
#[derive(Serialize, ToSchema)]
#[schema(as = Rejections)]
pub(super) struct RejectionsView {
    pub(super) rejections: Vec<RejectionView>,
    /// Give it as `cursor` to get the next page; null on the last one
    pub(super) next_cursor: Option<String>,
}

/// How many readings were deleted, or would be
#[derive(Serialize, ToSchema)]
pub(super) struct Deleted {
    #[schema(example = 3)]
    pub(super) deleted_count: u64,
    /// Whether they were only counted
    pub(super) dry_run: bool,
}

/// How many readings were removed from quarantine, or would be
#[derive(Serialize, ToSchema)]
pub(super) struct Dropped {
    #[schema(example = 3)]
    pub(super) dropped_count: u64,
    /// Whether they were only counted
    pub(super) dry_run: bool,
}

/// What became of a replay
#[derive(Serialize, ToSchema)]
pub(super) struct Replayed {
    /// Rejections that have left the quarantine, or would
    #[schema(example = 3)]
    pub(super) replayed_count: u64,
    /// Readings that were stored, or would be: a payload may hold several
    #[schema(example = 3)]
    pub(super) stored_count: u64,
    /// Rejections that stay
    #[schema(example = 1)]
    pub(super) kept_count: u64,
    /// The first 100 of those that stay, and why
    pub(super) kept: Vec<KeptView>,
    /// Whether nothing was changed
    pub(super) dry_run: bool,
    /// Give it as `cursor` to go on; null when there is nothing behind
    pub(super) next_cursor: Option<String>,
}

/// A rejection that stays in quarantine
#[derive(Serialize, ToSchema)]
#[schema(as = Kept)]
pub(super) struct KeptView {
    #[schema(example = 7)]
    pub(super) id: u64,
    #[schema(example = "sensor_value is `hot`, expected a number")]
    pub(super) reason: String,
}

/// How many readings were changed, or would be
#[derive(Serialize, ToSchema)]
pub(super) struct Updated {
    /// Those that were selected, also where the value was the same before
    #[schema(example = 3)]
    pub(super) updated_count: u64,
    /// Whether they were only counted
    pub(super) dry_run: bool,
}

/// What became of the readings of a request
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = Intake)]
pub(super) struct IntakeView {
    /// Readings, and lines that are none
    #[schema(example = 1_000)]
    pub(super) received: u64,
    /// Readings that were stored
    #[schema(example = 998)]
    pub(super) committed: u64,
    /// Readings that were not, and lines that are none: they are in quarantine
    #[schema(example = 2)]
    pub(super) rejected: u64,
    /// Readings that the stream had already
    #[schema(example = 0)]
    pub(super) duplicate: u64,
    /// Values that are no numbers, such as texts of line protocol
    #[schema(example = 0)]
    pub(super) left_out: u64,
    /// Of readings of a stream: under which epoch they were written. As `Stream-Epoch` it goes on without opening the stream
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) epoch: Option<u64>,
    /// Of readings of a stream: all up to here are stored or rejected
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) committed_seq: Option<u64>,
    /// The first 100 of those that were rejected
    pub(super) rejections: Vec<RejectedView>,
}

/// A reading that was not stored, or a line that is none
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = RejectedReading)]
pub(super) struct RejectedView {
    /// The line that it stood in, from 1
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = 3)]
    pub(super) line: Option<u64>,
    /// The object of an array that it was, from 1
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) record: Option<u64>,
    /// Position among the readings of the stream, or of the request, from 1
    #[schema(example = 3)]
    pub(super) seq: u64,
    /// The field that is wrong
    #[schema(example = "sensor_value")]
    pub(super) field: &'static str,
    #[schema(example = "sensor_value is `hot`, expected a number")]
    pub(super) reason: String,
}
