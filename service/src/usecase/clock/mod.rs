//! What time it is, for everybody who judges readings by their time: the lanes and the partition manager.
//!
//! Retention never trusts one clock. Its cutoff, before which it drops and before which readings are rejected, follows
//! the earlier of the clocks of host and database; how far ahead a reading may be follows the later. Where they are far
//! apart nothing is dropped. They may be one and the same clock, so the time that was believed last is stored as well:
//! a clock that has jumped by more than a day waits for a day of steadiness, or for an operator's word.

mod trust;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use chrono::{DateTime, SecondsFormat, Utc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use self::trust::{LEAP_US, STEADY_US, Trust, Waiting};
use crate::{
    model::{AbsentValue, Limits, TimeSpan, TimeWindow},
    repository::{ClockStore, KeptClock, RepositoryError},
};

/// Clocks that are further apart than this are not both right.
const APART_US: i64 = 5 * TimeSpan::MINUTE.us();
/// Between two looks at the database's clock.
const LOOK_PAUSE: Duration = Duration::from_secs(10);
/// What was believed is stored when it has changed by so much.
const KEEP_STEP_US: i64 = 5 * TimeSpan::MINUTE.us();

/// What time has to do with which reading is taken. Defaults and meaning stand with the configuration.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeSettings {
    /// Microseconds since the Unix epoch.
    pub earliest_us: Option<i64>,
    pub max_ahead: Option<TimeSpan>,
    pub retention: Option<TimeSpan>,
    pub absent_value: AbsentValue,
}

/// Why retention waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// The clocks of host and database differ.
    Apart { by_us: i64 },
    /// The clock is ahead of the time that has passed since it was last believed.
    Jumped {
        clock_us: i64,
        believed_us: i64,
        steady_us: i64,
    },
}

impl Hold {
    /// The same trouble, whatever its figures are now.
    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Hold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Apart { by_us } => write!(
                f,
                "the clocks of this host and of the database are {} s apart, so retention drops nothing: set them right",
                by_us / 1_000_000
            ),
            Self::Jumped {
                clock_us,
                believed_us,
                steady_us,
            } => write!(
                f,
                "the clock has jumped ahead: it says {}, and by the time that has passed it is {}, so retention drops \
                 nothing before the clock was steady for {} s more: set it right, or confirm it with PUT /retention/confirm",
                shown(clock_us),
                shown(believed_us),
                (STEADY_US - steady_us) / 1_000_000
            ),
        }
    }
}

fn shown(at_us: i64) -> String {
    let at = DateTime::from_timestamp_micros(at_us).unwrap_or_default();
    at.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// The time as retention and partitions see it, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// The later of the clocks, microseconds since the Unix epoch.
    pub now_us: i64,
    /// What retention takes for now; or why it drops nothing.
    pub retention_us: Result<i64, Hold>,
}

impl Now {
    /// As if both clocks said so and could be believed.
    #[must_use]
    pub fn at(now_us: i64) -> Self {
        Self {
            now_us,
            retention_us: Ok(now_us),
        }
    }
}

/// The clocks of host and database, and how far they are believed.
pub struct Clock {
    settings: TimeSettings,
    store: Arc<dyn ClockStore>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    trust: Trust,
    /// When `trust` had its last look.
    looked_at: Option<Instant>,
    /// What the database said last, and when.
    database: Option<(i64, Instant)>,
    kept_us: Option<i64>,
    hold: Option<Hold>,
}

impl State {
    fn passed_us(&self, at: Instant) -> Option<i64> {
        let passed = at.duration_since(self.looked_at?);
        Some(passed.as_micros() as i64)
    }

    /// The database's clock now, by the time that has passed since it was asked.
    fn database_us(&self, at: Instant) -> Option<i64> {
        let (said_us, said_at) = self.database?;
        Some(said_us + at.duration_since(said_at).as_micros() as i64)
    }
}

impl Clock {
    #[must_use]
    pub fn new(settings: TimeSettings, store: Arc<dyn ClockStore>) -> Self {
        Self {
            settings,
            store,
            state: Mutex::default(),
        }
    }

    /// What a reading has to fit now, on a table with these limits. Asks nobody.
    #[must_use]
    pub fn limits(&self, table: &Limits) -> Limits {
        let mut window = TimeWindow::of_table(table.timestamp);
        let TimeSettings {
            earliest_us,
            max_ahead,
            retention,
            absent_value,
        } = self.settings;
        if let Some(earliest_us) = earliest_us {
            window = window.not_before(earliest_us);
        }
        if max_ahead.is_some() || retention.is_some() {
            let (earlier_us, later_us) = self.bounds_us();
            if let Some(retention) = retention {
                window = window.kept_for(retention, earlier_us);
            }
            if let Some(max_ahead) = max_ahead {
                window = window.at_most_ahead(max_ahead, later_us);
            }
        }
        Limits {
            window,
            absent_value,
            ..*table
        }
    }

