//! What tests have, too: real brokers, and who sends to them.

#[path = "../../tests/common/brokers/mod.rs"]
pub(crate) mod brokers;
#[path = "../../tests/common/certs.rs"]
pub(crate) mod certs;
#[path = "../../tests/common/stillness.rs"]
mod stillness;
#[path = "../../tests/common/waiting.rs"]
mod waiting;

pub(crate) use waiting::until;
