//! Hosts on one switch, as network namespaces of this machine: needs root and iproute2.

use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::waiting::check;

/// Which end of the cable is taken out.
#[derive(Clone, Copy, Debug)]
pub enum End {
    /// At the switch: the node's packets go nowhere.
    Switch,
    /// At the node: it has no network any more.
    Node,
}

/// A switch and some hosts, until it is dropped.
#[derive(Debug)]
pub struct Lan {
    /// Tells the namespaces of this test from others of this machine.
    tag: String,
    names: Vec<String>,
}

impl Lan {
    /// With a host for each name, all with a cable.
    ///
    /// # Errors
    ///
    /// This machine can have none: why.
    pub fn new(names: &[&str]) -> Result<Self, String> {
        let lan = Self::unplugged(names)?;
        names.iter().try_for_each(|name| lan.plug_in(name))?;
        Ok(lan)
    }

    /// With hosts that have nothing but loopback.
    ///
    /// # Errors
    ///
    /// This machine can have none: why.
    pub fn unplugged(names: &[&str]) -> Result<Self, String> {
        static LANS: AtomicU32 = AtomicU32::new(0);
        let tag = format!("mt{}-{}", std::process::id(), LANS.fetch_add(1, Ordering::Relaxed));
        let lan = Self { tag, names: names.iter().map(ToString::to_string).collect() };
        let hub = lan.space("hub");
        ip(&format!("netns add {hub}"))?;
        ip(&format!("-n {hub} link add br0 type bridge"))?;
        ip(&format!("-n {hub} link set br0 up"))?;
        names.iter().try_for_each(|name| lan.set_up(name))?;
        Ok(lan)
    }

    /// Makes a host with nothing but loopback.
    fn set_up(&self, name: &str) -> Result<(), String> {
        let host = self.space(name);
        ip(&format!("netns add {host}"))?;
        ip(&format!("-n {host} link set lo up"))
    }

    /// Gives a host a network card, `eth0`, with its address, and a cable to the switch.
    ///
    /// # Errors
    ///
    /// It cannot be made: why.
    pub fn plug_in(&self, name: &str) -> Result<(), String> {
        let (hub, host) = (self.space("hub"), self.space(name));
        ip(&format!("-n {hub} link add port-{name} type veth peer name eth0 netns {host}"))?;
        ip(&format!("-n {hub} link set port-{name} master br0 up"))?;
        ip(&format!("-n {host} addr add {}/24 dev eth0", self.addr(name)))?;
        ip(&format!("-n {host} link set eth0 up"))
    }

    /// Takes the network card out of a host.
    ///
    /// # Panics
    ///
    /// When it has none.
    pub fn take_card_out(&self, name: &str) {
        ip(&format!("-n {} link del eth0", self.space(name))).expect("it has a card");
    }

    /// Puts a new machine, which remembers nothing, in the place of one whose card was taken out. It has its name, its address and a
    /// cable; the others look for it anew.
    ///
    /// # Errors
    ///
    /// It cannot be made: why.
    pub fn replace(&self, name: &str) -> Result<(), String> {
        ip(&format!("netns del {}", self.space(name)))?;
        self.set_up(name)?;
        self.plug_in(name)?;
        // Its card has another number than the one before.
        let mut others = self.names.iter().filter(|other| *other != name);
        others.try_for_each(|other| ip(&format!("-n {} neigh flush all", self.space(other))))
    }

    /// The network namespace of a host.
    #[must_use]
    pub fn space(&self, name: &str) -> String {
        format!("{}{name}", self.tag)
    }

    /// The address of a host.
    ///
    /// # Panics
    ///
    /// When there is no such host.
    #[must_use]
    pub fn addr(&self, name: &str) -> Ipv4Addr {
        let at = self.names.iter().position(|known| known == name).expect("a host of this name");
        Ipv4Addr::new(10, 77, 0, u8::try_from(at + 1).expect("a few hosts"))
    }

    /// Takes the cable of a host out, or puts it in again: "down" or "up".
    ///
    /// # Panics
    ///
    /// When the host has none.
    pub fn set(&self, name: &str, end: End, state: &str) {
        let command = match end {
            End::Switch => format!("-n {} link set port-{name} {state}", self.space("hub")),
            End::Node => format!("-n {} link set eth0 {state}", self.space(name)),
        };
        ip(&command).expect("what could be made can be changed");
    }
}

impl Drop for Lan {
    fn drop(&mut self) {
        for name in self.names.iter().map(String::as_str).chain(["hub"]) {
            // A namespace that was not made yet is no fault.
            let _ = ip(&format!("netns del {}", self.space(name)));
        }
    }
}

fn ip(command: &str) -> Result<(), String> {
    let done = Command::new("ip").args(command.split(' ')).output().map_err(|error| format!("`ip`: {error}"))?;
    check(done.status.success(), || format!("`ip {command}`: {}", String::from_utf8_lossy(&done.stderr)))
}
