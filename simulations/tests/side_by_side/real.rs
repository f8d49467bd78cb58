//! The real world: processes of this program in network namespaces on one switch.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::IpAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use sessionmesh::network::TokioNetwork;
use sessionmesh_testkit::processes::lan::{self, Lan};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::Instant;

use crate::role::{self, Order};
use crate::{Act, End, Seen, World};

const NAMES: [&str; 2] = ["dialler", "listener"];
/// Set for processes that this test starts.
const IS_END: &str = "SIDE_BY_SIDE_END";
/// What they say begins so; all else comes from what runs tests.
const SAYS: &str = "end says: ";

/// Whether this process is one of the two ends; if so, it was one until nobody told it anything more.
pub(crate) fn was_end() -> bool {
    if std::env::var_os(IS_END).is_none() {
        return false;
    }
    let (orders, receiver) = unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines() {
            let order: Order = line.expect("a pipe").parse().expect("an order");
            if orders.send(order).is_err() {
                return;
            }
        }
    });
    let tell = |what| {
        println!("{SAYS}{what}");
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(role::play(Arc::new(TokioNetwork), receiver, tell));
    true
}

/// A process, until it is dropped.
struct Process {
    child: Child,
    orders: ChildStdin,
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Real {
    lan: Lan,
    processes: [Option<Process>; 2],
    seen: Arc<Mutex<Vec<Seen>>>,
    start: Instant,
}

impl Real {
    /// # Errors
    ///
    /// This machine can have no network namespaces: why.
    pub(crate) fn new() -> Result<Self, String> {
        let lan = Lan::new(&NAMES)?;
        let mut world = Self { lan, processes: [None, None], seen: Arc::default(), start: Instant::now() };
        for end in [End::Dialler, End::Listener] {
            world.start(end);
        }
        world.start = Instant::now();
        Ok(world)
    }

    fn start(&mut self, end: End) {
        let (space, this) = (self.lan.space(NAMES[end as usize]), std::env::current_exe().expect("this program"));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &space]).arg(this).args(["--exact", "an_end", "--nocapture"]);
        command.env(IS_END, "").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("`ip` was there before");
        let (orders, said) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        let (seen, start) = (self.seen.clone(), self.start);
        thread::spawn(move || {
            for line in BufReader::new(said).lines().map_while(Result::ok) {
                // What runs tests says something in the same line.
                if let Some((_, what)) = line.split_once(SAYS) {
                    let seen_now = Seen { at_ms: start.elapsed().as_millis(), end, what: what.to_owned() };
                    seen.lock().expect("no thread panics").push(seen_now);
                }
            }
        });
        self.processes[end as usize] = Some(Process { child, orders });
    }
}

impl World for Real {
    fn address(&self, end: End) -> IpAddr {
        self.lan.addr(NAMES[end as usize]).into()
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Tell(end, order) => {
                let process = self.processes[end as usize].as_mut().expect("it lives");
                writeln!(process.orders, "{}", order.line()).expect("it lives");
            }
            Act::Kill(end) => self.processes[end as usize] = None,
            Act::PowerOff(end) => {
                self.lan.take_card_out(NAMES[end as usize]);
                self.processes[end as usize] = None;
            }
            Act::PowerOn(end) => {
                // Its system has forgotten all, and it has the address that it had. (The old one lives on without a card until its
                // last connection is forgotten.)
                self.lan.replace(NAMES[end as usize]).expect("what could be made can be made again");
            }
            Act::Cut => self.lan.set(NAMES[1], lan::End::Switch, "down"),
            Act::Heal => self.lan.set(NAMES[1], lan::End::Switch, "up"),
        }
    }

    fn wait_until(&mut self, at: Duration) {
        thread::sleep(at.saturating_sub(self.start.elapsed()));
    }

    fn seen(self: Box<Self>) -> Vec<Seen> {
        self.seen.lock().expect("no thread panics").clone()
    }
}
