//! `/sensor/latest` and `/sensor/aggregate`.

use std::sync::Arc;

use warp::http::{HeaderName, HeaderValue};

use super::{
    Context,
    answer::Answer,
    cursor,
    parameters::{
        ByIdsOrTags, ByTimeMaybeIds, CursorPaging, QueryProblems, SeriesProblems, Tagged, Width,
    },
    params::{Params, invalid, missing},
    problem::Problem,
    request::Request,
    room::ROW_BYTES,
    selection::{self, By},
    time::parse_width,
    views::{BucketsView, LatestReadingsView},
};
use crate::{
    model::{BucketWidth, TimeSpan},
    repository::{AggregateQuery, MadeFrom},
    usecase::{latest::Bypass, manage::CacheUse},
};

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The newest reading of each id pair.
#[utoipa::path(get, path = "/sensor/latest", tag = "analysis", params(ByIdsOrTags),
    responses((status = 200, description = "One entry per pair", body = LatestReadingsView,
        headers(("cache-status" = String, description = "Where a cache is set, whether it had all (hit), some (fwd=partial) or none (fwd=miss) of the pairs, or could not be asked (fwd=bypass, and in detail why); RFC 9211"))),
        QueryProblems, SeriesProblems))]
pub(super) async fn latest(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let names = By::Ids.names(&["tags"]);
    let params = Params::parse(&request.query, &names)?;
    let selection = selection::selection(&params, By::Ids)?;
    let manage = context.manage()?;
    let selection = manage.resolve_tags(selection).await?;
    let pairs = selection.pairs.as_ref().map_or(0, Vec::len);
    let room = context.rooms.take(pairs, ROW_BYTES).await?;
    let (latest, used) = manage.latest(selection).await?;
    let mut answer = Answer::page(LatestReadingsView::from(latest), room);
    if let Some(status) = cache_status(used) {
        let status = HeaderValue::from_static(status);
        answer.headers.insert(CACHE_STATUS, status);
    }
    Ok(answer)
}

/// As RFC 9211 has it.
fn cache_status(used: CacheUse) -> Option<&'static str> {
    Some(match used {
        CacheUse::Absent => return None,
        CacheUse::Bypassed(bypass) => match bypass {
            Bypass::NotKept => "sluicegate; fwd=bypass; detail=not-kept",
            Bypass::Away => "sluicegate; fwd=bypass; detail=cache-away",
            Bypass::Unknown => "sluicegate; fwd=bypass; detail=lanes-unknown",
            Bypass::Behind => "sluicegate; fwd=bypass; detail=lanes-behind",
            Bypass::Changing => "sluicegate; fwd=bypass; detail=change-under-way",
        },
        CacheUse::Asked { kept, pairs } if kept == pairs => "sluicegate; hit",
        CacheUse::Asked { kept: 0, .. } => "sluicegate; fwd=miss",
        CacheUse::Asked { .. } => "sluicegate; fwd=partial",
    })
}

/// Count, min, max, avg, first and last per time bucket and series.
#[utoipa::path(get, path = "/sensor/aggregate", tag = "analysis", params(ByTimeMaybeIds, Tagged, Width, CursorPaging),
    responses((status = 200, description = "Buckets that hold readings", body = BucketsView), QueryProblems, SeriesProblems))]
pub(super) async fn aggregate(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let by = By::TimeMaybeIds;
    let names = by.names(&["tags", "bucket", "limit", "cursor"]);
    let params = Params::parse(&request.query, &names)?;
    let selection = selection::selection(&params, by)?;
    let selection = context.manage()?.resolve_tags(selection).await?;
    let width = bucket_width(&params)?;
    let fingerprint = cursor::fingerprint(&(by, &selection, width));
    let cursor = params.get("cursor")?;
    let query = AggregateQuery {
        selection,
        width,
        after: cursor
            .map(|cursor| cursor::decode(fingerprint, &cursor))
            .transpose()?,
        limit: selection::limit(&params)?,
    };
    let room = context.heavy_rooms.take(query.limit, ROW_BYTES).await?;
    let (page, made_from) = context.manage()?.aggregate(query).await?;
    let view = BucketsView {
        made_from: made_from_names(&made_from),
        next_cursor: page.next.map(|key| cursor::encode(fingerprint, &key)),
        buckets: page.items.into_iter().map(Into::into).collect(),
    };
    Ok(Answer::page(view, room))
}

/// From the longest buckets to the readings.
fn made_from_names(made_from: &MadeFrom) -> Vec<String> {
    let levels = made_from.levels_s.iter();
    let levels = levels.map(|&seconds| TimeSpan::of_seconds(seconds.into()).to_string());
    let readings = made_from.readings.then(|| "readings".to_owned());
    levels.chain(readings).collect()
}

fn bucket_width(params: &Params<'_>) -> Result<BucketWidth, Problem> {
    let must = "a whole number of s, m, h or d from 1s to 30d, as in 5m";
    let text = params
        .get("bucket")?
        .ok_or_else(|| missing("bucket", &format!("give {must}")))?;
    parse_width(&text).ok_or_else(|| invalid("bucket", &text, must))
}
