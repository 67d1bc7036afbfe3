//! `/sources`, `/sources/{name}/pause`, `/sources/{name}/resume`: what readings are fetched from.

use std::sync::Arc;

use serde::Serialize;
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Context,
    answer::Answer,
    audited::settle_other,
    parameters::QueryProblems,
    params::Params,
    problem::{Kind, Problem, ProblemDocument},
    request::Request,
};
use crate::{
    audit::Action,
    usecase::sources::{Source, SourceStanding},
};

/// How the sources of this instance stand
#[derive(Serialize, ToSchema)]
pub(super) struct SourcesView {
    sources: Vec<SourceView>,
}

/// How one source stands
#[derive(Serialize, ToSchema)]
pub(super) struct SourceView {
    #[schema(example = "plant")]
    name: String,
    #[schema(example = "kafka")]
    kind: &'static str,
    /// `starting`, `running`, `waiting` (it tries again by itself), `stopped` (somebody has to mend it) or `paused`
    #[schema(example = "running")]
    state: &'static str,
    /// Why it does not run, a sentence
    reason: Option<String>,
    /// Whether the service is ready although it does not run
    optional: bool,
    /// How long it has been in this state, seconds
    for_s: u64,
}

impl From<SourceStanding> for SourceView {
    fn from(standing: SourceStanding) -> Self {
        let SourceStanding {
            name,
            kind,
            state,
            reason,
            optional,
            for_s,
        } = standing;
        Self {
            name,
            kind,
            state: state.as_str(),
            reason,
            optional,
            for_s,
        }
    }
}

/// The sources of this instance, in the order of the settings.
#[utoipa::path(get, path = "/sources", tag = "sources",
    responses((status = 200, description = "All of them", body = SourcesView), QueryProblems))]
pub(super) async fn all_sources(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    Params::parse(&request.query, &[])?;
    let standings = context.use_cases()?.sources.standings();
    Ok(Answer::json(&SourcesView {
        sources: standings.into_iter().map(Into::into).collect(),
    }))
}

/// Pauses a source: what it has read is settled, and nothing more is read until it is resumed, or the service starts anew.
#[utoipa::path(put, path = "/sources/{name}/pause", tag = "sources",
    params(("name" = String, Path, description = "Name of the source", example = "plant")),
    responses((status = 200, description = "It pauses", body = SourceView), QueryProblems,
        (status = 404, description = "No such source", body = ProblemDocument<'static>,
         content_type = "application/problem+json")))]
pub(super) async fn pause_source(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    steer(&context, &request, Action::PauseSource, Source::pause)
}

/// Resumes a source that is paused, and has one begin anew that waits or has stopped.
#[utoipa::path(put, path = "/sources/{name}/resume", tag = "sources",
    params(("name" = String, Path, description = "Name of the source", example = "plant")),
    responses((status = 200, description = "It begins", body = SourceView), QueryProblems,
        (status = 404, description = "No such source", body = ProblemDocument<'static>,
         content_type = "application/problem+json")))]
pub(super) async fn resume_source(
    context: Arc<Context>,
    request: Request,
) -> Result<Answer, Problem> {
    steer(&context, &request, Action::ResumeSource, Source::resume)
}

fn steer(
    context: &Context,
    request: &Request,
    action: Action,
    steer: impl FnOnce(&Source),
) -> Result<Answer, Problem> {
    Params::parse(&request.query, &[])?;
    let name = request.segment()?;
    let sources = &context.use_cases()?.sources;
    let source = sources.get(&name).ok_or_else(|| {
        let detail = "This instance has no source of that name: GET /sources lists all.";
        Problem::of("name", Kind::NotFound, detail)
    })?;
    let audited = context.audit(request, action, json!({ "source": name }))?;
    steer(source);
    settle_other::<(), Problem>(audited, &Ok(()));
    Ok(Answer::json(&SourceView::from(source.standing())))
}
