//! The cookie: what is taken for one, what is given.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use http::header::{CACHE_CONTROL, SET_COOKIE, VARY};
use http::{HeaderName, HeaderValue, Request, StatusCode};
use sessionmesh::SessionId;

use super::site::{NAME, Visitor, mesh, routes, send, send_request, site};
use crate::{CookieError, Key, Priority, RouteCookie, SameSite, Session, SessionCookie, SessionLayer};

#[tokio::test]
async fn bogus_and_malformed_cookies_are_none() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let bogus = SessionId::from_bytes([7; 16]).encode();
    let cookies = [
        format!("{NAME}={bogus}"),
        NAME.to_owned(),
        format!("{NAME}="),
        format!("{NAME}=../../etc/passwd"),
        format!("{NAME}={}", "A".repeat(100_000)),
        format!("{NAME}=%41%41; ;;==;\u{a0}=x; {NAME}={bogus}x"),
        ";".repeat(5_000),
        vec![format!("{NAME}={bogus}"); 500].join(";"),
    ];
    for cookie in cookies {
        let answer = send(&site, "GET", "/read/user", Some(&cookie)).await;
        assert_eq!((answer.status, answer.body.as_str(), answer.set().len()), (StatusCode::OK, "none", 0));
        let answer = send(&site, "POST", "/write/color/blue", Some(&cookie)).await;
        assert_eq!((answer.status, answer.set().len()), (StatusCode::OK, 1));
        assert!(!answer.set()[0].contains(&bogus), "an id that somebody made up is never taken over");
    }
}

#[tokio::test]
async fn the_cookie_is_found_among_others_whatever_they_hold() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let ours = visitor.cookie().unwrap();
    let latin = [b"theme=caf\xe9; ", ours.as_bytes(), b";x"].concat();
    for cookie in [format!("a=b;{ours}").into_bytes(), format!("a=b; {ours} ; c=d=e").into_bytes(), latin] {
        let request = Request::builder().uri("/read/color").header("cookie", HeaderValue::from_bytes(&cookie).unwrap());
        assert_eq!(send_request(&site, request.body(axum::body::Body::empty()).unwrap()).await.body, "blue");
    }
    let two = Request::builder().uri("/read/color").header("cookie", "a=b").header("cookie", &ours);
    assert_eq!(send_request(&site, two.body(axum::body::Body::empty()).unwrap()).await.body, "blue");
}

#[tokio::test]
async fn of_several_cookies_the_first_that_has_a_session_is_taken() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let (mut one, mut other) = (Visitor::default(), Visitor::default());
    one.post(&site, "/write/color/blue").await;
    other.post(&site, "/write/color/red").await;
    let (one, other) = (one.cookie().unwrap(), other.cookie().unwrap());
    let stale = format!("{NAME}={}; {NAME}=rubbish", SessionId::from_bytes([7; 16]).encode());
    assert_eq!(send(&site, "GET", "/read/color", Some(&format!("{stale}; {one}; {other}"))).await.body, "blue");
    assert_eq!(send(&site, "GET", "/read/color", Some(&format!("{other}; {one}"))).await.body, "red");
}

#[tokio::test]
async fn cookies_that_somebody_planted_hide_no_good_one() {
    let mesh = mesh().await;
    let site = site(&mesh);
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let good = visitor.cookie().unwrap();
    for planted in [4, 5, 60, 180] {
        let planted: Vec<_> =
            (0..planted).map(|n| format!("{NAME}={}", SessionId::from_bytes([n; 16]).encode())).collect();
        let cookies = format!("{}; {good}", planted.join("; "));
        assert_eq!(send(&site, "GET", "/read/color", Some(&cookies)).await.body, "blue", "{}", planted.len());
    }
}

