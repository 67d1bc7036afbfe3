//! Whose readings go through the slow lane: owners of readings that only the database finds fault with, which takes one
//! LOAD and more for each. Others do not wait for them (P5).

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use tokio::time::Instant;

use super::{
    batch::{CommittedBatch, OpenBatch},
    session::Owner,
};

/// How long an owner stays after the last reading that was refused.
const STAY: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Stay {
    /// Readings that are not settled. As long as there are any, what follows goes the same way (P2).
    waiting: u64,
    until: Instant,
}

#[derive(Debug, Default)]
pub(super) struct SlowOwners(HashMap<Owner, Stay>);

impl SlowOwners {
    /// Whether readings of this owner go through the slow lane.
    pub(super) fn holds(&mut self, owner: &Owner) -> bool {
        // Nearly always there are none.
        if self.0.is_empty() {
            return false;
        }
        let now = Instant::now();
        self.0
            .retain(|_, stay| stay.waiting > 0 || stay.until > now);
        self.0.contains_key(owner)
    }

    pub(super) fn take_in(&mut self, owners: &HashSet<Owner>) {
        let until = Instant::now() + STAY;
        for owner in owners {
            let stay = Stay { waiting: 0, until };
            self.0.entry(owner.clone()).or_insert(stay);
        }
    }

    /// Readings of an owner wait in the slow lane.
    pub(super) fn wait(&mut self, owner: &Owner, readings: u64) {
        if let Some(stay) = self.0.get_mut(owner) {
            stay.waiting += readings;
        }
    }

    pub(super) fn wait_all(&mut self, batch: &OpenBatch) {
        for (owner, readings) in batch.shares() {
            self.wait(&owner, readings);
        }
    }

    /// A batch of the slow lane is settled.
    pub(super) fn settle(&mut self, batch: &CommittedBatch) {
        for (owner, readings, refused) in batch.verdicts() {
            if let Some(stay) = self.0.get_mut(&owner) {
                stay.waiting -= readings;
                if refused {
                    stay.until = Instant::now() + STAY;
                }
            }
        }
    }
}
