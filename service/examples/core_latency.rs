//! How far apart two cores are: the time that a cache line takes from one to the other and back, nanoseconds. A database
//! that writes one table over several connections shares cache lines between cores all the time, so its rate follows this
//! figure, and on a virtual machine the figure changes by a factor of five from one minute to the next.
//!
//! Prints the median of some thousand round trips, or `null` where there is only one core.

use std::{
    hint::spin_loop,
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

/// Short enough that most samples are not interrupted.
const ROUND_TRIPS: u32 = 100;
const SAMPLES: usize = 1_000;
/// On a machine with other work the two threads may not run at the same time.
const PATIENCE: Duration = Duration::from_secs(1);

/// Even while the first thread has the line, odd while the second has; the last value ends both.
struct Line(AtomicU32);

impl Line {
    const END: u32 = u32::MAX;

    fn wait_for(&self, parity: u32) -> Option<u32> {
        loop {
            match self.0.load(Ordering::Acquire) {
                Self::END => return None,
                value if value % 2 == parity => return Some(value),
                _ => spin_loop(),
            }
        }
    }

    fn answer(&self) {
        while let Some(value) = self.wait_for(1) {
            // Fails only when the other side has ended.
            let _ = self
                .0
                .compare_exchange(value, value + 1, Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// Nanoseconds of one round trip, in ascending order of the samples.
    fn ask(&self) -> Vec<f64> {
        let deadline = Instant::now() + PATIENCE;
        let mut samples = Vec::with_capacity(SAMPLES);
        let mut value = 0;
        while samples.len() < SAMPLES && Instant::now() < deadline {
            let began = Instant::now();
            for _ in 0..ROUND_TRIPS {
                self.0.store(value + 1, Ordering::Release);
                value = self.wait_for(0).unwrap_or_default();
            }
            samples.push(began.elapsed().as_nanos() as f64 / f64::from(ROUND_TRIPS));
        }
        self.0.store(Self::END, Ordering::Release);
        samples.sort_by(f64::total_cmp);
        samples
    }
}

fn main() {
    if thread::available_parallelism().is_ok_and(|cores| cores.get() < 2) {
        println!("null");
        return;
    }
    let line = Line(AtomicU32::new(0));
    let samples = thread::scope(|scope| {
        scope.spawn(|| line.answer());
        line.ask()
    });
    println!("{:.0}", samples[samples.len() / 2]);
}
