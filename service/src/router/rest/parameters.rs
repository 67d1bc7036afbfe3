//! What operations take and may answer, for the document.

use utoipa::{IntoParams, IntoResponses, ToSchema};

use super::problem::ProblemDocument;

/// Parameters that stand in the document only: the parser is in `selection`.
macro_rules! parameters {
    ($(#[$about:meta])* $name:ident { $($(#[$about_field:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$about])*
        #[derive(IntoParams)]
        #[into_params(parameter_in = Query)]
        #[allow(dead_code, reason = "read by the derive only")]
        pub(super) struct $name { $($(#[$about_field])* $field: $type,)* }
    };
}

/// RFC 3339 with any offset, or milliseconds since the Unix epoch
#[derive(ToSchema)]
#[schema(
    pattern = "^(-?[0-9]+|[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])[Tt ]([01][0-9]|2[0-3]):[0-5][0-9]:([0-5][0-9]|60)(\\.[0-9]+)?([Zz]|[+ -]([01][0-9]|2[0-3]):[0-5][0-9]))$"
)]
#[allow(dead_code, reason = "read by the derive only")]
struct InstantText(String);

/// Whole numbers, separated by commas
#[derive(ToSchema)]
#[schema(pattern = "^[+-]?[0-9]+(,[+-]?[0-9]+)*$")]
#[allow(dead_code, reason = "read by the derive only")]
struct Id1List(String);

/// Texts, separated by commas, with a backslash in front of a comma or backslash inside of one
#[derive(ToSchema)]
#[schema(
    pattern = "^(\\\\[,\\\\]|\\\\(?![,\\\\])|[^,\\\\])+(,(\\\\[,\\\\]|\\\\(?![,\\\\])|[^,\\\\])+)*$"
)]
#[allow(dead_code, reason = "read by the derive only")]
struct Id2List(String);

parameters!(ByTime {
    /// Start, belongs to the range: RFC 3339 with any offset, or milliseconds since the Unix epoch
    #[param(example = "2026-01-31T12:00:00Z", inline)]
    from_time: InstantText,
    /// End, does not belong to the range
    #[param(example = "2026-01-31T13:00:00Z", inline)]
    to_time: InstantText,
    /// Only readings of this type
    #[param(example = "temperature", min_length = 1)]
    sensor_type: Option<String>,
});

parameters!(ByIds {
    /// Whole numbers, at most 1,000, separated by commas
    #[param(example = "0,1", inline)]
    id1: Id1List,
    /// As many texts, separated by commas; the first belongs to the first of id1 and so on; a comma inside of one is
    /// written `\,` and a backslash `\\`
    #[param(example = "A,B", inline)]
    id2: Id2List,
    /// Only readings of this type
    #[param(example = "temperature", min_length = 1)]
    sensor_type: Option<String>,
});

parameters!(ByIdsOrTags {
    /// Whole numbers, at most 1,000, separated by commas; needed where no tags are given
    #[param(example = "0,1", inline)]
    id1: Option<Id1List>,
    /// As many texts, separated by commas; the first belongs to the first of id1 and so on; a comma inside of one is
    /// written `\,` and a backslash `\\`
    #[param(example = "A,B", inline)]
    id2: Option<Id2List>,
    /// Only readings of this type
    #[param(example = "temperature", min_length = 1)]
    sensor_type: Option<String>,
    /// Only of series that have these tags, at most 8 as `name:value`, separated by commas; without id1 and id2 they may be
    /// those of 1,000 series; on the layout series
    #[param(min_length = 3)]
    tags: Option<String>,
});

parameters!(Pace {
    /// Between two events at least, milliseconds
    #[param(example = 1000, minimum = 20, maximum = 60000, default = 1000)]
    interval_ms: Option<u32>,
    /// Ends after so many events
    #[param(example = 1, minimum = 1)]
    limit: Option<u64>,
});

parameters!(ByTimeRange {
    /// Start, belongs to the range: RFC 3339 with any offset, or milliseconds since the Unix epoch
    #[param(example = "2026-01-31T12:00:00Z", inline)]
    from_time: InstantText,
    /// End, does not belong to the range
    #[param(example = "2026-01-31T13:00:00Z", inline)]
    to_time: InstantText,
});

