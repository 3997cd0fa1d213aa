//! How often an address may fail to publish. Who guesses keys gets a few tries a minute.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use headwater_media::Instant;

use crate::addresses::network;

/// Addresses that are remembered; beyond that those are forgotten that have the least to their account.
const ADDRESSES_MAX: usize = 16_384;
/// Failures are counted over this time.
const WINDOW: Duration = Duration::from_secs(60);

/// Counts failures by address. Only failures cost anything, so whoever has the right key is never held up, however
/// often its connection is lost.
///
/// It is a leaky bucket: each failure adds the time in which one leaks out. What is kept of an address is when its
/// bucket will be empty.
#[derive(Debug, Default)]
pub(crate) struct Attempts {
    empty_at: Mutex<HashMap<IpAddr, Instant>>,
}

impl Attempts {
    /// How long `address` has to wait until it may try again, if it must.
    pub(crate) fn blocked_for(&self, address: IpAddr, now: Instant, per_minute: u32) -> Option<Duration> {
        let cost = WINDOW.checked_div(per_minute)?;
        let empty_at = *self.lock().get(&network(address))?;
        let wait = (empty_at.saturating_since(now) + cost).saturating_sub(WINDOW);
        (wait > Duration::ZERO).then_some(wait)
    }

    /// `address` failed.
    pub(crate) fn failed(&self, address: IpAddr, now: Instant, per_minute: u32) {
        let Some(cost) = WINDOW.checked_div(per_minute) else { return };
        let address = network(address);
        let mut all = self.lock();
        if all.len() >= ADDRESSES_MAX && !all.contains_key(&address) {
            all.retain(|_, empty_at| *empty_at > now);
            if all.len() >= ADDRESSES_MAX
                && let Some(least) = all.iter().min_by_key(|(_, empty_at)| **empty_at).map(|(address, _)| *address)
            {
                all.remove(&least);
            }
        }
        let empty_at = all.entry(address).or_insert(now);
        *empty_at = (*empty_at).max(now) + cost;
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, Instant>> {
        self.empty_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn after_its_failures_an_address_waits_until_one_has_leaked_out() {
        let attempts = Attempts::default();
        for _ in 0..3 {
            assert_eq!(attempts.blocked_for(HERE, at(100), 3), None);
            attempts.failed(HERE, at(100), 3);
        }
        assert_eq!(attempts.blocked_for(HERE, at(100), 3), Some(Duration::from_secs(20)));
        assert_eq!(attempts.blocked_for(HERE, at(119), 3), Some(Duration::from_secs(1)));
        assert_eq!(attempts.blocked_for(HERE, at(120), 3), None);
        assert_eq!(attempts.blocked_for("10.0.0.1".parse().unwrap(), at(100), 3), None);
    }

    #[test]
    fn a_limit_of_none_holds_nobody_up() {
        let attempts = Attempts::default();
        (0..100).for_each(|_| attempts.failed(HERE, at(1), 0));
        assert_eq!(attempts.blocked_for(HERE, at(1), 0), None);
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_are_one_and_a_mapped_one_is_ipv4() {
        let attempts = Attempts::default();
        attempts.failed("2001:db8::1".parse().unwrap(), at(1), 1);
        attempts.failed("::ffff:10.0.0.1".parse().unwrap(), at(1), 1);
        let blocked = |address: &str| attempts.blocked_for(address.parse().unwrap(), at(1), 1).is_some();
        assert!(blocked("2001:db8::ffff:1") && blocked("10.0.0.1"));
        assert!(!blocked("2001:db8:0:1::1") && !blocked("10.0.0.2"));
    }

    #[test]
    fn memory_is_bounded_and_the_worst_are_remembered() {
        let attempts = Attempts::default();
        (0..10).for_each(|_| attempts.failed(HERE, at(1), 10));
        for number in 0..(1 << 14) + 100 {
            attempts.failed(IpAddr::V4(std::net::Ipv4Addr::from_bits(0x0A00_0000 + number)), at(1), 10);
        }
        assert_eq!(attempts.lock().len(), ADDRESSES_MAX);
        assert!(attempts.blocked_for(HERE, at(1), 10).is_some());
    }
}
