//! Sessions that follow their visitors to the node that the balancer chose instead of another one.

use std::sync::Arc;

use axum::Router;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use sessionmesh::{Event, MemberState, Mesh, Mode, SessionId};
use sessionmesh_axum::{Session, SessionError};
use sessionmesh_testkit::browser::Browser;
use sessionmesh_testkit::cluster::{
    Cluster, MODES, PATIENCE, check, create_sessions, eventually, eventually_async, settled_and_exact,
};
use sessionmesh_testkit::site::{SESSION, routed_site, routes};
use tokio::sync::Barrier;

/// A site on this node whose sessions follow the visitors.
fn site(node: &Mesh) -> Router {
    routed_site(node, routes(), true)
}

fn sites(cluster: &Cluster) -> Vec<Router> {
    cluster.nodes().iter().map(site).collect()
}

/// A visitor who logged in on this node, and is routed to it. The login made the session, so it is at home there.
async fn visitor_of(node: &Mesh) -> (Browser, SessionId) {
    let mut browser = Browser::default();
    browser.post(&site(node), "/login/ada").await;
    let id = browser.id().expect("logged in");
    assert_eq!(browser.route(), Some(node.name()));
    (browser, id)
}

/// Waits until every node reads `user` by every id, and every id leads to one session. Which.
async fn one_session(cluster: &Cluster, ids: &[SessionId], context: &str) -> SessionId {
    eventually_async(PATIENCE, async || {
        let mut found = std::collections::BTreeSet::new();
        for (node, id) in cluster.nodes().iter().flat_map(|node| ids.iter().map(move |id| (node, *id))) {
            let session = node.peek(id).await.map_err(|error| error.to_string())?;
            let session = session.ok_or_else(|| format!("{context}: {} has no {id}", node.name()))?;
            let user = session.get::<String>("user").map_err(|error| error.to_string())?;
            check(user.as_deref() == Some("ada"), || format!("{context}: {} says {user:?}", node.name()))?;
            found.insert(session.id());
        }
        check(found.len() == 1, || format!("{context}: {found:?} live"))?;
        found.pop_first().ok_or_else(|| "no ids".to_owned())
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_crash_the_session_moves_to_the_node_that_serves_the_visitor_once() {
    for mode in MODES {
        let mut cluster = Cluster::start(3, mode).await;
        let mut visitors = Vec::new();
        for _ in 0..8 {
            visitors.push(visitor_of(&cluster[0]).await);
        }
        cluster.crash("n0");
        cluster.settled().await;
        let mut ears = cluster.listen();
        for (mut browser, id) in visitors {
            let primary = cluster[0].owners(id)[0].clone();
            let at = usize::from(*primary == *cluster[0].name());
            let site = site(&cluster[at]);
            let page = browser.ask(&site, "GET", "/read/user").await;
            assert_eq!(
                (page.status, page.body.as_str(), page.sets(SESSION)),
                (StatusCode::OK, "ada", true),
                "{mode:?}"
            );
            let moved = browser.id().expect("it stays logged in");
            assert_ne!(moved, id);
            assert_eq!(browser.route(), Some(cluster[at].name()));
            assert_eq!(*cluster[0].owners(moved)[0], *cluster[at].name(), "{mode:?}: it is at home where it is served");
            let page = browser.ask(&site, "GET", "/read/user").await;
            assert_eq!((page.body.as_str(), page.sets(SESSION)), ("ada", false));
            settled_and_exact(&cluster.all(), &[id, moved]).await;
            let told = Event::Moved { id, successor: moved };
            eventually(PATIENCE, || check(ears.count(&told) == 1, || "it was not told once".to_owned())).await;
        }
        let moves = ears.heard().iter().filter(|(_, event)| matches!(event, Event::Moved { .. })).count();
        assert_eq!(moves, 8, "{mode:?}: each moved once");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_browsers_parallel_requests_each_is_served_and_one_moves_the_session() {
    for mode in MODES {
        let cluster = Cluster::start(4, mode).await;
        let sites = sites(&cluster);
        let mut ears = cluster.listen();
        for round in 0..8_usize {
            let (browser, id) = visitor_of(&cluster[0]).await;
            // Now and then on two nodes, as behind a balancer that has not made up its mind.
            let there = |number: usize| if round % 2 == 0 { &sites[1] } else { &sites[1 + number % 2] };
            let asking = (0..6).map(|number| {
                let (mut browser, site) = (browser.clone(), there(number));
                async move {
                    let page = match number % 3 {
                        0 => browser.post(site, &format!("/write/key-{number}/kept")).await,
                        _ => browser.ask(site, "GET", "/read/user").await,
                    };
                    (page, browser.id().expect("nobody is logged out"))
                }
            });
            let answers = futures::future::join_all(asking).await;
            let context = format!("{mode:?}, round {round}");
            let ids: Vec<_> = answers.iter().map(|(_, id)| *id).chain([id]).collect();
            for (page, _) in &answers {
                assert!(page.status.is_success() || page.status.is_redirection(), "{context}: {page:?}");
                assert!(page.body.is_empty() || page.body == "ada", "{context}: {page:?}");
            }
            let moved = one_session(&cluster, &ids, &context).await;
            assert_ne!(moved, id, "{context}");
            if round % 2 == 0 {
                let from_here = |(_, event): &(_, Event)| matches!(event, Event::Moved { id: old, .. } if *old == id);
                eventually(PATIENCE, || {
                    let told = ears.heard().into_iter().filter(from_here).count();
                    check(told == 1, || format!("{context}: it moved {told} times"))
                })
                .await;
            }
            // Who has the old cookie still, since a response was lost, is told.
            let mut late = browser.routed_to(Some(cluster[3].name()));
            for (key, value) in [("key-0", "kept"), ("key-3", "kept"), ("user", "ada")] {
                assert_eq!(late.text(&sites[3], &format!("/read/{key}")).await, value, "{context}");
            }
            assert_eq!(late.id(), Some(moved), "{context}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_logout_with_the_old_or_the_new_id_ends_both() {
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let sites = sites(&cluster);
        for round in 0..6_usize {
            let (mut browser, _) = visitor_of(&cluster[0]).await;
            let mut old = browser.clone();
            assert_eq!(browser.text(&sites[1], "/read/user").await, "ada");
            assert_ne!(browser.id(), old.id());
            let (mut thief, mut old_thief) = (browser.clone(), old.clone());
            let out = if round % 2 == 0 { &mut browser } else { &mut old };
            assert_eq!(out.post(&sites[round % 3], "/logout").await.status, StatusCode::OK);
            assert_eq!(out.id(), None);
            for site in &sites {
                assert_eq!(thief.text(site, "/read/user").await, "none", "{mode:?}, round {round}");
                assert_eq!(old_thief.text(site, "/read/user").await, "none", "{mode:?}, round {round}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_on_another_node_renews_the_id_and_the_old_one_reads_nothing() {
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let sites = sites(&cluster);
        let mut ears = cluster.listen();
        let (mut browser, _) = visitor_of(&cluster[0]).await;
        let mut planted = browser.clone();
        browser.post(&sites[1], "/login/ada").await;
        let renewed = browser.id().expect("logged in");
        assert_eq!(*cluster[0].owners(renewed)[0], *cluster[1].name(), "{mode:?}: where it was renewed it is at home");
        for site in &sites {
            assert_eq!(planted.text(site, "/read/user").await, "none", "{mode:?}");
        }
        assert!(!ears.heard().iter().any(|(_, event)| matches!(event, Event::Moved { .. })));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_moves_without_a_route_cookie_that_names_another_node_or_without_the_option() {
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let (browser, id) = visitor_of(&cluster[0]).await;
        let cases = [(None, true), (Some("n1"), true), (Some(""), true), (Some("n0"), false), (None, false)];
        for (route, moves) in cases {
            let mut browser = browser.routed_to(route);
            let page = browser.ask(&routed_site(&cluster[1], routes(), moves), "GET", "/read/user").await;
            assert_eq!((page.body.as_str(), page.sets(SESSION)), ("ada", false), "{mode:?}: {route:?}, {moves}");
            assert_eq!((browser.id(), browser.route()), (Some(id), Some("n1")));
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_error_moves_nothing_and_leaves_the_move_to_the_next_request() {
    let cluster = Cluster::start(3, Mode::PrimaryBackup { backups: 1 }).await;
    let failing = routes().route("/fail", get(|_: Session| async { StatusCode::INTERNAL_SERVER_ERROR }));
    let site = routed_site(&cluster[1], failing, true);
    let (mut browser, id) = visitor_of(&cluster[0]).await;
    let page = browser.ask(&site, "GET", "/fail").await;
    assert_eq!((page.status, page.sets(SESSION)), (StatusCode::INTERNAL_SERVER_ERROR, false));
    assert_eq!((browser.id(), browser.route()), (Some(id), Some("n0")));
    assert_eq!(browser.text(&site, "/read/user").await, "ada");
    assert_ne!(browser.id(), Some(id));
    assert_eq!(browser.route(), Some("n1"));
}

/// What a request does while the session moves elsewhere: `/commit` writes before and after a commit, `/count` counts at
/// once. Each begins, waits for the gate, and is let go.
fn with_slow(gate: &Arc<Barrier>) -> Router {
    let (commit, count) = (gate.clone(), gate.clone());
    let commit = post(async move |session: Session, Path(key): Path<String>| -> Result<(), SessionError> {
        commit.wait().await;
        commit.wait().await;
        session.insert(&key, "before")?;
        session.commit().await?;
        session.insert("after", &key)
    });
    let count = post(async move |session: Session| -> Result<String, SessionError> {
        count.wait().await;
        count.wait().await;
        let count = session.update_now("count", |count: Option<u64>| Some(count.unwrap_or(0) + 1)).await?;
        session.insert("after", "count")?;
        Ok(format!("{count:?}"))
    });
    routes().route("/commit/{key}", commit).route("/count", count)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_request_goes_on_with_a_session_that_another_one_moves() {
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let gate = Arc::new(Barrier::new(2));
        let slow: Vec<_> = cluster.nodes().iter().map(|node| routed_site(node, with_slow(&gate), true)).collect();
        for (at, path, after) in [(0, "/commit/a", "a"), (2, "/commit/b", "b"), (0, "/count", "count")] {
            let (browser, id) = visitor_of(&cluster[0]).await;
            let mut waiting = browser.routed_to(Some(cluster[at].name()));
            let mut moving = browser.clone();
            let (page, ()) = tokio::join!(waiting.post(&slow[at], path), async {
                gate.wait().await;
                assert_eq!(moving.text(&slow[1], "/read/user").await, "ada");
                gate.wait().await;
            });
            assert_eq!(page.status, StatusCode::OK, "{mode:?}: {path}");
            let moved = one_session(&cluster, &[id], path).await;
            assert_eq!(moving.id(), Some(moved), "{mode:?}: {path}");
            // A node that owns nothing of the session may hear of the move only later.
            assert!([id, moved].map(Some).contains(&waiting.id()), "{mode:?}: {path}");
            eventually_async(PATIENCE, async || {
                let found = waiting.get(&slow[at], "/read/after").await.body;
                check(found == after, || format!("{mode:?}: {path}: {found}"))
            })
            .await;
            assert_eq!(waiting.id(), Some(moved), "{mode:?}: {path}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_holds_a_planted_id_does_not_learn_what_a_login_made_of_the_session_after_it_moved() {
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let gate = Arc::new(Barrier::new(2));
        let slow: Vec<_> = cluster.nodes().iter().map(|node| routed_site(node, with_slow(&gate), true)).collect();
        for at in [0, 2] {
            let (browser, _) = visitor_of(&cluster[0]).await;
            let mut planted = browser.routed_to(Some(cluster[at].name()));
            let mut victim = browser.clone();
            let (page, moved) = tokio::join!(planted.post(&slow[at], "/commit/late"), async {
                gate.wait().await;
                assert_eq!(victim.text(&slow[1], "/read/user").await, "ada");
                let moved = victim.id();
                victim.post(&slow[1], "/login/ada").await;
                gate.wait().await;
                moved
            });
            assert_ne!(victim.id(), moved);
            assert_ne!(planted.id(), victim.id(), "{mode:?}: {page:?}");
            assert!(!page.sets(SESSION), "{mode:?}: {page:?}");
            for site in &slow {
                assert_eq!(planted.text(site, "/read/user").await, "none", "{mode:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_leaves_moves_nothing_and_names_itself_to_nobody() {
    let mut cluster = Cluster::start(3, Mode::PrimaryBackup { backups: 1 }).await;
    let (browser, id) = visitor_of(&cluster[0]).await;
    // Something to hand over, so that it takes a while.
    create_sessions(&cluster[1], 2_000).await;
    let leaving = cluster.take("n1");
    let site = site(&leaving);
    let is_leaving = || {
        let members = leaving.members();
        members.iter().any(|member| &*member.name == leaving.name() && member.state == MemberState::Leaving)
    };
    let mut asked = 0;
    let asking = async {
        while !is_leaving() {
            tokio::task::yield_now().await;
        }
        // While it hands over it serves; in its last moment it cannot tell.
        loop {
            let mut browser = browser.clone();
            let page = browser.ask(&site, "GET", "/read/user").await;
            if page.status != StatusCode::OK {
                return;
            }
            assert_eq!((page.body.as_str(), page.sets(SESSION)), ("ada", false));
            assert_eq!((browser.id(), browser.route()), (Some(id), Some("n0")));
            asked += 1;
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        left = leaving.leave(PATIENCE) => assert_eq!(left.expect("everything is handed over").ended, 0),
        () = asking => {}
    }
    assert!(asked > 0, "it never was seen to leave");
}