#[tokio::test]
async fn a_logout_ends_all_sessions_that_were_presented_and_takes_all_cookies_back() {
    let mesh = mesh().await;
    let cookie = SessionCookie::new("sid").path("/shop").domain("example.org");
    let site = Router::new().nest("/shop", routes()).layer(SessionLayer::new(mesh.clone()).cookie(cookie).unwrap());
    let mut request_cookies = Vec::new();
    for user in ["ada", "bob", "eve"] {
        let answer = send(&site, "POST", &format!("/shop/login/{user}"), None).await;
        request_cookies.push(answer.set()[0].split(';').next().unwrap().to_owned());
    }
    assert_eq!(mesh.stats().sessions, 3);
    let answer = send(&site, "POST", "/shop/logout", Some(&request_cookies.join("; "))).await;
    assert_eq!(mesh.stats().sessions, 0);
    let gone = |scope: &str| format!("sid=; HttpOnly; SameSite=Lax; Secure; {scope}; Max-Age=0");
    let set = answer.set();
    assert_eq!(set[0], gone("Path=/shop; Domain=example.org"), "first of all the one that this site gives");
    for path in ["/", "/shop", "/shop/", "/shop/logout"] {
        assert!(set.contains(&gone(&format!("Path={path}")).as_str()), "of this very host, {path}: {set:?}");
        assert!(set.contains(&gone(&format!("Path={path}; Domain=example.org")).as_str()), "{path}: {set:?}");
    }
    assert_eq!(set.len(), 8, "each once");
    let deep = "/shop".to_owned() + &"/a".repeat(1_000);
    assert!(send(&site, "POST", &deep, Some("sid=x; sid=y")).await.set().len() <= 18);
    assert_eq!(send(&site, "POST", "/shop/logout", Some("sid=x")).await.set().len(), 1);
}

#[tokio::test]
async fn cookies_are_set_beside_those_of_others_and_kept_from_caches() {
    let mesh = mesh().await;
    let with = |name: HeaderName, value: &'static str| {
        post(async move |session: Session| {
            session.insert("color", "blue").unwrap();
            ([(name.clone(), value)], "done")
        })
    };
    let site = routes()
        .route("/other", with(SET_COOKIE, "theme=dark"))
        .route("/public", with(CACHE_CONTROL, "public, max-age=600"))
        .route("/private", with(CACHE_CONTROL, "max-age=5, Private"))
        .route("/cached", get(async |_: Session| ([(CACHE_CONTROL, "public")], "done")))
        .layer(SessionLayer::new(mesh.clone()));
    let answer = send(&site, "POST", "/other", None).await;
    assert_eq!((answer.set().len(), answer.set()[0], answer.cache()), (2, "theme=dark", vec!["no-store"]));
    assert_eq!(send(&site, "POST", "/public", None).await.cache(), ["no-store"]);
    assert_eq!(send(&site, "POST", "/private", None).await.cache(), ["max-age=5, Private"]);
    assert_eq!(send(&site, "GET", "/cached", None).await.cache(), ["public"], "no cookie was set");
}

#[tokio::test]
async fn a_cookie_with_an_age_of_its_own_is_sent_again_with_each_use() {
    let mesh = mesh().await;
    let layer = SessionLayer::new(mesh.clone());
    let site = routes().layer(layer.cookie(SessionCookie::default().max_age(Duration::from_secs(3_600))).unwrap());
    let mut visitor = Visitor::default();
    let first = visitor.post(&site, "/write/color/blue").await;
    assert!(first.set()[0].ends_with("; Path=/; Max-Age=3600"), "{first:?}");
    let commits = mesh.stats().commits;
    let used = visitor.ask(&site, "GET", "/read/color").await;
    assert_eq!(used.set(), first.set());
    assert_eq!(mesh.stats().commits, commits, "which costs nothing between the nodes");
    assert!(visitor.ask(&site, "GET", "/quiet").await.set().is_empty());
    assert!(send(&site, "GET", "/read/color", None).await.set().is_empty());
}

#[tokio::test]
async fn a_slow_request_does_not_bring_the_cookie_of_a_renewed_session_back() {
    let mesh = mesh().await;
    let gate = std::sync::Arc::new(tokio::sync::Barrier::new(2));
    let waiting = gate.clone();
    let slow = get(async move |_: Session| {
        waiting.wait().await;
        waiting.wait().await;
    });
    let cookie = SessionCookie::default().max_age(Duration::from_secs(3_600));
    let site = routes().route("/slow", slow).layer(SessionLayer::new(mesh.clone()).cookie(cookie).unwrap());
    let mut visitor = Visitor::default();
    visitor.post(&site, "/write/color/blue").await;
    let old = visitor.cookie();
    let other = async {
        gate.wait().await;
        visitor.post(&site, "/login/ada").await;
        gate.wait().await;
    };
    let (answer, ()) = tokio::join!(send(&site, "GET", "/slow", old.as_deref()), other);
    assert!(answer.set().is_empty(), "{answer:?}");
}

