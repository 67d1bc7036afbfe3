//! When the n-th reading of a connection was measured.

use super::WorkloadSpec;

/// Rounds of the Feistel network that shuffles.
const ROUNDS: u64 = 4;

#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    base_us: f64,
    step_us: f64,
    /// The reading of this connection at `base_us`.
    from: u64,
    /// This connection and the number of all: their readings alternate.
    first: f64,
    stride: f64,
    shuffle_us: i64,
    /// Readings of this connection that change places with each other; 1 leaves them in order.
    window: u64,
    key: u64,
}

impl Clock {
    pub(super) fn new(spec: &WorkloadSpec, connection: u16, key: u64) -> Self {
        let shuffle = spec.patterns.shuffle_within.as_ref();
        let mut clock = Self {
            base_us: 0.0,
            step_us: 0.0,
            from: 0,
            first: f64::from(connection),
            stride: f64::from(spec.connections),
            shuffle_us: shuffle.map_or(0, |time| time.as_us()),
            window: 1,
            key,
        };
        clock.set(0, spec.start_us, spec.step_us);
        clock
    }

    /// Reading `from` is measured at `base_us`, and the ones after it follow in steps of `step_us`.
    pub(super) fn set(&mut self, from: u64, base_us: i64, step_us: f64) {
        self.base_us = base_us as f64;
        self.step_us = step_us;
        self.from = from;
        self.window = ((self.shuffle_us as f64 / (step_us * self.stride)) as u64).max(1);
    }

    pub(super) fn at(&self, reading: u64) -> i64 {
        match reading.checked_sub(self.from) {
            Some(since) if self.window > 1 => {
                let (window, place) = (since / self.window, since % self.window);
                let place = shuffled(place, self.window, mix(self.key ^ window));
                self.turn_of(self.from + window * self.window + place)
            }
            _ => self.turn_of(reading),
        }
    }

    /// As [`at`](Self::at), before the shuffle.
    pub(super) fn turn_of(&self, reading: u64) -> i64 {
        let since = reading as f64 - self.from as f64;
        // Epoch microseconds stay below 2^53, so a double holds them exactly.
        (self.base_us + (self.first + since * self.stride) * self.step_us) as i64
    }
}

/// Where `place` goes in a shuffle of `0..count`, without keeping the shuffle: a Feistel network over the next power of
/// four, applied until the place is one of ours. It is one to one, so that every place is taken once.
fn shuffled(place: u64, count: u64, key: u64) -> u64 {
    let bits = u64::BITS - (count - 1).leading_zeros();
    let half = bits.div_ceil(2).max(1);
    let mask = (1 << half) - 1;
    let mut place = place;
    loop {
        let (mut left, mut right) = (place >> half, place & mask);
        for round in 0..ROUNDS {
            (left, right) = (right, left ^ (mix(right ^ key.wrapping_add(round)) & mask));
        }
        place = left << half | right;
        if place < count {
            return place;
        }
    }
}

/// The finaliser of SplitMix64.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ (word >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_takes_every_place_once() {
        for count in [1, 2, 3, 4, 5, 17, 64, 1_000, 1_025] {
            let mut places: Vec<u64> = (0..count).map(|place| shuffled(place, count, 7)).collect();
            let moved = (0..count).filter(|place| places[*place as usize] != *place);
            assert!(count < 50 || moved.count() as u64 > count * 3 / 4);
            places.sort_unstable();
            assert_eq!(places, (0..count).collect::<Vec<_>>());
        }
    }
}