    /// The earliest and the latest that it can be now.
    fn bounds_us(&self) -> (i64, i64) {
        let (host_us, at) = (host_us(), Instant::now());
        let state = self.lock();
        let database_us = state.database_us(at).unwrap_or(host_us);
        let passed_us = state.passed_us(at).unwrap_or(0);
        let earlier_us = host_us.min(database_us);
        let later_us = host_us.max(database_us);
        let expected_us = state.trust.expected_us(passed_us);
        (
            state.trust.believed_us(earlier_us, passed_us),
            // A clock that went back does not make the readings of now readings of the future.
            later_us.max(expected_us.unwrap_or(later_us)),
        )
    }

    /// Asks the database for its clock, and compares all that is known of the time.
    ///
    /// # Errors
    /// When the database does not answer, or cannot keep what is believed.
    pub async fn look(&self) -> Result<Now, RepositoryError> {
        let asked_at = Instant::now();
        let said_us = self.store.now_us().await?;
        let middle = asked_at + asked_at.elapsed() / 2;
        let kept = self.store.kept().await?;
        let (now, to_keep) = self.take(said_us, middle, kept);
        if let Some(trust) = to_keep
            && let Some(kept) = trust.kept()
        {
            self.store.keep(kept, false).await?;
            self.lock().kept_us = Some(kept.trusted_us);
        }
        Ok(now)
    }

    /// What the clocks say together; and what is believed, if that is to be stored.
    fn take(
        &self,
        said_us: i64,
        said_at: Instant,
        kept: Option<KeptClock>,
    ) -> (Now, Option<Trust>) {
        let (host_us, at) = (host_us(), Instant::now());
        let mut state = self.lock();
        state.database = Some((said_us, said_at));
        let database_us = state.database_us(at).unwrap_or(host_us);
        let passed_us = state.passed_us(at);
        match kept {
            Some(kept) if passed_us.is_none() => state.trust = Trust::of_kept(kept),
            Some(kept) => state.trust.hear(kept.trusted_us),
            None => {}
        }
        let clock_us = host_us.min(database_us);
        let waiting = state.trust.look(clock_us, passed_us);
        state.looked_at = Some(at);
        let hold = hold(host_us, database_us, &state.trust, waiting);
        self.say(state.hold, hold);
        state.hold = hold;
        let now = Now {
            now_us: host_us.max(database_us),
            retention_us: hold.map_or(Ok(clock_us), Err),
        };
        let believed_us = state.trust.expected_us(0);
        let moved = match (believed_us, state.kept_us) {
            (Some(believed_us), Some(kept_us)) => (believed_us - kept_us).abs() >= KEEP_STEP_US,
            _ => true,
        };
        let to_keep = (moved || waiting.is_some()).then_some(state.trust);
        (now, to_keep)
    }

    /// Says once that retention waits, and once that it goes on. Without retention nobody needs to know.
    fn say(&self, before: Option<Hold>, hold: Option<Hold>) {
        if self.settings.retention.is_none() {
            return;
        }
        match (before, hold) {
            (Some(before), Some(hold)) if before.is_like(&hold) => {}
            (_, Some(hold)) => warn!(reason = %hold, "retention waits"),
            (Some(_), None) => info!("the clocks can be believed: retention goes on"),
            (None, None) => {}
        }
    }

    /// An operator's word that the clock is right, although it has jumped. Returns what the clocks say then.
    ///
    /// # Errors
    /// As for [`Clock::look`].
    pub async fn confirm(&self) -> Result<Now, RepositoryError> {
        self.look().await?;
        let kept = {
            let (host_us, at) = (host_us(), Instant::now());
            let mut state = self.lock();
            let clock_us = host_us.min(state.database_us(at).unwrap_or(host_us));
            state.trust.confirm(clock_us);
            state.looked_at = Some(at);
            state.trust.kept()
        };
        if let Some(kept) = kept {
            self.store.keep(kept, true).await?;
        }
        self.look().await
    }

    /// Why retention waits, if it does.
    #[must_use]
    pub fn hold(&self) -> Option<Hold> {
        self.settings.retention?;
        self.lock().hold
    }

