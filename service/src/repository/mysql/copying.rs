//! What whoever keeps copies of readings elsewhere has to know.

use super::{MySqlChangeCounts, MySqlStorage};
use crate::repository::CommitMarks;

impl MySqlStorage {
    /// How many changes of stored readings this instance begins and ends.
    #[must_use]
    pub fn change_counts(&self) -> MySqlChangeCounts {
        MySqlChangeCounts::new(self.pool.clone(), &self.instance)
    }

    /// What the lanes of this process have told of their commits.
    #[must_use]
    pub fn marks(&self) -> &CommitMarks {
        &self.marks
    }

    /// Where the readings are, for whoever keeps copies of them elsewhere; None where a copy would not say what the table does: others
    /// write it, too, it cuts times or gives ids by itself, or its readings are about to be in another one.
    #[must_use]
    pub fn place_to_copy(&self) -> Option<String> {
        let table = &self.table;
        let is_ours = !table.names.are_given() && self.leftover.is_none();
        let is_exact = table.format.with_id && table.limits.timestamp.decimals == 6;
        let place = || format!("{}/{}", self.connector.place(), self.connector.database());
        (is_ours && is_exact).then(place)
    }
}