parameters!(Tagged {
    /// Only of series that have these tags, at most 8 as `name:value`, separated by commas; without id1 and id2 they may be
    /// those of 1,000 series; on the layout series
    #[param(min_length = 3)]
    tags: Option<String>,
});

parameters!(SeriesSelection {
    /// Only with this id1
    #[param(example = 0)]
    id1: Option<i32>,
    /// Only with this id2
    #[param(example = "A", min_length = 1)]
    id2: Option<String>,
    /// Only those whose id2 begins like this; not beside id2
    #[param(min_length = 1)]
    prefix: Option<String>,
    /// Only of this type
    #[param(example = "temperature", min_length = 1)]
    sensor_type: Option<String>,
    /// Only those that have these tags, at most 8 as `name:value`, separated by commas
    #[param(min_length = 3)]
    tags: Option<String>,
    /// Only those of which a reading was stored on that day, UTC, or later
    #[param(example = "2026-01-31", pattern = "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$")]
    seen_since: Option<String>,
});

parameters!(UnusedSince {
    /// true: those that have no readings
    #[param(example = true)]
    unused: bool,
    /// Only those that got their numbers before; at the latest, and by default, an hour ago
    #[param(example = "2026-01-31T12:00:00Z", inline)]
    first_seen_before: Option<InstantText>,
});

parameters!(ByIdsTime {
    /// Start, belongs to the range: RFC 3339 with any offset, or milliseconds since the Unix epoch
    #[param(example = "2026-01-31T12:00:00Z", inline)]
    from_time: InstantText,
    /// End, does not belong to the range
    #[param(example = "2026-01-31T13:00:00Z", inline)]
    to_time: InstantText,
    /// Whole numbers, at most 1,000, separated by commas
    #[param(example = "0,1", inline)]
    id1: Id1List,
    /// As many texts, separated by commas; the first belongs to the first of id1 and so on; a comma inside of one is
    /// written `\,` and a backslash `\\`
    #[param(example = "A,B", inline)]
    id2: Id2List,
    /// Only readings of this type
    #[param(example = "temperature", min_length = 1)]
    sensor_type: Option<String>,
});

parameters!(ByTimeMaybeIds {
    /// Start, belongs to the range: RFC 3339 with any offset, or milliseconds since the Unix epoch
    #[param(example = "2026-01-31T12:00:00Z", inline)]
    from_time: InstantText,
    /// End, does not belong to the range
    #[param(example = "2026-01-31T13:00:00Z", inline)]
    to_time: InstantText,
    /// Whole numbers, at most 1,000, separated by commas
    #[param(example = "0,1", inline)]
    id1: Option<Id1List>,
    /// As many texts, separated by commas; the first belongs to the first of id1 and so on; a comma inside of one is
    /// written `\,` and a backslash `\\`
    #[param(example = "A,B", inline)]
    id2: Option<Id2List>,
    /// Only readings of this type
    #[param(example = "temperature", min_length = 1)]
    sensor_type: Option<String>,
});

parameters!(Paging {
    /// Readings of a JSON page, 1 to 10000 [default: 1000]; the other formats bring all unless it is given
    #[param(example = 100, minimum = 1)]
    limit: Option<u64>,
    /// `asc` (default) or `desc`, along the time
    #[param(example = "asc", pattern = "^(asc|desc)$")]
    order: Option<String>,
    /// `next_cursor` of the page before; every parameter but limit stays as it was
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
    /// `json`, `ndjson`, `csv`, `arrow` or `parquet`, instead of the header Accept; all but the first need HTTP/1.1 or later
    #[param(example = "json", pattern = "^(json|ndjson|csv|arrow|parquet)$")]
    format: Option<String>,
});

parameters!(CursorPaging {
    /// Rows of a page, 1 to 10000 [default: 1000]
    #[param(example = 100, minimum = 1, maximum = 10_000)]
    limit: Option<u64>,
    /// `next_cursor` of the page before; every parameter but limit stays as it was
    #[param(pattern = "^[A-Za-z0-9_-]+$")]
    cursor: Option<String>,
});

parameters!(DryRun {
    /// Counts only, and changes nothing
    dry_run: Option<bool>,
});

parameters!(Width {
    /// Width of a bucket, 1s to 30d: a whole number of s, m, h or d; buckets are aligned to UTC; how many the range may
    /// have is a setting, rest.max_buckets
    #[param(example = "5m", pattern = "^[0-9]+[smhd]$")]
    bucket: String,
});

