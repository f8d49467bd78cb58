//! What a join costs each node of a cluster of 1,000: with the library's pure parts, without the nodes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::StdRng;
use sessionmesh_core::id::{NodeHash, SLOTS, SessionId, Slot};
use sessionmesh_core::moment::Moment;
use sessionmesh_core::placement::Placement;
use sessionmesh_core::placement::handoff::{Handoff, Plan};
use sessionmesh_core::placement::slots::Slots;
use sessionmesh_core::placement::view::{Member, MemberState, View};
use sessionmesh_core::replication::outbox::{Lane, Outbox};
use sessionmesh_core::session::{IdleLimit, Record, Session};
use sessionmesh_core::stamp::Stamp;
use sessionmesh_core::terms::{Mode, Terms};

use crate::report::{Chapter, Figures, Table};
use crate::run_args::RunArgs;

const MODES: [(&str, Mode); 2] =
    [("primary-backup", Mode::PrimaryBackup { backups: 1 }), ("all-to-all", Mode::AllToAll)];
/// Members before the join, for which placement is computed.
const MEMBERS: [u16; 3] = [10, 100, 1_000];
/// Sessions that the node holds when another one joins.
const SESSIONS: usize = 100_000;
/// The library's store is so many maps.
const STRIPES: usize = 64;

/// A view and its owners.
struct Placed {
    view: View,
    slots: Arc<Slots>,
}

/// What a node does on hearing of the newcomer.
struct Walk {
    plan: Duration,
    mark: Duration,
    take: Duration,
    marked: usize,
}

