//! A node whose cable is pulled says that it cannot tell, and not that a session does not exist.
//!
//! Three network namespaces on one bridge, made here: needs root and iproute2, and is skipped without.

use std::thread;
use std::time::Duration;

use sessionmesh::{Config, Mode, SessionId};
use sessionmesh_testkit::processes::control::{Done, Loaded, Request, Wish};
use sessionmesh_testkit::processes::lan::{End, Lan};
use sessionmesh_testkit::processes::{
    Attributes, Cluster, PATIENCE, Process, attributes, check, eventually_blocking, secret_file,
};
use tokio::time::Instant;

const NAMES: [&str; 3] = ["a", "b", "c"];
/// For so long the cut-off node is asked.
const CUT: Duration = Duration::from_secs(10);

/// One cluster on the three hosts.
struct Scene {
    context: String,
    cluster: Cluster,
    /// Sessions that c does not hold.
    foreign: Vec<SessionId>,
    all: Vec<SessionId>,
}

fn content() -> Attributes {
    attributes([("user", "ada")])
}

impl Scene {
    /// Three nodes, and sessions that c does not own (if there are any such).
    fn start(lan: &Lan, mut cluster: Cluster, context: String) -> Self {
        let spawn = |name: &&str| {
            let mut config = cluster.config_of(name);
            config.bind.set_ip(lan.addr(name).into());
            Process::spawn_in(&lan.space(name), config)
        };
        let started: Vec<_> = NAMES.iter().map(spawn).collect();
        for process in started {
            cluster.add(process.started());
        }
        cluster.settled();
        let all = cluster["a"].create(vec![content(); 100], Wish::Configured);
        let owners = cluster["a"].owners(&all);
        let foreign = all.iter().zip(owners).filter(|(_, owners)| !owners.iter().any(|name| name == "c"));
        let foreign = foreign.map(|(id, _)| *id).take(10).collect();
        Self { context, cluster, foreign, all }
    }

    /// What c answers must be "cannot tell", for each session it does not hold.
    fn cannot_tell(&self, cut: Instant) {
        for loaded in self.cluster["c"].load(&self.foreign) {
            let after = cut.elapsed();
            assert!(matches!(loaded, Loaded::CannotTell(_)), "{}: after {after:?} c says {loaded:?}", self.context);
        }
    }

    /// b makes a session that c cannot know.
    fn make_one_more(&mut self) {
        let request = Request::Create { sessions: vec![content()], ack: Wish::Configured };
        let (_, late) = eventually_blocking(PATIENCE, || {
            let done: Vec<Done> = self.cluster["b"].ask(&request);
            done[0].acknowledged().ok_or_else(|| format!("{done:?}"))
        });
        self.foreign.push(late);
        self.all.push(late);
    }

    fn expected(&self) -> Vec<Loaded> {
        vec![Loaded::Session(content()); self.foreign.len()]
    }
}

/// Settings of a cluster on the three hosts.
fn on_hosts(config: &mut Config, lan: &Lan, mode: Mode, port: u16) {
    config.mode = mode;
    config.secret_file = Some(secret_file());
    config.multicast = Some(false);
    config.seeds = NAMES.iter().map(|name| format!("{}:{port}", lan.addr(name))).collect();
    config.bind.set_port(port);
}

fn pull(end: End) {
    let lan = match Lan::new(&NAMES) {
        Ok(lan) => lan,
        Err(why) => return eprintln!("SKIPPED: this machine can have no network namespaces: {why}"),
    };
    // Given three hosts with a cluster of each mode, and sessions that c does not own
    let backed_up = Cluster::empty(|config| on_hosts(config, &lan, Mode::PrimaryBackup { backups: 1 }, 7_400));
    let everywhere = backed_up.beside(|config| on_hosts(config, &lan, Mode::AllToAll, 7_401));
    let mut scenes = [
        Scene::start(&lan, backed_up, format!("PrimaryBackup, {end:?}")),
        Scene::start(&lan, everywhere, format!("AllToAll, {end:?}")),
    ];
    // When the cable of c is pulled
    let cut = Instant::now();
    lan.set("c", end, "down");
    // Then c cannot tell of the sessions it does not hold, at once,
    for scene in &scenes {
        scene.cannot_tell(cut);
    }
    println!("{end:?}: first asked and answered {:?} after the cut", cut.elapsed());
    // nor of one that the others make now, which they still can,
    for scene in &mut scenes {
        scene.make_one_more();
    }
    println!("{end:?}: the others go on {:?} after the cut", cut.elapsed());
    // and still not after a long time,
    let mut asked = 0;
    while cut.elapsed() < CUT {
        for scene in &scenes {
            scene.cannot_tell(cut);
        }
        asked += 1;
        thread::sleep(Duration::from_millis(20));
    }
    // while the others serve them.
    for scene in &scenes {
        println!("{}: asked {asked} times; c sees {:?}", scene.context, scene.cluster["c"].member_names());
        assert_eq!(scene.cluster["a"].load(&scene.foreign), scene.expected(), "{}", scene.context);
    }

    // When it is plugged in again
    lan.set("c", end, "up");
    let plugged = Instant::now();
    // Then c serves them, and never says that there are none,
    for scene in &scenes {
        eventually_blocking(PATIENCE, || {
            let loaded = scene.cluster["c"].load(&scene.foreign);
            let after = plugged.elapsed();
            assert!(
                !loaded.contains(&Loaded::None),
                "{}: {after:?} after the cable was back: {loaded:?}",
                scene.context
            );
            check(loaded == scene.expected(), || format!("{}: {loaded:?}", scene.context))
        });
    }
    println!("{end:?}: c serves all {:?} after the cable was back", plugged.elapsed());
    // and all are one cluster again.
    for scene in &scenes {
        scene.cluster.settled();
        scene.cluster.placed(&scene.all);
    }
    println!("{end:?}: one cluster {:?} after the cable was back", plugged.elapsed());
}

#[test]
fn a_node_cut_off_at_the_switch_cannot_tell_and_serves_again_when_plugged_in() {
    pull(End::Switch);
}

#[test]
fn a_node_without_a_network_cannot_tell_and_serves_again_when_plugged_in() {
    pull(End::Node);
}
