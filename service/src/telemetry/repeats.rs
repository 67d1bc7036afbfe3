//! Warnings and errors that come again and again: the first of a kind is written, those that follow within a while are
//! counted, and a line says how many they were.

use std::{
    collections::HashMap,
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hash as _, Hasher as _},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use tracing::{
    Event, Level, Subscriber, callsite,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, format::Writer},
    registry::LookupSpan,
};

/// For so long those of a kind are counted; then their number is told, and counting begins anew.
const WINDOW: Duration = Duration::from_secs(10);
/// Kinds of one place in the program that are told apart. Words that are never the same, as a client may cause them, do
/// not get a line each.
const KINDS_OF_A_PLACE: usize = 16;
/// So much of a line is kept for its count.
const LINE_CHARS: usize = 500;
/// Under this name the counts are told, and not counted themselves.
const TARGET: &str = "sluicegate::repeated";

/// What makes two lines one kind: where they are from, and their words. Numbers may differ.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Kind {
    place: callsite::Identifier,
    words: u64,
}

/// Lines of a kind that were counted.
#[derive(Debug, PartialEq, Eq)]
struct Counted {
    level: Level,
    line: String,
    times: u64,
}

struct Seen {
    until: Instant,
    /// Of the first one.
    counted: Counted,
}

#[derive(Default)]
struct Kinds {
    seen: HashMap<Kind, Seen>,
    ended: bool,
}

impl Kinds {
    /// Whether this line is to be written: the first of its kind.
    fn take(&mut self, mut kind: Kind, level: Level, line: String, now: Instant) -> bool {
        if !self.seen.contains_key(&kind) {
            let of_place = self.seen.keys().filter(|seen| seen.place == kind.place);
            if of_place.count() >= KINDS_OF_A_PLACE {
                kind.words = 0;
            }
        }
        if let Some(seen) = self.seen.get_mut(&kind) {
            seen.counted.times += 1;
            return false;
        }
        let seen = Seen {
            until: now + WINDOW,
            counted: Counted {
                level,
                line,
                times: 0,
            },
        };
        self.seen.insert(kind, seen);
        true
    }

    /// What was counted until now. A kind that did not come again is forgotten; of the others counting goes on.
    fn due(&mut self, now: Instant) -> Vec<Counted> {
        let mut due = Vec::new();
        self.seen.retain(|_, seen| {
            if seen.until > now {
                return true;
            }
            seen.until = now + WINDOW;
            let Counted { level, line, times } = &mut seen.counted;
            let counted = Counted {
                level: *level,
                line: line.clone(),
                times: std::mem::take(times),
            };
            let came_again = counted.times > 0;
            if came_again {
                due.push(counted);
            }
            came_again
        });
        due
    }

    /// All that was counted.
    fn all(&mut self) -> Vec<Counted> {
        let counted = self.seen.drain().map(|(_, seen)| seen.counted);
        counted.filter(|counted| counted.times > 0).collect()
    }

    fn next(&self) -> Option<Instant> {
        self.seen.values().map(|seen| seen.until).min()
    }
}

#[derive(Default)]
struct Shared {
    kinds: Mutex<Kinds>,
    changed: Condvar,
}

