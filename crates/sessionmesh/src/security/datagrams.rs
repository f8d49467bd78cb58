//! Datagrams under the cluster secret: what was sent by a member to this node, now, and nothing else.
//!
//! Sealing alone would let through a recorded datagram that is sent again, to this node or to another one: it could tell of a
//! member that has died since. So each life of a node draws *tokens*, and takes only what is meant for one that it had in the
//! last minutes, each number of each sender once. A sender that does not know the token of an address *greets* it first; the
//! answer is as long as the greeting. No clock is needed, and a life that begins later takes nothing from before.

#[cfg(any(fuzzing, sessionmesh_simulation))]
pub(crate) mod fuzzing;
mod packet;
mod window;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::time::Instant;

pub(crate) use self::packet::{ADDED_BYTES, is_sealed};
use self::packet::{Inner, Kind, Life, LifeKey, Outer, Token};
use self::window::Window;
use super::Refusal;
use super::key_ring::{KeyId, KeyRing};

/// For so long a token is given out. After that it counts until the next one is replaced.
const TOKEN_AGE: Duration = Duration::from_secs(600);
/// No token counts for longer, however seldom datagrams come: so long a life is remembered after it was heard last.
const TOKEN_COUNTS: Duration = Duration::from_secs(4 * TOKEN_AGE.as_secs());
/// Who was not heard for so long is greeted again: another life may have its address now.
const QUIET: Duration = Duration::from_secs(2);
/// Between two greetings of one address.
const GREETING_PAUSE: Duration = Duration::from_millis(100);
/// Lives that are known at a time. Beyond that the one that was heard last longest ago is forgotten, with all tokens.
const LIVES_MAX: usize = 1_024;
/// Addresses that are known or greeted at a time; the oldest go first.
const ADDRESSES_MAX: usize = 4_096;
/// The largest payload that waits for the answer to a greeting, in bytes. Larger ones are lost, and said again.
const HELD_BYTES_MAX: usize = 1_200;
/// Answers a second to those who know no token; greetings that somebody recorded could ask for more.
const ANSWERS_PER_SECOND: u32 = 1_000;

/// What is to be done after a datagram came.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Opened {
    /// What a member sent to this node.
    pub(crate) payload: Option<Vec<u8>>,
    /// Datagrams to send, and where to.
    pub(crate) send: Vec<(Vec<u8>, SocketAddr)>,
    /// Why nothing of what it says counts, although it is answered.
    pub(crate) refused: Option<Refusal>,
}

/// All that one life of a node knows of sealed datagrams.
#[derive(Debug)]
pub(crate) struct SealedDatagrams {
    ring: KeyRing,
    random: SystemRandom,
    life: Life,
    number: u64,
    /// Keys of this life, by the key of the ring that they follow from.
    own_keys: BTreeMap<KeyId, LifeKey>,
    /// The token that this life gives out, and the one before; and since when.
    tokens: (Token, Token),
    drawn: Instant,
    lives: BTreeMap<Life, Other>,
    addresses: BTreeMap<SocketAddr, Address>,
    answers: (Instant, u32),
}

/// Another life that has sent something for a token of this one.
#[derive(Debug)]
struct Other {
    key_id: KeyId,
    key: LifeKey,
    window: Window,
    token: Token,
    heard: Instant,
}

/// An address that something was sent to, or came from.
#[derive(Debug)]
struct Address {
    /// Who is there.
    life: Option<Life>,
    /// The key that whoever is there used last, even if that was long ago.
    hint: Option<KeyId>,
    greeted: Option<Instant>,
    /// Greetings without an answer.
    attempts: usize,
    /// What is to be sent when the answer comes.
    held: Option<Vec<u8>>,
    used: Instant,
}

impl SealedDatagrams {
    /// Of a life that begins now.
    pub(crate) fn new(ring: KeyRing, now: Instant) -> Self {
        let random = SystemRandom::new();
        let mut this = Self {
            ring,
            life: draw(&random),
            number: 0,
            own_keys: BTreeMap::new(),
            tokens: (0, 0),
            drawn: now,
            lives: BTreeMap::new(),
            addresses: BTreeMap::new(),
            answers: (now, 0),
            random,
        };
        this.draw_tokens(now);
        this
    }

