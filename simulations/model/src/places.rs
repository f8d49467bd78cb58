//! Views and owners, by the rules of `sessionmesh-core`: computed once for each view that there can be.

use std::cell::RefCell;
use std::collections::HashMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, LazyLock};

use sessionmesh_core::id::{NodeHash, Slot};
use sessionmesh_core::liveness::timing::Timing;
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::Placement;
use sessionmesh_core::placement::slots::Slots;
use sessionmesh_core::placement::view::{Member, MemberState, View as RealView, ViewHash};
use sessionmesh_core::terms::{Mode, Terms};

use crate::cluster::{NAMES, NODES, View, life_of, state_of};

/// Lives that a name can have.
pub(crate) const LIVES: u8 = 2;
/// The times of the default settings.
pub(crate) const TIMING: Timing = Timing::new(500);
/// The present. The model has no clock; what has run out has done so before.
pub(crate) const NOW: Moment = Moment::START.plus_ms(10_000_000);
/// The default: a primary and one backup.
pub(crate) const BACKUPS: u8 = 1;

const ENTRIES: usize = 3 * LIVES as usize + 1;

struct Place {
    hash: ViewHash,
    placements: [Option<Placement>; NODES],
}

static PLACES: LazyLock<Vec<Place>> = LazyLock::new(|| (0..ENTRIES.pow(3)).map(|at| place(view_at(at))).collect());

fn view_at(at: usize) -> View {
    [at, at / ENTRIES, at / ENTRIES / ENTRIES].map(|at| u8::try_from(at % ENTRIES).expect("there are few"))
}

fn index(view: View) -> usize {
    view.iter().rev().fold(0, |at, entry| at * ENTRIES + usize::from(*entry))
}

/// The member that an entry stands for.
#[must_use]
pub(crate) fn member(node: usize, entry: u8) -> Member {
    let state = [MemberState::Joining, MemberState::Ready, MemberState::Leaving][usize::from(state_of(entry))];
    Member {
        name: NAMES[node].into(),
        incarnation: u64::from(life_of(entry)),
        addr: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
        zone: "".into(),
        state,
        terms: Terms { mode: Mode::PrimaryBackup { backups: BACKUPS }, commit_deadline_ms: 500, ..Terms::NONE },
    }
}

fn place(view: View) -> Place {
    let members = (0..NODES).filter(|node| view[*node] != 0).map(|node| member(node, view[node]));
    let real = RealView::new(members);
    let slots = Arc::new(Slots::new(&real, real.in_force().mode));
    let placement =
        |node: usize| (view[node] != 0).then(|| Placement::new(1, real.clone(), slots.clone(), NAMES[node]));
    Place { hash: real.hash(), placements: std::array::from_fn(placement) }
}

/// The hash of a view.
#[must_use]
pub(crate) fn hash_of(view: View) -> ViewHash {
    PLACES[index(view)].hash
}

/// The placement of a node under a view in which it is, without earlier ones.
///
/// # Panics
///
/// When it is not in the view.
#[must_use]
pub(crate) fn plain(node: usize, view: View) -> &'static Placement {
    PLACES[index(view)].placements[node].as_ref().expect("a node is in its own view")
}

/// A node, its view, and the views that this one replaced.
type Replaced = (usize, View, [View; 2]);

thread_local! {
    static PLACED: RefCell<HashMap<Replaced, Arc<Placement>>> = RefCell::default();
}

/// The placement of a node under a view that replaced these earlier ones.
#[must_use]
pub(crate) fn placed(node: usize, view: View, earlier: [View; 2]) -> Arc<Placement> {
    PLACED.with_borrow_mut(|placed| {
        let replacing = || {
            let views = earlier.into_iter().chain([view]).filter(|view| *view != [0; NODES]);
            let mut placements = views.map(|view| plain(node, view).clone());
            let first = placements.next().expect("the last one is there");
            Arc::new(placements.fold(first, |before, after| after.replacing(&before, &TIMING, NOW)))
        };
        placed.entry((node, view, earlier)).or_insert_with(replacing).clone()
    })
}

/// The hash of one life of a node.
#[must_use]
pub(crate) fn node_hash(node: usize, life: u8) -> NodeHash {
    static HASHES: LazyLock<[[NodeHash; LIVES as usize]; NODES]> = LazyLock::new(|| {
        std::array::from_fn(|node| std::array::from_fn(|life| NodeHash::of(NAMES[node], life as u64 + 1)))
    });
    HASHES[node][usize::from(life) - 1]
}

/// Which life of which node it is.
///
/// # Panics
///
/// When it is none of the model's.
#[must_use]
pub(crate) fn who(hash: NodeHash) -> (usize, u8) {
    let all = (0..NODES).flat_map(|node| (1..=LIVES).map(move |life| (node, life)));
    all.into_iter().find(|(node, life)| node_hash(*node, *life) == hash).expect("it is one of the model's")
}

/// A slot for which the three nodes rank in this order.
///
/// # Panics
///
/// When there is none, which of 4,096 is not so.
#[must_use]
pub(crate) fn slot_ranked(order: [usize; NODES]) -> Slot {
    let full = plain(0, [2; NODES]);
    let ranks = |slot: &Slot| full.slots.ranking(&full.view, *slot).iter().map(|at| usize::from(*at)).eq(order);
    Slot::all().find(ranks).expect("each order is that of some slot")
}
