//! `/rejections`, `/rejections/replay`, `/streams/{id}/rejections`: the quarantine, looked at and worked off.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    Context,
    answer::Answer,
    audited::{settle, settle_replay},
    cursor,
    export::{Encoder, Lines, until_ended},
    format::Format,
    parameters::{
        CursorPaging, DryRun, Everything, ExportProblems, QueryProblems, RejectionFilter,
        RejectionFormat, ReplayMapping,
    },
    params::{Params, invalid, missing},
    problem::{Kind, Problem, ProblemDocument},
    request::Request,
    room::QUARANTINED_BYTES,
    selection,
    streams::no_such_stream,
    views::{Dropped, KeptView, RejectionsView, Replayed},
};
use crate::{
    audit::Action,
    model::{QuarantineFilter, QuarantineOf},
    usecase::manage::{Kept, Replay, ReplayOrder},
};

/// What a filter is made of.
const FILTER: [&str; 8] = [
    "stream",
    "anonymous",
    "ids",
    "field",
    "reason",
    "origin",
    "from_time",
    "to_time",
];
/// Ids of a request at the most.
const MAX_IDS: usize = 1_000;

/// Readings of one stream that were not stored, in order of their positions.
#[utoipa::path(get, path = "/streams/{id}/rejections", tag = "quarantine",
    params(("id" = String, Path, description = "Name of the stream, percent-encoded", example = "gateway-7"),
        CursorPaging),
    responses((status = 200, description = "A page of its quarantine", body = RejectionsView), QueryProblems,
        (status = 404, description = "No such stream", body = ProblemDocument<'static>,
         content_type = "application/problem+json")))]
pub(super) async fn of_stream(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let name = request.segment()?;
    let params = Params::parse(&request.query, &["limit", "cursor"])?;
    let known = context.manage()?.stream(&name).await?;
    known.ok_or_else(no_such_stream)?;
    let filter = QuarantineFilter::of(QuarantineOf::Stream(name));
    page(&context, &params, &filter).await
}

/// Readings that were not stored, of all calls or of those that are selected.
///
/// In order of their rejection; with `stream` or `anonymous=true` in order of their position in their stream or call, so that
/// one that is rejected meanwhile may belong on a page that was read already.
#[utoipa::path(get, path = "/rejections", tag = "quarantine",
    params(RejectionFilter, CursorPaging, RejectionFormat),
    responses((status = 200, description = "Rejections; as NDJSON or CSV all of them, streamed, in order of their rejection",
        content((RejectionsView = "application/json"), (String = "application/x-ndjson"), (String = "text/csv"))),
        QueryProblems, ExportProblems))]
pub(super) async fn all(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let names = [&FILTER[..], &["limit", "cursor", "format"]].concat();
    let params = Params::parse(&request.query, &names)?;
    let filter = filter(&params)?;
    let format = Format::of_lines(&request, &params)?;
    if format == Format::Json {
        return page(&context, &params, &filter).await;
    }
    for name in ["limit", "cursor"] {
        if params.get(name)?.is_some() {
            let detail = format!("{name} is of pages: NDJSON and CSV bring all that are selected.");
            return Err(Problem::of(name, Kind::InvalidParameter, detail));
        }
    }
    request.require_chunks()?;
    let pages = context.manage()?.clone().export_quarantine(filter).await?;
    let pages = until_ended(pages, request.ended());
    let encoder: Box<dyn Encoder<_>> = match format {
        Format::Csv => Box::new(Lines::csv()),
        _ => Box::new(Lines::ndjson()),
    };
    Ok(Answer::export(format.sent(), pages, encoder, None))
}

async fn page(
    context: &Context,
    params: &Params<'_>,
    filter: &QuarantineFilter,
) -> Result<Answer, Problem> {
    let limit = selection::limit(params)?;
    let fingerprint = cursor::fingerprint(&("rejections", filter));
    let cursor = params.get("cursor")?;
    let after = cursor
        .map(|cursor| cursor::decode(fingerprint, &cursor))
        .transpose()?;
    let rooms = match filter.is_filtered() {
        true => &context.heavy_rooms,
        false => &context.rooms,
    };
    let room = rooms.take(limit, QUARANTINED_BYTES).await?;
    let page = context.manage()?.quarantine(filter, after, limit).await?;
    let view = RejectionsView {
        next_cursor: page.next.map(|key| cursor::encode(fingerprint, &key)),
        rejections: page.items.into_iter().map(Into::into).collect(),
    };
    Ok(Answer::page(view, room))
}

/// Stores what was rejected, after whatever kept it out was mended: the table, a limit, a mapping.
///
/// A reading is checked as it was sent, a payload that could not be decoded is decoded by the mapping of today. What is stored
/// leaves the quarantine in the same transaction, so that it is stored once, however often a replay is begun again; what is
/// still refused stays. At most `limit` rejections are looked at; `next_cursor` goes on behind them.
#[utoipa::path(post, path = "/rejections/replay", tag = "quarantine",
    params(RejectionFilter, ReplayMapping, CursorPaging, DryRun),
    responses((status = 200, description = "Replayed, or tried", body = Replayed), QueryProblems))]
