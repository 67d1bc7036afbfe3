//! How large a batch may be. A server's limits are found by running into them: after a batch that was too big they are
//! smaller, and grow again slowly.

/// Batches of about the allowed size that have to go well before a larger one is tried.
const CALM_BATCHES: u32 = 16;

#[derive(Clone, Copy, Debug)]
pub(super) struct BatchSize {
    max_readings: usize,
    ceiling: usize,
    calm: u32,
}

impl BatchSize {
    pub(super) fn new(ceiling: usize) -> Self {
        Self {
            max_readings: ceiling,
            ceiling,
            calm: 0,
        }
    }

    pub(super) fn max_readings(&self) -> usize {
        self.max_readings
    }

    /// A batch of so many readings was too big.
    pub(super) fn shrink(&mut self, readings: usize) {
        self.max_readings = (readings / 2).max(1);
        self.calm = 0;
    }

    /// A batch of so many readings was stored.
    pub(super) fn stored(&mut self, readings: usize) {
        if self.max_readings == self.ceiling || readings < self.max_readings / 2 {
            return;
        }
        self.calm += 1;
        if self.calm >= CALM_BATCHES {
            let larger = self.max_readings + self.max_readings / 8 + 1;
            self.max_readings = larger.min(self.ceiling);
            self.calm = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_halved_at_once_and_grows_slowly_up_to_its_ceiling() {
        let mut size = BatchSize::new(1_000);
        size.stored(1_000);
        assert_eq!(size.max_readings(), 1_000);
        size.shrink(800);
        assert_eq!(size.max_readings(), 400);
        (1..CALM_BATCHES).for_each(|_| size.stored(400));
        size.stored(10);
        assert_eq!(size.max_readings(), 400, "a small batch proves nothing");
        size.stored(400);
        assert_eq!(size.max_readings(), 451);
        (0..10_000).for_each(|_| size.stored(size.max_readings()));
        assert_eq!(size.max_readings(), 1_000);
        size.shrink(1);
        assert_eq!(size.max_readings(), 1, "never nothing");
    }
}
