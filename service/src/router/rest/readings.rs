//! `/sensor/time`, `/sensor/ids`, `/sensor/ids-time`: queries and exports.

use std::sync::Arc;

use super::{
    Context,
    answer::Answer,
    cursor,
    export::{Encoder, Lines, until_ended},
    format::Format,
    parameters::{
        ByIdsOrTags, ByTime, ByTimeRange, ExportProblems, Paging, QueryProblems, SeriesProblems,
    },
    params::Params,
    problem::Problem,
    request::Request,
    room::ROW_BYTES,
    selection::{self, By},
    tables::{Table, TableBytes},
    views::ReadingsView,
    workers::Lost,
};
use crate::{
    columnar::{PARQUET_BYTES, WriteError},
    model::Place,
};

const PAGING: [&str; 4] = ["limit", "order", "cursor", "format"];
const PAGING_AND_TAGS: [&str; 5] = ["limit", "order", "cursor", "format", "tags"];

/// Readings of a stretch of time, ordered by time.
#[utoipa::path(get, path = "/sensor/time", tag = "readings", params(ByTime, Paging),
    responses((status = 200, description = "Readings; as NDJSON, CSV, Arrow (its IPC streaming format) or Parquet all of them, streamed",
        content((ReadingsView = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (TableBytes = "application/vnd.apache.arrow.stream"), (TableBytes = "application/vnd.apache.parquet"))),
        QueryProblems, ExportProblems))]
pub(super) async fn by_time(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    query(context, request, By::Time).await
}

/// All readings of id pairs, pair by pair, each ordered by time.
#[utoipa::path(get, path = "/sensor/ids", tag = "readings", params(ByIdsOrTags, Paging),
    responses((status = 200, description = "Readings; as NDJSON, CSV, Arrow (its IPC streaming format) or Parquet all of them, streamed",
        content((ReadingsView = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (TableBytes = "application/vnd.apache.arrow.stream"), (TableBytes = "application/vnd.apache.parquet"))),
        QueryProblems, SeriesProblems, ExportProblems))]
pub(super) async fn by_ids(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    query(context, request, By::Ids).await
}

/// Readings of id pairs in a stretch of time, pair by pair, each ordered by time.
#[utoipa::path(get, path = "/sensor/ids-time", tag = "readings", params(ByIdsOrTags, ByTimeRange, Paging),
    responses((status = 200, description = "Readings; as NDJSON, CSV, Arrow (its IPC streaming format) or Parquet all of them, streamed",
        content((ReadingsView = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"),
            (TableBytes = "application/vnd.apache.arrow.stream"), (TableBytes = "application/vnd.apache.parquet"))),
        QueryProblems, SeriesProblems, ExportProblems))]
pub(super) async fn by_ids_time(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    query(context, request, By::IdsTime).await
}

async fn query(context: Arc<Context>, request: Request, by: By) -> Result<Answer, Problem> {
    let names = match by {
        By::Time => by.names(&PAGING),
        _ => by.names(&PAGING_AND_TAGS),
    };
    let params = Params::parse(&request.query, &names)?;
    let selected = selection::selection(&params, by)?;
    let selected = context.manage()?.resolve_tags(selected).await?;
    let order = selection::order(&params)?;
    let fingerprint = cursor::fingerprint(&(by, &selected, order));
    let from = params.get("cursor")?;
    let from = from.map_or(Ok(Place::default()), |it| cursor::decode(fingerprint, &it))?;
    let format = Format::of_readings(&request, &params)?;
    if format == Format::Json {
        let limit = selection::limit(&params)?;
        let rooms = match selected.is_filtered() {
            true => &context.heavy_rooms,
            false => &context.rooms,
        };
        let room = rooms.take(limit, ROW_BYTES).await?;
        let page = context
            .manage()?
            .page(&selected, order, from, limit)
            .await?;
        let cursor = |place: &Place| cursor::encode(fingerprint, place);
        return Ok(Answer::page(ReadingsView::new(page, cursor), room));
    }
    request.require_chunks()?;
    let limit = selection::any_limit(&params)?;
    let room = match format {
        Format::Parquet => Some(context.table_rooms.take(1, PARQUET_BYTES).await?),
        _ => None,
    };
    let encoder: Box<dyn Encoder<_>> = match format {
        Format::Csv => Box::new(Lines::csv()),
        Format::Arrow => Box::new(Table::arrow().map_err(unwritten)?),
        Format::Parquet => Box::new(Table::parquet().map_err(unwritten)?),
        Format::Json | Format::Ndjson => Box::new(Lines::ndjson()),
    };
    let manage = context.manage()?.clone();
    let pages = manage.export(selected, order, from, limit).await?;
    let pages = until_ended(pages, request.ended());
    Ok(Answer::export(format.sent(), pages, encoder, room))
}

fn unwritten(error: WriteError) -> Problem {
    tracing::error!(%error, "a table cannot be begun");
    Problem::from(Lost)
}
