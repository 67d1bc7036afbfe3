//! What a line of the audit log says.

use std::net::SocketAddr;

use serde::Serialize;
use serde_json::Value;

/// Who changes something, and by which request.
#[derive(Clone, Debug, Serialize)]
pub struct Actor {
    /// `anonymous` where nobody is asked who they are.
    pub principal: String,
    /// The id of the token, which is no secret, or what the certificate is known by.
    pub proof: Option<String>,
    pub peer: Option<SocketAddr>,
    pub request_id: String,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    DeleteReadings,
    UpdateReadings,
    ConfirmRetention,
    SetOwner,
    PauseSource,
    ResumeSource,
    ReplayRejections,
    DropRejections,
    TagSeries,
    RemoveSeries,
}

impl Action {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::DeleteReadings => "delete_readings",
            Self::UpdateReadings => "update_readings",
            Self::ConfirmRetention => "confirm_retention",
            Self::SetOwner => "set_owner",
            Self::PauseSource => "pause_source",
            Self::ResumeSource => "resume_source",
            Self::ReplayRejections => "replay_rejections",
            Self::DropRejections => "drop_rejections",
            Self::TagSeries => "tag_series",
            Self::RemoveSeries => "remove_series",
        }
    }
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Done,
    /// The rows that are told were changed before.
    Failed,
    /// The client went away, or the service did: a part may have been changed.
    Abandoned,
}

impl Outcome {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Abandoned => "abandoned",
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct Entry<'a> {
    pub(super) time: String,
    #[serde(flatten)]
    pub(super) actor: &'a Actor,
    pub(super) action: Action,
    pub(super) what: &'a Value,
    /// null where nobody counts, or knows.
    pub(super) rows: Option<u64>,
    pub(super) outcome: Outcome,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_as_they_are_spoken() {
        for action in [
            Action::DeleteReadings,
            Action::UpdateReadings,
            Action::ConfirmRetention,
            Action::SetOwner,
            Action::PauseSource,
            Action::ResumeSource,
            Action::ReplayRejections,
            Action::DropRejections,
        ] {
            assert_eq!(serde_json::to_value(action).unwrap(), action.name());
        }
        for outcome in [Outcome::Done, Outcome::Failed, Outcome::Abandoned] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), outcome.name());
        }
    }
}
