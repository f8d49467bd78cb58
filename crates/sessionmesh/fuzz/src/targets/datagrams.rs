//! Sealed datagrams between two members of a cluster, in the hands of somebody who holds, doubles, changes and redirects them.

use std::net::SocketAddr;
use std::sync::LazyLock;
use std::time::Duration;

use sessionmesh::Secret;
use sessionmesh::fuzzing::{Forged, Keys, SealedNode};

use crate::script::Script;
use crate::{Outcome, Target};

/// The exchange: what a node takes was sent to it by a member, and it takes it once; nobody without a key gets or says anything;
/// who has sent nothing sends no more than it was sent. The input says what happens.
pub const TARGET: Target = Target { name: "datagrams", check, seeds };

/// Datagrams that are held.
const HELD_MAX: usize = 64;
const STEPS_MAX: usize = 200;

/// The keys of a node at each step of a rotation, and those of another cluster. Nobody has recorded anything under them.
static KEYS: LazyLock<[Keys; 5]> = LazyLock::new(|| {
    let [old, new] = [Secret::generate(), Secret::generate()];
    let of = |secrets: &[&Secret], cluster| {
        let secrets: Vec<Secret> = secrets.iter().copied().cloned().collect();
        Keys::new(&secrets, cluster).expect("there is a secret")
    };
    let steps = [&[&old][..], &[&old, &new], &[&new, &old], &[&new]];
    let [a, b, c, d] = steps.map(|secrets| of(secrets, "shop"));
    [a, b, c, d, of(&[&old], "another shop")]
});

const fn index(of: u8) -> usize {
    (of % 2) as usize
}

fn addr(of: usize) -> SocketAddr {
    ([10, 0, 0, [1, 2, 3][of]], 7700).into()
}

/// A datagram on its way.
#[derive(Clone)]
struct Held {
    bytes: Vec<u8>,
    from: usize,
    to: usize,
}

struct World {
    members: [SealedNode; 2],
    outsider: SealedNode,
    held: Vec<Held>,
    /// Payloads by their receiver that have not arrived.
    sent: [Vec<Vec<u8>>; 2],
    /// Whether a member has ever sent something of its own accord.
    has_spoken: [bool; 2],
    arrived: usize,
    number: u64,
}

fn check(bytes: &[u8]) -> Outcome {
    let [first, .., of_others] = &*KEYS;
    let mut world = World {
        members: [SealedNode::new(first), SealedNode::new(first)],
        outsider: SealedNode::new(of_others),
        held: Vec::new(),
        sent: [Vec::new(), Vec::new()],
        has_spoken: [false; 2],
        arrived: 0,
        number: 0,
    };
    let mut script = Script::new(bytes);
    for _ in 0..STEPS_MAX {
        if world.step(&mut script).is_none() {
            break;
        }
    }
    for member in &world.members {
        let (lives, addresses) = member.remembers();
        assert!(lives <= 1 + STEPS_MAX && addresses <= 3, "nobody else was heard");
    }
    Outcome::of(world.arrived > 0)
}

impl World {
    fn step(&mut self, script: &mut Script<'_>) -> Option<()> {
        match script.byte()? % 10 {
            0 | 1 => self.send(index(script.byte()?), script.byte()?),
            2..=4 => {
                let held = self.pick(script)?;
                self.deliver(&held);
            }
            5 => {
                let (held, at, bit) = (self.pick(script)?, script.number()?, script.byte()?);
                let mut bytes = held.bytes.clone();
                let at = usize::from(at) % bytes.len();
                bytes[at] ^= 1 << (bit % 8);
                self.refuses(held.to, &bytes, held.from);
                bytes.truncate(at);
                self.refuses(held.to, &bytes, held.from);
            }
            6 => {
                let (to, length) = (index(script.byte()?), script.byte()?);
                self.refuses(to, script.bytes(length.into()), 2);
            }
            7 => {
                let waits = Duration::from_millis(u64::from(script.number()?) * 20);
                self.members.iter_mut().for_each(|member| member.wait(waits));
            }
            8 => {
                let (of, step) = (index(script.byte()?), script.byte()?);
                self.members[of].replace_keys(&KEYS[usize::from(step % 4)]);
            }
            _ => self.tell_others(script)?,
        }
        Some(())
    }

    fn pick(&self, script: &mut Script<'_>) -> Option<Held> {
        let at = usize::from(script.byte()?) % self.held.len().max(1);
        self.held.get(at).cloned()
    }

    fn hold(&mut self, bytes: Vec<u8>, from: usize, to: SocketAddr) {
        let to = (0..2).find(|of| addr(*of) == to);
        if let Some(to) = to.filter(|_| self.held.len() < HELD_MAX) {
            self.held.push(Held { bytes, from, to });
        }
    }