/// Whole numbers from 1, separated by commas
#[derive(ToSchema)]
#[schema(pattern = "^0*[1-9][0-9]{0,17}(,0*[1-9][0-9]{0,17})*$")]
#[allow(dead_code, reason = "read by the derive only")]
struct IdList(String);

parameters!(RejectionFilter {
    /// Only of the stream of this name
    #[param(example = "gateway-7", min_length = 1)]
    stream: Option<String>,
    /// Only of calls that name no stream
    anonymous: Option<bool>,
    /// Only these, at most 1,000, separated by commas
    #[param(inline)]
    ids: Option<IdList>,
    /// Only those of which this field is wrong
    #[param(example = "sensor_value", min_length = 1)]
    field: Option<String>,
    /// Only those in whose reason this stands, in upper or lower case
    #[param(example = "not a finite number", min_length = 1)]
    reason: Option<String>,
    /// Only what could not be decoded, and came from a place that begins like this
    #[param(min_length = 1)]
    origin: Option<String>,
    /// Only what was rejected then or later: RFC 3339 with any offset, or milliseconds since the Unix epoch
    #[param(example = "2026-01-31T12:00:00Z", inline)]
    from_time: Option<InstantText>,
    /// Only what was rejected before
    #[param(example = "2100-01-01T00:00:00Z", inline)]
    to_time: Option<InstantText>,
});

parameters!(RejectionFormat {
    /// `json`, `ndjson` or `csv`, instead of the header Accept; the last two bring all, take no limit, and need HTTP/1.1 or
    /// later
    #[param(example = "json", pattern = "^(json|ndjson|csv)$")]
    format: Option<String>,
});

parameters!(ReplayMapping {
    /// The mapping of `rest.mappings`, or `json` or `influx`, by which payloads are decoded instead of the one of their source
    /// or their request
    #[param(example = "influx", min_length = 1)]
    mapping: Option<String>,
});

parameters!(Everything {
    /// Needed where nothing else selects
    everything: Option<bool>,
});

/// What every query may answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "read by the derive only")]
pub(super) enum QueryProblems {
    /// A parameter is missing, unknown, repeated or has no usable value
    #[response(status = 400, content_type = "application/problem+json")]
    BadRequest(ProblemDocument<'static>),
    /// The database cannot answer this: the service's log says why, by the request id
    #[response(status = 500, content_type = "application/problem+json")]
    Internal(ProblemDocument<'static>),
    /// The database is not available, or the service is busy with other requests: Retry-After says when to ask again
    #[response(status = 503, content_type = "application/problem+json")]
    Unavailable(ProblemDocument<'static>),
}

/// What a query of series, or by their tags, may answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "read by the derive only")]
pub(super) enum SeriesProblems {
    /// Readings bring their names along in this layout: there are no series
    #[response(status = 404, content_type = "application/problem+json")]
    NoSeries(ProblemDocument<'static>),
}

/// What a stream of events may answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "read by the derive only")]
pub(super) enum LiveProblems {
    /// HTTP/1.0 cannot tell a whole answer from one that was cut off
    #[response(status = 505, content_type = "application/problem+json")]
    HttpTooOld(ProblemDocument<'static>),
}

/// What a query that can be an export may answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "read by the derive only")]
pub(super) enum ExportProblems {
    /// None of the formats asked for is offered
    #[response(status = 406, content_type = "application/problem+json")]
    NotAcceptable(ProblemDocument<'static>),
    /// Another format than JSON over HTTP/1.0, where nobody can tell a whole export from one that was cut off
    #[response(status = 505, content_type = "application/problem+json")]
    HttpTooOld(ProblemDocument<'static>),
}

/// What a request with a body may answer besides.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "read by the derive only")]
pub(super) enum ChangeProblems {
    /// The body took too long
    #[response(status = 408, content_type = "application/problem+json")]
    TooSlow(ProblemDocument<'static>),
    /// The body is too large
    #[response(status = 413, content_type = "application/problem+json")]
    TooLarge(ProblemDocument<'static>),
    /// The body is not JSON, or not in UTF-8
    #[response(status = 415, content_type = "application/problem+json")]
    NotJson(ProblemDocument<'static>),
    /// The new values cannot be stored
    #[response(status = 422, content_type = "application/problem+json")]
    Invalid(ProblemDocument<'static>),
}