pub(super) async fn replay(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let names = [&FILTER[..], &["mapping", "limit", "cursor", "dry_run"]].concat();
    let params = Params::parse(&request.query, &names)?;
    let filter = filter(&params)?;
    let mapping = params.get("mapping")?;
    let fingerprint = cursor::fingerprint(&("replay", &filter, &mapping));
    let from = params
        .get("cursor")?
        .map(|cursor| cursor::decode(fingerprint, &cursor))
        .transpose()?;
    let order = ReplayOrder {
        from,
        limit: selection::limit(&params)?,
        dry_run: params.flag("dry_run")?,
        filter,
        mapping,
    };
    let manage = context.manage()?;
    let replay = if order.dry_run {
        manage.replay(&order).await?
    } else {
        let what = replayed(&order);
        let audited = context.audit(&request, Action::ReplayRejections, what)?;
        settle_replay(audited, manage.replay(&order).await)?
    };
    let Replay {
        replayed,
        stored,
        kept,
        told,
        next,
    } = replay;
    let view = |Kept { id, reason }| KeptView { id, reason };
    Ok(Answer::json(&Replayed {
        replayed_count: replayed,
        stored_count: stored,
        kept_count: kept,
        kept: told.into_iter().map(view).collect(),
        dry_run: order.dry_run,
        next_cursor: next.map(|place| cursor::encode(fingerprint, &place)),
    }))
}

/// Removes rejections that nobody wants any longer.
#[utoipa::path(delete, path = "/rejections", tag = "quarantine", params(RejectionFilter, Everything, DryRun),
    responses((status = 200, description = "Removed, or counted", body = Dropped), QueryProblems))]
pub(super) async fn remove(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let names = [&FILTER[..], &["everything", "dry_run"]].concat();
    let params = Params::parse(&request.query, &names)?;
    let filter = filter(&params)?;
    let everything = params.flag("everything")?;
    if filter.is_everything() && !everything {
        return Err(missing(
            "everything",
            "select what is to be removed, or say everything=true",
        ));
    }
    if !filter.is_everything() && everything {
        let detail =
            "everything=true is of the whole quarantine: leave it out, or what selects some.";
        return Err(Problem::of("everything", Kind::InvalidParameter, detail));
    }
    let dry_run = params.flag("dry_run")?;
    let manage = context.manage()?;
    let dropped_count = if dry_run {
        manage.count_quarantine(&filter).await?
    } else {
        let audited = context.audit(&request, Action::DropRejections, selected(&filter))?;
        settle(audited, manage.drop_quarantined(&filter).await)?
    };
    Ok(Answer::json(&Dropped {
        dropped_count,
        dry_run,
    }))
}

fn filter(params: &Params<'_>) -> Result<QuarantineFilter, Problem> {
    let of = match (params.get("stream")?, params.flag("anonymous")?) {
        (None, false) => QuarantineOf::Everyone,
        (None, true) => QuarantineOf::Anonymous,
        (Some(stream), false) => QuarantineOf::Stream(stream),
        (Some(_), true) => {
            let detail = "anonymous=true is of calls that name no stream: give it or stream.";
            return Err(Problem::of("anonymous", Kind::InvalidParameter, detail));
        }
    };
    let filter = QuarantineFilter {
        of,
        ids: ids(params)?,
        field: params.get("field")?,
        reason: params.get("reason")?,
        origin: params.get("origin")?,
        from_us: selection::maybe_instant(params, "from_time")?,
        to_us: selection::maybe_instant(params, "to_time")?,
    };
    if let (Some(from), Some(to)) = (filter.from_us, filter.to_us)
        && from >= to
    {
        return Err(Problem::of(
            "to_time",
            Kind::InvalidParameter,
            "to_time must lie behind from_time: the range holds from_time and ends before to_time.",
        ));
    }
    Ok(filter)
}

fn ids(params: &Params<'_>) -> Result<Option<Vec<u64>>, Problem> {
    let Some(texts) = params.list("ids")? else {
        return Ok(None);
    };
    if texts.len() > MAX_IDS {
        let detail = format!("ids has {}: give at most {MAX_IDS}.", texts.len());
        return Err(Problem::of("ids", Kind::InvalidParameter, detail));
    }
    let must = "whole numbers from 1, separated by commas";
    let id = |text: &String| {
        let id = text.parse::<u64>().ok().filter(|&id| id > 0);
        id.ok_or_else(|| invalid("ids", text, must))
    };
    texts.iter().map(id).collect::<Result<_, _>>().map(Some)
}

/// Which rejections, as the audit log has it.
fn selected(filter: &QuarantineFilter) -> Value {
    let QuarantineFilter {
        of,
        ids,
        field,
        reason,
        origin,
        from_us,
        to_us,
    } = filter;
    let stream = match of {
        QuarantineOf::Stream(stream) => Some(stream),
        QuarantineOf::Everyone | QuarantineOf::Anonymous => None,
    };
    json!({
        "stream": stream,
        "anonymous": *of == QuarantineOf::Anonymous,
        "ids": ids,
        "field": field,
        "reason": reason,
        "origin": origin,
        "from_us": from_us,
        "to_us": to_us,
    })
}

fn replayed(order: &ReplayOrder) -> Value {
    let mut what = selected(&order.filter);
    what["mapping"] = json!(order.mapping);
    what["limit"] = json!(order.limit);
    what
}
