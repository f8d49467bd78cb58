//! What of the product a run uses: drawn apart, so that all else of a seed stays as it is.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};

use super::{pick, swarm};
use crate::scenario::product::{Extra, Product};
use crate::scenario::{Ack, Discovery, Episode, Event, Fault, Kind, Mode, Scenario};

/// The shortest time that the library allows.
const RETENTION_MS: u64 = 60_000;
/// A value may be larger than those of the visitors by so many bytes.
const ROOM_BYTES: u32 = 64;

pub(super) fn with_product(mut scenario: Scenario) -> Scenario {
    let rng = &mut StdRng::seed_from_u64(scenario.seed ^ 0x0a11_0f17);
    let users = if rng.random_bool(0.25) { rng.random_range(1..=3) } else { 0 };
    let of_users = |weight: u32| if users > 0 { weight } else { 0 };
    let mut product = Product {
        users,
        sessions_per_user: of_users(if rng.random_bool(0.4) { rng.random_range(1..=4) } else { 0 }),
        own_limits: scenario.has_idle_limit() && rng.random_bool(0.4),
        zones: if rng.random_bool(0.2) { rng.random_range(2..=3) } else { 0 },
        rotation: scenario.secret && rng.random_bool(0.3),
        moved_ports: scenario.discovery == Discovery::Multicast && rng.random_bool(0.3),
        retention_ms: 0,
        max_sessions: if rng.random_bool(0.08) { rng.random_range(3..20) } else { 0 },
        max_value_bytes: if rng.random_bool(0.15) { scenario.load.value_bytes + ROOM_BYTES } else { 0 },
        hang_ups: if rng.random_bool(0.2) { pick(rng, &[10, 30, 100]) } else { 0 },
        records: if !scenario.has_idle_limit() && rng.random_bool(0.25) { 50 } else { 0 },
        share: pick(rng, &[10, 20, 40]),
        mix: Extra {
            list: of_users(6),
            end_all: of_users(swarm(rng, 0.6, 1)),
            end_others: of_users(swarm(rng, 0.6, 1)),
            touch: swarm(rng, 0.2, 3),
            rewrite: swarm(rng, 0.2, 4),
            held: swarm(rng, 0.15, 4),
            late_renew: if scenario.load.mix.renew > 0 { swarm(rng, 0.4, 2) } else { 0 },
            too_large: 0,
            move_home: swarm(rng, 0.2, 3),
        },
    };
    product.mix.too_large = if product.max_value_bytes > 0 { 3 } else { 0 };
    if product.mix.sum() == 0 {
        product.share = 0;
    }
    scenario.product = product;
    two_copies(&mut scenario, rng);
    if rng.random_bool(1.0 / 40.0) && (3..=5).contains(&scenario.nodes) && !scenario.product.own_limits {
        forget_ends(&mut scenario, rng);
    }
    scenario
}

/// Commits wait for two copies, if there are so many.
fn two_copies(scenario: &mut Scenario, rng: &mut StdRng) {
    let allowed = |mode: &Mode| !matches!(mode, Mode::PrimaryBackup(..2));
    let possible = [Some(scenario.mode), scenario.later_mode].iter().flatten().all(allowed);
    if rng.random_bool(0.5) && possible && scenario.ack == Ack::Copies(1) {
        scenario.ack = Ack::Copies(2);
    }
}

/// A node is cut off for longer than the others remember what has ended.
fn forget_ends(scenario: &mut Scenario, rng: &mut StdRng) {
    let lonely = rng.random_range(0..scenario.nodes);
    let cut_ms = rng.random_range(1_000..3_000);
    let others = (0..scenario.nodes).filter(|other| *other != lonely);
    let mut events: Vec<_> = others.map(|other| Event { at_ms: cut_ms, fault: Fault::Cut(lonely, other) }).collect();
    let healed_ms = cut_ms + RETENTION_MS + rng.random_range(4_000..7_000);
    events.push(Event { at_ms: healed_ms, fault: Fault::Heal });
    scenario.kind = Kind::Partition;
    scenario.late = 0;
    scenario.product.retention_ms = RETENTION_MS;
    // Ends are remembered for three times the idle limit at least.
    scenario.product.records = 0;
    scenario.idle_ms = rng.random_range(8_000..RETENTION_MS / 4);
    scenario.tick_ms = scenario.tick_ms.max(8);
    scenario.load.think_ms = (1, 1_000);
    scenario.episodes = vec![Episode { length_ms: healed_ms + rng.random_range(1_000..4_000), events }];
}
