//! How long connections live. One that lives for ever stays where a balancer once put it, and keeps the certificate that its
//! client once proved itself with.

use std::{future, sync::OnceLock, time::Duration};

use tokio::time::{Instant, sleep};

/// Connections end up to this part of their time earlier, so that those that began together do not end together.
const SPREAD: u32 = 10;

/// How long a connection may live, and how long what is open on it then may take to its end.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lifetime {
    /// None: for as long as both sides keep it.
    pub max_age: Option<Duration>,
    pub grace: Duration,
}

/// One connection's time.
#[derive(Debug)]
pub struct Age {
    lifetime: Lifetime,
    over: Option<Instant>,
    /// Set once it was over: other ends have their own grace.
    is_over: OnceLock<()>,
}

impl Lifetime {
    /// A connection that begins now; `chance` is any number.
    #[must_use]
    pub fn begin(self, chance: u64) -> Age {
        let over = self.max_age.map(|max_age| {
            let spread = max_age / SPREAD;
            let earlier = spread.mul_f64((chance % 1_000) as f64 / 1_000.0);
            Instant::now() + max_age.saturating_sub(earlier)
        });
        Age {
            lifetime: self,
            over,
            is_over: OnceLock::new(),
        }
    }
}

impl Age {
    /// Resolves when the connection is to begin nothing new.
    pub async fn is_over(&self) {
        match self.over {
            Some(over) => {
                tokio::time::sleep_until(over).await;
                let _ = self.is_over.set(());
            }
            None => future::pending().await,
        }
    }

    /// Resolves when it was over, and what was open had its time.
    pub async fn is_overstayed(&self) {
        match self.is_over.get() {
            Some(()) => sleep(self.lifetime.grace).await,
            None => future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn those_that_begin_together_do_not_end_together() {
        let lifetime = Lifetime {
            max_age: Some(Duration::from_secs(100)),
            grace: Duration::from_secs(5),
        };
        let began = Instant::now();
        let (first, second) = (lifetime.begin(0), lifetime.begin(999));
        second.is_over().await;
        assert_eq!(began.elapsed().as_secs(), 90);
        first.is_over().await;
        assert_eq!(began.elapsed().as_secs(), 100);
        first.is_overstayed().await;
        assert_eq!(began.elapsed().as_secs(), 105);
    }

    #[tokio::test(start_paused = true)]
    async fn without_an_age_none_ends() {
        let age = Lifetime::default().begin(7);
        let ends = async { tokio::join!(age.is_over(), age.is_overstayed()) };
        let day = Duration::from_secs(24 * 3_600);
        assert!(tokio::time::timeout(day, ends).await.is_err());
    }
}
