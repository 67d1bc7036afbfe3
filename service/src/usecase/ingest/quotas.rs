//! How fast each principal may bring readings, so that one of them does not take what others need (P5). Who streams is read
//! more slowly; a unary call is told when to come back.

use std::{num::NonZeroU32, time::Duration};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter,
    clock::{Clock as _, DefaultClock},
};

use super::{Caller, IngestError};
use crate::{
    model::PrincipalName,
    telemetry::metrics::{Counter, EncodeLabelSet, Family, Metrics, Word},
};

/// For each principal; None for as fast as it can.
#[derive(Clone, Copy, Debug, Default)]
pub struct QuotaSettings {
    pub rows_per_s: Option<NonZeroU32>,
    pub bytes_per_s: Option<NonZeroU32>,
}

/// What somebody has brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Brought {
    pub(super) rows: usize,
    pub(super) bytes: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfSetting {
    setting: Word,
}

/// What each principal has left.
#[derive(Debug)]
pub(super) struct Quotas {
    rows: Option<Limit>,
    bytes: Option<Limit>,
    slowed: Family<OfSetting, Counter>,
}

#[derive(Debug)]
struct Limit {
    setting: &'static str,
    per_s: NonZeroU32,
    limiter: DefaultKeyedRateLimiter<PrincipalName>,
}

impl Limit {
    /// A second's worth may come at once.
    fn new(setting: &'static str, per_s: NonZeroU32) -> Self {
        Self {
            setting,
            per_s,
            limiter: RateLimiter::keyed(Quota::per_second(per_s)),
        }
    }

    /// In parts that may come at once.
    fn parts(&self, count: usize) -> impl Iterator<Item = NonZeroU32> {
        let most = self.per_s.get() as usize;
        let (whole, rest) = (count / most, count % most);
        let rest = u32::try_from(rest).ok().and_then(NonZeroU32::new);
        std::iter::repeat_n(self.per_s, whole).chain(rest)
    }

    /// How long to wait before so much may come; None when it may now, and is taken.
    fn missing(&self, name: &PrincipalName, count: usize) -> Option<Duration> {
        // More than a second's worth in one call costs as much as that.
        let part = self.parts(count).next()?;
        let now = DefaultClock::default().now();
        match self.limiter.check_key_n(name, part) {
            Ok(Ok(())) | Err(_) => None,
            Ok(Err(until)) => Some(until.wait_time_from(now)),
        }
    }

    async fn wait(&self, name: &PrincipalName, count: usize) {
        for part in self.parts(count) {
            // A part is never more than may come at once.
            let _ = self.limiter.until_key_n_ready(name, part).await;
        }
    }
}

impl Quotas {
    pub(super) fn new(settings: QuotaSettings, metrics: &Metrics) -> Self {
        let limit =
            |setting, per_s: Option<NonZeroU32>| per_s.map(|per_s| Limit::new(setting, per_s));
        let made = Self {
            rows: limit(ROWS.0, settings.rows_per_s),
            bytes: limit(BYTES.0, settings.bytes_per_s),
            slowed: metrics.register(
                "quota_slowed",
                "Messages that were waited for, or turned away, because their principal brings more than it may",
                Family::default(),
            ),
        };
        for setting in [ROWS, BYTES] {
            made.slowed.get_or_create(&OfSetting { setting }).inc_by(0);
        }
        made
    }

    fn limits(&self, brought: Brought) -> impl Iterator<Item = (&Limit, usize)> {
        let rows = self.rows.iter().map(move |limit| (limit, brought.rows));
        rows.chain(self.bytes.iter().map(move |limit| (limit, brought.bytes)))
    }

    fn slow(&self, limit: &Limit) {
        let setting = Word(limit.setting);
        self.slowed.get_or_create(&OfSetting { setting }).inc();
    }

    /// Takes what is brought, or says when to come back.
    pub(super) fn take(&self, caller: &Caller, brought: Brought) -> Result<(), IngestError> {
        let Some(name) = caller.name() else {
            return Ok(());
        };
        for (limit, count) in self.limits(brought) {
            if let Some(retry_after) = limit.missing(name, count) {
                self.slow(limit);
                return Err(IngestError::TooFast {
                    setting: limit.setting,
                    per_s: limit.per_s,
                    retry_after,
                });
            }
        }
        Ok(())
    }

    /// Waits until what was brought is paid for. Nothing more is read meanwhile.
    pub(super) async fn settle(&self, caller: &Caller, brought: Brought) {
        let Some(name) = caller.name() else {
            return;
        };
        for (limit, count) in self.limits(brought) {
            if limit.missing(name, count).is_some() {
                self.slow(limit);
                limit.wait(name, count).await;
            } else {
                // A second's worth is paid; the rest is not yet.
                limit
                    .wait(name, count.saturating_sub(limit.per_s.get() as usize))
                    .await;
            }
        }
    }
}

const ROWS: Word = Word("auth.max_rows_per_s");
const BYTES: Word = Word("auth.max_bytes_per_s");

#[cfg(test)]
mod tests {
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::model::Reach;

    fn caller(name: &str) -> Caller {
        let name = PrincipalName::parse(name).unwrap();
        Caller::known(name, Reach::Everything, CancellationToken::new())
    }

    fn quotas(rows_per_s: u32) -> Quotas {
        let settings = QuotaSettings {
            rows_per_s: NonZeroU32::new(rows_per_s),
            bytes_per_s: None,
        };
        Quotas::new(settings, &Metrics::default())
    }

    fn rows(rows: usize) -> Brought {
        Brought { rows, bytes: 0 }
    }

    #[test]
    fn each_principal_has_its_own_and_others_have_none() {
        let quotas = quotas(1_000);
        let (press, mill) = (caller("press-4"), caller("mill-1"));
        assert_eq!(quotas.take(&press, rows(1_000)), Ok(()));
        let Err(IngestError::TooFast { retry_after, .. }) = quotas.take(&press, rows(500)) else {
            panic!("too fast");
        };
        assert!(retry_after <= Duration::from_millis(500), "{retry_after:?}");
        assert_eq!(quotas.take(&mill, rows(1_000)), Ok(()));
        for _ in 0..10 {
            assert_eq!(quotas.take(&Caller::anybody(), rows(5_000)), Ok(()));
        }
    }

    #[tokio::test]
    async fn who_streams_pays_for_all_of_it() {
        let (quotas, press) = (quotas(1_000), caller("press-4"));
        let began = std::time::Instant::now();
        // A second's worth is there; 1,200 more take 1.2 s.
        for _ in 0..2 {
            quotas.settle(&press, rows(1_100)).await;
        }
        assert!(began.elapsed() >= Duration::from_millis(1_150));
    }
}
