//! Faults, drawn from a seed.

use rand::Rng as _;
use rand::rngs::StdRng;
use rand::seq::SliceRandom as _;

use crate::clock::Ms;
use crate::network::{Block, How, Network, Traffic};

/// The first fault of an episode comes after so long; another one later, so that they often meet.
const STARTS_MS: std::ops::Range<Ms> = 200..4_000;

/// One fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// kill -9.
    Kill { node: usize, down: Ms },
    /// SIGSTOP, and later SIGCONT.
    Freeze { node: usize, long: Ms },
    /// SIGTERM.
    Stop { node: usize, down: Ms },
    /// The cable, at the switch. The visitors do not reach the node either.
    Unplug { node: usize, long: Ms },
    /// Something about packets between these hosts.
    Packets { blocks: Vec<Block>, what: String, long: Ms, splits: bool },
    /// Connections are closed, and for a moment each packet of one is answered with a reset.
    Reset { node: usize, long: Ms },
    /// What the node sends is slow.
    Slow { node: usize, long: Ms },
}

/// A fault with its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) at: Ms,
    pub(crate) fault: Fault,
}

impl std::fmt::Display for Planned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "after {} ms: ", self.at)?;
        let name = |node: &usize| Network::name(*node);
        match &self.fault {
            Fault::Kill { node, down } => write!(f, "kill -9 {}, started again after {down} ms", name(node)),
            Fault::Freeze { node, long } => write!(f, "freeze {} for {long} ms", name(node)),
            Fault::Stop { node, down } => write!(f, "SIGTERM {}, started again {down} ms after its end", name(node)),
            Fault::Unplug { node, long } => write!(f, "cable of {} out for {long} ms", name(node)),
            Fault::Packets { what, long, .. } => write!(f, "{what} for {long} ms"),
            Fault::Reset { node, long } => write!(f, "connections of {} reset, for {long} ms", name(node)),
            Fault::Slow { node, long } => write!(f, "what {} sends is slow for {long} ms", name(node)),
        }
    }
}

/// Draws the faults of one episode. No more than so many different nodes crash, stops that hand over not counted.
pub(crate) fn draw(random: &mut StdRng, nodes: usize, crashes_max: usize) -> Vec<Planned> {
    let count = [1, 1, 1, 2, 2, 3, 4][random.random_range(0..7)];
    let mut order: Vec<usize> = (0..nodes).collect();
    order.shuffle(random);
    let may_crash = &order[..crashes_max.min(nodes)];
    let mut faults = Vec::new();
    for _ in 0..count {
        let at = random.random_range(STARTS_MS);
        let node = random.random_range(0..nodes);
        let fault = match random.random_range(0..12) {
            0 | 1 if !may_crash.is_empty() => {
                let node = may_crash[random.random_range(0..may_crash.len())];
                Fault::Kill { node, down: random.random_range(50..5_000) }
            }
            0..=2 => Fault::Freeze { node, long: duration(random, 100, 10_000) },
            3 => Fault::Stop { node, down: random.random_range(0..2_000) },
            4 => Fault::Unplug { node, long: duration(random, 100, 8_000) },
            5 => Fault::Reset { node, long: random.random_range(1..500) },
            6 => Fault::Slow { node, long: duration(random, 200, 5_000) },
            _ => packets(random, nodes, node),
        };
        faults.push(Planned { at, fault });
    }
    faults.sort_by_key(|planned| planned.at);
    faults
}

/// Short ones are as likely as long ones.
fn duration(random: &mut StdRng, from: Ms, to: Ms) -> Ms {
    let ratio = to / from;
    let doublings = random.random_range(0..=ratio.ilog2());
    (from << doublings).min(to) * random.random_range(50..=100) / 100
}

fn packets(random: &mut StdRng, nodes: usize, node: usize) -> Fault {
    let name = Network::name(node);
    let others: Vec<usize> = (0..nodes).filter(|other| *other != node).collect();
    let long = duration(random, 100, 10_000);
    let whole = |traffic| both_ways(&[node], &others, traffic, How::Silent);
    let (blocks, what, splits) = match random.random_range(0..7) {
        0 => {
            // With the visitors.
            let all: Vec<usize> = (0..=nodes).filter(|other| *other != node).collect();
            let blocks = both_ways(&[node], &all, Traffic::All, How::Silent);
            (blocks, format!("{name} is cut off from all, also from visitors,"), true)
        }
        1 => (whole(Traffic::All), format!("{name} is cut off from the other nodes"), true),
        2 => {
            let other = others[random.random_range(0..others.len())];
            let block = Block { from: node, to: other, traffic: Traffic::All, how: How::Silent };
            (vec![block], format!("nothing of {name} reaches {}", Network::name(other)), true)
        }
        3 => {
            let mut hosts: Vec<usize> = (0..nodes).collect();
            hosts.shuffle(random);
            let (one, other) = hosts.split_at(nodes.div_ceil(2));
            let blocks = both_ways(one, other, Traffic::All, How::Silent);
            let names = |side: &[usize]| side.iter().map(|node| Network::name(*node)).collect::<String>();
            (blocks, format!("{} and {} are kept apart", names(one), names(other)), true)
        }
        4 => (whole(Traffic::Udp), format!("{name} sends and gets no datagrams"), true),
        5 => (whole(Traffic::Tcp), format!("{name} sends and gets nothing but datagrams"), true),
        _ => {
            let percent = random.random_range(5..40);
            let udp = random.random_bool(0.5);
            let traffic = if udp { Traffic::Udp } else { Traffic::All };
            let all: Vec<usize> = (0..nodes).collect();
            let blocks = both_ways(&all, &all, traffic, How::Lossy(percent));
            let lost = if udp { "datagrams" } else { "all packets between nodes" };
            (blocks, format!("{percent} % of {lost} are lost"), !udp)
        }
    };
    Fault::Packets { blocks, what, long, splits }
}

/// Blocks in both directions between two groups of hosts.
pub(crate) fn both_ways(one: &[usize], other: &[usize], traffic: Traffic, how: How) -> Vec<Block> {
    let pairs = one.iter().flat_map(|from| other.iter().map(move |to| (*from, *to)));
    let ways = pairs.flat_map(|(from, to)| [(from, to), (to, from)]).filter(|(from, to)| from != to);
    ways.map(|(from, to)| Block { from, to, traffic, how }).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn a_seed_decides_the_faults() {
        let draw = |seed| draw(&mut StdRng::seed_from_u64(seed), 3, 1);
        assert_eq!(draw(1), draw(1));
        assert!((0..20).any(|seed| draw(seed) != draw(1)));
    }

    #[test]
    fn no_more_nodes_are_killed_than_may_be() {
        let mut kills = 0;
        for seed in 0..2_000 {
            let mut random = StdRng::seed_from_u64(seed);
            let faults = draw(&mut random, 5, 1);
            let killed = faults.iter().filter_map(|planned| match planned.fault {
                Fault::Kill { node, .. } => Some(node),
                _ => None,
            });
            let killed: BTreeSet<usize> = killed.collect();
            assert!(killed.len() <= 1, "{faults:?}");
            kills += killed.len();
        }
        assert!(kills > 300, "{kills}");
    }

    #[test]
    fn both_sides_of_a_cut_hear_nothing() {
        let blocks = both_ways(&[0], &[1, 2], Traffic::All, How::Silent);
        let ways: BTreeSet<_> = blocks.iter().map(|block| (block.from, block.to)).collect();
        assert_eq!(ways, BTreeSet::from([(0, 1), (1, 0), (0, 2), (2, 0)]));
    }
}
