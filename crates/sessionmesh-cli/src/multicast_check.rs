//! `sessionmesh multicast-check`: whether datagrams arrive, before trusting discovery to them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use if_addrs::IfAddr;
use sessionmesh::Config;
use sessionmesh::network::{DatagramBind, Datagrams, MulticastBind, Network as _, TokioNetwork};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, timeout_at};

use crate::failure::Failure;
use crate::multicast_arguments::MulticastArgs;
use crate::node::settings;
use crate::probe::{self, Probe};
use crate::terminal::{BAD, BOLD, FAINT, GOOD, millis};

/// How long to send or listen, unless told.
const ACROSS: Duration = Duration::from_secs(10);
/// How long a datagram may take to come back, unless told.
const OWN_LOOP: Duration = Duration::from_secs(1);
/// Time between two datagrams of `--send`.
const PAUSE: Duration = Duration::from_millis(500);
/// So many senders are told apart; more are not expected on one network.
const SENDERS_MAX: usize = 256;
/// So many datagrams may wait to be counted.
const WAITING_MAX: usize = 1_024;

/// Runs the check that was asked for.
pub(crate) async fn run(args: &MulticastArgs) -> Result<(), Failure> {
    let places = places(args)?;
    let (bold, faint) = (BOLD, FAINT);
    let what = match (args.send, args.listen) {
        (true, _) => "sending",
        (_, true) => "listening",
        _ => "each interface to itself",
    };
    anstream::println!("{bold}Multicast {}:{}, {what}{bold:#}\n", args.group, args.port);
    let time = args.seconds.map(Duration::from_secs);
    let failed = match (args.send, args.listen) {
        (true, _) => send(places, time.unwrap_or(ACROSS)).await,
        (_, true) => listen(&places, time.unwrap_or(ACROSS)).await,
        _ => {
            let patience = time.unwrap_or(OWN_LOOP);
            let settings = match args.interface {
                Some(_) => None,
                None => Some(settings::unchecked(args.config.as_deref()).map_err(Failure::Refused)?.mesh),
            };
            let failed = own_loops(places.clone(), patience).await;
            match settings {
                Some(settings) => failed | node_fails(&settings, &places, patience).await,
                None => failed,
            }
        }
    };
    if failed {
        return Err(Failure::Failed(None));
    }
    if !args.send && !args.listen {
        anstream::println!(
            "\n{faint}This host can do multicast. Whether the network carries it shows only between two machines:\n\
             run `sessionmesh multicast-check --listen` on one and `--send` on the other.{faint:#}"
        );
    }
    Ok(())
}

/// One interface to check.
#[derive(Clone, Debug)]
struct Place {
    name: String,
    bind: MulticastBind,
    /// Whether something is at the other end of its cable.
    carrier: bool,
}

impl Place {
    fn row(&self, well: bool, detail: &str) {
        let (mark, style) = if well { ("ok    ", GOOD) } else { ("FAILED", BAD) };
        anstream::println!("  {:<12} {:<15}  {style}{mark}{style:#}  {detail}", self.name, self.bind.interface);
    }

    fn no_carrier(&self) -> &'static str {
        if self.carrier { "" } else { ", but NO-CARRIER: no cable, or nothing at its other end" }
    }

    fn group(&self) -> SocketAddr {
        SocketAddr::from((self.bind.group, self.bind.port))
    }

    async fn join(&self) -> Result<Box<dyn Datagrams>, String> {
        let socket = TokioNetwork.datagrams(DatagramBind::Multicast(self.bind)).await;
        socket.map_err(|error| format!("cannot join: {error}"))
    }
}