/// Measures each figure once in each round.
pub(super) fn measure(args: &RunArgs, figures: &mut Figures) {
    for round in 1..=args.rounds(args.pick(3, 1)) {
        for (name, mode) in MODES {
            for members in MEMBERS {
                let name = format!("growth/slots/{name}/{members}");
                figures.add(format!("{name}/time"), "ms", ms(slots_time(members, mode)));
                figures.add(format!("{name}/bytes"), "B", slots_bytes(members, mode));
            }
            let before = Placed::new(view(MEMBERS[2], 0), mode);
            let joined = view(MEMBERS[2], 1);
            let (slots, time) = timed(|| Slots::new(black_box(&joined), mode));
            let after = Placed { view: joined, slots: slots.into() };
            let moved = |changed: fn(&[u16], &[u16]) -> bool| {
                let slots = Slot::all().filter(|&slot| changed(before.slots.owners(slot), after.slots.owners(slot)));
                slots.count() as f64 / SLOTS as f64 * 100.0
            };
            let name = format!("growth/join/{name}");
            figures.add(format!("{name}/slots-new"), "ms", ms(time));
            figures.add(format!("{name}/primaries-changed"), "%", moved(|old, new| old[0] != new[0]));
            figures.add(format!("{name}/owners-changed"), "%", moved(gained));
            let walk = walk(&before, &after, round.into());
            figures.add(format!("{name}/plan"), "ms", ms(walk.plan));
            figures.add(format!("{name}/mark"), "ms", ms(walk.mark));
            figures.add(format!("{name}/take"), "ms", ms(walk.take));
            figures.add(format!("{name}/marked"), "marks", walk.marked as f64);
        }
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Whether a slot has an owner that it did not have. The newcomer's index is the last, so the others keep theirs.
fn gained(old: &[u16], new: &[u16]) -> bool {
    new.len() > old.len() || new.iter().any(|owner| !old.contains(owner))
}

/// `members` that are ready, and after them, by name, those that join.
fn view(members: u16, joining: u16) -> View {
    View::new((0..members + joining).map(|number| Member {
        name: format!("node-{number:05}").into(),
        incarnation: 1,
        addr: (Ipv4Addr::LOCALHOST, number).into(),
        zone: Arc::from(""),
        state: if number < members { MemberState::Ready } else { MemberState::Joining },
        terms: Terms::NONE,
    }))
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let began = Instant::now();
    let done = work();
    (done, began.elapsed())
}

fn slots_time(members: u16, mode: Mode) -> Duration {
    let view = view(members, 0);
    timed(|| Slots::new(black_box(&view), mode)).1
}

/// Bytes that the table keeps.
fn slots_bytes(members: u16, mode: Mode) -> f64 {
    let view = view(members, 0);
    let mut slots = None;
    let counted = allocation_counter::measure(|| slots = Some(Slots::new(&view, mode)));
    black_box(slots);
    counted.bytes_current as f64
}

impl Placed {
    fn new(view: View, mode: Mode) -> Self {
        let slots = Slots::new(&view, mode).into();
        Self { view, slots }
    }

    /// As `me` sees it.
    fn seen_by(&self, me: u16) -> Placement {
        Placement::new(1, self.view.clone(), self.slots.clone(), &self.view.members()[usize::from(me)].name)
    }
}

/// The plans of `me`, which knows all members but the newcomer.
fn plans(before: &Placed, after: &Placed, me: u16) -> (Vec<Plan>, Duration) {
    let known: BTreeSet<NodeHash> = before.view.members().iter().map(Member::node).collect();
    let (before, after) = (before.seen_by(me), after.seen_by(me));
    timed(|| {
        let handoff = Handoff::new(&before, &after, &known);
        Slot::all().map(|slot| handoff.plan(slot)).collect()
    })
}

/// The member with the most slots to tell of: those that it loses, and those that nobody loses and of which it is the first.
fn busiest(before: &Placed, after: &Placed) -> u16 {
    let mut told = BTreeMap::<u16, usize>::new();
    for slot in Slot::all() {
        let (old, new) = (before.slots.owners(slot), after.slots.owners(slot));
        if !gained(old, new) {
            continue;
        }
        // Nobody is displaced where there is room for one more.
        let lost = old.iter().filter(|owner| new.len() == old.len() && !new.contains(owner));
        // What one that is displaced sends, no other one does.
        if let Some(&member) = lost.chain(new.iter().filter(|owner| old.contains(owner))).next() {
            *told.entry(member).or_default() += 1;
        }
    }
    told.into_iter().max_by_key(|(_, slots)| *slots).map_or(0, |(member, _)| member)
}

/// The store of `me`: its sessions lie in its own slots, evenly.
fn store(before: &Placed, me: u16, seed: u64) -> Vec<HashMap<SessionId, Record>> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mine: Vec<Slot> = Slot::all().filter(|&slot| before.slots.owners(slot).contains(&me)).collect();
    let record = Record::new(Session::new(1, IdleLimit { stamp: Stamp::ZERO, ms: 1 }), Moment::START);
    let mut stripes = vec![HashMap::new(); STRIPES];
    for (slot, stripe) in mine.iter().cycle().zip((0..STRIPES).cycle()).take(SESSIONS) {
        stripes[stripe].insert(SessionId::mint(&mut rng, *slot), record.clone());
    }
    stripes
}

fn walk(before: &Placed, after: &Placed, seed: u64) -> Walk {
    let me = busiest(before, after);
    let store = store(before, me, seed);
    let (plans, plan) = plans(before, after, me);
    let planned = Instant::now();
    let mut outboxes = BTreeMap::<NodeHash, Outbox>::new();
    for stripe in &store {
        let concerned = |id: &&SessionId| !plans[id.slot().index()].is_empty();
        let found: Vec<SessionId> = stripe.keys().filter(concerned).copied().collect();
        for id in found {
            for &(peer, from) in &plans[id.slot().index()] {
                outboxes.entry(peer).or_default().mark(id, from, Lane::Bulk, true);
            }
        }
    }
    let walked = Instant::now();
    let mut marked = 0;
    for outbox in outboxes.values_mut() {
        while let Some((id, _, _, owed)) = outbox.take() {
            black_box(id);
            outbox.write_off(owed);
            marked += 1;
        }
    }
    Walk { plan, mark: walked - planned, take: walked.elapsed(), marked }
}

/// Adds the tables.
pub(super) fn tell(figures: &Figures, chapter: &mut Chapter) {
    let cell = |name: &str, digits: usize| {
        figures.get(name).map_or_else(String::new, |figure| {
            let [median, lowest, highest] = [figure.median(), figure.minimum(), figure.maximum()];
            format!("{median:.digits$} ({lowest:.digits$} to {highest:.digits$})")
        })
    };
    let head = ["placement", "members", "Slots::new, ms", "table, KiB"];
    let mut slots = Table::new("Placement, computed once for each view:", &head);
    for (mode, _) in MODES {
        for members in MEMBERS {
            let name = format!("growth/slots/{mode}/{members}");
            let kib = figures.median(&format!("{name}/bytes")).unwrap_or_default() / 1024.0;
            let time = cell(&format!("{name}/time"), 2);
            slots.rows.push(vec![mode.to_owned(), members.to_string(), time, format!("{kib:.0}")]);
        }
    }
    let head = [
        "placement",
        "Slots::new, ms",
        "primaries changed, %",
        "slots with a new owner, %",
        "plan, ms",
        "walk and mark, ms",
        "take, ms",
        "marks",
    ];
    let title = "Node 1,001 joins, as the node sees it that has most to send, with 100,000 sessions; simulated with the \
                 library's parts, without network and encoding:";
    let mut join = Table::new(title, &head);
    for (mode, _) in MODES {
        let name = format!("growth/join/{mode}");
        let share = |what: &str| format!("{:.2}", figures.median(&format!("{name}/{what}")).unwrap_or_default());
        let slots = cell(&format!("{name}/slots-new"), 1);
        let mut row = vec![mode.to_owned(), slots, share("primaries-changed"), share("owners-changed")];
        row.extend(["plan", "mark", "take"].map(|what| cell(&format!("{name}/{what}"), 1)));
        row.push(format!("{:.0}", figures.median(&format!("{name}/marked")).unwrap_or_default()));
        join.rows.push(row);
    }
    chapter.tables.extend([slots, join]);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The stores of all members together get the newcomer all that it must have.
    #[test]
    fn somebody_sends_the_newcomer_each_of_its_slots_whole_and_nobody_any_other() {
        for (_, mode) in MODES {
            let before = Placed::new(view(5, 0), mode);
            let after = Placed::new(view(5, 1), mode);
            let newcomer = after.view.members()[5].node();
            let plans: Vec<Vec<Plan>> = (0..5).map(|me| plans(&before, &after, me).0).collect();
            for slot in Slot::all() {
                let owners = before.slots.owners(slot).iter().map(|me| &plans[usize::from(*me)][slot.index()]);
                let told: Vec<NodeHash> =
                    owners.flatten().filter(|mark| mark.1 == Stamp::ZERO).map(|(peer, _)| *peer).collect();
                assert_eq!(!told.is_empty(), after.slots.owners(slot).contains(&5), "{slot}");
                assert!(told.iter().all(|peer| *peer == newcomer), "{slot}: {told:?}");
            }
        }
    }

    #[test]
    fn the_busiest_member_marks_what_it_loses() {
        let mode = Mode::PrimaryBackup { backups: 1 };
        let (before, after) = (Placed::new(view(5, 0), mode), Placed::new(view(5, 1), mode));
        let me = busiest(&before, &after);
        let held: usize = store(&before, me, 1).iter().map(HashMap::len).sum();
        assert_eq!(held, SESSIONS);
        let marked = walk(&before, &after, 1).marked;
        assert!((SESSIONS / 10..2 * SESSIONS).contains(&marked), "{marked}");
    }
}
