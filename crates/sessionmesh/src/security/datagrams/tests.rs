use super::*;
use crate::security::secret::Secret;

fn ring(secrets: &[&Secret], cluster: &str) -> KeyRing {
    let secrets: Vec<Secret> = secrets.iter().copied().cloned().collect();
    KeyRing::new(&secrets, cluster).unwrap()
}

fn at(number: u8) -> SocketAddr {
    ([10, 0, 0, number], 7700).into()
}

/// Nodes on one network, that deliver at once.
struct Net {
    nodes: BTreeMap<SocketAddr, SealedDatagrams>,
    /// All datagrams ever sent: from, to, bytes.
    recorded: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
    /// What arrived: at, payload.
    arrived: Vec<(SocketAddr, Vec<u8>)>,
    refused: Vec<Refusal>,
    now: Instant,
}

impl Net {
    fn new(nodes: &[(u8, KeyRing)]) -> Self {
        let now = Instant::now();
        let nodes = nodes.iter().map(|(number, ring)| (at(*number), SealedDatagrams::new(ring.clone(), now))).collect();
        Self { nodes, recorded: Vec::new(), arrived: Vec::new(), refused: Vec::new(), now }
    }

    fn send(&mut self, from: u8, to: u8, payload: &[u8]) {
        let now = self.now;
        let datagrams = self.node(from).seal(payload, at(to), now);
        datagrams.iter().for_each(|datagram| self.deliver(at(from), at(to), datagram));
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        self.recorded.push((from, to, datagram.to_vec()));
        let now = self.now;
        let Some(node) = self.nodes.get_mut(&to) else { return };
        match node.open(datagram, from, now) {
            Ok(opened) => {
                self.refused.extend(opened.refused);
                self.arrived.extend(opened.payload.map(|payload| (to, payload)));
                opened.send.iter().for_each(|(datagram, next)| self.deliver(to, *next, datagram));
            }
            Err(refusal) => self.refused.push(refusal),
        }
    }

    /// A new life at the address of another one.
    fn restart(&mut self, number: u8, ring: KeyRing) {
        self.nodes.insert(at(number), SealedDatagrams::new(ring, self.now));
    }

    fn node(&mut self, number: u8) -> &mut SealedDatagrams {
        self.nodes.get_mut(&at(number)).unwrap()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
    }

    fn take(&mut self) -> Vec<(SocketAddr, Vec<u8>)> {
        std::mem::take(&mut self.arrived)
    }
}

fn three(secret: &Secret) -> Net {
    let ring = ring(&[secret], "shop");
    Net::new(&[(1, ring.clone()), (2, ring.clone()), (3, ring)])
}

#[test]
fn the_first_payload_arrives_after_one_greeting_and_the_next_ones_at_once() {
    let mut net = three(&Secret::generate());
    net.send(1, 2, b"one");
    assert_eq!(net.take(), [(at(2), b"one".to_vec())]);
    assert_eq!(net.recorded.len(), 3, "greeting, answer, payload");
    net.send(2, 1, b"two");
    net.send(1, 2, b"three");
    assert_eq!(net.take(), [(at(1), b"two".to_vec()), (at(2), b"three".to_vec())]);
    assert_eq!(net.recorded.len(), 5);
    assert!(net.refused.is_empty() && net.node(1).is_known(at(2)) && !net.node(1).is_known(at(3)));
}

#[test]
fn whatever_is_sent_again_reaches_nobody() {
    let mut net = three(&Secret::generate());
    for round in 0..5_u8 {
        for (from, to) in [(1, 2), (2, 1), (2, 3), (3, 1)] {
            net.send(from, to, &[round]);
        }
    }
    assert_eq!(net.take().len(), 20);
    let (recorded, before) = (net.recorded.clone(), net.recorded.len());
    // To everybody, from the true sender's address and from another one, now and long afterwards.
    for pause in [0, 1, 600, 1_200, 2_400, 100_000] {
        net.pass(Duration::from_secs(pause));
        for (from, _, datagram) in &recorded {
            for to in [1, 2, 3] {
                for from in [*from, at(9)] {
                    net.deliver(from, at(to), datagram);
                }
            }
        }
    }
    // A life that begins later has no memory of them.
    let ring = net.node(1).ring.clone();
    net.restart(3, ring);
    for (from, _, datagram) in recorded {
        net.deliver(from, at(3), &datagram);
    }
    assert_eq!(net.take(), []);
    assert!(net.refused.iter().all(|refusal| *refusal == Refusal::Replayed));
    assert!(net.recorded.len() > before && !net.node(1).is_known(at(9)), "what asks is answered, and no more");
}

