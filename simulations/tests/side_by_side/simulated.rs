//! The simulated world.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use sessionmesh::Gate;
use sessionmesh_simulations::impairments::{Down, Impairments};
use sessionmesh_simulations::network::{Host, SimNetwork, Trace};
use sessionmesh_simulations::record::Recorder;
use sessionmesh_simulations::scenario::{Network, Streams};
use sessionmesh_simulations::tcp::Tcp;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use turmoil::Sim;

use crate::role::{self, Order};
use crate::{Act, End, Seen, World};

const NAMES: [&str; 2] = ["dialler", "listener"];

#[derive(Clone)]
struct Shared {
    addrs: [IpAddr; 2],
    impairments: Impairments,
    tcp: Tcp,
    /// For the next life of each host.
    orders: Rc<RefCell<[Option<UnboundedReceiver<Order>>; 2]>>,
    seen: Rc<RefCell<Vec<Seen>>>,
}

pub(crate) struct Simulated {
    sim: Sim<'static>,
    shared: Shared,
    orders: [Option<UnboundedSender<Order>>; 2],
}

impl Simulated {
    pub(crate) fn new() -> Self {
        let sim = turmoil::Builder::new().tick_duration(Duration::from_millis(1)).build();
        let network = Network { latency_ms: (0, 1), lost: 0, doubled: 0, delayed: 0, streams: Streams::default() };
        let impairments = Impairments::new(network, 1);
        let shared = Shared {
            addrs: NAMES.map(|name| sim.lookup(name)),
            tcp: Tcp::new(impairments.clone(), network.streams, 1),
            impairments,
            orders: Rc::default(),
            seen: Rc::default(),
        };
        let mut world = Self { sim, shared: shared.clone(), orders: [None, None] };
        for end in [End::Dialler, End::Listener] {
            world.give_orders(end);
            let shared = shared.clone();
            world.sim.host(NAMES[end as usize], move || live(end, shared.clone()));
        }
        world
    }

    fn give_orders(&mut self, end: End) {
        let (sender, receiver) = unbounded_channel();
        self.orders[end as usize] = Some(sender);
        self.shared.orders.borrow_mut()[end as usize] = Some(receiver);
    }

    fn die(&mut self, end: End, down: Down) {
        let Shared { impairments, tcp, addrs, .. } = &self.shared;
        let (address, now) = (addrs[end as usize], self.sim.elapsed());
        impairments.set_down(address, Some(down));
        tcp.dying(now, || self.sim.crash(NAMES[end as usize]));
        if down == Down::Machine {
            tcp.machine_died(address);
        }
    }

    fn cut(&self, cut: bool) {
        let Shared { impairments, tcp, addrs: [one, other], .. } = &self.shared;
        tcp.settle(self.sim.elapsed());
        impairments.cut(if cut { [(*one, *other), (*other, *one)].into() } else { BTreeSet::new() });
    }
}

/// One life of a host; it does nothing if there is nobody to tell it.
async fn live(end: End, shared: Shared) -> Result<(), Box<dyn std::error::Error>> {
    let orders = shared.orders.borrow_mut()[end as usize].take();
    let Shared { addrs, impairments, tcp, seen, .. } = shared;
    let (trace, recorder) = (Trace::default(), Recorder::default());
    let (node, gate, seed) = (end as usize, Gate::new(), 1);
    let host = Host { node, me: addrs[node], impairments, tcp, gate, seed, trace, recorder };
    if let Some(orders) = orders {
        let tell = |what| {
            let at_ms = turmoil::sim_elapsed().expect("on a host").as_millis();
            seen.borrow_mut().push(Seen { at_ms, end, what });
        };
        role::play(Arc::new(SimNetwork::new(host)), orders, tell).await;
    }
    std::future::pending().await
}

impl World for Simulated {
    fn address(&self, end: End) -> IpAddr {
        self.shared.addrs[end as usize]
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Tell(end, order) => {
                self.orders[end as usize].as_ref().expect("it lives").send(order).expect("it lives");
            }
            Act::Kill(end) => self.die(end, Down::Process),
            Act::PowerOff(end) => self.die(end, Down::Machine),
            Act::PowerOn(end) => {
                self.shared.impairments.set_down(self.shared.addrs[end as usize], None);
                self.sim.bounce(NAMES[end as usize]);
            }
            Act::Cut => self.cut(true),
            Act::Heal => self.cut(false),
        }
    }

    fn wait_until(&mut self, at: Duration) {
        while self.sim.elapsed() < at {
            self.sim.step().expect("no host ends");
        }
    }

    fn seen(self: Box<Self>) -> Vec<Seen> {
        self.shared.seen.take()
    }
}
