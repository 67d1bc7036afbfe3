//! `/retention/confirm`.

use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::{
    Context,
    answer::Answer,
    audited::settle_other,
    problem::{Problem, ProblemDocument},
    request::Request,
};
use crate::audit::Action;

/// What retention takes for now
#[derive(Serialize, ToSchema)]
pub(super) struct RetentionClock {
    /// The time of the clock that was confirmed
    #[schema(example = "2026-01-31T12:00:00Z")]
    now: String,
    /// Why retention still drops nothing, if it does not
    retention_waits: Option<String>,
}

/// Confirms that the clock is right, although it has jumped ahead: retention then drops what is outdated by it. Partitions
/// that are dropped cannot be brought back.
#[utoipa::path(put, path = "/retention/confirm", tag = "service",
    responses((status = 200, description = "Confirmed", body = RetentionClock),
        (status = 500, description = "The database cannot keep it", body = ProblemDocument<'static>,
         content_type = "application/problem+json"),
        (status = 503, description = "The database is not available", body = ProblemDocument<'static>,
         content_type = "application/problem+json")))]
pub(super) async fn confirm(context: Arc<Context>, request: Request) -> Result<Answer, Problem> {
    let partitions = context.use_cases()?.partitions.as_ref();
    let audited = context.audit(&request, Action::ConfirmRetention, Value::Null)?;
    let confirmed = match partitions {
        Some(partitions) => partitions.confirm_clock().await.map(|clock| clock.now_us),
        None => Ok(Utc::now().timestamp_micros()),
    };
    settle_other(audited, &confirmed);
    let now_us = confirmed?;
    let now = DateTime::from_timestamp_micros(now_us).unwrap_or_default();
    Ok(Answer::json(&RetentionClock {
        now: now.to_rfc3339_opts(SecondsFormat::Secs, true),
        retention_waits: partitions.and_then(|partitions| partitions.figures().retention_waits),
    }))
}