    fn send(&mut self, from: usize, length: u8) {
        let to = 1 - from;
        self.number += 1;
        let mut payload = self.number.to_le_bytes().to_vec();
        payload.resize(8 + usize::from(length), length);
        for datagram in self.members[from].seal(&payload, addr(to)) {
            self.hold(datagram, from, addr(to));
        }
        self.sent[to].push(payload);
        self.has_spoken[from] = true;
    }

    fn deliver(&mut self, held: &Held) {
        let Some((payload, send)) = self.members[held.to].open(&held.bytes, addr(held.from)) else { return };
        if let Some(payload) = payload {
            let expected = self.sent[held.to].iter().position(|sent| *sent == payload);
            self.sent[held.to].swap_remove(expected.expect("it was sent to this node, and has not arrived before"));
            self.arrived += 1;
        }
        let answer: usize = send.iter().map(|(bytes, _)| bytes.len()).sum();
        assert!(self.has_spoken[held.to] || answer <= held.bytes.len(), "the answer is longer than what it answers");
        for (bytes, to) in send {
            self.hold(bytes, held.to, to);
        }
    }

    /// Nothing comes of these bytes.
    fn refuses(&mut self, at: usize, bytes: &[u8], from: usize) {
        assert!(
            self.members[at].open(bytes, addr(from)).is_none_or(|(payload, send)| payload.is_none() && send.is_empty())
        );
        assert_eq!(self.members[at].open_beacon(bytes), None);
    }

    /// What those hear who are not meant: the sender, the other member, and who knows the secret of another cluster. And what a
    /// beacon says, and what a member in bad faith does.
    fn tell_others(&mut self, script: &mut Script<'_>) -> Option<()> {
        let kind = script.byte()?;
        match kind % 3 {
            0 => {
                let held = self.pick(script)?;
                assert_eq!(self.outsider.open(&held.bytes, addr(held.from)), None);
                let opened = self.members[held.from].open(&held.bytes, addr(held.to));
                assert!(opened.is_none_or(|(payload, send)| payload.is_none() && send.is_empty()), "it is its own");
            }
            1 => {
                let (from, said) = (index(script.byte()?), [kind, 1]);
                let beacon = self.members[from].seal_beacon(&said);
                let heard = self.members[1 - from].open_beacon(&beacon);
                assert!(heard.is_none_or(|heard| heard == said));
                assert_eq!((self.members[from].open_beacon(&beacon), self.outsider.open_beacon(&beacon)), (None, None));
                assert_eq!(self.members[1 - from].open(&beacon, addr(from)), None, "a beacon is bound to nobody");
            }
            _ => {
                let to = index(script.byte()?);
                let (life, number, kind) = ([script.byte()?; 16], script.byte()?.into(), script.byte()?);
                let receiver = if script.byte()? % 2 == 0 { self.members[to].token() } else { 1 };
                let length = script.byte()?;
                let payload = script.bytes((length % 64).into()).to_vec();
                let forged = Forged { life, number, kind, sender: 9, receiver, payload: payload.clone() };
                let bytes = forged.seal(&KEYS[0]);
                // It is a member, so it is heard; but once.
                let first = self.members[to].open(&bytes, addr(2)).and_then(|(payload, _)| payload);
                let again = self.members[to].open(&bytes, addr(2)).and_then(|(payload, _)| payload);
                assert!(first.is_none_or(|heard| kind % 4 == 0 && heard == payload) && again.is_none());
            }
        }
        Some(())
    }
}

fn seeds() -> Vec<Vec<u8>> {
    vec![
        // One asks who is there, hears it, and what it wanted to say arrives; then the other one answers.
        vec![0, 0, 5, 2, 0, 2, 1, 2, 2, 0, 1, 9, 2, 3, 2, 4, 2, 5],
        // The same, with copies: each of them comes once more, to the wrong node, changed, and much later.
        vec![
            0, 0, 5, 2, 0, 2, 1, 2, 2, 2, 2, 9, 0, 2, 5, 2, 70, 0, 3, 7, 0xff, 0xff, 2, 2, 7, 0xff, 0xff, 0, 0, 1, 2, 2,
        ],
        // A rotation of the secret, with something sent at each step.
        vec![
            0, 0, 5, 2, 0, 2, 1, 2, 2, 8, 0, 1, 8, 1, 1, 0, 0, 1, 2, 3, 8, 0, 2, 0, 0, 1, 2, 4, 8, 1, 3, 0, 1, 1, 2, 5,
        ],
        // Beacons; a member in bad faith; and bytes of anybody.
        vec![
            9, 1, 0, 9, 1, 1, 0, 0, 5, 2, 0, 2, 1, 2, 2, 9, 2, 0, 7, 1, 0, 0, 3, 1, 2, 3, 6, 0, 4, b'S', b'M', b's',
            b'1',
        ],
    ]
}
