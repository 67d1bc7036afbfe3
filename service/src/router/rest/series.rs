//! `/series`: which series there are, what is said of them, and the removal of those that have no readings.

use std::{sync::Arc, time::SystemTime};

use chrono::NaiveDate;
use serde_json::json;

use super::{
    Context,
    answer::Answer,
    audited::{settle, settle_other},
    cursor,
    parameters::{
        ChangeProblems, CursorPaging, DryRun, QueryProblems, SeriesProblems, SeriesSelection,
        UnusedSince,
    },
    params::{Params, invalid, missing},
    problem::{Kind, Problem},
    request::Request,
    room::ROW_BYTES,
    selection,
    series_tags::{Changes, Lines, TOLD_MAX, fault_of, not_tags, of_tag},
    series_views::{
        CountedView, RemovedSeriesView, SeriesListView, SeriesView, TaggedView, TaggingRejectedView,
    },
};
use crate::{
    audit::Action,
    model::{SeriesFilter, TAGS_MAX},
    usecase::manage::{SeriesError, TaggingFault},
};

const FILTER: [&str; 6] = ["id1", "id2", "prefix", "sensor_type", "tags", "seen_since"];
/// What a request with the tags of many series may have, bytes.
const BULK_LIMIT_BYTES: usize = 4 << 20;
/// What a line takes while it is worked on, beside what it has in the body.
const LINE_FACTOR: usize = 8;
/// A series that is younger may be waiting for its first reading, seconds.
const YOUNG_S: i64 = 3_600;
/// What a series takes while a page is made of it, with some tags.
const SERIES_BYTES: usize = 2 * ROW_BYTES;

/// The series that there are, or those that meet every condition.
///
/// The order follows from the first of these that is given: `id1` and `id2` together, `tags`, `id1`, `id2` or `prefix`; without any
/// it is that of the numbers. For `sensor_type` and `seen_since` without any of these every series is looked at, up to
/// rest.max_scanned_rows of them.
#[utoipa::path(get, path = "/series", tag = "series", params(SeriesSelection, CursorPaging),
    responses((status = 200, description = "A page of series", body = SeriesListView), QueryProblems, SeriesProblems))]
pub(super) async fn list_series(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    let names = [&FILTER[..], &["limit", "cursor"]].concat();
    let params = Params::parse(&request.query, &names)?;
    let filter = filter(&params)?;
    let limit = selection::limit(&params)?;
    let fingerprint = cursor::fingerprint(&("series", &filter));
    let after = params
        .get("cursor")?
        .map(|cursor| cursor::decode(fingerprint, &cursor))
        .transpose()?;
    let room = context.heavy_rooms.take(limit, SERIES_BYTES).await?;
    let manage = context.manage()?;
    let page = manage.list_series(&filter, after.as_ref(), limit).await?;
    let view = SeriesListView {
        count: page.items.len(),
        next_cursor: page.next.map(|place| cursor::encode(fingerprint, &place)),
        series: page.items.into_iter().map(Into::into).collect(),
    };
    Ok(Answer::page(view, room))
}

/// How many series there are, or how many meet every condition.
#[utoipa::path(get, path = "/series/count", tag = "series", params(SeriesSelection),
    responses((status = 200, description = "Their number", body = CountedView), QueryProblems, SeriesProblems))]
pub(super) async fn count_series(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    let params = Params::parse(&request.query, &FILTER)?;
    let count = context.manage()?.count_series(&filter(&params)?).await?;
    Ok(Answer::json(&CountedView { count }))
}

/// One series.
#[utoipa::path(get, path = "/series/{number}", tag = "series",
    params(("number" = u32, Path, description = "Its number", example = 1, minimum = 1)),
    responses((status = 200, description = "The series", body = SeriesView), QueryProblems, SeriesProblems))]
pub(super) async fn one_series(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    Params::parse(&request.query, &[])?;
    let number = number(&request)?;
    let series = context.manage()?.one_series(number).await?;
    Ok(Answer::json(&SeriesView::from(series)))
}

/// Gives a series these tags, and takes all others away.
#[utoipa::path(put, path = "/series/{number}/tags", tag = "series",
    params(("number" = u32, Path, description = "Its number", example = 1, minimum = 1)),
    request_body(content = BTreeMap<String, String>, description = "At most 32 names and values",
        example = json!({"site": "north", "line": "7"})),
    responses((status = 200, description = "The series as it is now", body = SeriesView), QueryProblems, SeriesProblems, ChangeProblems))]
