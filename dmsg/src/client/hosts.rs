//! Backoff for hosts on which servers are claimed to run and none was ever found.
//!
//! Any peer may publish server entries that name the address of an unrelated host, under any number
//! of keys. Failures are therefore counted per host, whatever key or port was dialled.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::shares::source;

/// Failed dials of one host before it is backed off.
const MAX_FAILURES: u32 = 3;
/// Maximum number of hosts remembered. At the limit, the one whose backoff ends first is forgotten.
const MAX_HOSTS: usize = 1024;

#[derive(Default)]
struct Host {
    failures: u32,
    /// When the backoff ends; zero before the third failure.
    until: Duration,
}

/// Failed dials per host since the last successful one.
#[derive(Default)]
pub(super) struct HostBackoff(BTreeMap<IpAddr, Host>);

impl HostBackoff {
    /// Returns how many dials of a host may start now.
    pub(super) fn dials_allowed(&self, ip: IpAddr, now: Duration) -> u32 {
        match self.0.get(&source(ip)) {
            None => MAX_FAILURES,
            Some(host) if host.until > now => 0,
            Some(host) => MAX_FAILURES.saturating_sub(host.failures).max(1),
        }
    }

    /// Returns when the backoff of a host ends; zero if it is not backed off.
    pub(super) fn until(&self, ip: IpAddr) -> Duration {
        self.0
            .get(&source(ip))
            .map_or(Duration::ZERO, |host| host.until)
    }

    /// Records a failed dial. From the third on, the host is backed off: for `first`, then twice as
    /// long each time, up to `longest`.
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
        if let Some(doublings) = host.failures.checked_sub(MAX_FAILURES) {
            let wait = first.saturating_mul(1 << doublings.min(20));
            host.until = now + wait.min(longest);
        }
    }

    /// Records that a server was found there, which clears the host's failures.
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

    #[test]
    fn a_host_that_never_answers_is_dialled_three_times_and_then_less_and_less() {
        let mut hosts = HostBackoff::default();
        let mut dials = Vec::new();
        for second in 0..600 {
            let now = Duration::from_secs(second);
            for _ in 0..hosts.dials_allowed(ip(1), now) {
                dials.push(second);
                hosts.failed(ip(1), now, WAITS);
            }
        }
        assert_eq!(dials[..9], [0, 0, 0, 1, 3, 7, 15, 31, 63]);
        assert!(dials[9..].windows(2).all(|pair| pair[1] - pair[0] == 60));
        hosts.succeeded(ip(1));
        assert_eq!(hosts.dials_allowed(ip(1), Duration::ZERO), 3);
    }

    #[test]
    fn hosts_are_bounded_and_the_worst_are_remembered() {
        let mut hosts = HostBackoff::default();
        for _ in 0..10 {
            hosts.failed(ip(0), Duration::ZERO, WAITS);
        }
        for n in 1..5_000 {
            hosts.failed(ip(n), Duration::ZERO, WAITS);
        }
        assert_eq!(hosts.0.len(), MAX_HOSTS);
        assert_eq!(hosts.dials_allowed(ip(0), Duration::ZERO), 0);
    }
}
