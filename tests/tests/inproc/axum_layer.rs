//! Sessions of the axum layer, with requests of one visitor on several nodes.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use sessionmesh::{Mesh, Mode, SessionId};
use sessionmesh_axum::{RouteCookie, Session, SessionCookie, SessionLayer};
use sessionmesh_testkit::browser::{Answer, App as _, Browser};
use sessionmesh_testkit::cluster::{Cluster, MODES, PATIENCE, check, eventually_async};
use sessionmesh_testkit::site::{SESSION, routes, site};
use tokio::sync::Barrier;

/// Three nodes, so that with primary and backup one of them owns nothing of a session, and a site on each.
async fn sites(mode: Mode, routes: impl Fn() -> Router) -> (Cluster, Vec<Router>) {
    let cluster = Cluster::start(3, mode).await;
    let sites = cluster.nodes().iter().map(|node| site(node, routes())).collect();
    (cluster, sites)
}

/// All pairs of a node and another one, so that owners and strangers take every part.
fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..3).flat_map(|one| (0..3).filter(move |other| *other != one).map(move |other| (one, other)))
}

/// `POST /slow/{key}` changes something, and answers once others have done something meanwhile; `/slow-login` renews, too.
fn with_slow(gate: &Arc<Barrier>) -> impl Fn() -> Router {
    let gate = gate.clone();
    move || {
        let waiting = gate.clone();
        let slow = post(async move |session: Session, axum::extract::Path(key): axum::extract::Path<String>| {
            session.insert(&key, "late").expect("text is JSON");
            waiting.wait().await;
            waiting.wait().await;
        });
        let gate = gate.clone();
        let login = post(async move |session: Session| {
            session.renew();
            session.insert("user", "mallory").expect("text is JSON");
            gate.wait().await;
            gate.wait().await;
        });
        routes().route("/slow/{key}", slow).route("/slow-login", login)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_on_one_node_and_is_redirected_to_another_sees_the_write() {
    for mode in MODES {
        let (_cluster, sites) = sites(mode, routes).await;
        for first in 0..3 {
            let mut browser = Browser::default();
            browser.post(&sites[first], "/login/ada").await;
            for (round, (a, b)) in pairs().enumerate() {
                let answer = browser.post(&sites[a], &format!("/write/color/{round}")).await;
                assert_eq!((answer.status, answer.sets(SESSION)), (StatusCode::SEE_OTHER, false));
                let seen = browser.text(&sites[b], answer.location().expect("a redirect")).await;
                assert_eq!(seen, round.to_string(), "{mode:?}: written on {a}, read on {b}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_logs_out_on_one_node_is_logged_out_on_every_other_at_once() {
    for mode in MODES {
        let (_cluster, sites) = sites(mode, routes).await;
        for (a, b) in pairs() {
            let mut browser = Browser::default();
            browser.post(&sites[a], "/login/ada").await;
            let mut thief = browser.clone();
            assert_eq!(browser.text(&sites[b], "/read/user").await, "ada");
            browser.post(&sites[b], "/logout").await;
            assert_eq!(browser.id(), None);
            for site in &sites {
                assert_eq!(thief.text(site, "/read/user").await, "none", "{mode:?}: in on {a}, out on {b}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_id_that_was_renewed_on_one_node_is_refused_by_every_other() {
    for mode in MODES {
        let (_cluster, sites) = sites(mode, routes).await;
        for (a, b) in pairs() {
            let mut browser = Browser::default();
            browser.post(&sites[a], "/write/cart/tea").await;
            let mut planted = browser.clone();
            browser.post(&sites[b], "/login/ada").await;
            assert_ne!(browser.id(), planted.id());
            for site in &sites {
                assert_eq!(planted.text(site, "/read/cart").await, "none");
                assert_eq!(browser.text(site, "/read/cart").await, "tea");
                assert_eq!(browser.text(site, "/read/user").await, "ada");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parallel_requests_on_two_nodes_that_write_different_attributes_both_survive() {
    for mode in MODES {
        let gate = Arc::new(Barrier::new(2));
        let (_cluster, sites) = sites(mode, with_slow(&gate)).await;
        for (a, b) in pairs() {
            let mut browser = Browser::default();
            browser.post(&sites[a], "/write/color/blue").await;
            let (mut one, mut other) = (browser.clone(), browser.clone());
            // Each has loaded the session before the other commits.
            tokio::join!(one.post(&sites[a], "/slow/a"), other.post(&sites[b], "/slow/b"));
            for site in &sites {
                for (key, value) in [("color", "blue"), ("a", "late"), ("b", "late")] {
                    assert_eq!(browser.text(site, &format!("/read/{key}")).await, value, "{mode:?}: {key}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_request_that_commits_after_a_logout_elsewhere_revives_nothing_and_sets_no_cookie() {
    for mode in MODES {
        let gate = Arc::new(Barrier::new(2));
        let (_cluster, sites) = sites(mode, with_slow(&gate)).await;
        for (a, b) in pairs() {
            let mut browser = Browser::default();
            browser.post(&sites[a], "/login/ada").await;
            let (mut slow, mut later) = (browser.clone(), browser.clone());
            let logout = async {
                gate.wait().await;
                browser.post(&sites[b], "/logout").await;
                gate.wait().await;
            };
            let (answer, ()) = tokio::join!(slow.post(&sites[a], "/slow/late"), logout);
            assert_eq!((answer.status, answer.sets(SESSION)), (StatusCode::OK, false), "{mode:?}: {a} and {b}");
            for site in &sites {
                assert_eq!(later.text(site, "/read/user").await, "none");
                assert_eq!(later.text(site, "/read/late").await, "none");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_planted_an_id_does_not_learn_what_a_login_elsewhere_made_of_it() {
    for mode in MODES {
        let gate = Arc::new(Barrier::new(2));
        let (_cluster, sites) = sites(mode, with_slow(&gate)).await;
        for (a, b) in pairs() {
            let mut victim = Browser::default();
            victim.post(&sites[a], "/write/color/blue").await;
            let mut planted = victim.clone();
            let login = async {
                gate.wait().await;
                victim.post(&sites[b], "/login/ada").await;
                gate.wait().await;
            };
            let (answer, ()) = tokio::join!(planted.post(&sites[a], "/slow/late"), login);
            assert_eq!((answer.status, answer.sets(SESSION)), (StatusCode::OK, false), "{mode:?}: {a} and {b}");
            assert_eq!(planted.text(&sites[a], "/read/user").await, "none");
            // What was written follows, on a node that owns nothing of the session in a moment.
            eventually_async(PATIENCE, async || {
                let late = victim.get(&sites[b], "/read/late").await.body;
                check(late == "late", || format!("{mode:?}: {late}"))
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_planted_an_id_and_logs_in_slowly_with_it_shares_nothing_with_the_victim() {
    for mode in MODES {
        let gate = Arc::new(Barrier::new(2));
        let (_cluster, sites) = sites(mode, with_slow(&gate)).await;
        for _ in 0..3 {
            for (a, b) in pairs() {
                let mut victim = Browser::default();
                victim.post(&sites[a], "/write/color/blue").await;
                let mut planted = victim.clone();
                let login = async {
                    gate.wait().await;
                    victim.post(&sites[a], "/login/ada").await;
                    gate.wait().await;
                };
                let (answer, ()) = tokio::join!(planted.post(&sites[b], "/slow-login"), login);
                assert_eq!((answer.status, answer.sets(SESSION)), (StatusCode::OK, false), "{mode:?}: {a} and {b}");
                assert_eq!(planted.text(&sites[b], "/read/user").await, "none");
                assert_eq!(victim.text(&sites[b], "/read/user").await, "ada");
            }
        }
    }
}

/// The cookies that an answer sets, without their settings.
fn set(answer: &Answer) -> Vec<String> {
    answer.cookies().map(|cookie| format!("{}={}", cookie.name(), cookie.value())).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_served_by_another_node_after_a_crash_is_still_logged_in_and_routed_to_it() {
    let mut cluster = Cluster::start(3, Mode::PrimaryBackup { backups: 1 }).await;
    let routed = |node: &Mesh| {
        let cookie = SessionCookie::new("sid").secure(false);
        let layer = SessionLayer::new(node.clone()).cookie(cookie).expect("a plain name");
        routes().layer(layer.route_cookie(RouteCookie::new("route")).expect("a plain name"))
    };
    let mut browser = Browser::default();
    let first = browser.post(&routed(&cluster[0]), "/login/ada").await;
    assert_eq!(set(&first)[1], "route=n0");
    cluster.crash("n0");
    let second = eventually_async(PATIENCE, async || {
        let answer = browser.clone().get(&routed(&cluster[0]), "/read/user").await;
        check(answer.status == StatusCode::OK, || format!("{}", answer.status))?;
        Ok(answer)
    })
    .await;
    assert_eq!(set(&second), ["route=n1"]);
}

fn cookie(id: SessionId) -> String {
    format!("{SESSION}={}", id.encode())
}

/// The answer to a request with these cookies, in one header.
async fn raw(site: &Router, method: &str, path: &str, cookies: &[String]) -> Answer {
    site.serve(method, path, &[cookies.join("; ")]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_comes_with_the_id_from_before_a_login_makes_no_session_on_any_node() {
    for mode in MODES {
        let (cluster, sites) = sites(mode, routes).await;
        for (a, b) in pairs() {
            let mut browser = Browser::default();
            browser.post(&sites[a], "/write/cart/tea").await;
            let before = cookie(browser.id().expect("a session"));
            browser.post(&sites[b], "/login/ada").await;
            let sessions: usize = cluster.nodes().iter().map(|node| node.stats().sessions).sum();
            for (at, site) in sites.iter().enumerate() {
                let late = raw(site, "POST", "/write/late/change", std::slice::from_ref(&before)).await;
                assert!(late.cookie().is_none(), "{mode:?}: login on {b}, late on {at}: {late:?}");
                assert_eq!(browser.text(site, "/read/user").await, "ada");
                assert_eq!(browser.text(site, "/read/late").await, "none");
            }
            let after: usize = cluster.nodes().iter().map(|node| node.stats().sessions).sum();
            assert!(after <= sessions, "{mode:?}: {after} sessions, {sessions} before");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_and_made_up_cookies_hide_the_good_one_on_no_node() {
    for mode in MODES {
        let (_cluster, sites) = sites(mode, routes).await;
        let mut cookies = Vec::new();
        for number in 0..4 {
            let mut stale = Browser::default();
            stale.post(&sites[number % 3], "/login/eve").await;
            cookies.push(cookie(stale.id().expect("a session")));
            stale.post(&sites[number % 3], "/logout").await;
        }
        cookies.extend((0..3).map(|n| cookie(SessionId::from_bytes([n; 16]))));
        for a in 0..3 {
            let mut good = Browser::default();
            good.post(&sites[a], "/login/ada").await;
            let mut presented = cookies.clone();
            presented.push(cookie(good.id().expect("a session")));
            for (b, site) in sites.iter().enumerate() {
                let answer = raw(site, "GET", "/read/user", &presented).await;
                assert_eq!((answer.cookie(), &*answer.body), (None, "ada"), "{mode:?}: in on {a}, read on {b}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_sessions_every_node_takes_the_first_and_a_logout_ends_both() {
    for mode in MODES {
        let (_cluster, sites) = sites(mode, routes).await;
        for (a, b) in pairs() {
            let (mut one, mut other) = (Browser::default(), Browser::default());
            one.post(&sites[a], "/login/ada").await;
            other.post(&sites[b], "/login/bob").await;
            let both = [cookie(one.id().expect("a session")), cookie(other.id().expect("a session"))];
            for site in &sites {
                assert_eq!(raw(site, "GET", "/read/user", &both).await.body, "ada", "{mode:?}: {a} and {b}");
            }
            raw(&sites[b], "POST", "/logout", &both).await;
            for site in &sites {
                assert_eq!(raw(site, "GET", "/read/user", &both).await.body, "none", "{mode:?}: {a} and {b}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_request_brings_no_old_cookie_back_from_any_node() {
    let gate = Arc::new(Barrier::new(2));
    for mode in MODES {
        let cluster = Cluster::start(3, mode).await;
        let site = |node: &Mesh| {
            let waiting = gate.clone();
            let slow = get(async move |_: Session| {
                waiting.wait().await;
                waiting.wait().await;
            });
            let cookie = SessionCookie::default().max_age(Duration::from_secs(3_600));
            let layer = SessionLayer::new(node.clone()).cookie(cookie).expect("the default name");
            routes().route("/slow", slow).layer(layer)
        };
        let sites: Vec<Router> = cluster.nodes().iter().map(site).collect();
        for (a, b) in pairs() {
            let mut browser = Browser::default();
            browser.post(&sites[a], "/write/cart/tea").await;
            let before = [cookie(browser.id().expect("a session"))];
            let login = async {
                gate.wait().await;
                browser.post(&sites[a], "/login/ada").await;
                gate.wait().await;
            };
            let (slow, ()) = tokio::join!(raw(&sites[b], "GET", "/slow", &before), login);
            assert!(slow.cookie().is_none(), "{mode:?}: login on {a}, slow on {b}: {slow:?}");
            let good = cookie(browser.id().expect("a session"));
            assert_eq!(raw(&sites[b], "GET", "/read/user", &[good]).await.cookies().count(), 1, "the good one slides");
        }
    }
}
