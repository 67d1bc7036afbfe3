//! `/streams`, `/streams/{id}`: the ledger.

use std::sync::Arc;

use super::{
    Context,
    answer::Answer,
    cursor,
    parameters::{CursorPaging, QueryProblems},
    params::Params,
    problem::{Kind, Problem, ProblemDocument},
    request::Request,
    room::ROW_BYTES,
    selection,
    views::{StreamView, StreamsView},
};

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

pub(super) fn no_such_stream() -> Problem {
    let detail = "The ledger has no stream of this name: GET /streams lists all.";
    Problem::of("id", Kind::NotFound, detail)
}
