//! The settings in the documentation's manifest for Kubernetes are settings.

use std::net::SocketAddr;

use sessionmesh::{Config, Mesh};
use sessionmesh_testkit::cluster::{PATIENCE, eventually};

const MANIFEST: &str = include_str!("../../../docs/balancers/kubernetes.yaml");
/// What Kubernetes puts into the place of `metadata.name`.
const POD: &str = "shop-0";

/// The variables of the container: a `name` line, and a line with its value or where that comes from. `ip` is what
/// Kubernetes puts into the place of `$(POD_IP)`.
fn variables(ip: &str) -> Vec<(String, String)> {
    let lines: Vec<&str> = MANIFEST.lines().map(str::trim).collect();
    let at = |at: usize| {
        let name = lines[at].strip_prefix("- name: SESSIONMESH_")?;
        let value = match lines[at + 1].strip_prefix("value: ") {
            Some(value) => value.trim_matches('"').replace("$(POD_IP)", ip),
            None => POD.to_owned(),
        };
        Some((format!("SESSIONMESH_{name}"), value))
    };
    (0..lines.len()).filter_map(at).collect()
}

fn config(ip: &str) -> (Config, String) {
    let (mut http, settings): (Vec<_>, Vec<_>) =
        variables(ip).into_iter().partition(|(name, _)| name == "SESSIONMESH_HTTP");
    let config = Config::default().from_env_over(settings).expect("all are known settings");
    config.validate().expect("they fit together");
    (config, http.remove(0).1)
}

#[test]
fn the_manifest_configures_a_node_that_finds_others_by_dns() {
    for (ip, reached) in [("10.1.2.3", "10.1.2.3:7700"), ("fd00:10:244::7", "[fd00:10:244::7]:7700")] {
        let (config, http) = config(ip);
        assert_eq!(config.name, POD);
        assert_eq!(config.advertise, Some(reached.parse().unwrap()));
        assert_eq!(config.dns, ["shop-mesh:7700"]);
        assert!(!config.multicast_enabled());
        let mounted = config.secret_file.expect("it has a secret");
        let (folder, _) = mounted.to_str().expect("text").rsplit_once('/').expect("a path");
        assert!(MANIFEST.contains(&format!("mountPath: {folder}")) && MANIFEST.contains("defaultMode: 0440"));
        // The program's own setting, at the port of the probes.
        let http: SocketAddr = http.parse().expect("an address");
        assert!(MANIFEST.contains(&format!("containerPort: {}", http.port())));
    }
}

/// Pods of both families in one cluster, as the manifest binds them; loopback has both.
#[tokio::test]
async fn nodes_that_are_bound_as_in_the_manifest_find_each_other_over_both_families() {
    let cluster = sessionmesh_testkit::cluster::unique_name();
    let mut nodes: Vec<Mesh> = Vec::new();
    for ip in ["127.0.0.1", "::1", "127.0.0.1"] {
        let (mut config, _) = config(ip);
        // The same addresses, at any free port.
        config.bind.set_port(0);
        config.advertise = config.advertise.map(|at| (at.ip(), 0).into());
        config.cluster.clone_from(&cluster);
        config.name = format!("shop-{}", nodes.len());
        // As the Secret would give it.
        config.secret_file = Some(sessionmesh_testkit::processes::secret_file());
        config.dns.clear();
        config.seeds = nodes.iter().map(|node| node.addr().to_string()).chain(["127.0.0.1:1".to_owned()]).collect();
        nodes.push(Mesh::builder().config(config).start().await.expect("loopback has both families"));
    }
    eventually(PATIENCE, || {
        let seen: Vec<_> = nodes.iter().map(|node| (node.is_ready(), node.members().len())).collect();
        if seen.iter().all(|seen| *seen == (true, 3)) { Ok(()) } else { Err(format!("ready, and members: {seen:?}")) }
    })
    .await;
}
