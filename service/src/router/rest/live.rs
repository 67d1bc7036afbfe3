//! `/live`: new readings as they are committed, as server-sent events.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use serde::Serialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use utoipa::ToSchema;

use super::{
    Context,
    answer::Answer,
    parameters::{ByIdsOrTags, LiveProblems, Pace, QueryProblems, SeriesProblems},
    params::{Params, invalid},
    problem::{Kind, Problem},
    request::Request,
    selection::{self, By},
    time::format_instant,
};
use crate::usecase::{
    UseCases,
    live::{INTERVAL_MS, INTERVAL_MS_DEFAULT, Live, Told, Wanted},
};

/// Whoever hears nothing for so long hears that there is nothing: proxies cut off what is silent.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);
/// An event as it is sent
#[derive(ToSchema)]
#[schema(as = LiveEvent)]
#[allow(dead_code, reason = "read by the derive only")]
pub(super) struct LiveEventView {
    /// `readings` or `end`
    #[schema(example = "readings")]
    event: String,
    /// JSON: of `readings` LiveReadings, of `end` an object with a `reason`
    data: String,
}

/// New readings of series
#[derive(Serialize, ToSchema)]
#[schema(as = LiveReadings)]
pub(super) struct LiveReadingsView {
    readings: Vec<LiveReadingView>,
}

/// The newest reading of a series since the event before
#[derive(Serialize, ToSchema)]
#[schema(as = LiveReading)]
struct LiveReadingView {
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
    /// How many readings of the series have come since the event before; 0 for what the table held
    #[schema(example = 12)]
    count: u64,
}

impl From<Told> for LiveReadingView {
    fn from(told: Told) -> Self {
        Self {
            id1: told.series.id1,
            id2: told.series.id2,
            sensor_type: told.series.sensor_type,
            sensor_value: told.sensor_value,
            timestamp: format_instant(told.timestamp_us),
            timestamp_us: told.timestamp_us,
            count: told.readings,
        }
    }
}

/// New readings of some series, as this instance commits them, as server-sent events.
///
/// The first event `readings` has what is in the table, the others what has come since: of each series the newest reading and how many
/// there were. So a client that reads slowly gets fewer events, each as true as any. Their data are LiveReadings. An event `end` says why
/// nothing follows.
#[utoipa::path(get, path = "/live", tag = "readings", params(ByIdsOrTags, Pace),
    responses((status = 200, description = "Events", body = LiveEventView, content_type = "text/event-stream"),
        QueryProblems, SeriesProblems, LiveProblems))]
pub(super) async fn live(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let names = By::Ids.names(&["tags", "interval_ms", "limit"]);
    let params = Params::parse(&request.query, &names)?;
    let selection = selection::selection(&params, By::Ids)?;
    let interval = interval(&params)?;
    let limit = selection::any_limit(&params)?;
    request.require_chunks()?;
    // Watchers do not end by themselves: others who ask need connections, too.
    let place = context.live_places.clone().try_acquire_owned();
    let place = place.map_err(|_| {
        let detail = "Those who watch have half of the connections that there may be (rest.max_connections): try again later.";
        Problem::new(Kind::Busy, detail)
    })?;
    let UseCases {
        ingest,
        manage,
        watcher_rooms,
        ..
    } = context.use_cases()?;
    let wanted = Wanted {
        selection,
        interval,
        limit,
    };
    let watching = Watching {
        live: Live::begin(ingest, manage, watcher_rooms, wanted).await?,
        draining: context.draining.clone(),
        ended: request.ended(),
        _place: place,
    };
    Ok(Answer::events(watching.events()))
}

fn interval(params: &Params<'_>) -> Result<Duration, Problem> {
    let Some(text) = params.get("interval_ms")? else {
        return Ok(Duration::from_millis(INTERVAL_MS_DEFAULT));
    };
    let interval_ms = text.parse().ok().filter(|ms| INTERVAL_MS.contains(ms));
    let interval_ms = interval_ms.ok_or_else(|| {
        let must = format!("{} to {}", INTERVAL_MS.start(), INTERVAL_MS.end());
        invalid("interval_ms", &text, &must)
    })?;
    Ok(Duration::from_millis(interval_ms))
}

/// What a client hears of.
struct Watching {
    live: Live,
    draining: CancellationToken,
    /// Cancelled when its token is no longer valid; None where nobody is asked for one.
    ended: Option<CancellationToken>,
    _place: OwnedSemaphorePermit,
}

/// What comes next.
enum Next {
    Told(Vec<Told>),
    Nothing,
    End(&'static str),
}

impl Watching {
    fn events(self) -> impl Stream<Item = Bytes> + Send + 'static {
        stream::unfold(Some(self), |watching| async {
            let mut watching = watching?;
            let (event, goes_on) = match watching.next().await {
                Next::Told(told) => (readings(told), !watching.live.has_heard_enough()),
                // A comment, which no client takes for an event.
                Next::Nothing => (Bytes::from_static(b":\n\n"), true),
                Next::End(reason) => (end(reason), false),
            };
            Some((event, goes_on.then_some(watching)))
        })
    }

    async fn next(&mut self) -> Next {
        let ended = async {
            match &self.ended {
                Some(ended) => ended.cancelled().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = self.draining.cancelled() => Next::End("the service is shutting down"),
            () = ended => Next::End("the token is no longer valid"),
            () = tokio::time::sleep(SIGN_OF_LIFE) => Next::Nothing,
            told = self.live.next() => Next::Told(told),
        }
    }
}

fn readings(told: Vec<Told>) -> Bytes {
    let view = LiveReadingsView {
        readings: told.into_iter().map(Into::into).collect(),
    };
    event("readings", &view)
}

fn end(reason: &'static str) -> Bytes {
    event("end", &serde_json::json!({ "reason": reason }))
}

/// An event as a browser reads it. JSON has no line breaks of its own.
fn event(name: &str, data: &impl Serialize) -> Bytes {
    let data = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {data}\n\n").into()
}
