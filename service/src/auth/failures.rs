//! How many tokens from each address were not good, within a minute.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

const MINUTE: Duration = Duration::from_secs(60);
/// Addresses that are told apart; those beyond share one count.
const MOST_ADDRESSES: usize = 16_384;
const THE_OTHERS: IpAddr = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
/// One host has a whole network of this size in IPv6.
const HOST_BITS: u32 = 64;

/// Counts them.
#[derive(Debug)]
pub(super) struct Failures {
    /// Within a minute.
    most: u32,
    counts: Mutex<HashMap<IpAddr, Count>>,
}

#[derive(Debug)]
struct Count {
    since: Instant,
    failures: u32,
}

impl Failures {
    pub(super) fn new(most: u32) -> Self {
        Self {
            most,
            counts: Mutex::default(),
        }
    }

    /// Counts one more. When that is too many: how long until the next one is taken.
    pub(super) fn note(&self, address: IpAddr) -> Option<Duration> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut host = host(address);
        if counts.len() >= MOST_ADDRESSES && !counts.contains_key(&host) {
            counts.retain(|_, count| count.since.elapsed() < MINUTE);
            if counts.len() >= MOST_ADDRESSES {
                host = THE_OTHERS;
            }
        }
        let now = Instant::now();
        let count = counts.entry(host).or_insert(Count {
            since: now,
            failures: 0,
        });
        let mut age = now.duration_since(count.since);
        if age >= MINUTE {
            (count.since, count.failures, age) = (now, 0, Duration::ZERO);
        }
        count.failures = count.failures.saturating_add(1);
        (count.failures > self.most).then(|| MINUTE - age)
    }
}

/// What stands for the host at this address.
fn host(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> HOST_BITS << HOST_BITS).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_address_has_so_many_in_a_minute_and_others_have_theirs() {
        let failures = Failures::new(2);
        let note = |address: &str| failures.note(address.parse().unwrap());
        assert_eq!(note("192.0.2.1"), None);
        assert_eq!(note("::ffff:192.0.2.1"), None);
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(note("192.0.2.1"), Some(Duration::from_secs(50)));
        assert_eq!(note("192.0.2.2"), None);
        tokio::time::advance(Duration::from_secs(50)).await;
        assert_eq!(note("192.0.2.1"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_addresses_as_somebody_likes_take_no_more_memory() {
        let failures = Failures::new(1);
        for number in 0..2 * MOST_ADDRESSES as u128 {
            failures.note(Ipv6Addr::from_bits((1 + number) << HOST_BITS).into());
        }
        let kept = failures.counts.lock().unwrap().len();
        assert!(kept <= MOST_ADDRESSES + 1, "{kept}");
    }
}
