//! The nodes of one cluster, each on a runtime of its own with several threads.
//!
//! One thread, the driver, owns this: it starts and ends nodes, asks them, and looks at them. A look is not one moment, as in a
//! simulation: see [`Cluster::look`] for what is made of that.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sessionmesh::{Event, Events, Failure, Member, MemberState, Mesh, SessionId};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::Instant;

use super::logs::thread_name;
use super::setup::Setup;
use super::wire::Wire;
use crate::clients::{self, Service};
use crate::cluster::Departure;
use crate::cluster::look::holders;
use crate::cluster::settled::{unready, unsettled};
use crate::oracle::world::{Look, Ready};
use crate::oracle::{ObservedEvent, Others, Reply, Request, UsersHeld};

/// How long a planned stop may take.
const LEAVE: Duration = Duration::from_secs(5);
/// A node that is killed has ended within this: no step of its tasks takes longer.
const KILL: Duration = Duration::from_secs(10);
/// The heart of a node beats so often.
const BEAT: Duration = Duration::from_millis(10);
/// A node of which no beat came for so long did not run. So nobody takes it for gone who is not told here.
const STALLED_MS: u64 = 100;

/// What is known of a node from outside.
#[derive(Default)]
struct Node {
    name: String,
    life: Option<Life>,
    lives: u32,
    down: bool,
    ready: bool,
    since_ms: u64,
    /// The view as it was when it was looked at last.
    view: Vec<(u64, MemberState)>,
}

/// One life of a node. What it is dropped with ends first.
struct Life {
    runtime: Runtime,
    starting: Option<oneshot::Receiver<Result<Mesh, String>>>,
    leaving: Option<oneshot::Receiver<Departure>>,
    mesh: Option<Mesh>,
    events: Option<Events>,
    heart: Arc<Heart>,
}

/// When the heart of a node beat last, and the longest pause between two beats since it was looked at.
struct Heart {
    beat_ms: AtomicU64,
    pause_ms: AtomicU64,
}

/// An answer on its way: where it comes, and to whom it goes.
type Answer = (oneshot::Receiver<Option<Reply>>, oneshot::Sender<Option<Reply>>);

/// All nodes.
pub(super) struct Cluster {
    setup: Setup,
    wire: Wire,
    nodes: Vec<Node>,
    answers: std::cell::RefCell<Vec<Answer>>,
    clock: Instant,
    now_ms: u64,
    /// The driver did not run before this step.
    overslept: bool,
    /// When something was last seen that is not as it should be: a change of a view, a suspicion, a node that did not run.
    unrest_ms: u64,
    observed: Vec<ObservedEvent>,
}

impl Cluster {
    pub(super) fn new(setup: Setup, clock: Instant) -> Self {
        let nodes =
            (0..setup.scenario.nodes).map(|node| Node { name: format!("n{node}"), down: true, ..Node::default() });
        Self {
            wire: Wire::default(),
            nodes: nodes.collect(),
            setup,
            answers: std::cell::RefCell::default(),
            clock,
            now_ms: 0,
            overslept: false,
            unrest_ms: 0,
            observed: Vec::new(),
        }
    }

    pub(super) fn start(&mut self, node: usize) {
        if !self.nodes[node].down {
            return;
        }
        let state = &mut self.nodes[node];
        (state.down, state.ready, state.since_ms) = (false, false, self.now_ms);
        state.lives += 1;
        let runtime = Builder::new_multi_thread()
            .worker_threads(self.setup.threads)
            .thread_name(thread_name(self.setup.number, node))
            .enable_all()
            .build()
            .expect("threads can be started");
        let (started, starting) = oneshot::channel();
        let builder = self.setup.builder(node, &self.wire);
        runtime.spawn(async move {
            let _ = started.send(builder.start().await.map_err(|error| error.to_string()));
        });
        let heart = Arc::new(Heart { beat_ms: AtomicU64::new(self.now_ms), pause_ms: AtomicU64::new(0) });
        let (beating, clock) = (heart.clone(), self.clock);
        runtime.spawn(async move {
            loop {
                let now_ms = millis(clock);
                let before_ms = beating.beat_ms.swap(now_ms, Ordering::Relaxed);
                beating.pause_ms.fetch_max(now_ms.saturating_sub(before_ms), Ordering::Relaxed);
                tokio::time::sleep(BEAT).await;
            }
        });
        let life = Life { runtime, starting: Some(starting), leaving: None, mesh: None, events: None, heart };
        self.nodes[node].life = Some(life);
    }

