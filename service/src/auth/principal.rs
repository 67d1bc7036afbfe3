//! Somebody who has proved who they are.

use std::fmt;

use tokio_util::sync::CancellationToken;

use super::{scope::Scopes, token::TokenId};
use crate::model::PrincipalName;

/// By what somebody proved who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    Token(TokenId),
    /// A client certificate, by its subject or the name that the file has.
    Certificate(String),
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(id) => id.fmt(f),
            Self::Certificate(name) => name.fmt(f),
        }
    }
}

/// Somebody who may do something. An extension of each request that was let in.
#[derive(Clone, Debug)]
pub struct Principal {
    pub name: PrincipalName,
    pub proof: Proof,
    pub scopes: Scopes,
    /// Cancelled when the token is revoked, has expired or has other scopes: what is open ends then.
    pub ended: CancellationToken,
}
