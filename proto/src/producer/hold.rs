//! What a producer's hold on its stream rests on, and whether what was committed unseen is its own.

use rand::Rng as _;

use crate::v1::ResumeStream;

/// Steps from one epoch to the next: so large that nobody gets there by taking the stream over again and again, and
/// drawn at random, so that two who resume do not meet.
const STEPS: std::ops::Range<u64> = 1 << 16..1 << 20;

/// On what grounds the stream is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// Whoever holds it.
    TakeOver,
    /// Only if nobody else has opened it since. May be asked again when it went unanswered.
    Resume(ResumeStream),
}

impl Claim {
    pub(super) fn resume(self) -> Option<ResumeStream> {
        match self {
            Self::TakeOver => None,
            Self::Resume(resume) => Some(resume),
        }
    }

    /// True when an answer with this epoch proves that nobody else has written since our own readings.
    pub(super) fn is_proved_by(self, epoch: u64) -> bool {
        self.resume()
            .is_some_and(|resume| resume.next_epoch == epoch)
    }
}

#[derive(Debug)]
pub(super) struct Hold {
    claim: Claim,
    /// Take-overs of ours that went unanswered: each may yet take effect and fence the one that came after it.
    late_take_overs: u32,
}

impl Hold {
    /// A hold on a stream that is yet to be opened.
    pub(super) fn new() -> Self {
        Self {
            claim: Claim::TakeOver,
            late_take_overs: 0,
        }
    }

    pub(super) fn claim(&self) -> Claim {
        self.claim
    }

    /// The stream was opened under this epoch.
    pub(super) fn gained(&mut self, epoch: u64) {
        let step = rand::rng().random_range(STEPS);
        self.claim = Claim::Resume(ResumeStream {
            held_epoch: epoch,
            next_epoch: epoch.saturating_add(step),
        });
    }

    /// A request to open the stream was sent and not answered.
    pub(super) fn unanswered(&mut self) {
        // One to resume takes effect once, however often it is sent.
        if self.claim == Claim::TakeOver {
            self.late_take_overs += 1;
        }
    }

    /// Readings were committed under our epoch.
    pub(super) fn confirmed(&mut self) {
        self.late_take_overs = 0;
    }

    /// The service says that the stream was opened by another writer. True when that may have been a late take-over of
    /// our own, and the stream may be taken over once more.
    pub(super) fn fenced(&mut self) -> bool {
        let may_be_ours = self.late_take_overs > 0;
        if may_be_ours {
            self.late_take_overs -= 1;
            self.claim = Claim::TakeOver;
        }
        may_be_ours
    }

    /// The service knows nothing of the epoch that we hold.
    pub(super) fn forgotten(&mut self) {
        self.claim = Claim::TakeOver;
    }
}
