//! `/sensor/delete/…` and `/sensor/update/…`.

use std::sync::Arc;

use super::{
    Context,
    answer::Answer,
    audited::{selected, selected_and_changed, settle},
    new_values::NewValues,
    parameters::{ByIds, ByIdsTime, ByTime, ChangeProblems, DryRun, QueryProblems},
    params::Params,
    problem::Problem,
    request::Request,
    selection::{self, By},
    views::{Deleted, Updated},
};
use crate::{audit::Action, model::Change};

/// Deletes the readings of a stretch of time.
#[utoipa::path(delete, path = "/sensor/delete/time", tag = "changes", params(ByTime, DryRun),
    responses((status = 200, description = "Deleted, or counted", body = Deleted), QueryProblems))]
pub(super) async fn delete_by_time(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    delete(context, request, By::Time).await
}

/// Deletes all readings of id pairs.
#[utoipa::path(delete, path = "/sensor/delete/ids", tag = "changes", params(ByIds, DryRun),
    responses((status = 200, description = "Deleted, or counted", body = Deleted), QueryProblems))]
pub(super) async fn delete_by_ids(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    delete(context, request, By::Ids).await
}

/// Deletes the readings of id pairs in a stretch of time.
#[utoipa::path(delete, path = "/sensor/delete/ids-time", tag = "changes", params(ByIdsTime, DryRun),
    responses((status = 200, description = "Deleted, or counted", body = Deleted), QueryProblems))]
pub(super) async fn delete_by_ids_time(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    delete(context, request, By::IdsTime).await
}

async fn delete(context: Arc<Context>, request: Request, by: By) -> Result<Answer, Problem> {
    let names = by.names(&["dry_run"]);
    let params = Params::parse(&request.query, &names)?;
    let selection = selection::selection(&params, by)?;
    let dry_run = params.flag("dry_run")?;
    let deleted_count = if dry_run {
        context.manage()?.count(&selection).await?
    } else {
        let manage = context.manage()?;
        let audited = context.audit(&request, Action::DeleteReadings, selected(&selection))?;
        settle(audited, manage.delete(&selection).await)?
    };
    Ok(Answer::json(&Deleted {
        deleted_count,
        dry_run,
    }))
}

/// Changes the readings of a stretch of time.
#[utoipa::path(put, path = "/sensor/update/time", tag = "changes", params(ByTime, DryRun), request_body = NewValues,
    responses((status = 200, description = "Changed, or counted", body = Updated), QueryProblems, ChangeProblems))]
pub(super) async fn update_by_time(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    update(context, request, By::Time).await
}

/// Changes all readings of id pairs.
#[utoipa::path(put, path = "/sensor/update/ids", tag = "changes", params(ByIds, DryRun), request_body = NewValues,
    responses((status = 200, description = "Changed, or counted", body = Updated), QueryProblems, ChangeProblems))]
pub(super) async fn update_by_ids(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    update(context, request, By::Ids).await
}

/// Changes the readings of id pairs in a stretch of time.
#[utoipa::path(put, path = "/sensor/update/ids-time", tag = "changes", params(ByIdsTime, DryRun), request_body = NewValues,
    responses((status = 200, description = "Changed, or counted", body = Updated), QueryProblems, ChangeProblems))]
pub(super) async fn update_by_ids_time(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    update(context, request, By::IdsTime).await
}

async fn update(context: Arc<Context>, mut request: Request, by: By) -> Result<Answer, Problem> {
    let names = by.names(&["dry_run"]);
    let query = std::mem::take(&mut request.query);
    let params = Params::parse(&query, &names)?;
    let selection = selection::selection(&params, by)?;
    let dry_run = params.flag("dry_run")?;
    let change: Change = NewValues::parse(&request.json().await?)?.into();
    let updated_count = if dry_run {
        context.manage()?.check(&change)?;
        context.manage()?.count(&selection).await?
    } else {
        let manage = context.manage()?;
        let what = selected_and_changed(&selection, &change);
        let audited = context.audit(&request, Action::UpdateReadings, what)?;
        settle(audited, manage.update(&selection, &change).await)?
    };
    Ok(Answer::json(&Updated {
        updated_count,
        dry_run,
    }))
}