pub(super) async fn set_tags(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    tag(context, request, true).await
}

/// Changes some tags of a series: those that are named get these values, and null removes one.
#[utoipa::path(patch, path = "/series/{number}/tags", tag = "series",
    params(("number" = u32, Path, description = "Its number", example = 1, minimum = 1)),
    request_body(content = BTreeMap<String, Option<String>>, description = "Names and values, or null to remove one",
        example = json!({"site": "south", "line": null})),
    responses((status = 200, description = "The series as it is now", body = SeriesView), QueryProblems, SeriesProblems, ChangeProblems))]
pub(super) async fn merge_tags(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    tag(context, request, false).await
}

async fn tag(
    context: Arc<Context>,
    mut request: Request,
    instead: bool,
) -> Result<Answer, Problem> {
    let query = std::mem::take(&mut request.query);
    Params::parse(&query, &[])?;
    let number = number(&request)?;
    let body = request.json().await?;
    let Changes(changes) = serde_json::from_slice(&body).map_err(|error| not_tags(&error))?;
    if let Some((tag, fault)) = fault_of(&changes, instead) {
        return Err(of_tag(&tag, &fault));
    }
    let what = json!({"series_id": number, "tags": changes, "instead": instead});
    let audited = context.audit(&request, Action::TagSeries, what)?;
    let tagged = context.manage()?.tag_series(number, changes, instead).await;
    settle_other(audited, &tagged);
    Ok(Answer::json(&SeriesView::from(tagged?)))
}

/// Changes some tags of many series, each named by `series_id`, or by `id1`, `id2` and `sensor_type`; `tags` are its changes, of
/// which null removes one.
///
/// They come as lines of JSON, or as one array. One that cannot be done keeps no other from its own: the good ones are done, and the answer is 400 and says which were
/// bad. The same may be sent again as often as need be.
#[utoipa::path(patch, path = "/series", tag = "series",
    request_body(content(
        (serde_json::Value = "application/json", example = json!([{"series_id": 1, "tags": {"site": "north"}},
          {"id1": 0, "id2": "A", "sensor_type": "temperature", "tags": {"line": null}}])),
        (String = "application/x-ndjson")
    )),
    responses((status = 200, description = "All are done", body = TaggedView), QueryProblems, SeriesProblems, ChangeProblems))]
pub(super) async fn tag_many(
    context: Arc<Context>,
    mut request: Request,
) -> Result<Answer, Problem> {
    let query = std::mem::take(&mut request.query);
    Params::parse(&query, &[])?;
    let _room = context
        .heavy_rooms
        .take(BULK_LIMIT_BYTES, LINE_FACTOR)
        .await?;
    let (body, is_array) = request.json_or_lines(BULK_LIMIT_BYTES).await?;
    let Lines {
        places,
        taggings,
        mut rejected,
        mut rejected_count,
    } = match is_array {
        true => Lines::of_array(&body)?,
        false => Lines::read(&body),
    };
    let received_count = taggings.len() as u64 + rejected_count;
    let what = json!({"series": taggings.len()});
    let audited = context.audit(&request, Action::TagSeries, what)?;
    let tagged = context.manage()?.tag_many(taggings).await;
    settle_other(audited, &tagged);
    let tagged = tagged?;
    rejected_count += tagged.faults.len() as u64;
    rejected.extend(tagged.faults.into_iter().map(|(index, fault)| {
        let (line, by_number) = places[index];
        let (field, reason) = match fault {
            TaggingFault::NotFound if by_number => {
                ("series_id", "there is no series of this number".to_owned())
            }
            TaggingFault::NotFound => ("series", "there is no series of these names".to_owned()),
            TaggingFault::TooManyTags => ("tags", format!("a series may have {TAGS_MAX} tags")),
        };
        TaggingRejectedView {
            line,
            field: field.to_owned(),
            reason,
        }
    }));
    rejected.sort_unstable_by_key(|one| one.line);
    let first = rejected
        .first()
        .map(|one| format!("Line {}: {}: {}.", one.line, one.field, one.reason));
    rejected.truncate(TOLD_MAX);
    let view = TaggedView {
        received_count,
        tagged_count: tagged.done,
        rejected_count,
        rejections: rejected,
    };
    match first {
        None => Ok(Answer::json(&view)),
        Some(first) => Err(Problem {
            tagging: Some(Box::new(view)),
            ..Problem::new(
                Kind::InvalidReadings,
                format!("{rejected_count} of {received_count} lines were not done. {first}"),
            )
        }),
    }
}

