//! The settings in the documentation's manifest for Kubernetes are settings.

use std::net::SocketAddr;

use sessionmesh::Config;

const MANIFEST: &str = include_str!("../../docs/balancers/kubernetes.yaml");
/// What Kubernetes puts into the place of `metadata.name` and `$(POD_IP)`.
const POD: (&str, &str) = ("shop-0", "10.1.2.3");

/// The variables of the container: a `name` line, and a line with its value or where that comes from.
fn variables() -> Vec<(String, String)> {
    let lines: Vec<&str> = MANIFEST.lines().map(str::trim).collect();
    let at = |at: usize| {
        let name = lines[at].strip_prefix("- name: SESSIONMESH_")?;
        let value = match lines[at + 1].strip_prefix("value: ") {
            Some(value) => value.trim_matches('"').replace("$(POD_IP)", POD.1),
            None => POD.0.to_owned(),
        };
        Some((format!("SESSIONMESH_{name}"), value))
    };
    (0..lines.len()).filter_map(at).collect()
}

#[test]
fn the_manifest_configures_a_node_that_finds_others_by_dns() {
    let (http, settings): (Vec<_>, Vec<_>) = variables().into_iter().partition(|(name, _)| name == "SESSIONMESH_HTTP");
    let config = Config::default().from_env_over(settings).expect("all are known settings");
    config.validate().expect("they fit together");
    assert_eq!(config.name, POD.0);
    assert_eq!(config.advertise, Some("10.1.2.3:7700".parse().unwrap()));
    assert_eq!(config.dns, ["shop-mesh:7700"]);
    assert!(!config.multicast_enabled());
    // The program's own setting, at the port of the probes.
    let http: SocketAddr = http[0].1.parse().expect("an address");
    assert!(MANIFEST.contains(&format!("containerPort: {}", http.port())));
}
