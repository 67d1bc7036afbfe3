//! The rules of the ledger: what is stored already, what is fenced, what leaves a gap, and where the streams stand after a
//! batch. Pure: it knows the model and nothing else, so that a model test can drive it.

mod part;
mod plan;
#[cfg(test)]
mod plan_model;

pub use self::{
    part::{DroppedRows, LoadPart, PartOutcome, drop_more},
    plan::{LedgerGain, Plan, plan},
};