    /// Ends a node in the midst of whatever it does. Says whether it was up.
    pub(super) fn kill(&mut self, node: usize) -> bool {
        let Some(life) = self.nodes[node].life.take() else { return false };
        // All tasks have ended when this returns, and with them all connections; then what was held is dropped.
        life.runtime.shutdown_timeout(KILL);
        drop((life.mesh, life.events));
        self.nodes[node].down = true;
        self.advance();
        true
    }

    pub(super) fn leave(&mut self, node: usize) -> bool {
        let Some(life) = &mut self.nodes[node].life else { return false };
        let Some(mesh) = life.mesh.clone().filter(|_| life.leaving.is_none()) else { return false };
        let (left, leaving) = oneshot::channel();
        life.runtime.spawn(async move {
            let ended_well = mesh.leave(LEAVE).await.is_ok();
            let stays = |member: &Member| member.state != MemberState::Leaving;
            let stayed = mesh.members().into_iter().filter(stays).count();
            let _ = left.send(Departure { node, handed_over: ended_well && stayed > 0, stayed });
        });
        life.leaving = Some(leaving);
        true
    }

    /// Time goes on, and what has come is taken: nodes that have started or left, and answers. Answers that come later are for
    /// the next step, so that whatever they say, the cluster is looked at afterwards.
    ///
    /// # Errors
    ///
    /// A node could not start, or stopped by itself.
    pub(super) fn step(&mut self) -> Result<Vec<Departure>, String> {
        self.overslept = self.has_overslept();
        self.advance();
        let mut left = Vec::new();
        for node in &mut self.nodes {
            let Some(life) = &mut node.life else { continue };
            if let Some(Ok(started)) = life.starting.as_mut().map(oneshot::Receiver::try_recv) {
                let mesh = started.map_err(|error| format!("{} could not start: {error}", node.name))?;
                (life.events, life.mesh, life.starting) = (Some(mesh.events()), Some(mesh), None);
            }
            if let Some(Ok(departure)) = life.leaving.as_mut().map(oneshot::Receiver::try_recv) {
                left.push(departure);
            } else if let Some(failure) = life.mesh.as_ref().and_then(Mesh::failure)
                && !matches!(failure, Failure::Replaced { .. })
            {
                return Err(format!("{} stopped: {failure}", node.name));
            }
        }
        for departure in &left {
            self.kill(departure.node);
        }
        for (mut answer, asker) in self.answers.take() {
            match answer.try_recv() {
                Ok(reply) => drop(asker.send(reply)),
                Err(TryRecvError::Closed) => drop(asker),
                Err(TryRecvError::Empty) => self.answers.borrow_mut().push((answer, asker)),
            }
        }
        Ok(left)
    }

    /// Nodes that gave way to another life of their name: whoever supervises processes starts them again.
    pub(super) fn gave_way(&self) -> Vec<usize> {
        let failed = |node: &Node| node.life.as_ref().and_then(|life| life.mesh.as_ref()?.failure()).is_some();
        (0..self.nodes.len()).filter(|node| failed(&self.nodes[*node])).collect()
    }

    pub(super) fn is_down(&self, node: usize) -> bool {
        self.nodes[node].down
    }

    /// When the last step was.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Whether something may be the fault of a machine that is too busy: a node, or this thread, did not run.
    pub(super) fn is_stalled(&self) -> bool {
        self.has_overslept() || !self.stalled(false).is_empty()
    }

    /// Whether nothing was seen to change from `since_ms` on, and all nodes ran.
    pub(super) fn is_steady_from(&self, since_ms: u64) -> bool {
        self.unrest_ms < since_ms
    }

    /// What was told since the last call.
    pub(super) fn observed(&mut self) -> Vec<ObservedEvent> {
        std::mem::take(&mut self.observed)
    }