#[test]
fn no_answer_is_longer_than_what_it_answers_and_their_number_has_a_bound() {
    let mut net = three(&Secret::generate());
    net.send(1, 2, &[7; 1_000]);
    let recorded = net.recorded.clone();
    for (from, to, datagram) in recorded {
        let now = net.now;
        let answers = net.nodes.get_mut(&to).unwrap().open(&datagram, from, now).unwrap_or_default().send;
        assert!(answers.iter().map(|(answer, _)| answer.len()).sum::<usize>() <= datagram.len());
    }
    let (from, to, greeting) = net.recorded[0].clone();
    let now = net.now;
    let answered = |node: &mut SealedDatagrams| !node.open(&greeting, from, now).unwrap().send.is_empty();
    let node = net.nodes.get_mut(&to).unwrap();
    let answers = (0..10_000).filter(|_| answered(node)).count();
    assert!(answers <= ANSWERS_PER_SECOND as usize, "{answers}");
}

#[test]
fn a_life_that_takes_the_place_of_another_one_is_heard_and_hears_soon() {
    let secret = Secret::generate();
    let mut net = three(&secret);
    net.send(1, 2, b"before");
    net.send(2, 1, b"before");
    net.take();
    net.restart(2, ring(&[&secret], "shop"));
    net.send(1, 2, b"lost: it was for the former life");
    assert_eq!(net.take(), []);
    net.send(1, 2, b"after");
    net.send(2, 1, b"after");
    assert_eq!(net.take(), [(at(2), b"after".to_vec()), (at(1), b"after".to_vec())]);
}

#[test]
fn tokens_change_and_nobody_falls_silent() {
    let mut net = three(&Secret::generate());
    for round in 0..1_000_u32 {
        net.pass(Duration::from_secs(5));
        net.send(1, 2, &round.to_le_bytes());
        net.send(2, 1, &round.to_le_bytes());
        assert_eq!(net.take().len(), 2, "round {round}");
    }
    // Both were silent for a day.
    net.pass(Duration::from_secs(86_400));
    for _ in 0..3 {
        net.pass(Duration::from_millis(200));
        net.send(1, 2, b"after a day");
        net.send(2, 1, b"after a day");
    }
    assert!(net.take().len() >= 4);
}

#[test]
fn who_has_any_one_key_of_the_ring_hears_and_is_heard_at_every_step_of_a_rotation() {
    let [old, new] = [Secret::generate(), Secret::generate()];
    let rings = [vec![&old], vec![&old, &new], vec![&new, &old], vec![&new]];
    for one in &rings {
        for other in &rings {
            let mut net = Net::new(&[(1, ring(one, "shop")), (2, ring(other, "shop"))]);
            let share = one.iter().any(|secret| other.contains(secret));
            for _ in 0..3 {
                net.send(1, 2, b"from 1");
                net.send(2, 1, b"from 2");
                net.pass(Duration::from_millis(200));
            }
            let arrived = net.take();
            let heard = |number, payload: &[u8]| arrived.contains(&(at(number), payload.to_vec()));
            assert_eq!((heard(2, b"from 1"), heard(1, b"from 2")), (share, share));
            if !share {
                assert!(net.refused.iter().all(|refusal| *refusal == Refusal::UnknownSecret));
            }
        }
    }
}

#[test]
fn the_keys_change_under_a_conversation() {
    let [old, new] = [Secret::generate(), Secret::generate()];
    let mut net = Net::new(&[(1, ring(&[&old], "shop")), (2, ring(&[&old], "shop"))]);
    let all_heard = |net: &mut Net| {
        for _ in 0..2 {
            net.pass(Duration::from_millis(200));
            net.send(1, 2, b"ping");
            net.send(2, 1, b"pong");
        }
        assert!(net.take().len() >= 3);
    };
    all_heard(&mut net);
    for secrets in [vec![&old, &new], vec![&new, &old], vec![&new]] {
        for number in [1, 2] {
            let now = net.now;
            net.node(number).replace_keys(ring(&secrets, "shop"), now);
            all_heard(&mut net);
        }
    }
}

#[test]
fn a_secret_that_is_taken_out_and_put_back_lets_nothing_in_that_was_recorded_before() {
    let [old, new] = [Secret::generate(), Secret::generate()];
    let mut net = Net::new(&[(1, ring(&[&old], "shop")), (2, ring(&[&old], "shop"))]);
    net.send(1, 2, b"once");
    assert_eq!(net.take(), [(at(2), b"once".to_vec())]);
    let recorded = net.recorded.clone();
    for secret in [&new, &old] {
        let now = net.now;
        net.node(2).replace_keys(ring(&[secret], "shop"), now);
    }
    for (from, to, datagram) in recorded.iter().filter(|(_, to, _)| *to == at(2)) {
        net.deliver(*from, *to, datagram);
    }
    assert_eq!(net.take(), []);
    // The two of them find each other again.
    net.send(1, 2, b"lost, or held back");
    net.pass(GREETING_PAUSE);
    net.send(1, 2, b"and heard");
    assert!(net.take().contains(&(at(2), b"and heard".to_vec())));
}

