//! What waits for a lane. Every call has a line of its own, and lines take turns by bytes (deficit round robin), so that
//! a call with little to say waits for one turn of each other call, and not for everything that those have waiting.
//! Within a line nothing overtakes.
//!
//! A batch that is full is full for those who filled it: a call that has little in it still gets in ([`Door::Ajar`]).
//! Otherwise its message would wait for two loads, the one under way and that of the full batch.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

/// Messages that may wait in one line: the budget counts their readings, this bounds what it does not count.
const LINE_MESSAGES: usize = 32;
/// What a line hands over before it is the next one's turn, bytes. Less than most messages: a line with larger ones
/// saves its turns up.
const TURN_BYTES: usize = 64 * 1024;
/// A call with no more than this in a batch has little in it, bytes.
const LITTLE_BYTES: usize = 64 * 1024;

/// Whom the batch takes in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// Everyone, by turns.
    Open,
    /// Calls that have little in this batch.
    Ajar,
}

/// The lane has ended: nothing more is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Closed;

#[derive(Debug)]
struct Waiting<T> {
    message: T,
    bytes: usize,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<Waiting<T>>,
    /// What it may still hand over in this turn.
    credit_bytes: usize,
    /// The batch that it gave something to last, and how much.
    batch: u64,
    batch_bytes: usize,
    /// Whether its call may still add to it.
    open: bool,
    /// Told when there is room again.
    room: Arc<Notify>,
}

impl<T> Queue<T> {
    fn new(room: Arc<Notify>) -> Self {
        Self {
            waiting: VecDeque::new(),
            credit_bytes: 0,
            batch: 0,
            batch_bytes: 0,
            open: true,
            room,
        }
    }

    fn next_bytes(&self) -> usize {
        self.waiting.front().map_or(0, |waiting| waiting.bytes)
    }

    fn bytes_in(&self, batch: u64) -> usize {
        if self.batch == batch {
            self.batch_bytes
        } else {
            0
        }
    }
}

#[derive(Debug)]
struct State<T> {
    lines: HashMap<u64, Queue<T>>,
    /// The lines with something waiting; the first has its turn.
    turns: VecDeque<u64>,
    /// Counts batches.
    batch: u64,
    /// How many calls have something in this batch.
    calls_in_batch: usize,
    next_line: u64,
    entrances: usize,
    closed: bool,
}

impl<T> State<T> {
    fn line(&mut self, line: u64) -> Option<&mut Queue<T>> {
        self.lines.get_mut(&line)
    }

    /// The line whose turn it is, with credit for its next message.
    fn by_turns(&mut self) -> Option<u64> {
        loop {
            let line = *self.turns.front()?;
            // Turns hold only lines that are there.
            let queue = self.lines.get_mut(&line)?;
            if self.turns.len() == 1 || queue.credit_bytes >= queue.next_bytes() {
                return Some(line);
            }
            queue.credit_bytes += TURN_BYTES;
            self.turns.rotate_left(1);
        }
    }

    /// The first line whose call has little in the batch, and stays so with its next message.
    fn with_little(&self) -> Option<u64> {
        let has_little = |line: &&u64| {
            self.lines.get(line).is_some_and(|queue| {
                queue.bytes_in(self.batch) + queue.next_bytes() <= LITTLE_BYTES
            })
        };
        self.turns.iter().find(has_little).copied()
    }

    fn take(&mut self, line: u64) -> Option<T> {
        let batch = self.batch;
        let queue = self.lines.get_mut(&line)?;
        let Waiting { message, bytes } = queue.waiting.pop_front()?;
        if queue.batch != batch {
            (queue.batch, queue.batch_bytes) = (batch, 0);
            self.calls_in_batch += 1;
        }
        queue.batch_bytes += bytes;
        queue.credit_bytes = queue.credit_bytes.saturating_sub(bytes);
        queue.room.notify_one();
        if queue.waiting.is_empty() {
            // Turns are not saved up by those who have nothing to send.
            queue.credit_bytes = 0;
            let gone = !queue.open;
            match self.turns.front() {
                Some(&front) if front == line => drop(self.turns.pop_front()),
                _ => self.turns.retain(|&other| other != line),
            }
            if gone {
                self.lines.remove(&line);
            }
        }
        Some(message)
    }
}

