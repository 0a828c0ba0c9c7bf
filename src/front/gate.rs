//! How many connections are open, in total and for each address, and who may come in.
//!
//! One map under one lock: it is touched twice in the life of a connection. IPv6 clients
//! are counted by /64, because one customer has at least that many addresses.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;
use parking_lot::Mutex;

use super::stats::{Stats, count};

/// Counts and limits of open connections; shared by all threads.
#[derive(Debug)]
pub(crate) struct Gate {
    total: AtomicUsize,
    total_max: usize,
    each: Mutex<HashMap<IpAddr, usize>>,
    each_max: usize,
    /// Bytes of unfinished request heads that all connections hold.
    heads: AtomicUsize,
    heads_max: usize,
    pub(crate) stats: Arc<Stats>,
}

/// The right to be connected; given back when dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    gate: Arc<Gate>,
    address: Option<IpAddr>,
    /// Bytes of an unfinished head.
    head: usize,
}

/// Why a connection may not come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    /// The node has as many as it may have.
    Total,
    /// This address has.
    Address,
}

impl Gate {
    pub(crate) fn new(
        total_max: usize,
        each_max: usize,
        heads_max: usize,
        stats: Arc<Stats>,
    ) -> Arc<Gate> {
        Arc::new(Gate {
            total: AtomicUsize::new(0),
            total_max,
            each: Mutex::new(HashMap::new()),
            each_max,
            heads: AtomicUsize::new(0),
            heads_max,
            stats,
        })
    }

    /// Open connections now.
    pub(crate) fn open(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Lets one connection in, not yet counted for an address (which a PROXY header may
    /// still change).
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Lease, Full> {
        if self.total.fetch_add(1, Ordering::Relaxed) >= self.total_max {
            self.total.fetch_sub(1, Ordering::Relaxed);
            count(&self.stats.shed_total);
            return Err(Full::Total);
        }
        count(&self.stats.accepted);
        Ok(Lease { gate: Arc::clone(self), address: None, head: 0 })
    }
}

impl Lease {
    /// Counts the connection for the client's address.
    pub(crate) fn name(&mut self, address: IpAddr) -> Result<(), Full> {
        let address = network(address);
        let mut each = self.gate.each.lock();
        let held = each.entry(address).or_insert(0);
        if *held >= self.gate.each_max {
            count(&self.gate.stats.shed_address);
            return Err(Full::Address);
        }
        *held += 1;
        self.address = Some(address);
        Ok(())
    }

    /// The connection holds `bytes` of an unfinished head now; `false` if all together hold
    /// too much, and then this one must let go of its own.
    pub(crate) fn hold_head(&mut self, bytes: usize) -> bool {
        if bytes == self.head {
            return true;
        }
        let before = std::mem::replace(&mut self.head, bytes);
        if bytes < before {
            self.gate.heads.fetch_sub(before - bytes, Ordering::Relaxed);
            return true;
        }
        let more = bytes - before;
        let fits = self.gate.heads.fetch_add(more, Ordering::Relaxed) + more <= self.gate.heads_max;
        if !fits {
            count(&self.gate.stats.shed_heads);
        }
        fits
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.hold_head(0);
        self.gate.total.fetch_sub(1, Ordering::Relaxed);
        count(&self.gate.stats.closed);
        let Some(address) = self.address else { return };
        let mut each = self.gate.each.lock();
        if let Some(held) = each.get_mut(&address) {
            *held = held.saturating_sub(1);
            if *held == 0 {
                each.remove(&address);
            }
        }
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(v4) => IpAddr::V4(v4),
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(u128::from(v6) & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_customer_counts_once_for_its_64() {
        let gate = Gate::new(10, 1, 0, Arc::default());
        let mut first = gate.enter().unwrap();
        first.name("2001:db8:1:2::1".parse().unwrap()).unwrap();
        let mut second = gate.enter().unwrap();
        assert_eq!(second.name("2001:db8:1:2:ffff::9".parse().unwrap()), Err(Full::Address));
        assert_eq!(second.name("2001:db8:1:3::1".parse().unwrap()), Ok(()));
    }

    #[test]
    fn a_dropped_lease_makes_room() {
        let gate = Gate::new(1, 1, 0, Arc::default());
        let mut first = gate.enter().unwrap();
        first.name("127.0.0.1".parse().unwrap()).unwrap();
        assert_eq!(gate.enter().unwrap_err(), Full::Total);
        drop(first);
        assert_eq!(gate.open(), 0);
        let mut next = gate.enter().unwrap();
        // The same address, written as IPv6.
        assert_eq!(next.name("::ffff:127.0.0.1".parse().unwrap()), Ok(()));
    }

    #[test]
    fn unfinished_heads_share_one_bound() {
        let gate = Gate::new(9, 9, 100, Arc::default());
        let (mut one, mut two) = (gate.enter().unwrap(), gate.enter().unwrap());
        assert!(one.hold_head(60) && two.hold_head(40));
        assert!(!two.hold_head(41));
        drop(one);
        assert!(two.hold_head(100));
    }
}