/// The interfaces to check. Nobody else hears what is sent on loopback, so `--send` goes there only if told.
fn places(args: &MulticastArgs) -> Result<Vec<Place>, Failure> {
    let all =
        if_addrs::get_if_addrs().map_err(|error| Failure::Failed(Some(format!("cannot list interfaces: {error}"))))?;
    let all: Vec<(String, Ipv4Addr, bool)> = all
        .into_iter()
        .filter_map(|interface| match &interface.addr {
            IfAddr::V4(addr) => Some((interface.name.clone(), addr.ip, interface.is_oper_up())),
            IfAddr::V6(_) => None,
        })
        .collect();
    let wanted = |ip: &Ipv4Addr| match args.interface {
        Some(only) => *ip == only,
        None => !(args.send && ip.is_loopback()),
    };
    let bind = |interface| MulticastBind {
        group: args.group,
        port: args.port,
        interface,
        ttl: args.ttl.into(),
        loopback: true,
    };
    let places: Vec<_> = all
        .iter()
        .filter(|(_, ip, _)| wanted(ip))
        .map(|(name, ip, carrier)| Place { name: name.clone(), bind: bind(*ip), carrier: *carrier })
        .collect();
    if places.is_empty() {
        let known: Vec<_> = all.iter().map(|(name, ip, _)| format!("{ip} ({name})")).collect();
        let known = if known.is_empty() { "none at all".to_owned() } else { known.join(", ") };
        let wanted = args.interface.map_or("of the wanted kind".to_owned(), |ip| format!("with the address {ip}"));
        return Err(Failure::Refused(format!("there is no IPv4 interface {wanted}; this host has {known}")));
    }
    Ok(places)
}

/// Every interface sends to itself. True if one of them failed.
async fn own_loops(places: Vec<Place>, patience: Duration) -> bool {
    let running: Vec<_> =
        places.into_iter().map(|place| (place.clone(), tokio::spawn(probe::own_loop(place.bind, patience)))).collect();
    let mut failed = false;
    for (place, outcome) in running {
        match outcome.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(time) => place.row(true, &format!("back after {}{}", millis(time).trim_start(), place.no_carrier())),
            Err(error) => {
                place.row(false, &error);
                failed = true;
            }
        }
    }
    failed
}

/// Does what a node with these settings does: takes the first of its interfaces that can be joined. True if it fails.
async fn node_fails(settings: &Config, places: &[Place], patience: Duration) -> bool {
    let faint = FAINT;
    anstream::println!(
        "\n{faint}A node with these settings (SESSIONMESH_... and --config), by its `bind`, `advertise` and\n\
         `multicast_interface`:{faint:#}"
    );
    if !settings.multicast_enabled() {
        anstream::println!("  uses no multicast");
        return false;
    }
    let mut failed = None;
    for interface in settings.multicast_interfaces() {
        let bind = MulticastBind {
            group: settings.multicast_group,
            port: settings.multicast_port,
            interface,
            ttl: settings.multicast_ttl,
            loopback: true,
        };
        let at = places.iter().find(|place| place.bind.interface == interface);
        let name = at.map_or("by system", |place| place.name.as_str()).to_owned();
        let place = Place { name, bind, carrier: at.is_none_or(|place| place.carrier) };
        match probe::own_loop(bind, patience).await {
            Ok(_) => {
                // What only this host hears finds no other one.
                place.row(place.carrier, &format!("beacons go there{}", place.no_carrier()));
                return !place.carrier;
            }
            Err(error) => failed = Some((place, error)),
        }
    }
    if let Some((place, error)) = failed {
        place.row(false, &error);
    }
    true
}

/// Sends on every interface. True if one of them could not.
async fn send(places: Vec<Place>, time: Duration) -> bool {
    let until = Instant::now() + time;
    let running: Vec<_> =
        places.into_iter().map(|place| (place.clone(), tokio::spawn(send_on(place, until)))).collect();
    let mut failed = false;
    for (place, outcome) in running {
        match outcome.await.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(sent) => place.row(true, &format!("sent {sent} datagrams")),
            Err(error) => {
                place.row(false, &error);
                failed = true;
            }
        }
    }
    failed
}