#[derive(Debug)]
struct Shared<T> {
    state: Mutex<State<T>>,
    /// Told when a message comes, and when no more will.
    arrived: Notify,
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Both ends of a lane's intake.
pub(super) fn intake<T>() -> (Entrance<T>, Intake<T>) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State {
            lines: HashMap::new(),
            turns: VecDeque::new(),
            batch: 1,
            calls_in_batch: 0,
            next_line: 0,
            entrances: 1,
            closed: false,
        }),
        arrived: Notify::new(),
    });
    (Entrance(shared.clone()), Intake(shared))
}

/// Where calls line up. When it is gone and all lines have ended, the lane ends.
#[derive(Debug)]
pub(super) struct Entrance<T>(Arc<Shared<T>>);

impl<T> Entrance<T> {
    /// Messages that wait.
    pub(super) fn waiting(&self) -> usize {
        let state = self.0.lock();
        let queues = state.turns.iter().filter_map(|line| state.lines.get(line));
        queues.map(|queue| queue.waiting.len()).sum()
    }

    /// A line for a call.
    pub(super) fn line(&self) -> Line<T> {
        let room = Arc::new(Notify::new());
        let mut state = self.0.lock();
        state.entrances += 1;
        let number = state.next_line;
        state.next_line += 1;
        state.lines.insert(number, Queue::new(room.clone()));
        drop(state);
        Line {
            shared: self.0.clone(),
            number,
            room,
        }
    }
}

impl<T> Drop for Entrance<T> {
    fn drop(&mut self) {
        self.0.lock().entrances -= 1;
        self.0.arrived.notify_one();
    }
}

/// A call's line. What waits in it when the call ends is still taken.
#[derive(Debug)]
pub(super) struct Line<T> {
    shared: Arc<Shared<T>>,
    number: u64,
    room: Arc<Notify>,
}

impl<T> Line<T> {
    /// Waits until there is room for a message. Only the call itself adds to its line, so the room stays.
    pub(super) async fn room(&mut self) -> Result<(), Closed> {
        loop {
            {
                let mut state = self.shared.lock();
                if state.closed {
                    return Err(Closed);
                }
                let waiting = state.line(self.number).map(|queue| queue.waiting.len());
                if waiting.is_none_or(|waiting| waiting < LINE_MESSAGES) {
                    return Ok(());
                }
            }
            self.room.notified().await;
        }
    }

    /// Adds a message that takes `bytes`.
    pub(super) fn push(&mut self, message: T, bytes: usize) {
        let mut state = self.shared.lock();
        let state = &mut *state;
        let Some(queue) = state.lines.get_mut(&self.number) else {
            return;
        };
        if queue.waiting.is_empty() {
            queue.credit_bytes = TURN_BYTES;
            state.turns.push_back(self.number);
        }
        queue.waiting.push_back(Waiting { message, bytes });
        self.shared.arrived.notify_one();
    }
}

impl<T> Drop for Line<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.entrances -= 1;
        if let Some(queue) = state.line(self.number) {
            queue.open = false;
            if queue.waiting.is_empty() {
                state.lines.remove(&self.number);
            }
        }
        drop(state);
        self.shared.arrived.notify_one();
    }
}

/// Where the lane takes messages from the lines.
#[derive(Debug)]
pub(super) struct Intake<T>(Arc<Shared<T>>);

impl<T> Intake<T> {
    /// Waits for the next message that the door lets in; None when no more will come. Dropping the future loses nothing.
    pub(super) async fn next(&mut self, door: Door) -> Option<T> {
        loop {
            {
                let mut state = self.0.lock();
                let line = match door {
                    Door::Open => state.by_turns(),
                    Door::Ajar => state.with_little(),
                };
                if let Some(message) = line.and_then(|line| state.take(line)) {
                    return Some(message);
                }
                if state.entrances == 0 && state.turns.is_empty() {
                    return None;
                }
            }
            self.0.arrived.notified().await;
        }
    }

    /// What is taken from now on goes into another batch.
    pub(super) fn begin_batch(&mut self) {
        let mut state = self.0.lock();
        state.batch += 1;
        state.calls_in_batch = 0;
    }

    /// Whether more than one call has something in this batch or waits for it.
    pub(super) fn is_shared(&self) -> bool {
        let state = self.0.lock();
        let waiting_only = |line: &&u64| {
            let queue = state.lines.get(line);
            queue.is_some_and(|queue| queue.batch != state.batch)
        };
        let waiting = state.turns.iter().filter(waiting_only).take(2).count();
        state.calls_in_batch + waiting > 1
    }
}

impl<T> Drop for Intake<T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        for queue in state.lines.values() {
            queue.room.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    /// (call, number, bytes)
    type Message = (usize, usize, usize);

    fn next(intake: &mut Intake<Message>, door: Door) -> Option<Message> {
        intake.next(door).now_or_never().flatten()
    }

