//! Multicast where interfaces are missing, come late, or go and come back, and where another machine says nonsense.
//!
//! In network namespaces, made here: needs root and iproute2, and is skipped without.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use sessionmesh::Config;
use sessionmesh_testkit::processes::lan::Lan;
use sessionmesh_testkit::processes::{Cluster, PATIENCE, Process, check, eventually_blocking, secret_file};
use tokio::time::Instant;

/// The hosts, or none if this machine can have none.
fn lan(names: &[&str], make: fn(&[&str]) -> Result<Lan, String>) -> Option<Lan> {
    let made = make(names);
    if let Err(why) = &made {
        eprintln!("SKIPPED: this machine can have no network namespaces: {why}");
    }
    made.ok()
}

/// A cluster that finds itself by multicast, on whichever interface a node takes.
fn cluster(set: impl FnOnce(&mut Config)) -> Cluster {
    Cluster::empty(|config| {
        config.secret_file = Some(secret_file());
        config.multicast = None;
        config.multicast_interface = Ipv4Addr::UNSPECIFIED;
        set(config);
    })
}

fn start(lan: &Lan, host: &str, config: Config) -> Process {
    Process::spawn_in(&lan.space(host), config).started()
}

/// Waits until each sees all.
fn see_each_other(nodes: &[&Process]) -> Duration {
    let names: Vec<&str> = nodes.iter().map(|node| node.name()).collect();
    let (took, ()) = eventually_blocking(PATIENCE, || {
        nodes.iter().try_for_each(|node| {
            let seen = node.member_names();
            check(names.iter().all(|name| seen.iter().any(|seen| seen == name)), || {
                format!("{}: {seen:?}", node.name())
            })
        })
    });
    took
}

#[test]
fn default_nodes_find_each_other_on_a_host_with_nothing_but_loopback() {
    let Some(lan) = lan(&["a"], Lan::unplugged) else { return };
    let cluster = cluster(|config| config.secret_file = None);
    let [one, two] = ["one", "two"].map(|name| start(&lan, "a", cluster.config_of(name)));
    see_each_other(&[&one, &two]);
}

#[test]
fn nodes_find_each_other_on_a_network_without_a_default_route() {
    let Some(lan) = lan(&["a", "b"], Lan::new) else { return };
    let cluster = cluster(|_| ());
    let node = |host: &str, bind: IpAddr| {
        let mut config = cluster.config_of(host);
        config.bind = SocketAddr::new(bind, 7_410);
        config.advertise = Some(SocketAddr::new(lan.addr(host).into(), 0));
        start(&lan, host, config)
    };
    // By the address that one has, and by the one that the other is known by.
    let (one, two) = (node("a", lan.addr("a").into()), node("b", Ipv4Addr::UNSPECIFIED.into()));
    see_each_other(&[&one, &two]);
}

#[test]
fn the_loopback_address_of_another_machine_is_not_believed() {
    const PORT: u16 = 7_411;
    let Some(lan) = lan(&["a", "b", "c"], Lan::new) else { return };
    let cluster = cluster(|_| ());
    // On a, a node that says its loopback address to the network;
    let mut config = cluster.config_of("confused");
    config.bind.set_port(PORT);
    config.multicast_interface = lan.addr("a");
    let _confused = start(&lan, "a", config);
    // on b, one that would be found by who believes it,
    let mut config = cluster.config_of("hidden");
    config.bind.set_port(PORT);
    config.multicast = Some(false);
    let hidden = start(&lan, "b", config);
    // beside one that hears the network, and on c another one, by whose beacons it shows that it does.
    let on = |host: &str, name: &str| {
        let mut config = cluster.config_of(name);
        config.bind.set_ip(lan.addr(host).into());
        start(&lan, host, config)
    };
    let (listening, speaking) = (on("b", "listening"), on("c", "speaking"));
    see_each_other(&[&listening, &speaking]);
    // Long enough for many beacons, and for gossip to try connections.
    let until = Instant::now() + Duration::from_secs(3);
    while Instant::now() < until {
        assert_eq!(hidden.member_names(), ["hidden"]);
        assert_eq!(listening.member_names(), ["listening", "speaking"]);
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A node on b that is reached at the address of its card.
fn on_card(lan: &Lan, cluster: &Cluster, name: &str, host: &str, port: u16) -> Process {
    let mut config = cluster.config_of(name);
    config.bind = SocketAddr::from((Ipv4Addr::UNSPECIFIED, port));
    config.advertise = Some(SocketAddr::new(lan.addr(host).into(), 0));
    start(lan, host, config)
}

#[test]
fn a_node_whose_network_comes_late_finds_the_others() {
    let Some(lan) = lan(&["a", "b"], Lan::unplugged) else { return };
    lan.plug_in("a").expect("a card can be made");
    let cluster = cluster(|_| ());
    let late = on_card(&lan, &cluster, "late", "b", 7_412);
    let other = on_card(&lan, &cluster, "other", "a", 7_412);
    late.ready();
    lan.plug_in("b").expect("a card can be made");
    println!("FIGURE found {:?} after the network came", see_each_other(&[&late, &other]));
}

#[test]
fn a_node_whose_network_goes_and_comes_hears_of_newcomers_again() {
    let Some(lan) = lan(&["a", "b"], Lan::new) else { return };
    let cluster = cluster(|_| ());
    let staying = on_card(&lan, &cluster, "staying", "b", 7_413);
    let first = on_card(&lan, &cluster, "first", "a", 7_413);
    see_each_other(&[&staying, &first]);
    // The card goes, and whoever was there, so that nothing but multicast can tell of the newcomer.
    lan.take_card_out("b");
    drop(first);
    eventually_blocking(PATIENCE, || {
        let seen = staying.member_names();
        check(seen == ["staying"], || format!("{seen:?}"))
    });
    let says = |what: &str| {
        eventually_blocking(PATIENCE, || check(staying.log().contains(what), || staying.log()));
    };
    says("multicast does not work now");
    lan.plug_in("b").expect("a card can be made");
    let newcomer = on_card(&lan, &cluster, "newcomer", "a", 7_414);
    println!("FIGURE found {:?} after the network came back", see_each_other(&[&staying, &newcomer]));
    says("multicast works again");
}