#[test]
fn strangers_and_other_clusters_are_refused_and_leave_nothing() {
    let [secret, others] = [Secret::generate(), Secret::generate()];
    let mut net =
        Net::new(&[(1, ring(&[&secret], "shop")), (2, ring(&[&others], "shop")), (3, ring(&[&secret], "desk"))]);
    net.send(2, 1, b"another secret");
    net.send(3, 1, b"the same secret, another cluster");
    assert_eq!(std::mem::take(&mut net.refused), [Refusal::UnknownSecret; 2]);
    // Somebody who knows the name of the key, and forges the rest.
    net.send(1, 2, b"");
    let mut forged = net.recorded.last().unwrap().2.clone();
    forged[30..].fill(7);
    forged[12] ^= 1;
    for length in [0, 3, 4, 40, 80, 81, 82, 600] {
        let mut datagram = forged.clone();
        datagram.resize(length, 0);
        let now = net.now;
        let refused = net.node(1).open(&datagram, at(9), now).unwrap_err();
        let expected = if length < ADDED_BYTES { Refusal::PlainDatagram } else { Refusal::Forged };
        assert_eq!(refused, expected, "{length}");
    }
    for foreign in [&b"SMp1 plain"[..], b"TRIBES-B\x01\x00", b"SMB1"] {
        let now = net.now;
        assert_eq!(net.node(1).open(foreign, at(9), now), Err(Refusal::PlainDatagram));
    }
    let node = net.node(1);
    assert!(node.lives.is_empty() && !node.addresses.contains_key(&at(9)));
}

/// So a later version may have more kinds, and say more in a greeting.
#[test]
fn what_only_a_later_version_knows_is_skipped_and_is_no_forgery() {
    let secret = Secret::generate();
    let mut net = three(&secret);
    let now = net.now;
    net.send(1, 2, b"hello");
    let token = net.node(2).tokens.0;
    let key = net.node(1).ring.keys()[0].id;
    let later = net.node(1).packet(key, Kind::Later, token, b"from a later version".to_vec());
    assert_eq!(net.node(2).open(&later, at(1), now), Ok(Opened::default()));
    assert_eq!(net.node(2).open_beacon(&later, now), Ok(None));
    let greeting = [address_bytes(at(2)), b"and more".to_vec()].concat();
    let greeting = net.node(1).packet(key, Kind::Greeting, 0, greeting);
    let answer = net.node(2).open(&greeting, at(1), now).expect("it is understood").send.remove(0).0;
    assert_eq!(answer.len(), greeting.len());
    assert_eq!(net.node(1).open(&answer, at(2), now), Ok(Opened::default()));
    assert_eq!(greeted_address(&[address_bytes(at(2)), b"and more".to_vec()].concat()), Some(at(2)));
}

#[test]
fn a_beacon_is_heard_by_the_cluster_alone_and_is_no_proof_that_its_sender_lives() {
    let [secret, others] = [Secret::generate(), Secret::generate()];
    let mut net =
        Net::new(&[(1, ring(&[&secret], "shop")), (2, ring(&[&secret], "shop")), (3, ring(&[&others], "shop"))]);
    let now = net.now;
    let beacon = net.node(1).seal_beacon(b"here I am", now);
    assert_eq!(net.node(1).open_beacon(&beacon, now), Ok(None), "its own");
    let (payload, key) = net.node(2).open_beacon(&beacon, now).unwrap().unwrap();
    assert_eq!(payload, b"here I am");
    assert_eq!(net.node(3).open_beacon(&beacon, now), Err(Refusal::UnknownSecret));
    net.node(2).prefer(key, at(1), now);
    assert!(!net.node(2).is_known(at(1)));
    assert_eq!(net.node(2).open(&beacon, at(1), now), Err(Refusal::Replayed), "it is no gossip");
    net.send(2, 1, b"hello");
    let gossip = net.recorded.last().unwrap().2.clone();
    assert_eq!(net.node(1).open_beacon(&gossip, now), Err(Refusal::Replayed), "and gossip is no beacon");
}

#[test]
fn what_lives_in_a_crash_loop_leave_is_bounded_and_lets_nothing_old_in() {
    let secret = Secret::generate();
    let mut net = three(&secret);
    net.send(1, 2, b"early");
    let early = net.recorded.clone();
    for _ in 0..3 * LIVES_MAX {
        net.pass(Duration::from_millis(50));
        net.restart(3, ring(&[&secret], "shop"));
        net.send(3, 2, b"again");
    }
    net.take();
    assert!(net.node(2).lives.len() <= LIVES_MAX);
    for (from, to, datagram) in early {
        net.deliver(from, to, &datagram);
    }
    assert_eq!(net.take(), []);
    // And whoever lives is still heard.
    for _ in 0..2 {
        net.send(1, 2, b"late");
        net.send(3, 2, b"late");
        net.pass(Duration::from_millis(200));
    }
    assert!(net.take().len() >= 2);
}
