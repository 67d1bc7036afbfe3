//! How sources stand, and whether they are to run. What fetches from brokers tells it here; REST asks and steers here.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::Serialize;
use tokio::sync::watch;

/// A broker that restarts is back sooner; what lasts longer has to be looked at.
const GRACE: Duration = Duration::from_secs(15);

/// What a source is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum SourceState {
    /// It connects, and reads where it stands.
    Starting,
    /// Readings flow as they come.
    Running,
    /// It cannot go on at the moment, and tries again by itself.
    Waiting,
    /// All of it, or a part, goes on only once somebody has mended what is wrong.
    Stopped,
    /// It was told to.
    Paused,
}

impl SourceState {
    pub const ALL: [Self; 5] = [
        Self::Starting,
        Self::Running,
        Self::Waiting,
        Self::Stopped,
        Self::Paused,
    ];

    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Stopped => "stopped",
            Self::Paused => "paused",
        }
    }
}

/// How a source stands at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct SourceStanding {
    pub name: String,
    pub kind: &'static str,
    pub state: SourceState,
    /// Why it does not run, a sentence.
    pub reason: Option<String>,
    /// Whether the service is ready although it does not run.
    pub optional: bool,
    /// How long it has been in this state, seconds.
    pub for_s: u64,
}

/// What somebody wants of a source. A new round begins what was given up anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    pub runs: bool,
    pub round: u64,
}

/// One source.
#[derive(Debug)]
pub struct Source {
    name: String,
    kind: &'static str,
    optional: bool,
    wish: watch::Sender<Wish>,
    now: Mutex<Now>,
}

#[derive(Debug)]
struct Now {
    state: SourceState,
    reason: Option<String>,
    since: Instant,
    /// When readings flowed last, or it was told to run.
    well: Instant,
}

impl Source {
    #[must_use]
    pub fn new(name: String, kind: &'static str, optional: bool, paused: bool) -> Self {
        let state = match paused {
            true => SourceState::Paused,
            false => SourceState::Starting,
        };
        let since = Instant::now();
        Self {
            name,
            kind,
            optional,
            wish: watch::Sender::new(Wish {
                runs: !paused,
                round: 0,
            }),
            now: Mutex::new(Now {
                state,
                reason: None,
                since,
                well: since,
            }),
        }
    }

    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says how it stands from now on. True when that is new.
    pub fn stands(&self, state: SourceState, reason: Option<String>) -> bool {
        let mut now = self.now();
        let at = Instant::now();
        if matches!(state, SourceState::Running | SourceState::Paused) {
            now.well = at;
        }
        if now.state == state && now.reason == reason {
            return false;
        }
        if now.state != state {
            now.since = at;
        }
        now.state = state;
        now.reason = reason;
        true
    }

    #[must_use]
    pub fn standing(&self) -> SourceStanding {
        let now = self.now();
        SourceStanding {
            name: self.name.clone(),
            kind: self.kind,
            state: now.state,
            reason: now.reason.clone(),
            optional: self.optional,
            for_s: now.since.elapsed().as_secs(),
        }
    }

    /// Why the service is not ready because of it.
    fn complaint(&self) -> Option<String> {
        let now = self.now();
        let is_ill = match now.state {
            SourceState::Running | SourceState::Paused => false,
            SourceState::Stopped => true,
            SourceState::Starting | SourceState::Waiting => now.well.elapsed() > GRACE,
        };
        let reason = now.reason.as_deref().unwrap_or("it has not begun yet");
        (is_ill && !self.optional).then(|| {
            format!(
                "the source {} is {}: {reason}",
                self.name,
                now.state.as_str()
            )
        })
    }

    /// Has it end, and stay so until it is resumed.
    pub fn pause(&self) {
        self.wish.send_modify(|wish| wish.runs = false);
    }

    /// Has it run, and begin anew where it waits or has stopped.
    pub fn resume(&self) {
        self.wish.send_modify(|wish| {
            wish.runs = true;
            wish.round += 1;
        });
    }

    /// What is wanted of it.
    #[must_use]
    pub fn wishes(&self) -> watch::Receiver<Wish> {
        self.wish.subscribe()
    }
}

/// All sources of this instance, in the order of the settings.
#[derive(Clone, Debug, Default)]
pub struct Sources(Arc<[Arc<Source>]>);

impl Sources {
    #[must_use]
    pub fn new(all: Vec<Arc<Source>>) -> Self {
        Self(all.into())
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Source>> {
        self.0.iter()
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<Source>> {
        self.iter().find(|source| source.name() == name)
    }

    #[must_use]
    pub fn standings(&self) -> Vec<SourceStanding> {
        self.iter().map(|source| source.standing()).collect()
    }

    /// Why the service is not ready because of one of them.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        self.iter().find_map(|source| source.complaint())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(optional: bool) -> Source {
        Source::new("plant".to_owned(), "kafka", optional, false)
    }

    #[test]
    fn what_has_to_be_mended_is_complained_of_at_once_unless_it_is_optional() {
        let reason = "the log was cut".to_owned();
        let needed = source(false);
        assert_eq!(needed.complaint(), None, "it only starts");
        assert!(needed.stands(SourceState::Stopped, Some(reason.clone())));
        assert!(!needed.stands(SourceState::Stopped, Some(reason.clone())));
        let complaint = needed.complaint().unwrap();
        assert_eq!(complaint, "the source plant is stopped: the log was cut");
        let optional = source(true);
        optional.stands(SourceState::Stopped, Some(reason));
        assert_eq!(optional.complaint(), None);
    }

    #[test]
    fn a_short_wait_is_no_complaint_and_a_pause_is_none() {
        let source = source(false);
        source.stands(SourceState::Running, None);
        source.stands(SourceState::Waiting, Some("no broker answers".to_owned()));
        assert_eq!(source.complaint(), None);
        source.pause();
        assert!(!source.wishes().borrow().runs);
        source.resume();
        assert_eq!(
            *source.wishes().borrow(),
            Wish {
                runs: true,
                round: 1
            }
        );
    }
}
