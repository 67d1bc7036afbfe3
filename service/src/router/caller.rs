//! On whose behalf readings come in through either door.

use crate::{auth::Admitted, model::Reach, usecase::ingest::Caller};

/// Whom the gate let in, as the use case knows them.
pub(super) fn caller(admitted: Option<&Admitted>) -> Caller {
    let Some(principal) = admitted.and_then(|admitted| admitted.principal.as_ref()) else {
        return Caller::anybody();
    };
    // Who has no reach was not let in.
    let none = || Reach::Prefixes([].into());
    let reach = principal.scopes.reach().unwrap_or_else(none);
    Caller::known(principal.name.clone(), reach, principal.ended.clone())
}