    /// Uses these keys from now on. What relied on others is forgotten, and with it which numbers have arrived: no token counts
    /// any more, or a secret that is taken out and put back would let recorded datagrams in again.
    pub(crate) fn replace_keys(&mut self, ring: KeyRing, now: Instant) {
        self.own_keys.retain(|id, _| ring.get(*id).is_some());
        let known = self.lives.len();
        self.lives.retain(|_, other| ring.get(other.key_id).is_some());
        if self.lives.len() < known {
            self.draw_tokens(now);
        }
        self.ring = ring;
    }

    /// The datagrams that carry `payload` to this address. If it is not known who is there, the first one asks, and the
    /// payload follows when the answer comes.
    pub(crate) fn seal(&mut self, payload: &[u8], to: SocketAddr, now: Instant) -> Vec<Vec<u8>> {
        self.keep_house(now);
        let known = self.known(to).map(|other| (other.key_id, other.token, other.heard));
        let mut datagrams = Vec::new();
        let mut quiet = true;
        if let Some((key, token, heard)) = known {
            quiet = now.duration_since(heard) >= QUIET;
            datagrams.push(self.packet(key, Kind::Payload, token, payload.to_vec()));
        }
        if quiet {
            datagrams.extend(self.greet(to, known.is_none().then_some(payload), now));
        }
        datagrams
    }

    /// What goes to a multicast group for `payload`.
    pub(crate) fn seal_beacon(&mut self, payload: &[u8], now: Instant) -> Vec<u8> {
        self.keep_house(now);
        let first = self.ring.keys()[0].id;
        self.packet(first, Kind::Beacon, 0, payload.to_vec())
    }

    /// What a datagram of the multicast group says, and the key that its sender uses. It is true that a member said so, but
    /// not when: it may be an old one that somebody sends again. `None` for one of this node's own.
    pub(crate) fn open_beacon(&mut self, datagram: &[u8], now: Instant) -> Result<Option<(Vec<u8>, KeyId)>, Refusal> {
        self.keep_house(now);
        let Some((outer, inner, _)) = self.opened(datagram)? else { return Ok(None) };
        match inner.kind {
            Kind::Beacon => Ok(Some((inner.payload, outer.key))),
            Kind::Later => Ok(None),
            Kind::Payload | Kind::Greeting | Kind::Answer => Err(Refusal::Replayed),
        }
    }

    /// Greets this address first by this key, if it has to be greeted.
    pub(crate) fn prefer(&mut self, key: KeyId, at: SocketAddr, now: Instant) {
        self.address(at, now).hint = Some(key);
    }

    /// Opens what came from this address.
    pub(crate) fn open(&mut self, datagram: &[u8], from: SocketAddr, now: Instant) -> Result<Opened, Refusal> {
        self.keep_house(now);
        let Some((outer, inner, new_key)) = self.opened(datagram)? else { return Ok(Opened::default()) };
        match inner.kind {
            Kind::Beacon => return Err(Refusal::Replayed),
            Kind::Later => return Ok(Opened::default()),
            Kind::Payload | Kind::Greeting | Kind::Answer => {}
        }
        if inner.kind == Kind::Greeting {
            let send = self.answer(&outer, &inner, from, now).into_iter().collect();
            return Ok(Opened { send, ..Opened::default() });
        }
        if ![self.tokens.0, self.tokens.1].contains(&inner.receiver) {
            // The sender knows another life at this address: it hears of this one.
            let answer = (inner.kind == Kind::Payload).then(|| self.answer(&outer, &inner, from, now)).flatten();
            let refused = Some(Refusal::Replayed);
            return answer.map(|answer| Opened { payload: None, send: vec![answer], refused }).ok_or(Refusal::Replayed);
        }
        if !self.note(&outer, &inner, new_key, now) {
            return Err(Refusal::Replayed);
        }
        let mut opened = Opened::default();
        let greeted = match inner.kind {
            Kind::Answer => greeted_address(&inner.payload),
            _ => None,
        };
        for at in
            [Some(from), greeted.filter(|at| *at != from && self.addresses.contains_key(at))].into_iter().flatten()
        {
            let address = self.address(at, now);
            (address.life, address.hint, address.attempts) = (Some(outer.life), Some(outer.key), 0);
            if let Some(held) = address.held.take() {
                let datagram = self.packet(outer.key, Kind::Payload, inner.sender, held);
                opened.send.push((datagram, at));
            }
        }
        opened.payload = (inner.kind == Kind::Payload).then_some(inner.payload);
        Ok(opened)
    }