    fn fill(line: &mut Line<Message>, call: usize, sizes: &[usize]) {
        for (number, &bytes) in sizes.iter().enumerate() {
            line.push((call, number, bytes), bytes);
        }
    }

    #[test]
    fn a_small_message_waits_for_one_turn_of_each_other_call() {
        let (entrance, mut intake) = intake();
        let mut large: Vec<_> = (0..4).map(|_| entrance.line()).collect();
        for (call, line) in large.iter_mut().enumerate() {
            fill(line, call, &[TURN_BYTES; LINE_MESSAGES]);
        }
        let mut small = entrance.line();
        small.push((4, 0, 100), 100);
        let before = std::iter::from_fn(|| next(&mut intake, Door::Open))
            .take_while(|&(call, ..)| call != 4)
            .count();
        assert_eq!(before, 4, "of the 128 messages that came before");
    }

    #[test]
    fn a_full_batch_takes_in_those_who_have_little_in_it() {
        let (entrance, mut intake) = intake();
        let (mut large, mut small) = (entrance.line(), entrance.line());
        fill(&mut large, 0, &[LITTLE_BYTES / 2; 4]);
        assert!(!intake.is_shared());
        assert!(next(&mut intake, Door::Open).is_some());
        assert!(next(&mut intake, Door::Open).is_some());
        assert_eq!(next(&mut intake, Door::Ajar), None, "it has its share");
        fill(&mut small, 1, &[100, LITTLE_BYTES]);
        assert!(intake.is_shared());
        assert_eq!(next(&mut intake, Door::Ajar), Some((1, 0, 100)));
        assert_eq!(next(&mut intake, Door::Ajar), None, "the next is too large");
        intake.begin_batch();
        assert_eq!(
            next(&mut intake, Door::Ajar).map(|(call, ..)| call),
            Some(0)
        );
    }

    #[tokio::test]
    async fn a_line_is_bounded_and_what_waits_outlives_its_call() {
        let (entrance, mut intake) = intake();
        let mut line = entrance.line();
        fill(&mut line, 0, &[1; LINE_MESSAGES]);
        assert!(line.room().now_or_never().is_none(), "it is full");
        assert_eq!(intake.next(Door::Open).await, Some((0, 0, 1)));
        assert_eq!(line.room().await, Ok(()));
        drop((line, entrance));
        let rest = LINE_MESSAGES - 1;
        for _ in 0..rest {
            assert!(intake.next(Door::Open).await.is_some());
        }
        assert_eq!(intake.next(Door::Open).await, None);
        assert!(intake.0.lock().lines.is_empty(), "nothing is left of it");
    }

    #[tokio::test]
    async fn a_call_hears_of_the_end_of_its_lane() {
        let (entrance, intake) = intake();
        let mut line = entrance.line();
        fill(&mut line, 0, &[1; LINE_MESSAGES]);
        let waits = tokio::spawn(async move { line.room().await });
        tokio::task::yield_now().await;
        drop(intake);
        assert_eq!(waits.await.unwrap(), Err(Closed));
    }

    proptest! {
        /// As long as all have something waiting, no call is ahead of another by more than a turn and a message; each
        /// call's messages keep their order; and all of them come.
        #[test]
        fn turns_are_fair_by_bytes_and_lose_nothing(
            calls in prop::collection::vec(prop::collection::vec(1_usize..300_000, 1..40), 1..6)
        ) {
            let (entrance, mut intake) = intake();
            let mut lines: Vec<_> = calls.iter().map(|_| entrance.line()).collect();
            for (call, sizes) in calls.iter().enumerate() {
                fill(&mut lines[call], call, sizes);
            }
            let largest = calls.iter().flatten().max().copied().unwrap_or(0);
            let (mut taken, mut bytes) = (vec![0; calls.len()], vec![0; calls.len()]);
            while let Some((call, number, size)) = next(&mut intake, Door::Open) {
                prop_assert_eq!(number, taken[call]);
                taken[call] += 1;
                bytes[call] += size;
                let all_wait = taken.iter().zip(&calls).all(|(&taken, sizes)| taken < sizes.len());
                if all_wait {
                    let (most, least) = (bytes.iter().max().unwrap(), bytes.iter().min().unwrap());
                    prop_assert!(most - least <= 2 * TURN_BYTES + 2 * largest, "{:?}", bytes);
                }
            }
            let sent: Vec<_> = calls.iter().map(Vec::len).collect();
            prop_assert_eq!(taken, sent);
        }
    }
}
