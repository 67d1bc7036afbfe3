//! Where the lane stands, and what that says of a batch.

use std::{cmp::Ordering, collections::BTreeMap};

use tracing::{debug, error};

use super::{super::ledger::gains_statement, Loader};
use crate::{
    ledger::{LedgerGain, PartOutcome, Plan},
    model::{Seq, StreamId, StreamPosition},
    repository::RepositoryError,
};

impl Loader {
    /// The lane's position, if the row is still as this process left it. Epochs only rise, so a lower one, or none, is
    /// not a successor's doing.
    pub(super) fn check_lane(
        &self,
        ledger: &BTreeMap<StreamId, StreamPosition>,
    ) -> Result<StreamPosition, RepositoryError> {
        let Some(position) = ledger.get(&self.lane) else {
            return Err(self.forgotten("its row is gone".to_owned()));
        };
        let (found, own) = (position.epoch, self.lane_epoch);
        match found.cmp(&own) {
            Ordering::Equal => {}
            Ordering::Less => {
                let found = format!("its row has the epoch {found}, and had {own}");
                return Err(self.forgotten(found));
            }
            Ordering::Greater => {
                let lane = self.lane.clone();
                return Err(RepositoryError::LaneFenced { lane });
            }
        }
        if position.committed_seq < self.committed_batch {
            error!(
                lane = self.lane.as_str(),
                found = position.committed_seq.0,
                committed = self.committed_batch.0,
                "the database has lost batches that it had committed"
            );
        }
        Ok(*position)
    }

    /// The COMMIT of an earlier attempt did happen: only its reply was lost.
    pub(super) fn already_committed(
        &mut self,
        number: Seq,
    ) -> Result<Vec<PartOutcome>, RepositoryError> {
        match self.unheard.take() {
            Some(unheard) if unheard.batch == number => {
                debug!(batch = number.0, "committed although the reply was lost");
                Ok(unheard.outcomes)
            }
            _ => {
                let found = format!("its row counts batch {number}, which is not committed yet");
                Err(self.forgotten(found))
            }
        }
    }

    fn forgotten(&self, found: String) -> RepositoryError {
        RepositoryError::LaneForgotten {
            lane: self.lane.clone(),
            found,
        }
    }

    pub(super) fn ledger_update(
        &self,
        plan: &mut Plan,
        lane: StreamPosition,
        number: Seq,
    ) -> String {
        let mut own = LedgerGain::at(lane);
        own.committed_seq = number;
        own.add(plan.anonymous.0, plan.anonymous.1, 0);
        gains_statement(plan.gains.iter().chain([(&self.lane, &own)]))
    }
}
