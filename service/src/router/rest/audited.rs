//! Changes are told in the audit log, if there is one.

use serde_json::{Value, json};

use super::{
    Context,
    problem::{Kind, Problem},
    request::Request,
};
use crate::{
    audit::{Action, Actor, Outcome, Pending},
    auth::Admitted,
    model::{Change, IdPair, Selection},
    usecase::manage::{ChangeError, Replay, ReplayError},
};

const ANONYMOUS: &str = "anonymous";

impl Context {
    /// Begins a change. Where it could not be told, it is refused.
    pub(super) fn audit(
        &self,
        request: &Request,
        action: Action,
        what: Value,
    ) -> Result<Pending, Problem> {
        let Some(log) = &self.audit else {
            return Ok(Pending::untold());
        };
        log.begin(actor(request), action, what).map_err(|_| {
            let detail = "The audit log cannot be written, so nothing was changed: whoever runs the service has to see to it.";
            Problem::new(Kind::NotAudited, detail)
        })
    }
}

fn actor(request: &Request) -> Actor {
    let admitted = request.admitted.as_ref();
    let principal = admitted.and_then(|Admitted { principal, .. }| principal.as_ref());
    Actor {
        principal: principal.map_or_else(|| ANONYMOUS.to_owned(), |it| it.name.to_string()),
        proof: principal.map(|principal| principal.proof.to_string()),
        peer: request.peer.as_ref().map(|peer| peer.address),
        request_id: request.id.clone(),
    }
}

/// Tells how a change of readings ended.
pub(super) fn settle(pending: Pending, changed: Result<u64, ChangeError>) -> Result<u64, Problem> {
    match &changed {
        Ok(rows) => pending.settle(Outcome::Done, Some(*rows)),
        Err(ChangeError::Storage { done, .. }) => pending.settle(Outcome::Failed, Some(*done)),
        Err(ChangeError::Nothing | ChangeError::Invalid(_) | ChangeError::WithinBucket(_)) => {
            pending.settle(Outcome::Failed, Some(0));
        }
    }
    Ok(changed?)
}

/// Tells how a replay ended.
pub(super) fn settle_replay(
    pending: Pending,
    replayed: Result<Replay, ReplayError>,
) -> Result<Replay, Problem> {
    match &replayed {
        Ok(replay) => pending.settle(Outcome::Done, Some(replay.replayed)),
        Err(ReplayError::Storage { replayed, .. }) => {
            pending.settle(Outcome::Failed, Some(*replayed));
        }
        Err(ReplayError::NoMapping(_) | ReplayError::Busy(_)) => {
            pending.settle(Outcome::Failed, Some(0));
        }
    }
    Ok(replayed?)
}

/// Tells how anything else ended.
pub(super) fn settle_other<T, E>(pending: Pending, done: &Result<T, E>) {
    let outcome = match done {
        Ok(_) => Outcome::Done,
        Err(_) => Outcome::Failed,
    };
    pending.settle(outcome, None);
}

/// Which readings, as the audit log has it.
pub(super) fn selected(selection: &Selection) -> Value {
    let Selection {
        time,
        pairs,
        sensor_type,
        tags,
    } = selection;
    let pair = |IdPair { id1, id2 }: &IdPair| json!({"id1": id1, "id2": id2});
    let pairs = pairs.as_ref();
    json!({
        "from_us": time.map(|time| time.from_us),
        "to_us": time.map(|time| time.to_us),
        "pairs": pairs.map(|pairs| pairs.iter().map(pair).collect::<Vec<_>>()),
        "sensor_type": sensor_type,
        "tags": tags,
    })
}

/// Which readings, and what they are from now on.
pub(super) fn selected_and_changed(selection: &Selection, change: &Change) -> Value {
    let Change {
        sensor_value,
        sensor_type,
    } = change;
    let mut what = selected(selection);
    what["new"] = json!({"sensor_value": sensor_value, "sensor_type": sensor_type});
    what
}
