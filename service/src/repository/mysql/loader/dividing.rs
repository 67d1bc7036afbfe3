//! When a batch has to go in two halves.

use std::sync::Arc;

use super::{Loader, PUZZLES_MAX, rest};
use crate::{
    model::Seq,
    repository::{LoadBatch, Loaded, RepositoryError, Untold},
};

impl Loader {
    /// Whether the batch, all of whose readings were taken, failed at its COMMIT again and again for no known reason.
    pub(super) fn commit_puzzles(&self) -> bool {
        self.unheard.is_some() && self.puzzles >= PUZZLES_MAX
    }

    /// An earlier COMMIT of the batch did not happen, if there was one.
    pub(super) fn forget_commit(&mut self, number: Seq) {
        self.unheard = None;
        self.mark.is_not_committed(number);
    }

    /// Where the server said so in answer to COMMIT, it is asked first whether that is the last word: a batch that may
    /// be stored must not be divided.
    pub(super) async fn too_big(
        &mut self,
        batch: &Arc<dyn LoadBatch>,
        reason: String,
    ) -> Result<Loaded, RepositoryError> {
        if self.unheard.is_some() {
            let mut conn = self.connection().await?;
            let begun = self.begin(&mut conn, batch.as_ref(), None).await?;
            let lane = self.check_lane(&begun.ledger)?;
            rest(&mut conn, "ROLLBACK").await?;
            self.conn = Some(conn);
            if lane.committed_seq >= batch.number() {
                let outcomes = self.already_committed(batch.number())?;
                self.leave(batch.number());
                return Ok(Loaded::Committed {
                    outcomes,
                    series: Arc::default(),
                    stored: None,
                    untold: Untold::new(&self.mark, batch.number()),
                    // Its note, if there is one, is given up by its age.
                    noted: None,
                });
            }
            self.forget_commit(batch.number());
        }
        self.assigned = None;
        self.puzzles = 0;
        Ok(Loaded::TooBig(reason))
    }
}
