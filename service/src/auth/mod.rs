//! Who calls, and what they may do: tokens and client certificates, the scopes that they have, and the gate before both
//! doors. What a call needs is for its door to say, and what is answered to who is refused.

mod accounts;
mod certificates;
mod commands;
mod credentials;
mod failures;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod gate;
mod layer;
mod metrics;
mod need;
mod principal;
mod scope;
mod token;
mod token_file;

pub use self::{
    accounts::{Account, Accounts},
    commands::{InFile, NewToken, Said, TokenCommand, TokenError},
    gate::{Gate, GateSettings},
    layer::{Admitted, Doorkeeper, Guard, Guarded},
    metrics::AuthMetrics,
    need::{Need, OpenMetrics, Refusal},
    principal::{Principal, Proof},
    scope::{Scope, Scopes},
    token::{Token, TokenId},
    token_file::{TokenFile, TokenFileError},
};