    /// Whether a member with whom tokens were exchanged is at this address.
    pub(crate) fn is_known(&self, at: SocketAddr) -> bool {
        self.known(at).is_some()
    }

    fn known(&self, at: SocketAddr) -> Option<&Other> {
        self.lives.get(&self.addresses.get(&at)?.life?)
    }

    /// What is in a datagram that some member sealed; with its key, if its life is not known. `None` if it was this life.
    fn opened(&self, datagram: &[u8]) -> Result<Option<(Outer, Inner, Option<LifeKey>)>, Refusal> {
        let outer = packet::outer(datagram).ok_or(Refusal::PlainDatagram)?;
        let key = self.ring.get(outer.key).ok_or(Refusal::UnknownSecret)?;
        if outer.life == self.life {
            return Ok(None);
        }
        if let Some(known) = self.lives.get(&outer.life).filter(|known| known.key_id == outer.key) {
            return known.key.open(datagram).map(|inner| Some((outer, inner, None))).ok_or(Refusal::Forged);
        }
        let key = LifeKey::new(key, &outer.life);
        key.open(datagram).map(|inner| Some((outer, inner, Some(key)))).ok_or(Refusal::Forged)
    }

    /// Notes what was meant for this life. Says whether it came for the first time.
    fn note(&mut self, outer: &Outer, inner: &Inner, new_key: Option<LifeKey>, now: Instant) -> bool {
        if let Some(key) = new_key {
            if let Some(other) = self.lives.get_mut(&outer.life) {
                // It uses another key of the ring now; its numbers go on.
                (other.key_id, other.key) = (outer.key, key);
            } else {
                self.make_room(now);
                let (window, token) = (Window::new(), inner.sender);
                self.lives.insert(outer.life, Other { key_id: outer.key, key, window, token, heard: now });
            }
        }
        let Some(other) = self.lives.get_mut(&outer.life) else { return false };
        if !other.window.note(inner.number) {
            return false;
        }
        (other.token, other.heard) = (inner.sender, now);
        true
    }

    /// The answer to whoever does not know a token of this life, unless many were given just now. It is not longer than what
    /// it answers.
    fn answer(&mut self, outer: &Outer, inner: &Inner, to: SocketAddr, now: Instant) -> Option<(Vec<u8>, SocketAddr)> {
        if now.duration_since(self.answers.0) >= Duration::from_secs(1) {
            self.answers = (now, 0);
        }
        self.answers.1 += 1;
        if self.answers.1 > ANSWERS_PER_SECOND {
            return None;
        }
        let echo = if inner.kind == Kind::Greeting { inner.payload.clone() } else { Vec::new() };
        Some((self.packet(outer.key, Kind::Answer, inner.sender, echo), to))
    }