impl Shared {
    fn kinds(&self) -> MutexGuard<'_, Kinds> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the counts when they are due, until the end.
    fn tell_all(&self) {
        let mut kinds = self.kinds();
        while !kinds.ended {
            let now = Instant::now();
            let due = kinds.due(now);
            if !due.is_empty() {
                // Who writes a line asks for the kinds.
                drop(kinds);
                due.iter().for_each(tell);
                kinds = self.kinds();
                continue;
            }
            kinds = match kinds.next() {
                None => self
                    .changed
                    .wait(kinds)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(next) => {
                    let pause = next.saturating_duration_since(now);
                    let waited = self.changed.wait_timeout(kinds, pause);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }
}

fn tell(counted: &Counted) {
    let Counted { level, line, times } = counted;
    match *level {
        Level::ERROR => tracing::error!(target: TARGET, times, line, "came again"),
        _ => tracing::warn!(target: TARGET, times, line, "came again"),
    }
}

/// Counts, for as long as it is kept.
pub(super) struct Repeats(Arc<Shared>);

impl Repeats {
    pub(super) fn start() -> Self {
        let shared = Arc::new(Shared::default());
        let telling = shared.clone();
        // Where no thread can be had, the counts are told at the end.
        let _ = thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || telling.tell_all());
        Self(shared)
    }

    /// Says what is written: the first of each kind.
    pub(super) fn counting(&self) -> Counting {
        Counting(self.0.clone())
    }
}

impl Drop for Repeats {
    fn drop(&mut self) {
        let counted = {
            let mut kinds = self.0.kinds();
            kinds.ended = true;
            kinds.all()
        };
        self.0.changed.notify_all();
        counted.iter().for_each(tell);
    }
}

/// Whether a line is written or counted.
#[derive(Clone)]
pub(super) struct Counting(Arc<Shared>);

impl Counting {
    fn is_to_be_written(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let level = *metadata.level();
        if level > Level::WARN || metadata.target() == TARGET {
            return true;
        }
        let mut words = Words::default();
        event.record(&mut words);
        let kind = Kind {
            place: metadata.callsite(),
            words: words.hasher.finish(),
        };
        let mut kinds = self.0.kinds();
        let is_first = kinds.take(kind, level, words.line(), Instant::now());
        drop(kinds);
        if is_first {
            self.0.changed.notify_all();
        }
        is_first
    }
}

/// Writes lines as `format` does, unless they are counted. Not a filter: one that decides by an event's fields leaves its
/// word behind for the next event of the thread.
pub(super) struct Once<F> {
    pub(super) format: F,
    pub(super) counting: Counting,
}

impl<S, N, F> FormatEvent<S, N> for Once<F>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match self.counting.is_to_be_written(event) {
            true => self.format.format_event(context, writer, event),
            false => Ok(()),
        }
    }
}

/// An event in words.
#[derive(Default)]
struct Words {
    message: String,
    fields: String,
    /// Of all but numbers.
    hasher: DefaultHasher,
}

impl Words {
    fn field(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        // A String takes every write.
        let _ = match field.name() {
            "message" => self.message.write_fmt(value),
            name => write!(self.fields, " {name}={value}"),
        };
    }

    fn line(self) -> String {
        let line = self.message + &self.fields;
        match line.char_indices().nth(LINE_CHARS) {
            Some((end, _)) => line[..end].to_owned() + "…",
            None => line,
        }
    }
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        text.hash(&mut self.hasher);
        self.field(field, format_args!("{text}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        value.hash(&mut self.hasher);
        self.field(field, format_args!("{value:?}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.field(field, format_args!("{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.field(field, format_args!("{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.field(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(words: u64) -> Kind {
        let place = tracing::callsite!(name: "here", kind: tracing::metadata::Kind::EVENT, level: Level::WARN, fields: message);
        Kind {
            place: callsite::Callsite::metadata(place).callsite(),
            words,
        }
    }

    #[test]
    fn the_first_of_a_kind_is_written_and_the_others_are_counted() {
        let (mut kinds, start) = (Kinds::default(), Instant::now());
        let take = |kinds: &mut Kinds, words, at| {
            kinds.take(kind(words), Level::WARN, format!("words {words}"), at)
        };
        assert!(take(&mut kinds, 1, start));
        assert!(take(&mut kinds, 2, start));
        assert!(!take(&mut kinds, 1, start));
        assert!(!take(&mut kinds, 1, start));
        assert_eq!(kinds.due(start), []);
        let counted = |times| Counted {
            level: Level::WARN,
            line: "words 1".to_owned(),
            times,
        };
        assert_eq!(kinds.due(start + WINDOW), [counted(2)]);
        // The second kind did not come again.
        assert!(take(&mut kinds, 2, start + WINDOW));
        assert!(!take(&mut kinds, 1, start + WINDOW));
        assert_eq!(kinds.due(start + 2 * WINDOW), [counted(1)]);
        assert_eq!(kinds.due(start + 3 * WINDOW), []);
        assert!(take(&mut kinds, 1, start + 3 * WINDOW));
        assert!(!take(&mut kinds, 1, start + 3 * WINDOW));
        assert_eq!(kinds.all(), [counted(1)]);
    }

    #[test]
    fn words_that_are_never_the_same_get_few_lines() {
        let (mut kinds, start) = (Kinds::default(), Instant::now());
        let written = (1..=1_000)
            .filter(|&words| kinds.take(kind(words), Level::ERROR, String::new(), start))
            .count();
        assert_eq!(written, KINDS_OF_A_PLACE + 1);
        let times: u64 = kinds.all().iter().map(|counted| counted.times).sum();
        assert_eq!(times, 1_000 - written as u64);
    }
}
