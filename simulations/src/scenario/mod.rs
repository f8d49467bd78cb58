//! A run as data: one seed decides it ([`draw`]), it prints as text and is parsed back ([`text`]), and what cannot be
//! played is refused ([`valid`]).

use serde::{Deserialize, Serialize};

pub mod draw;
pub mod product;
pub mod text;
pub mod valid;

use product::Product;

/// Which nodes hold a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mode {
    /// All of them.
    AllToAll,
    /// A primary and so many others.
    PrimaryBackup(u8),
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ack {
    /// All owners: the default of the library.
    Owners,
    /// So many other nodes.
    Copies(u8),
    /// Nothing.
    Local,
}

/// How nodes find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Discovery {
    /// Beacons.
    Multicast,
    /// The addresses of all nodes.
    Seeds,
    /// The names of all nodes.
    Names,
}

/// What goes wrong, or right again. Nodes are named by their number, from 0.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The process dies; the system closes its connections.
    Crash(usize),
    /// The machine dies; nobody is told.
    PowerLoss(usize),
    /// The node starts: again, empty, or for the first time.
    Start(usize),
    /// The node hands over and stops; it starts again by [`Fault::Start`].
    Leave(usize),
    /// The process stops running, and keeps its sockets (SIGSTOP, a long pause of the machine).
    Freeze(usize),
    /// It runs again, and finds that time has passed.
    Thaw(usize),
    /// Nothing passes between two nodes, in either direction.
    Cut(usize, usize),
    /// Nothing passes from the one to the other.
    CutOneWay(usize, usize),
    /// All between two nodes waits.
    Hold(usize, usize),
    /// What connections carry between two nodes waits; datagrams pass.
    HoldStreams(usize, usize),
    /// Each message between two nodes takes so many milliseconds.
    Slow(usize, usize, u64),
    /// All connections between two nodes are reset, as by a firewall that has forgotten them.
    Reset(usize, usize),
    /// So many thousandths of all datagrams are lost.
    LoseDatagrams(u32),
    /// Beacons are lost; all else passes.
    LoseMulticast,
    /// All links work again; what waited arrives.
    Heal,
    /// The wall clock of a node jumps by so many milliseconds.
    Jump(usize, i64),
    /// So many sessions are created on a node at once, and their confirmations awaited.
    Burst(usize, u32),
}

/// A fault and when it happens, in milliseconds since the start of its episode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event {
    /// When.
    pub at_ms: u64,
    /// What.
    pub fault: Fault,
}

/// Faults between two moments at which the cluster is whole: at the end of an episode all is healed and settles.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Episode {
    /// How long clients work and faults happen before all is healed.
    pub length_ms: u64,
    /// In the order of time.
    pub events: Vec<Event>,
}

/// What kind of faults a run is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// None.
    Calm,
    /// Processes die and start again.
    Crash,
    /// Machines die.
    PowerLoss,
    /// Nodes leave as planned and come again.
    Leave,
    /// The network falls apart and heals.
    Partition,
    /// Links fail in one direction.
    OneWay,
    /// Links stand still for a while.
    Hold,
    /// A node is cut off, goes on serving, and dies.
    IsolateThenCrash,
    /// Processes stop running for a while.
    Freeze,
    /// Processes are gone for less time than anyone needs to notice.
    QuickRestart,
    /// A node dies while the copies that another death cost are being made.
    CrashDuringRepair,
    /// All nodes are replaced, one after the other.
    Rolling,
    /// Nodes that were never there join under load, and something happens to the cluster meanwhile.
    Join,
    /// Gossip, beacons or connections fail each on their own.
    Gossip,
    /// Links become slow.
    Slow,
    /// Many sessions at once, and then something happens to those who hold them.
    Burst,
    /// Sessions are left alone for longer than their limit.
    Idle,
    /// Faults that meet: planned stops while gossip is lost, deaths at the moment of healing, changes of the view within a lease.
    Composed,
    /// Any of these in each episode.
    Mixed,
}

/// How often visitors do what, as weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Read.
    pub read: u32,
    /// Read, then write an attribute of this tab's own.
    pub write: u32,
    /// The same with a pause between the two.
    pub slow_write: u32,
    /// Write the attribute that all tabs of the session share.
    pub shared: u32,
    /// Add one to a counter that all tabs share, atomically.
    pub count: u32,
    /// Remove the tab's own attribute.
    pub remove: u32,
    /// End the session.
    pub logout: u32,
    /// Give the session a new id.
    pub renew: u32,
    /// Stay away for longer than the idle limit.
    pub absent: u32,
    /// Read, and use the same handle again after a while, without a change.
    #[serde(default)]
    pub keep: u32,
}

/// The clients of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// Visitors, each with a session of its own.
    pub visitors: usize,
    /// Parallel clients of each visitor.
    pub tabs: usize,
    /// Of a hundred requests, so many go to the visitor's own node.
    pub sticky: u32,
    /// Pause between two requests of a tab: the shortest and the longest.
    pub think_ms: (u64, u64),
    /// Bytes of each value, beside the number that says which it is.
    pub value_bytes: u32,
    /// What they do.
    pub mix: Mix,
}