    fn greet(&mut self, to: SocketAddr, held: Option<&[u8]>, now: Instant) -> Option<Vec<u8>> {
        let keys: Vec<KeyId> = self.ring.keys().iter().map(|key| key.id).collect();
        let address = self.address(to, now);
        if let Some(payload) = held.filter(|payload| payload.len() <= HELD_BYTES_MAX) {
            address.held = Some(payload.to_vec());
        }
        if address.greeted.is_some_and(|at| now.duration_since(at) < GREETING_PAUSE) {
            return None;
        }
        // Whoever is there may have any one key of the ring.
        let first = address.hint.and_then(|hint| keys.iter().position(|key| *key == hint)).unwrap_or(0);
        let key = keys[(first + address.attempts) % keys.len()];
        address.greeted = Some(now);
        address.attempts += 1;
        Some(self.packet(key, Kind::Greeting, 0, address_bytes(to)))
    }

    fn address(&mut self, at: SocketAddr, now: Instant) -> &mut Address {
        if self.addresses.len() >= ADDRESSES_MAX && !self.addresses.contains_key(&at) {
            let oldest = self.addresses.iter().min_by_key(|(_, address)| address.used).map(|(at, _)| *at);
            if let Some(oldest) = oldest {
                self.addresses.remove(&oldest);
            }
        }
        let new = Address { life: None, hint: None, greeted: None, attempts: 0, held: None, used: now };
        let address = self.addresses.entry(at).or_insert(new);
        address.used = now;
        address
    }

    fn packet(&mut self, key: KeyId, kind: Kind, receiver: Token, payload: Vec<u8>) -> Vec<u8> {
        self.number += 1;
        let (life, ring) = (self.life, &self.ring);
        let own = self
            .own_keys
            .entry(key)
            .or_insert_with(|| LifeKey::new(ring.get(key).expect("only keys of the ring are used"), &life));
        // Drawn for each one, and not counted: a copy of this process's memory must not seal with the same nonce.
        let nonce = draw(&self.random);
        let inner = Inner { number: self.number, kind, sender: self.tokens.0, receiver, payload };
        own.seal(Outer { key, life }, nonce, &inner)
    }

    /// Draws a new token when it is time to, and forgets lives whose datagrams are all for tokens that count no more.
    fn keep_house(&mut self, now: Instant) {
        let age = now.duration_since(self.drawn);
        if age < TOKEN_AGE {
            return;
        }
        let before = self.tokens.0;
        self.draw_tokens(now);
        if age < TOKEN_AGE * 2 {
            self.tokens.1 = before;
        }
        self.lives.retain(|_, other| now.duration_since(other.heard) < TOKEN_COUNTS);
    }

    fn draw_tokens(&mut self, now: Instant) {
        let token = || Token::from_le_bytes(draw(&self.random));
        self.tokens = (token(), token());
        self.drawn = now;
    }

    /// Forgets the life that was heard last longest ago, if there are too many. Nothing may be left that would let its old
    /// datagrams in again, so no token counts any more; the others ask for the new one.
    fn make_room(&mut self, now: Instant) {
        if self.lives.len() < LIVES_MAX {
            return;
        }
        let oldest = self.lives.iter().min_by_key(|(_, other)| other.heard).map(|(life, _)| *life);
        if let Some(oldest) = oldest {
            self.lives.remove(&oldest);
        }
        self.draw_tokens(now);
    }
}

fn draw<const N: usize>(random: &SystemRandom) -> [u8; N] {
    let mut bytes = [0; N];
    random.fill(&mut bytes).expect("the operating system has randomness");
    bytes
}

/// Where a greeting goes to: its answer may come from another address of that host.
fn address_bytes(at: SocketAddr) -> Vec<u8> {
    let mut bytes = match at.ip() {
        std::net::IpAddr::V4(ip) => ip.to_ipv6_mapped().octets().to_vec(),
        std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes.extend_from_slice(&at.port().to_le_bytes());
    bytes
}

fn greeted_address(bytes: &[u8]) -> Option<SocketAddr> {
    // What a later version adds is skipped; an answer to it repeats it.
    let (ip, rest) = bytes.split_first_chunk::<16>()?;
    let port = u16::from_le_bytes(*rest.first_chunk()?);
    Some(SocketAddr::new(std::net::Ipv6Addr::from(*ip).to_canonical(), port))
}

#[cfg(test)]
mod tests;