    /// Looks at the clocks until `draining`.
    pub async fn run(self: Arc<Self>, draining: CancellationToken) {
        loop {
            tokio::select! {
                () = draining.cancelled() => return,
                () = tokio::time::sleep(LOOK_PAUSE) => {}
            }
            tokio::select! {
                () = draining.cancelled() => return,
                looked = self.look() => if let Err(reason) = looked {
                    debug!(%reason, "the database does not tell the time");
                },
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn hold(host_us: i64, database_us: i64, trust: &Trust, waiting: Option<Waiting>) -> Option<Hold> {
    let by_us = (host_us - database_us).abs();
    if by_us > APART_US {
        return Some(Hold::Apart { by_us });
    }
    let waiting = waiting?;
    Some(Hold::Jumped {
        clock_us: waiting.clock_us,
        believed_us: trust.expected_us(0).unwrap_or(waiting.clock_us - LEAP_US),
        steady_us: waiting.steady_us,
    })
}

fn host_us() -> i64 {
    Utc::now().timestamp_micros()
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    const DAY_US: i64 = TimeSpan::DAY.us();

    /// A database whose clock is off, with what was stored.
    struct Database {
        off_us: i64,
        kept: Mutex<Option<KeptClock>>,
    }

    #[async_trait]
    impl ClockStore for Database {
        async fn now_us(&self) -> Result<i64, RepositoryError> {
            Ok(host_us() + self.off_us)
        }

        async fn kept(&self) -> Result<Option<KeptClock>, RepositoryError> {
            Ok(*self.kept.lock().unwrap())
        }

        async fn keep(&self, clock: KeptClock, _: bool) -> Result<(), RepositoryError> {
            *self.kept.lock().unwrap() = Some(clock);
            Ok(())
        }
    }

    fn clock(off_us: i64, believed_ago_us: Option<i64>) -> (Arc<Database>, Clock) {
        let kept = believed_ago_us.map(|ago_us| KeptClock {
            trusted_us: host_us() - ago_us,
            waiting_us: None,
            steady_s: 0,
        });
        let database = Arc::new(Database {
            off_us,
            kept: Mutex::new(kept),
        });
        let settings = TimeSettings {
            max_ahead: Some(TimeSpan::DAY),
            retention: Some(TimeSpan::DAY),
            ..TimeSettings::default()
        };
        let clock = Clock::new(settings, database.clone());
        (database, clock)
    }

    fn takes(clock: &Clock, ago_us: i64) -> bool {
        let window = clock.limits(&Limits::default()).window;
        window.contains(host_us() - ago_us)
    }

    #[tokio::test]
    async fn clocks_that_agree_are_believed() {
        let (database, clock) = clock(1_000_000, None);
        let now = clock.look().await.unwrap();
        assert!(now.retention_us.is_ok());
        assert_eq!(clock.hold(), None);
        assert!(takes(&clock, DAY_US - 60_000_000));
        assert!(!takes(&clock, DAY_US + 60_000_000));
        assert!(!takes(&clock, -DAY_US - 60_000_000));
        assert!(database.kept.lock().unwrap().is_some());
    }

    #[tokio::test]
    async fn where_clocks_differ_nothing_is_dropped_and_readings_get_the_benefit_of_the_doubt() {
        for off_us in [-400 * DAY_US, 400 * DAY_US] {
            let (_, clock) = clock(off_us, None);
            let now = clock.look().await.unwrap();
            let by_us = match now.retention_us {
                Err(Hold::Apart { by_us }) => by_us,
                other => panic!("{other:?}"),
            };
            assert!((by_us - 400 * DAY_US).abs() < 60_000_000);
            // The readings of both times are taken.
            assert!(takes(&clock, 0) && takes(&clock, -off_us));
        }
    }

    #[tokio::test]
    async fn a_clock_that_has_jumped_waits_for_a_word() {
        let (database, clock) = clock(0, Some(400 * DAY_US));
        let now = clock.look().await.unwrap();
        assert!(matches!(now.retention_us, Err(Hold::Jumped { .. })));
        let sentence = clock.hold().unwrap().to_string();
        assert!(sentence.contains("PUT /retention/confirm"), "{sentence}");
        assert!(takes(&clock, 400 * DAY_US) && takes(&clock, 0));
        let kept = database.kept.lock().unwrap().unwrap();
        assert!(kept.waiting_us.is_some());
        assert!(clock.confirm().await.unwrap().retention_us.is_ok());
        assert!(!takes(&clock, 400 * DAY_US) && takes(&clock, 0));
    }

    #[tokio::test]
    async fn a_clock_that_went_back_takes_the_readings_of_now() {
        let (_, clock) = clock(0, Some(-400 * DAY_US));
        clock.look().await.unwrap();
        assert!(takes(&clock, -400 * DAY_US) && takes(&clock, 0));
    }
}
