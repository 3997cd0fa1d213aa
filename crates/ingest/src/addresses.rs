//! What each address has open and sends: the limits that one address has, however many connections it makes.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use headwater_media::Instant;

use crate::allowance::Allowance;

/// Addresses with open connections. There are no more of them than connections.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    all: Mutex<HashMap<IpAddr, Arc<Address>>>,
}

/// What the connections of one address share.
#[derive(Debug, Default)]
struct Address {
    sent: Mutex<Allowance>,
}

/// One connection of an address; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    addresses: Arc<Addresses>,
    network: IpAddr,
    address: Arc<Address>,
}

impl Addresses {
    /// A connection of `address` begins; also how many it has with this one.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> (Guest, usize) {
        let network = network(address);
        let mut all = lock(&self.all);
        let address = all.entry(network).or_default().clone();
        // All but the map's.
        let count = Arc::strong_count(&address) - 1;
        (Guest { addresses: self.clone(), network, address }, count)
    }
}

impl Guest {
    /// The connection's publisher sent more. Whether its address has sent too much, `kbps_max` being the limit; then the
    /// count begins anew, so that this publisher alone has to go.
    pub(crate) fn sends_too_much(&self, now: Instant, bytes: usize, kbps_max: u32) -> bool {
        if kbps_max == 0 {
            return false;
        }
        let mut sent = lock(&self.address.sent);
        let too_much = sent.take(now, bytes, kbps_max);
        if too_much {
            *sent = Allowance::default();
        }
        too_much
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut all = lock(&self.addresses.all);
        // The map's and this one's: the last one goes.
        if Arc::strong_count(&self.address) <= 2 {
            all.remove(&self.network);
        }
    }
}

/// Who has one IPv6 address has 2^64 of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 => v4,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_count_while_they_last_and_nothing_is_kept_of_an_address_without_any() {
        let addresses = Arc::new(Addresses::default());
        let (first, one) = addresses.enter(ip("10.0.0.1"));
        let (second, two) = addresses.enter(ip("::ffff:10.0.0.1"));
        let (other, its) = addresses.enter(ip("10.0.0.2"));
        assert_eq!((one, two, its), (1, 2, 1));
        drop(second);
        let (third, two) = addresses.enter(ip("10.0.0.1"));
        assert_eq!(two, 2);
        drop((first, third, other));
        assert!(lock(&addresses.all).is_empty());
    }

    #[test]
    fn connections_of_an_ipv6_network_share_what_they_may_send() {
        let addresses = Arc::new(Addresses::default());
        let [a, b, other] = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| addresses.enter(ip(text)).0);
        let now = Instant::from_millis(1000);
        assert!(!a.sends_too_much(now, 10_000, 8));
        assert!(b.sends_too_much(now, 1, 8));
        assert!(!a.sends_too_much(now, 10_000, 8), "one has gone, the others stay");
        assert!(!b.sends_too_much(now, 1, 0));
        assert!(!other.sends_too_much(now, 10_000, 8));
    }
}
