//! How many connections may be open that have proved nothing yet, and how often new ones may come.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use tokio::time::Instant;

use super::Refusal;

/// Connections at a time that have proved nothing yet, in all. Each may send 4 KiB, and has the state of TLS and a future that
/// waits: with 128 of them the process grew by 1 MiB.
const UNPROVEN_MAX: usize = 512;
/// And from one host, so that one that floods leaves room for the others. Fifty nodes on one host that all start at once are
/// within it.
const UNPROVEN_BY_HOST_MAX: usize = 128;
/// New connections of one host: so many at once after a pause, and so many a second.
const BURST: u32 = 512;
const PER_SECOND: u32 = 256;
/// Hosts whose new connections are counted. With more than that, those that came least lately are forgotten.
const HOSTS_MAX: usize = 4_096;

/// Counts connections that have proved nothing.
#[derive(Debug, Default)]
pub(crate) struct Admission {
    unproven: usize,
    hosts: BTreeMap<IpAddr, Host>,
}

#[derive(Debug)]
struct Host {
    unproven: usize,
    /// New connections that it may still open now, as of `since`.
    room: u32,
    since: Instant,
}

impl Admission {
    /// A connection from this address came. It counts until [`Admission::settled`], if it is admitted.
    ///
    /// # Errors
    ///
    /// There are too many already, or they come too often.
    pub(crate) fn admit(&mut self, from: IpAddr, now: Instant) -> Result<(), Refusal> {
        if self.unproven >= UNPROVEN_MAX {
            return Err(Refusal::TooManyUnproven);
        }
        self.make_room(now);
        let host = self.hosts.entry(host(from)).or_insert(Host { unproven: 0, room: BURST, since: now });
        host.refill(now);
        if host.unproven >= UNPROVEN_BY_HOST_MAX {
            return Err(Refusal::TooManyUnproven);
        }
        let Some(room) = host.room.checked_sub(1) else { return Err(Refusal::TooOften) };
        host.room = room;
        host.unproven += 1;
        self.unproven += 1;
        Ok(())
    }

    /// It has proved that it belongs to the cluster, or has ended.
    pub(crate) fn settled(&mut self, from: IpAddr) {
        self.unproven = self.unproven.saturating_sub(1);
        if let Some(host) = self.hosts.get_mut(&host(from)) {
            host.unproven = host.unproven.saturating_sub(1);
        }
    }

    fn make_room(&mut self, now: Instant) {
        if self.hosts.len() < HOSTS_MAX {
            return;
        }
        self.hosts.values_mut().for_each(|host| host.refill(now));
        self.hosts.retain(|_, host| host.unproven > 0 || host.room < BURST);
        while self.hosts.len() >= HOSTS_MAX {
            let idle = self.hosts.iter().filter(|(_, host)| host.unproven == 0);
            let Some(oldest) = idle.min_by_key(|(_, host)| host.since).map(|(host, _)| *host) else { return };
            self.hosts.remove(&oldest);
        }
    }
}

impl Host {
    fn refill(&mut self, now: Instant) {
        let each = Duration::from_secs(1) / PER_SECOND;
        let more = now.duration_since(self.since).as_nanos() / each.as_nanos();
        let wanted = BURST - self.room;
        match u32::try_from(more) {
            // What is left of the time counts for the next one.
            Ok(more) if more < wanted => {
                self.room += more;
                self.since += each * more;
            }
            _ => {
                self.room = BURST;
                self.since = now;
            }
        }
    }
}

/// Who has one IPv6 address has a whole network of 64 bits.
fn host(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_host_that_opens_and_says_nothing_leaves_room_for_others() {
        let (mut admission, now) = (Admission::default(), Instant::now());
        let admitted = (0..1_000).filter(|_| admission.admit(ip("10.0.0.1"), now).is_ok()).count();
        assert_eq!(admitted, UNPROVEN_BY_HOST_MAX);
        assert_eq!(admission.admit(ip("10.0.0.1"), now), Err(Refusal::TooManyUnproven));
        assert_eq!(admission.admit(ip("10.0.0.2"), now), Ok(()));
        admission.settled(ip("10.0.0.1"));
        assert_eq!(admission.admit(ip("10.0.0.1"), now), Ok(()), "one has ended");
    }

    #[test]
    fn there_is_a_bound_for_all_together_and_networks_of_ipv6_count_as_hosts() {
        let (mut admission, now) = (Admission::default(), Instant::now());
        let from = |host: u16| ip(&format!("2001:db8:0:{:x}::{:x}", host % 7, host));
        let admitted = (0..2_000).filter(|host| admission.admit(from(*host), now).is_ok()).count();
        assert_eq!(admitted, UNPROVEN_MAX);
        let of_one_network = (0..2_000).filter(|host| host % 7 == 3).count();
        assert!(of_one_network > UNPROVEN_BY_HOST_MAX);
    }

    #[test]
    fn who_comes_again_and_again_is_slowed_down_and_forgiven() {
        let (mut admission, mut now) = (Admission::default(), Instant::now());
        let mut come = |now| {
            let admitted = admission.admit(ip("10.0.0.1"), now);
            admission.settled(ip("10.0.0.1"));
            admitted
        };
        assert_eq!((0..2_000).filter(|_| come(now).is_ok()).count(), BURST as usize);
        assert_eq!(come(now), Err(Refusal::TooOften));
        now += Duration::from_secs(1);
        assert_eq!((0..2_000).filter(|_| come(now).is_ok()).count(), PER_SECOND as usize);
        for _ in 0..1_000 {
            now += Duration::from_millis(4);
            assert_eq!(come(now), Ok(()), "a few are always let in");
        }
        while come(now).is_ok() {}
        let tries = (0..10_000).filter(|_| {
            now += Duration::from_micros(700);
            come(now).is_ok()
        });
        assert_eq!(tries.count(), 7 * PER_SECOND as usize, "no part of the time is lost, however often it tries");
    }

    #[test]
    fn what_is_remembered_of_strangers_is_bounded() {
        let (mut admission, now) = (Admission::default(), Instant::now());
        for host in 0..3 * HOSTS_MAX {
            let from = IpAddr::from(std::net::Ipv4Addr::from_bits(u32::try_from(host).unwrap()));
            assert_eq!(admission.admit(from, now), Ok(()));
            admission.settled(from);
        }
        assert!(admission.hosts.len() <= HOSTS_MAX && admission.unproven == 0);
    }
}
