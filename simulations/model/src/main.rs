//! tmp
use std::time::Duration;
use sessionmesh_model::{bounds::Bounds, check::check, cluster::Budget, mesh::Mesh};
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let get = |k: &str| a.iter().find_map(|x| x.strip_prefix(&format!("{k}=")).map(|v| v.parse::<u8>().unwrap())).unwrap_or(0);
    let bug = a.iter().find_map(|x| x.strip_prefix("bug=")).map(|n| sessionmesh_core::failpoint::Bug::named(n).unwrap());
    let ranks: &'static [[usize;3]] = match get("ranks") { 0 => &[[0,1,2]], 1 => &[[2,0,1]], 2 => &[[0,2,1]], 3 => &[[0,1,2],[2,0,1]], _ => &[[2,1,0]] };
    let bounds = Bounds { name: "x", nodes: usize::from(get("nodes")).max(2), ranks, writers: get("writers"),
        budget: Budget { writes: get("writes"), ends: get("ends"), late_saves: get("late"), crashes: get("crashes"), cuts: get("cuts"), stalls: get("stalls"), joins: get("joins"), leaves: get("leaves") } };
    let o = check(Mesh::new(bounds, bug), 2, Duration::from_secs(u64::from(get("secs")).max(20)));
    println!("{} states, depth {}, {:?}, exhausted {}", o.states, o.depth, o.took, o.exhausted);
    if let Some((p, steps)) = o.broken { println!("{}", p.words()); for (s, c) in &steps { println!("  {s}"); if get("verbose")==1 {println!("{:?}", c.nodes.iter().map(|n|(n.phase,n.view,n.store,n.scanned,n.commits,n.peers.map(|p|(p.granted,p.lease,p.caught_up,p.suspected,p.outgoing[0])))).collect::<Vec<_>>());} } }
}