#[tokio::test]
async fn signed_cookies_cannot_be_made_up_and_keys_can_be_changed() {
    let mesh = mesh().await;
    let site = |cookie| routes().layer(SessionLayer::new(mesh.clone()).cookie(cookie).unwrap());
    let (old, new) = (Key::from(&[1; 64]), Key::from(&[2; 64]));
    let before = site(SessionCookie::default().signed(old.clone()));
    let between = site(SessionCookie::default().signed(new.clone()).also_accepts(old));
    let after = site(SessionCookie::default().signed(new));
    let mut visitor = Visitor::default();
    visitor.post(&before, "/write/color/blue").await;
    assert_eq!(visitor.get(&before, "/read/color").await, "blue");
    assert_eq!(visitor.get(&between, "/read/color").await, "blue");
    let early = visitor.clone().get(&after, "/read/color").await;
    assert_eq!(early, "none", "the old key is not accepted any more");
    visitor.post(&between, "/login/ada").await;
    assert_eq!(visitor.get(&after, "/read/color").await, "blue", "what is given is signed with the new one");

    let signed = visitor.cookies[NAME].clone();
    let (signature, id) = signed.split_at(44);
    let turned: String = signature.chars().rev().collect();
    for forged in [id.to_owned(), format!("{turned}{id}"), format!("{signature}{id}x"), signed[1..].to_owned()] {
        let reads = mesh.stats();
        let answer = send(&after, "GET", "/read/color", Some(&format!("{NAME}={forged}"))).await;
        assert_eq!((answer.status, answer.body.as_str()), (StatusCode::OK, "none"));
        assert_eq!(mesh.stats(), reads, "nobody was asked");
    }
}

#[tokio::test]
async fn a_cookie_can_have_another_name_and_scope() {
    let mesh = mesh().await;
    let cookie = SessionCookie::new("sid").secure(false).http_only(false).path("/shop").domain("example.org");
    let site = routes().layer(SessionLayer::new(mesh.clone()).cookie(cookie.same_site(SameSite::Strict)).unwrap());
    let mut visitor = Visitor::default();
    let answer = visitor.post(&site, "/write/color/blue").await;
    assert!(answer.set()[0].starts_with("sid="));
    assert!(answer.set()[0].ends_with("; SameSite=Strict; Path=/shop; Domain=example.org"), "{answer:?}");
    assert_eq!(visitor.get(&site, "/read/color").await, "blue");
    let answer = visitor.post(&site, "/logout").await;
    assert_eq!(answer.set(), ["sid=; SameSite=Strict; Path=/shop; Domain=example.org; Max-Age=0"]);
}

#[tokio::test]
async fn cookies_that_browsers_would_not_take_are_refused() {
    let mesh = mesh().await;
    let refused = |cookie| SessionLayer::new(mesh.clone()).cookie(cookie).unwrap_err();
    let host = || SessionCookie::new("__Host-sid");
    let named = || NAME.replace("session", "sid");
    for cookie in [host().secure(false), host().path("/shop"), host().domain("example.org")] {
        assert_eq!(refused(cookie), CookieError::HostPrefix(named()));
    }
    let secure = SessionCookie::new("__secure-sid").secure(false);
    assert_eq!(refused(secure), CookieError::SecurePrefix("__secure-sid".to_owned()));
    assert_eq!(refused(SessionCookie::new("a b")), CookieError::Name("a b".to_owned()));
    assert_eq!(refused(SessionCookie::new("")), CookieError::Name(String::new()));
    let plain = || SessionCookie::new("sid");
    assert_eq!(refused(plain().path("shop")), CookieError::Path("shop".to_owned()));
    assert_eq!(refused(plain().path("/;x")), CookieError::Path("/;x".to_owned()));
    assert_eq!(refused(plain().domain("a; Max-Age=9")), CookieError::Domain("a; Max-Age=9".to_owned()));
    assert_eq!(refused(plain().secure(false).same_site(SameSite::None)), CookieError::CrossSiteNotSecure);
    assert_eq!(refused(plain().secure(false).partitioned(true)), CookieError::PartitionedNotSecure);
    let routed = SessionLayer::new(mesh.clone()).route_cookie(RouteCookie::new("sid")).unwrap();
    assert_eq!(routed.cookie(plain()).unwrap_err(), CookieError::SameName("sid".to_owned()));
    let key = format!("{:?}", plain().signed(Key::from(&[1; 64])));
    assert!(key.contains("signed: true") && !key.contains("key"), "keys are not printed: {key}");
}

