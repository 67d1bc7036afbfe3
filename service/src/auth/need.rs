//! What a call needs of its caller, and why it is refused.

use std::time::Duration;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::principal::Principal;
use crate::model::PrincipalName;

/// What a call or a route needs. Each door says it of each of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing: health, and pages that hold no data.
    Nothing,
    /// To be known, whatever the scopes.
    Known,
    /// `read`, or to ask from where `auth.open_metrics` lets everybody.
    Metrics,
    /// `ingest`, with or without a prefix.
    Ingest,
    Read,
    Write,
    Admin,
}

impl Need {
    /// The scope that it takes, in words.
    #[must_use]
    pub fn scope(self) -> &'static str {
        match self {
            Self::Nothing | Self::Known => "any",
            Self::Metrics | Self::Read => "read",
            Self::Ingest => "ingest",
            Self::Write => "write",
            Self::Admin => "admin",
        }
    }

    pub(super) fn is_met_by(self, principal: &Principal) -> bool {
        let scopes = &principal.scopes;
        match self {
            Self::Nothing | Self::Known => true,
            Self::Metrics | Self::Read => scopes.may_read(),
            Self::Ingest => scopes.reach().is_some(),
            Self::Write => scopes.may_write(),
            Self::Admin => scopes.may_manage(),
        }
    }
}

/// Who reads the metrics without a token.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OpenMetrics {
    /// Whoever asks from this host
    #[default]
    Loopback,
    /// Everybody
    All,
    /// Nobody
    None,
}

/// Why somebody is not let in. The sentences tell an honest user what to do, and do not tell what is wrong with a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this needs a token: send it as authorization: Bearer TOKEN")]
    Missing,
    #[error(
        "the authorization holds no token: send one as Bearer sg_…, as Token sg_…, or as the password of Basic"
    )]
    Unreadable,
    #[error(
        "the token is not valid: it is unknown, revoked or has expired, so ask whoever runs the service for a new one"
    )]
    Invalid,
    #[error("this takes the scope {}, which the token of {principal} does not have", need.scope())]
    Scope {
        need: Need,
        principal: PrincipalName,
    },
    #[error(
        "too many tokens from this address were not valid: try again in {} s with one that is",
        retry_after.as_secs()
    )]
    TooMany { retry_after: Duration },
}