/// What the network does by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The shortest and longest way of a message. In between they are distributed exponentially, the short ones more
    /// frequent.
    pub latency_ms: (u64, u64),
    /// Datagrams lost, in thousandths.
    pub lost: u32,
    /// Datagrams delivered twice, in thousandths.
    pub doubled: u32,
    /// Datagrams held back until others have overtaken them, in thousandths.
    pub delayed: u32,
    /// What connections are like.
    #[serde(default)]
    pub streams: Streams,
}

/// What connections are like, beside how long a message takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streams {
    /// Bytes that one end may have written and the other one not read.
    pub buffer_bytes: usize,
    /// Some reads and writes move a part of what they could.
    pub pieces: bool,
    /// What becomes of connections on which something was lost when links heal.
    pub at_heal: AtHeal,
    /// Datagrams that do not fit one packet never arrive.
    pub fragments_lost: bool,
}

/// What becomes of connections on which something was lost when links heal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AtHeal {
    /// They go on when their system sends it again.
    Wait,
    /// They go on at once, as where a neighbour had to be looked for and is found.
    Resume,
    /// They are reset, as by a firewall that has forgotten them.
    Reset,
}

impl Default for Streams {
    fn default() -> Self {
        Self { buffer_bytes: 256 << 10, pieces: false, at_heal: AtHeal::Wait, fragments_lost: false }
    }
}

/// Everything about a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Decides all that is random while it runs, too.
    pub seed: u64,
    /// What it is about.
    pub kind: Kind,
    /// Number of nodes.
    pub nodes: usize,
    /// So many of them, the last ones, are not there at the beginning.
    pub late: usize,
    /// Which of them hold copies.
    pub mode: Mode,
    /// What nodes are set to when they start again; none for the same. So a rolling restart changes it, and a crash leaves
    /// nodes behind that differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub later_mode: Option<Mode>,
    /// How they find each other.
    pub discovery: Discovery,
    /// What commits wait for.
    pub ack: Ack,
    /// Whether commits that no other node can confirm are errors.
    pub strict: bool,
    /// Whether the nodes have a cluster secret, so that all they say is sealed. What they say is then not in the trace.
    #[serde(default, skip_serializing_if = "is_false")]
    pub secret: bool,
    /// Whether the nodes have certificates in place of a secret, so that all they say goes over links, gossip too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub certificates: bool,
    /// Whether the nodes have different versions of the library: every second one, and each from its second life on, speaks the
    /// next version of the protocol, too.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upgrade: bool,
    /// The network.
    pub network: Network,
    /// Step of simulated time.
    pub tick_ms: u64,
    /// Time between two audits.
    pub audit_ms: u64,
    /// How long a session may be idle.
    pub idle_ms: u64,
    /// By how much the wall clock of each node is wrong.
    pub skew_ms: Vec<i64>,
    /// By how much it is set back at each start after the first.
    pub set_back_ms: i64,
    /// The clients.
    pub load: Load,
    /// What else of the library is used.
    #[serde(default, skip_serializing_if = "Product::is_usual")]
    pub product: Product,
    /// The faults.
    pub episodes: Vec<Episode>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Audits that no run reaches; a newcomer still compares with its donors before it is ready.
pub const AUDIT_NEVER_MS: u64 = 3_600_000;
/// An idle limit that no run reaches.
pub const IDLE_NEVER_MS: u64 = 1_800_000;

impl Scenario {
    /// How many nodes may crash without loss when all owners have a copy, whatever the nodes are set to at that time.
    #[must_use]
    pub fn spare_copies(&self) -> usize {
        let spare = |mode| match mode {
            Mode::AllToAll => self.nodes - 1,
            Mode::PrimaryBackup(backups) => usize::from(backups).min(self.nodes - 1),
        };
        spare(self.mode).min(self.later_mode.map_or(usize::MAX, spare))
    }

    /// Whether sessions end by themselves in this run.
    #[must_use]
    pub fn has_idle_limit(&self) -> bool {
        self.idle_ms < IDLE_NEVER_MS
    }
}

impl Kind {
    /// All kinds, with their names.
    pub const ALL: [(Self, &'static str); 19] = [
        (Self::Calm, "calm"),
        (Self::Crash, "crash"),
        (Self::PowerLoss, "power-loss"),
        (Self::Leave, "leave"),
        (Self::Partition, "partition"),
        (Self::OneWay, "one-way"),
        (Self::Hold, "hold"),
        (Self::IsolateThenCrash, "isolate-then-crash"),
        (Self::Freeze, "freeze"),
        (Self::QuickRestart, "quick-restart"),
        (Self::CrashDuringRepair, "crash-during-repair"),
        (Self::Rolling, "rolling"),
        (Self::Join, "join"),
        (Self::Gossip, "gossip"),
        (Self::Slow, "slow"),
        (Self::Burst, "burst"),
        (Self::Idle, "idle"),
        (Self::Composed, "composed"),
        (Self::Mixed, "mixed"),
    ];

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(kind, _)| *kind == self).map_or("", |(_, name)| name)
    }
}