async fn send_on(place: Place, until: Instant) -> Result<u64, String> {
    let socket = place.join().await?;
    let run = probe::random();
    let mut pause = interval(PAUSE);
    let mut number = 0;
    while timeout_at(until, pause.tick()).await.is_ok() {
        let probe = Probe { run, number }.encode();
        let sent = socket.send_to(probe.as_bytes(), place.group()).await;
        sent.map_err(|error| format!("cannot send after {number} datagrams: {error}"))?;
        number += 1;
    }
    Ok(number)
}

/// Listens on every interface. True if nothing was heard.
async fn listen(places: &[Place], time: Duration) -> bool {
    let until = Instant::now() + time;
    let (hear, mut heard) = mpsc::channel(WAITING_MAX);
    let mut ears = JoinSet::new();
    for place in places {
        match place.join().await {
            Ok(socket) => {
                place.row(true, "listening");
                ears.spawn(listen_on(socket, hear.clone()));
            }
            Err(error) => place.row(false, &error),
        }
    }
    drop(hear);
    anstream::println!();
    let mut heard_of = Heard::default();
    while let Ok(Some((from, probe))) = timeout_at(until, heard.recv()).await {
        if heard_of.note(from, probe) {
            anstream::println!("  heard {}", from.ip());
        }
    }
    heard_of.report()
}

async fn listen_on(socket: Box<dyn Datagrams>, hear: mpsc::Sender<(SocketAddr, Option<Probe>)>) {
    let mut buffer = [0; probe::BYTES_MAX];
    while let Ok((length, from)) = socket.recv_from(&mut buffer).await {
        if hear.send((from, Probe::decode(&buffer[..length]))).await.is_err() {
            return;
        }
    }
}

/// Who was heard. The system may hand one datagram to the sockets of several interfaces, so each number counts once.
#[derive(Debug, Default)]
struct Heard {
    senders: BTreeMap<(IpAddr, u64), BTreeSet<u64>>,
    others: BTreeSet<IpAddr>,
}

impl Heard {
    /// Counts a datagram; true if its sender is new.
    fn note(&mut self, from: SocketAddr, probe: Option<Probe>) -> bool {
        let Some(Probe { run, number }) = probe else {
            if self.others.len() < SENDERS_MAX {
                self.others.insert(from.ip());
            }
            return false;
        };
        let key = (from.ip(), run);
        let fresh = !self.senders.contains_key(&key);
        if fresh && self.senders.len() >= SENDERS_MAX {
            return false;
        }
        self.senders.entry(key).or_default().insert(number);
        fresh
    }

    /// Prints what was heard. True if that is nothing.
    fn report(&self) -> bool {
        let (good, bad, faint) = (GOOD, BAD, FAINT);
        for ((from, _), numbers) in &self.senders {
            let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { continue };
            let sent = last.saturating_sub(*first).saturating_add(1);
            anstream::println!("  {from:<15}  {good}ok{good:#}  {} of {sent} datagrams arrived", numbers.len());
        }
        for from in &self.others {
            anstream::println!("  {faint}{from:<15}  something else, such as a node's beacons{faint:#}");
        }
        if self.senders.is_empty() {
            anstream::println!(
                "  {bad}Nothing was heard{bad:#} of a `sessionmesh multicast-check --send`. Is it running, in the same \
                 network?\n  If so, switches or a firewall drop multicast: use `seeds` or `dns` for discovery."
            );
        }
        self.senders.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_datagram_that_two_sockets_heard_counts_once() {
        let mut heard = Heard::default();
        let from = SocketAddr::from(([10, 0, 0, 1], 45564));
        let probe = |number| Some(Probe { run: 1, number });
        assert!(heard.note(from, probe(3)));
        assert!(!heard.note(from, probe(3)));
        assert!(!heard.note(from, probe(5)));
        assert!(!heard.note(from, None));
        assert_eq!(heard.senders[&(from.ip(), 1)].len(), 2);
        assert!(!heard.report());
        assert!(Heard::default().report());
    }
}