#[tokio::test]
async fn a_response_to_a_request_that_used_the_session_says_so_to_caches() {
    let mesh = mesh().await;
    let own = get(async |_: Session| ([(CACHE_CONTROL, "max-age=5"), (VARY, "Accept, cookie")], "done"));
    let adds = get(async |_: Session| ([(VARY, "Accept")], "done"));
    let routes = || routes().route("/own", own.clone()).route("/adds", adds.clone());
    let site = routes().layer(SessionLayer::new(mesh.clone()));
    let vary = |answer: &super::site::Answer| {
        answer.headers.get_all(VARY).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let mut visitor = Visitor::default();
    let answer = visitor.post(&site, "/write/color/blue").await;
    assert_eq!((answer.cache(), vary(&answer)), (vec!["no-store"], vec!["Cookie".to_owned()]));
    let answer = visitor.ask(&site, "GET", "/read/color").await;
    assert_eq!((answer.cache(), vary(&answer)), (vec!["private, no-cache"], vec!["Cookie".to_owned()]));
    let answer = visitor.ask(&site, "GET", "/own").await;
    assert_eq!((answer.cache(), vary(&answer)), (vec!["max-age=5"], vec!["Accept, cookie".to_owned()]));
    assert_eq!(vary(&visitor.ask(&site, "GET", "/adds").await), ["Accept", "Cookie"]);
    let answer = visitor.ask(&site, "GET", "/quiet").await;
    assert!(answer.cache().is_empty() && vary(&answer).is_empty(), "it did not use the session");

    let site = routes().layer(SessionLayer::new(mesh.clone()).cache_headers(false));
    let answer = visitor.ask(&site, "GET", "/read/color").await;
    assert!(answer.cache().is_empty() && vary(&answer).is_empty(), "switched off");
    assert_eq!(
        Visitor::default().post(&site, "/write/color/blue").await.cache(),
        ["no-store"],
        "a cookie is another thing"
    );
}

#[tokio::test]
async fn a_visitor_who_wants_to_be_remembered_has_a_cookie_that_stays() {
    let mesh = mesh().await;
    let remember = post(async |session: Session| {
        session.renew();
        session.insert("user", "ada").unwrap();
        session.remember_for(Duration::from_secs(86_400));
        assert_eq!(session.cookie_max_age(), Some(Duration::from_secs(86_400)));
    });
    let forget = post(async |session: Session| session.set_cookie_max_age(None));
    let show = get(async |session: Session| format!("{:?} {:?}", session.keys(), session.max_inactive()));
    let routes = || {
        let routes = routes().route("/remember", remember.clone());
        routes.route("/forget", forget.clone()).route("/show", show.clone())
    };
    let site = routes().layer(SessionLayer::new(mesh.clone()));
    let mut visitor = Visitor::default();
    assert!(visitor.post(&site, "/forget").await.set().is_empty(), "that makes no session");
    let mut other = visitor.clone();
    other.post(&site, "/login/bob").await;
    let answer = visitor.post(&site, "/remember").await;
    assert!(answer.set()[0].ends_with("; Path=/; Max-Age=86400"), "{answer:?}");
    let used = visitor.ask(&site, "GET", "/show").await;
    assert_eq!((used.set(), used.body.as_str()), (answer.set(), "[\"user\"] 86400s"));
    assert!(other.ask(&site, "GET", "/show").await.set().is_empty(), "another visitor's ends with the browser");
    let renewed = visitor.post(&site, "/login/ada").await;
    assert!(renewed.set()[0].ends_with("; Max-Age=86400"), "it goes along: {renewed:?}");
    let forgotten = visitor.post(&site, "/forget").await;
    assert!(forgotten.set()[0].ends_with("; Path=/"), "{forgotten:?}");
    assert!(visitor.ask(&site, "GET", "/show").await.set().is_empty());

    // Where cookies stay, one that does not.
    let stays = SessionCookie::default().max_age(Duration::from_secs(60));
    let site = routes().layer(SessionLayer::new(mesh).cookie(stays).unwrap());
    assert!(visitor.ask(&site, "GET", "/show").await.set().is_empty());
    assert!(other.ask(&site, "GET", "/show").await.set()[0].ends_with("; Max-Age=60"));
}

#[tokio::test]
async fn a_cookie_can_be_partitioned_and_have_a_priority() {
    let mesh = mesh().await;
    let cookie = SessionCookie::default().same_site(SameSite::None).partitioned(true).priority(Priority::High);
    let layer = SessionLayer::new(mesh).cookie(cookie).unwrap().route_cookie(RouteCookie::new("route")).unwrap();
    let site = routes().layer(layer);
    let mut visitor = Visitor::default();
    let given = visitor.post(&site, "/login/ada").await;
    assert!(
        given.set()[0].ends_with("; HttpOnly; SameSite=None; Partitioned; Secure; Path=/; Priority=High"),
        "{given:?}"
    );
    assert!(given.set()[1].contains("; Partitioned;"), "{given:?}");
    let taken = visitor.post(&site, "/logout").await;
    assert!(taken.set()[0].contains("=; ") && taken.set()[0].contains("; Partitioned;"), "{taken:?}");
}
