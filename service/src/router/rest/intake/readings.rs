//! `POST /readings`.

use std::sync::Arc;

use sluicegate_decode::Position;
use utoipa::IntoResponses;
use warp::http::StatusCode;

use super::{
    asked::Asked,
    store::{Rejected, Stored, store},
};
use crate::router::rest::{
    Context,
    answer::{Answer, JSON},
    problem::{Kind, Problem, ProblemDocument},
    request::Request,
    views::{IntakeView, RejectedView},
};

impl From<Rejected> for RejectedView {
    fn from(Rejected { position, note }: Rejected) -> Self {
        let (line, record) = match position {
            Some(Position::Line(line)) => (Some(line), None),
            Some(Position::Record(record)) => (None, Some(record)),
            Some(Position::Message) | None => (None, None),
        };
        Self {
            line,
            record,
            seq: note.seq.0,
            field: note.field.as_str(),
            reason: note.reason,
        }
    }
}

impl From<Stored> for IntakeView {
    fn from(stored: Stored) -> Self {
        Self {
            received: stored.received,
            committed: stored.committed,
            rejected: stored.rejected,
            duplicate: stored.duplicate,
            left_out: stored.left_out,
            epoch: stored.stream.map(|(epoch, _)| epoch.0),
            committed_seq: stored.stream.map(|(_, seq)| seq.0),
            rejections: stored.rejections.into_iter().map(Into::into).collect(),
        }
    }
}

/// How readings are refused.
#[derive(IntoResponses)]
#[allow(dead_code, reason = "they describe, and are never made")]
pub(in crate::router::rest) enum IntakeProblems {
    #[response(
        status = 400,
        description = "Some readings were not stored, and `intake` says which; or a parameter or a header is wrong, or the body \
                       cannot be read",
        content_type = "application/problem+json"
    )]
    Invalid(#[to_schema] ProblemDocument<'static>),
    #[response(
        status = 408,
        description = "Nothing came for rest.write_idle_limit_s, or not to the end of a line",
        content_type = "application/problem+json"
    )]
    Slow(#[to_schema] ProblemDocument<'static>),
    #[response(
        status = 409,
        description = "The stream does not go on at `First-Seq`, or another writer has it",
        content_type = "application/problem+json"
    )]
    Conflict(#[to_schema] ProblemDocument<'static>),
    #[response(
        status = 413,
        description = "More than a request may bring: rest.max_write_bytes, or rest.max_document_bytes of JSON",
        content_type = "application/problem+json"
    )]
    Large(#[to_schema] ProblemDocument<'static>),
    #[response(
        status = 415,
        description = "A format or a packing that is not taken",
        content_type = "application/problem+json"
    )]
    Format(#[to_schema] ProblemDocument<'static>),
    #[response(
        status = 503,
        description = "Not now: the database is away, the service starts or stops, or others bring as much as may come",
        content_type = "application/problem+json"
    )]
    Unavailable(#[to_schema] ProblemDocument<'static>),
}

/// Stores readings, and answers when they are committed.
///
/// The body is read as it comes, and may be of any length up to `rest.max_write_bytes`. A line that is no reading, or one
/// that cannot be stored, hurts no other: the good ones are stored, and the answer is 400 and says which were bad. Without
/// `Stream-Id` a request whose answer was lost may have been stored all the same; with it and `First-Seq` it can be sent
/// again as often as need be, and each reading is stored once.
#[utoipa::path(post, path = "/readings", tag = "readings",
    params(
        ("format" = Option<String>, Query, description = "json, ndjson, csv or influx, where Content-Type does not say it",
         pattern = "^(json|ndjson|csv|influx)$"),
        ("mapping" = Option<String>, Query, description = "One of rest.mappings"),
        ("precision" = Option<String>, Query, description = "Of times in line protocol: ns (the default), us, ms, s, m, h or auto",
         pattern = "^(n|ns|nanosecond|u|us|microsecond|ms|millisecond|s|second|m|h|auto)$"),
        ("Stream-Id" = Option<String>, Header, description = "The stream that the readings belong to, 1 to 128 characters of ASCII",
         pattern = "^[!-~]{1,128}$"),
        ("Stream-Epoch" = Option<u64>, Header, description = "Under which epoch they are written; without it the stream is opened",
         minimum = 1),
        ("First-Seq" = Option<u64>, Header, description = "The place of the first reading in the stream, from 1", minimum = 1)
    ),
    request_body(content(
        (serde_json::Value = "application/json", example = json!([{"sensor_value": 21.5, "sensor_type": "temperature", "id1": 4,
          "id2": "BOILER", "timestamp": "2026-06-30T12:00:00.25Z"}])),
        (String = "application/x-ndjson"),
        (String = "text/csv"),
        (String = "application/vnd.influxdata.line-protocol")
    )),
    responses(
        (status = 200, description = "All are stored, and belong to a stream", body = IntakeView),
        (status = 204, description = "All are stored"),
        IntakeProblems))]
pub(in crate::router::rest) async fn post(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    let ingest = context.use_cases()?.ingest.clone();
    let intake = &context.intake;
    let asked = Asked::of(&request.query, &request.headers, &intake.mappings)?;
    let stored = store(&ingest, intake, request, asked).await?;
    if stored.rejected > 0 {
        return Err(partly(stored));
    }
    Ok(match stored.stream {
        None => Answer::empty(StatusCode::NO_CONTENT),
        Some(_) => {
            let view = serde_json::to_vec(&IntakeView::from(stored)).unwrap_or_default();
            Answer::whole(StatusCode::OK, JSON, view)
        }
    })
}

/// Some were not stored.
fn partly(stored: Stored) -> Problem {
    let detail = format!(
        "{} of {} readings were not stored, and the other {} are. {}",
        stored.rejected,
        stored.received,
        stored.received - stored.rejected,
        first_of(&stored.rejections)
    );
    Problem {
        intake: Some(Box::new(stored.into())),
        ..Problem::new(Kind::InvalidReadings, detail)
    }
}

/// The first that was rejected, in words.
pub(super) fn first_of(rejections: &[Rejected]) -> String {
    match rejections.first() {
        None => "GET /rejections says which.".to_owned(),
        Some(Rejected { position, note }) => {
            let place = match position {
                Some(position) => position.to_string(),
                None => format!("reading {}", note.seq),
            };
            format!("The first is {place}: {}.", note.reason)
        }
    }
}