/// Removes series that have no readings, and their tags. A number is not given again.
///
/// Loaders learn the numbers of their series anew after it.
#[utoipa::path(delete, path = "/series", tag = "series", params(UnusedSince, DryRun),
    responses((status = 200, description = "Removed, or counted", body = RemovedSeriesView), QueryProblems, SeriesProblems))]
pub(super) async fn remove_unused(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    let params = Params::parse(&request.query, &["unused", "first_seen_before", "dry_run"])?;
    if !params.flag("unused")? {
        return Err(missing(
            "unused",
            "say unused=true, since only series that have no readings can be removed",
        ));
    }
    let young_us = now_us() - YOUNG_S * 1_000_000;
    let before_us = selection::maybe_instant(&params, "first_seen_before")?;
    let before_us = before_us.unwrap_or(young_us).min(young_us);
    let dry_run = params.flag("dry_run")?;
    let manage = context.manage()?;
    let removed_count = if dry_run {
        manage.count_unused_series(before_us).await?
    } else {
        manage.expect_series()?;
        let what = json!({"first_seen_before_us": before_us});
        let audited = context.audit(&request, Action::RemoveSeries, what)?;
        settle(audited, manage.remove_unused_series(before_us).await)?
    };
    Ok(Answer::json(&RemovedSeriesView {
        removed_count,
        dry_run,
    }))
}

fn now_us() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch.unwrap_or_default().as_micros() as i64
}

fn number(request: &Request) -> Result<u32, Problem> {
    let text = request.segment()?;
    let number = text.parse::<u32>().ok().filter(|&number| number > 0);
    number.ok_or_else(|| invalid("number", &text, "the number of a series, 1 to 4294967295"))
}

fn filter(params: &Params<'_>) -> Result<SeriesFilter, Problem> {
    let id1 = params.get("id1")?;
    let must = "a whole number from -2147483648 to 2147483647";
    let id1 = id1
        .map(|text| text.parse().map_err(|_| invalid("id1", &text, must)))
        .transpose()?;
    let (id2, prefix) = (params.get("id2")?, params.get("prefix")?);
    if id2.is_some() && prefix.is_some() {
        let detail = "prefix is what id2 begins with: give it or id2.";
        return Err(Problem::of("prefix", Kind::InvalidParameter, detail));
    }
    let seen_since = params.get("seen_since")?;
    let must = "a day, UTC, as in 2026-01-31";
    let day = |text: String| {
        let date = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok();
        let day = date.map(|date| (date - NaiveDate::default()).num_days());
        let day = day.and_then(|day| i32::try_from(day).ok());
        day.ok_or_else(|| invalid("seen_since", &text, must))
    };
    Ok(SeriesFilter {
        id1,
        id2,
        prefix,
        sensor_type: params.get("sensor_type")?,
        tags: selection::tags(params)?,
        seen_since_day: seen_since.map(day).transpose()?,
    })
}

impl From<SeriesError> for Problem {
    fn from(error: SeriesError) -> Self {
        match error {
            SeriesError::NoSeries => Self::no_series(),
            SeriesError::NotFound => Self::of(
                "number",
                Kind::InvalidParameter,
                "There is no series of this number: GET /series lists all.",
            ),
            SeriesError::TooMany { field, most } => Self::of(
                field,
                Kind::InvalidParameter,
                format!(
                    "Every series has to be looked at for {field} alone, and there are more than {most} \
                     (rest.max_scanned_rows): give id1, id2, prefix or tags, too."
                ),
            ),
            SeriesError::Busy(busy) => busy.into(),
            SeriesError::TooManyTags => Self::of(
                "tags",
                Kind::InvalidParameter,
                format!("A series may have {TAGS_MAX} tags: it would have more."),
            ),
            SeriesError::Storage(error) => error.into(),
        }
    }
}
