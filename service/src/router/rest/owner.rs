//! `/streams/{id}/owner`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::ToSchema;

use super::{
    Context,
    answer::Answer,
    audited::settle_other,
    parameters::{ChangeProblems, QueryProblems},
    params::Params,
    problem::{Kind, Problem, ProblemDocument},
    request::Request,
    streams::no_such_stream,
    views::StreamView,
};
use crate::{
    audit::Action,
    model::{PrincipalName, StreamId},
};

/// To whom a stream is to belong
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOwner {
    /// The name of a principal, or null for the next who opens the stream
    #[serde(deserialize_with = "Option::deserialize")]
    #[schema(required = true, example = "press-5", pattern = "^[!-~]{1,64}$")]
    owner: Option<String>,
}

impl NewOwner {
    fn parse(body: &[u8]) -> Result<Option<PrincipalName>, Problem> {
        let Self { owner } = serde_json::from_slice(body).map_err(|error| {
            let (kind, detail) = match error.is_data() {
                true => (
                    Kind::InvalidChange,
                    "The body has to be {\"owner\": NAME}, or {\"owner\": null}, and no more.",
                ),
                false => (Kind::MalformedBody, "The body is not JSON."),
            };
            Problem::new(kind, detail)
        })?;
        let name = owner.as_deref().map(PrincipalName::parse).transpose();
        name.map_err(|reason| Problem::of("owner", Kind::InvalidChange, format!("{reason}.")))
    }
}

/// Gives a stream to a principal. Whoever writes it has to open it anew, also the principal that it is given to.
#[utoipa::path(put, path = "/streams/{id}/owner", tag = "streams", request_body = NewOwner,
    params(("id" = String, Path, description = "Name of the stream, percent-encoded", example = "gateway-7")),
    responses((status = 200, description = "Its row of the ledger", body = StreamView), QueryProblems, ChangeProblems,
        (status = 404, description = "No such stream", body = ProblemDocument<'static>,
         content_type = "application/problem+json")))]
pub(super) async fn set_owner(
    context: Arc<Context>,
    mut request: Request,
) -> Result<Answer, Problem> {
    let query = std::mem::take(&mut request.query);
    Params::parse(&query, &[])?;
    let name = request.segment()?;
    let owner = NewOwner::parse(&request.json().await?)?;
    let stream = StreamId::parse(&name).map_err(|_| no_such_stream())?;
    let use_cases = context.use_cases()?;
    let what = json!({"stream": name, "owner": owner.as_ref().map(PrincipalName::as_str)});
    let audited = context.audit(&request, Action::SetOwner, what)?;
    let given = use_cases.ingest.give_stream(&stream, owner).await;
    settle_other(audited, &given);
    given?.ok_or_else(no_such_stream)?;
    let stream = use_cases.manage.stream(&name).await?;
    let stream = stream.ok_or_else(no_such_stream)?;
    Ok(Answer::json(&StreamView::from(stream)))
}
