//! What the gate counts.

use crate::telemetry::metrics::{Counter, EncodeLabelSet, Family, Gauge, Metrics, Word};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Refused {
    door: Word,
    why: Word,
}

/// Why somebody was refused: no token, or what was wrong with it.
pub(super) const WHYS: [Word; 6] = [
    Word("missing"),
    Word("unreadable"),
    Word("unknown"),
    Word("revoked"),
    Word("expired"),
    Word("scope"),
];
const DOORS: [Word; 2] = [Word("grpc"), Word("rest")];

/// The figures of the gate.
#[derive(Clone, Debug)]
pub struct AuthMetrics {
    refused: Family<Refused, Counter>,
    limited: Counter,
    tokens: Gauge,
    file_broken: Gauge,
}

impl AuthMetrics {
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let made = Self {
            refused: metrics.register(
                "auth_refused",
                "Calls and requests that were refused, by why",
                Family::default(),
            ),
            limited: metrics.register(
                "auth_limited",
                "Of those, how many because of too many bad tokens from one address",
                Counter::default(),
            ),
            tokens: metrics.register("auth_tokens", "Tokens that are good", Gauge::default()),
            file_broken: metrics.register(
                "auth_file_broken",
                "Whether the token file cannot be read, so that what it said before is in use",
                Gauge::default(),
            ),
        };
        for door in DOORS {
            for why in WHYS {
                made.refused.get_or_create(&Refused { door, why }).inc_by(0);
            }
        }
        made
    }

    pub(super) fn refuse(&self, door: Word, why: Word) {
        self.refused.get_or_create(&Refused { door, why }).inc();
    }

    pub(super) fn limit(&self) {
        self.limited.inc();
    }

    pub(super) fn tokens(&self, good: usize) {
        self.tokens.set(i64::try_from(good).unwrap_or(i64::MAX));
    }

    pub(super) fn file(&self, is_broken: bool) {
        self.file_broken.set(is_broken.into());
    }
}
