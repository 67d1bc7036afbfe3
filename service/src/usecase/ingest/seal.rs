//! Seal: the order in which a batch's rows are loaded, which is that of the table's primary key.

/// Maps a position in the load to the row in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Order {
    /// Empty when the rows are loaded as they arrived.
    arrivals: Vec<u32>,
    keys: Vec<(i64, u32)>,
}

impl Order {
    pub(super) fn as_arrived(&mut self) {
        self.arrivals.clear();
    }

    /// Orders rows by time, those of the same instant as they arrived. A batch that is in order is not sorted.
    pub(super) fn by_time(&mut self, timestamp_us: &[i64]) {
        self.arrivals.clear();
        if timestamp_us.is_sorted() {
            return;
        }
        self.keys.clear();
        self.keys.extend(timestamp_us.iter().copied().zip(0..));
        // A stable sort merges the runs that producers in order of time leave behind.
        self.keys.sort_by_key(|&(at, _)| at);
        self.arrivals
            .extend(self.keys.iter().map(|&(_, arrival)| arrival));
    }

    /// The row in order of arrival at each position; empty when the rows are loaded as they arrived.
    pub(super) fn arrivals(&self) -> &[u32] {
        &self.arrivals
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn rows_are_loaded_in_order_of_time_and_each_once(times in prop::collection::vec(-9i64..9, 0..200)) {
            let mut order = Order::default();
            order.by_time(&times);
            let mut arrivals = order.arrivals().to_vec();
            if arrivals.is_empty() {
                arrivals = (0..times.len() as u32).collect();
            }
            let keys: Vec<_> = arrivals.iter().map(|&row| (times[row as usize], row)).collect();
            prop_assert!(keys.is_sorted());
            let mut seen = arrivals;
            seen.sort_unstable();
            prop_assert!(seen.into_iter().eq(0..times.len() as u32));
        }
    }
}
