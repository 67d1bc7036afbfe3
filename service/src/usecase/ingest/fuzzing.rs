//! What a lane does with readings, without a lane or a session: gather, check, seal.

use super::{Readings, batch::OpenBatch, dictionary::Dictionary};
use crate::{
    model::{Limits, Seq},
    repository::LoadBatch,
};

/// A batch with the readings of one call.
#[derive(Default)]
pub struct Gathering {
    batch: OpenBatch,
    dictionary: Dictionary,
    readings: u64,
}

impl Gathering {
    /// Takes the readings of a message, as [`super::dictionaries`] and [`OpenBatch::append`] do.
    pub fn add(&mut self, readings: Readings, limits: &Limits) {
        if let Readings::Columns(columns) = &readings {
            if !columns.extend_dictionary {
                self.dictionary.clear();
            }
            self.dictionary.extend(&columns.series);
            self.dictionary.enter_batch(1);
        }
        let first_seq = Seq(1 + self.readings);
        self.readings += readings.len() as u64;
        self.batch
            .check(first_seq, readings, &mut self.dictionary, limits);
    }

    #[must_use]
    pub fn seal(self, by_time: bool) -> impl LoadBatch {
        self.batch.seal(Seq(1), by_time)
    }
}