    /// How the cluster looks now.
    ///
    /// The nodes go on while it is looked at, so what is seen may be over, and what is over may not have been seen. Therefore
    /// each change of a view and each suspicion counts that was told meanwhile; whoever suspects a node that is up counts as
    /// apart from it; and that copies are complete is not concluded under load.
    pub(super) fn look(&mut self, ids: impl Fn() -> BTreeSet<SessionId>) -> Look {
        let stalled = self.stalled(true);
        let (changed, accused) = self.listen();
        let suspected: Vec<String> = self.meshes().flat_map(|(_, _, mesh)| mesh.suspected()).collect();
        let is_up = |name: &String| self.nodes.iter().any(|node| node.name == *name && !node.down);
        let split = !stalled.is_empty() || accused.iter().chain(&suspected).any(is_up) || self.has_loner();
        let unready = self.unready();
        let calm = unready.is_none() && !changed && accused.is_empty() && stalled.is_empty();
        if !calm || !suspected.is_empty() {
            self.unrest_ms = self.now_ms;
        }
        Look {
            calm,
            suspects: !suspected.is_empty() || !accused.is_empty(),
            split,
            slow: false,
            frozen: stalled,
            neighbours: (0..self.nodes.len()).map(|node| if split { [node].into() } else { BTreeSet::new() }).collect(),
            up: self.meshes().map(|(at, lives, _)| (at, lives)).collect(),
            repaired: false,
            ready: self.newly_ready(ids),
        }
    }

    /// Why not every node that is up is ready and sees exactly the nodes that are up.
    pub(super) fn unready(&self) -> Option<String> {
        let serves = |life: &Life| life.mesh.is_some() && life.leaving.is_none();
        let up = self.nodes.iter().filter(|node| !node.down);
        unready(up.map(|node| {
            let life = node.life.as_ref().filter(|life| serves(life));
            (node.name.as_str(), life.and_then(|life| life.mesh.as_ref()))
        }))
    }

    /// Why the cluster has not settled.
    pub(super) fn unsettled(&self, ids: &BTreeSet<SessionId>) -> Option<String> {
        let meshes = self.meshes().map(|(at, _, mesh)| (self.nodes[at].name.as_str(), mesh)).collect();
        self.unready().or_else(|| unsettled(&meshes, ids))
    }

    /// Asks each node that serves for `what`.
    pub(super) fn ask_all<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &self,
        what: impl Fn(Mesh) -> F,
    ) -> Vec<(usize, u32, oneshot::Receiver<T>)> {
        let ask = |node: usize| {
            let life = self.nodes[node].life.as_ref()?;
            let (reply, answer) = oneshot::channel();
            let work = what(life.mesh.clone()?);
            life.runtime.spawn(async move { reply.send(work.await) });
            Some((node, self.nodes[node].lives, answer))
        };
        self.serving().into_iter().filter_map(ask).collect()
    }

    /// The figures of all nodes, for the report of a failure.
    pub(super) fn figures(&self) -> String {
        self.meshes().map(|(at, _, mesh)| format!("\n  n{at}: {:?}", mesh.stats())).collect()
    }

    /// All nodes end at once.
    pub(super) fn end(mut self) {
        for node in 0..self.nodes.len() {
            self.kill(node);
        }
    }

    fn advance(&mut self) {
        // Each step has a time of its own: what was answered in one step came before what is asked in the next one.
        let now_ms = millis(self.clock).max(self.now_ms + 1);
        self.now_ms = now_ms;
    }

    fn has_overslept(&self) -> bool {
        millis(self.clock).saturating_sub(self.now_ms) > STALLED_MS
    }

    /// Nodes that did not run for a while: now, or, for a `look`, since the last one.
    fn stalled(&self, look: bool) -> Vec<usize> {
        if look && self.overslept {
            return (0..self.nodes.len()).collect();
        }
        let now_ms = millis(self.clock);
        let is_late = |life: &Life| {
            let paused_ms = if look { life.heart.pause_ms.swap(0, Ordering::Relaxed) } else { 0 };
            let silent_ms = now_ms.saturating_sub(life.heart.beat_ms.load(Ordering::Relaxed));
            paused_ms.max(silent_ms) > STALLED_MS
        };
        (0..self.nodes.len()).filter(|node| self.nodes[*node].life.as_ref().is_some_and(is_late)).collect()
    }

    /// What the nodes told since the last look: whether a view changed, and who was suspected or removed though it had not left.
    fn listen(&mut self) -> (bool, Vec<String>) {
        let (mut changed, mut accused) = (false, Vec::new());
        let now_ms = self.now_ms;
        for (at, node) in self.nodes.iter_mut().enumerate() {
            let Some(life) = &mut node.life else { continue };
            while let Some(event) = life.events.as_mut().and_then(Events::try_next) {
                match &event {
                    Event::MemberSuspected { name, .. } => accused.push(name.to_string()),
                    Event::MemberDown { name, planned: false } => accused.push(name.to_string()),
                    _ => {}
                }
                changed |= matches!(event, Event::ViewChanged { .. } | Event::MemberReinstated { .. });
                self.observed.push(ObservedEvent { at_ms: now_ms, node: at, event });
            }
            let members = life.mesh.as_ref().map(Mesh::members).unwrap_or_default();
            let view: Vec<_> = members.into_iter().map(|member| (member.incarnation, member.state)).collect();
            changed |= std::mem::replace(&mut node.view, view) != node.view;
        }
        (changed, accused)
    }

    /// Whether a node that has just started sees nobody yet, though others are up. It takes requests all the same.
    fn has_loner(&self) -> bool {
        let up = self.meshes().count();
        up > 1 && self.meshes().any(|(_, _, mesh)| !mesh.is_ready() && mesh.members().len() == 1)
    }

    fn newly_ready(&mut self, ids: impl Fn() -> BTreeSet<SessionId>) -> Vec<Ready> {
        let mut newly = Vec::new();
        for (node, state) in self.nodes.iter_mut().enumerate() {
            let mesh = state.life.as_ref().and_then(|life| life.mesh.as_ref());
            let Some(mesh) = mesh.filter(|mesh| !state.ready && mesh.is_ready()) else { continue };
            state.ready = true;
            let owns = |id: &SessionId| mesh.owners(*id).iter().any(|owner| **owner == *state.name);
            let lacks = ids().into_iter().filter(|id| owns(id) && !mesh.holds(*id)).collect();
            newly.push(Ready { node, since_ms: state.since_ms, lacks });
        }
        newly
    }

    /// Nodes that run: number, life, and what they are asked by.
    fn meshes(&self) -> impl Iterator<Item = (usize, u32, &Mesh)> {
        let nodes = self.nodes.iter().enumerate();
        nodes.filter_map(|(at, node)| Some((at, node.lives, node.life.as_ref()?.mesh.as_ref()?)))
    }
}

