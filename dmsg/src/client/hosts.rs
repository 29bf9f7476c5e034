//! Hosts that servers are said to be on and where none was ever found.
//!
//! Anybody may publish an entry of a server that names a stranger's address, under as many keys as
//! he likes. So what failed there counts for the host, whatever key or port comes next.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::shares::source;

/// Dials of one host before it has to wait.
const TRIES: u32 = 3;
/// Hosts remembered. At the limit the one that may be dialled soonest is forgotten.
const MAX_HOSTS: usize = 1024;

#[derive(Default)]
struct Host {
    failures: u32,
    until: Duration,
}

/// Where dialling has failed since it last succeeded.
#[derive(Default)]
pub(super) struct Hosts(BTreeMap<IpAddr, Host>);

impl Hosts {
    /// How many dials of a host may begin now.
    pub(super) fn tries(&self, ip: IpAddr, now: Duration) -> u32 {
        match self.0.get(&source(ip)) {
            None => TRIES,
            Some(host) if host.until > now => 0,
            Some(host) => TRIES.saturating_sub(host.failures).max(1),
        }
    }

    /// When a host may be dialled that may not now.
    pub(super) fn until(&self, ip: IpAddr) -> Duration {
        self.0
            .get(&source(ip))
            .map_or(Duration::ZERO, |host| host.until)
    }

    /// A dial has failed. From the third on the host has to wait: for `first`, then twice as long
    /// each time, up to `longest`.
    pub(super) fn failed(
        &mut self,
        ip: IpAddr,
        now: Duration,
        (first, longest): (Duration, Duration),
    ) {
        let ip = source(ip);
        if self.0.len() >= MAX_HOSTS && !self.0.contains_key(&ip) {
            let soonest = self.0.iter().min_by_key(|(_, host)| host.until);
            let soonest = soonest.map(|(ip, _)| *ip);
            soonest.and_then(|ip| self.0.remove(&ip));
        }
        let host = self.0.entry(ip).or_default();
        host.failures = host.failures.saturating_add(1);
        if let Some(doublings) = host.failures.checked_sub(TRIES) {
            let wait = first.saturating_mul(1 << doublings.min(20));
            host.until = now + wait.min(longest);
        }
    }

    /// A server was found there.
    pub(super) fn succeeded(&mut self, ip: IpAddr) {
        self.0.remove(&source(ip));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAITS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

    fn ip(n: u16) -> IpAddr {
        let [a, b] = n.to_be_bytes();
        [192, 0, a, b].into()
    }

    /// Whatever keys and ports are tried there.
    #[test]
    fn a_host_that_never_answers_is_dialled_three_times_and_then_less_and_less() {
        let mut hosts = Hosts::default();
        let mut dials = Vec::new();
        for second in 0..600 {
            let now = Duration::from_secs(second);
            for _ in 0..hosts.tries(ip(1), now) {
                dials.push(second);
                hosts.failed(ip(1), now, WAITS);
            }
        }
        assert_eq!(dials[..9], [0, 0, 0, 1, 3, 7, 15, 31, 63]);
        assert!(dials[9..].windows(2).all(|pair| pair[1] - pair[0] == 60));
        hosts.succeeded(ip(1));
        assert_eq!(hosts.tries(ip(1), Duration::ZERO), 3);
    }

    #[test]
    fn hosts_are_bounded_and_the_worst_are_remembered() {
        let mut hosts = Hosts::default();
        for _ in 0..10 {
            hosts.failed(ip(0), Duration::ZERO, WAITS);
        }
        for n in 1..5_000 {
            hosts.failed(ip(n), Duration::ZERO, WAITS);
        }
        assert_eq!(hosts.0.len(), MAX_HOSTS);
        assert_eq!(hosts.tries(ip(0), Duration::ZERO), 0);
    }
}
