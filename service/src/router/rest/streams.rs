//! `/streams`, `/streams/{id}`, `/streams/{id}/rejections`, `/rejections`: the ledger and the quarantine.

use std::sync::Arc;

use super::{
    Context,
    answer::Answer,
    cursor,
    parameters::{CursorPaging, QueryProblems},
    params::Params,
    problem::{Kind, Problem, ProblemDocument},
    request::Request,
    room::{QUARANTINED_BYTES, ROW_BYTES},
    selection,
    views::{RejectionsView, StreamView, StreamsView},
};
use crate::model::QuarantineOf;

/// Every stream and lane in the ledger, in order of their names.
#[utoipa::path(get, path = "/streams", tag = "streams", params(CursorPaging),
    responses((status = 200, description = "A page of the ledger", body = StreamsView), QueryProblems))]
pub(super) async fn all(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let params = Params::parse(&request.query, &["limit", "cursor"])?;
    let limit = selection::limit(&params)?;
    let fingerprint = cursor::fingerprint(&"streams");
    let cursor = params.get("cursor")?;
    let after: Option<String> = cursor
        .map(|cursor| cursor::decode(fingerprint, &cursor))
        .transpose()?;
    let room = context.rooms.take(limit, ROW_BYTES).await?;
    let page = context.manage()?.streams(after.as_deref(), limit).await?;
    let view = StreamsView {
        next_cursor: page.next.map(|name| cursor::encode(fingerprint, &name)),
        streams: page.items.into_iter().map(Into::into).collect(),
    };
    Ok(Answer::page(view, room))
}

/// Where one stream stands.
#[utoipa::path(get, path = "/streams/{id}", tag = "streams",
    params(("id" = String, Path, description = "Name of the stream, percent-encoded", example = "gateway-7")),
    responses((status = 200, description = "Its row of the ledger", body = StreamView), QueryProblems,
        (status = 404, description = "No such stream", body = ProblemDocument<'static>,
         content_type = "application/problem+json")))]
pub(super) async fn one(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    Params::parse(&request.query, &[])?;
    let stream = context.manage()?.stream(&request.segment()?).await?;
    let stream = stream.ok_or_else(no_such_stream)?;
    Ok(Answer::json(&StreamView::from(stream)))
}

/// Readings of one stream that were not stored, in order of their positions.
#[utoipa::path(get, path = "/streams/{id}/rejections", tag = "streams",
    params(("id" = String, Path, description = "Name of the stream, percent-encoded", example = "gateway-7"),
        CursorPaging),
    responses((status = 200, description = "A page of its quarantine", body = RejectionsView), QueryProblems,
        (status = 404, description = "No such stream", body = ProblemDocument<'static>,
         content_type = "application/problem+json")))]
pub(super) async fn rejections_of_one(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    let name = request.segment()?;
    let params = Params::parse(&request.query, &["limit", "cursor"])?;
    let known = context.manage()?.stream(&name).await?;
    known.ok_or_else(no_such_stream)?;
    quarantine(&context, &params, QuarantineOf::Stream(name)).await
}

/// Readings of all calls that were not stored, anonymous ones included.
///
/// In order of their rejection; with `anonymous=true` in order of their position in their call, so that one that is
/// rejected meanwhile may belong on a page that was read already.
#[utoipa::path(get, path = "/rejections", tag = "streams",
    params(("anonymous" = Option<bool>, Query, description = "Only readings of anonymous calls"), CursorPaging),
    responses((status = 200, description = "A page of the quarantine", body = RejectionsView), QueryProblems))]
pub(super) async fn rejections(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let params = Params::parse(&request.query, &["anonymous", "limit", "cursor"])?;
    let of = match params.flag("anonymous")? {
        true => QuarantineOf::Anonymous,
        false => QuarantineOf::Everyone,
    };
    quarantine(&context, &params, of).await
}

async fn quarantine(
    context: &Context,
    params: &Params<'_>,
    of: QuarantineOf,
) -> Result<Answer, Problem> {
    let limit = selection::limit(params)?;
    let fingerprint = cursor::fingerprint(&("rejections", &of));
    let cursor = params.get("cursor")?;
    let after = cursor
        .map(|cursor| cursor::decode(fingerprint, &cursor))
        .transpose()?;
    let room = context.rooms.take(limit, QUARANTINED_BYTES).await?;
    let page = context.manage()?.quarantine(&of, after, limit).await?;
    let view = RejectionsView {
        next_cursor: page.next.map(|key| cursor::encode(fingerprint, &key)),
        rejections: page.items.into_iter().map(Into::into).collect(),
    };
    Ok(Answer::page(view, room))
}

pub(super) fn no_such_stream() -> Problem {
    let detail = "The ledger has no stream of this name: GET /streams lists all.";
    Problem::of("id", Kind::NotFound, detail)
}