impl Service for Cluster {
    fn serving(&self) -> Vec<usize> {
        let serves = |life: &Life| life.mesh.is_some() && life.leaving.is_none();
        (0..self.nodes.len()).filter(|node| self.nodes[*node].life.as_ref().is_some_and(serves)).collect()
    }

    fn life(&self, node: usize) -> u32 {
        self.nodes[node].lives
    }

    fn serve(&self, request: Request, sizes: (u32, u32)) -> oneshot::Receiver<Option<Reply>> {
        let (reply, answer) = oneshot::channel();
        let (asker, delivered) = oneshot::channel();
        if let Some(life) = &self.nodes[request.node].life
            && let Some(mesh) = life.mesh.clone()
        {
            life.runtime.spawn(async move { reply.send(clients::patient(mesh, None, request, sizes).await) });
        }
        self.answers.borrow_mut().push((answer, asker));
        delivered
    }

    fn holders(&self, node: usize, id: SessionId) -> BTreeSet<(usize, u32)> {
        let reader = self.nodes[node].life.as_ref().and_then(|life| life.mesh.as_ref());
        let nodes = || self.meshes().map(|(at, life, mesh)| (at, life, self.nodes[at].name.as_str(), mesh));
        reader.map(|reader| holders(reader, nodes(), id)).unwrap_or_default()
    }

    fn were_near(&self, _: usize, request: &Request) -> bool {
        self.is_steady_since(request)
    }

    fn others(&self, but: usize, id: SessionId, key: &str, request: &Request) -> Option<Others> {
        let others = self.meshes().filter(|(at, ..)| *at != but);
        let held = others.map(|(_, _, mesh)| mesh.attribute_held(id, key)).collect();
        self.is_steady_since(request).then_some(Others { held, ..Others::default() })
    }

    fn is_steady_since(&self, request: &Request) -> bool {
        self.is_steady_from(request.start_ms)
    }

    fn users_held(&self, _: usize, _: &[SessionId]) -> UsersHeld {
        // No visitor here belongs to a user.
        UsersHeld::default()
    }
}

/// Milliseconds since then.
pub(super) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
