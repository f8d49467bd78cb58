//! The admin API: what it shows of a cluster, what it changes, and whom it answers.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use futures::StreamExt as _;
use serde_json::{Value, json};
use sessionmesh::{Mesh, MeshBuilder, Mode, SessionId, UserIndex};
use sessionmesh_admin::{Admin, Body, EventStream, Request, Token};
use sessionmesh_testkit::cluster::{Cluster, PATIENCE, check, create_sessions, eventually_async, log_in};
use tokio::time::timeout;

const TOKEN: &str = "a-token-of-this-test-only";

/// Asks as a program on this machine does. The status, and what was answered.
async fn ask(admin: &Admin, method: &str, path: &str, body: Value) -> (u16, Value) {
    send(admin, method, path, body, Some("127.0.0.1"), &[("host", "localhost:7777")]).await
}

async fn send(
    admin: &Admin,
    method: &str,
    path: &str,
    body: Value,
    from: Option<&str>,
    headers: &[(&str, &str)],
) -> (u16, Value) {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let (parts, ()) = request.body(()).expect("it is well-formed").into_parts();
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let from = from.map(|from| from.parse::<IpAddr>().expect("an address"));
    let answer = admin.answer(&Request { parts, body: body.into(), from }).await;
    let Body::Whole(body) = answer.body() else { panic!("{path} has no end") };
    let text = String::from_utf8_lossy(body).into_owned();
    let (status, shown) = (answer.status().as_u16(), serde_json::from_str(&text).unwrap_or(Value::String(text)));
    is_as_described(method, path, status, &shown);
    (status, shown)
}

/// The description of the API.
static DESCRIPTION: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("../../../crates/sessionmesh-admin/src/openapi.json");
    serde_json::from_str(text).expect("it is JSON")
});

/// Holds an answer against the description.
fn is_as_described(method: &str, path: &str, status: u16, shown: &Value) {
    let path = path.split('?').next().unwrap_or_default();
    let described = &DESCRIPTION["paths"][path];
    let Some(operation) = described.get(method.to_lowercase()) else {
        assert!([404, 405].contains(&status), "{method} {path} is not described and gives {status}");
        return;
    };
    let answer = &operation["responses"][status.to_string()];
    assert!(answer.is_object(), "{method} {path} may not give {status}: {shown}");
    let Some(schema) = answer["content"]["application/json"].get("schema") else {
        assert!(shown.is_string(), "{method} {path} gives text");
        return;
    };
    let mut schema = schema.clone();
    schema["components"] = DESCRIPTION["components"].clone();
    let validator = jsonschema::validator_for(&schema).expect("it is a schema");
    let faults: Vec<_> =
        validator.iter_errors(shown).map(|fault| format!("{fault} at {}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{method} {path}: {faults:?} in {shown}");
}

async fn get(admin: &Admin, path: &str) -> Value {
    let (status, shown) = ask(admin, "GET", path, Value::Null).await;
    assert_eq!(status, 200, "{path}: {shown}");
    shown
}

fn indexed(builder: MeshBuilder) -> MeshBuilder {
    builder.mode(Mode::PrimaryBackup { backups: 1 }).user_index(UserIndex::attribute("user"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_members_slots_and_what_a_node_holds() {
    let cluster = Cluster::start_with(3, indexed).await;
    create_sessions(&cluster[0], 30).await;
    let admin = Admin::new(cluster[1].clone());

    let members = get(&admin, "/v1/members").await;
    let members = members["members"].as_array().expect("a list");
    let names: Vec<_> = members.iter().map(|member| member["name"].as_str().expect("a name")).collect();
    assert_eq!(names, ["n0", "n1", "n2"]);
    let slots: u64 = members.iter().map(|member| member["primary_of_slots"].as_u64().expect("a number")).sum();
    assert_eq!(slots, 4096, "each slot has a primary");
    assert!(members.iter().all(|member| member["state"] == "ready" && member["suspected"] == false));
    let links: Vec<_> = members.iter().map(|member| member["link"]["up"].clone()).collect();
    assert_eq!(links, [json!(true), Value::Null, json!(true)], "it has none to itself");

    let shown = get(&admin, "/v1/slots").await;
    let owners = shown["owners"].as_array().expect("a list");
    assert_eq!(owners.len(), 4096);
    assert!(
        owners.iter().all(|owners| owners.as_array().is_some_and(|owners| owners.len() == 2 && owners[0] != owners[1]))
    );

    let held = async |node: &Mesh| {
        let stats = get(&Admin::new(node.clone()), "/v1/stats").await;
        let count = |role: &str| stats["sessions"][role].as_u64().expect("a number");
        (count("primary"), count("replica"))
    };
    let told: u64 = members.iter().map(|member| member["figures"]["primary"].as_u64().expect("each answers")).sum();
    assert_eq!(told, 30, "each says what it holds itself");
    let mut sum = (0, 0);
    for node in cluster.nodes() {
        let (primary, replica) = held(node).await;
        sum = (sum.0 + primary, sum.1 + replica);
    }
    assert_eq!(sum, (30, 30), "each session has one primary and one replica");
    assert_eq!(get(&admin, "/v1/health").await["state"], "ready");
    let config = get(&admin, "/v1/config").await;
    assert_eq!(config["settings"]["name"], "n1");
    assert!(config["settings"]["secret"].is_null(), "secrets are hidden: {config}");
    assert_eq!(
        (&config["origins"]["name"], &config["origins"]["zone"]),
        (&json!("the program"), &json!("the default"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_a_session_with_its_copies_and_ends_it() {
    let cluster = Cluster::start_with(3, indexed).await;
    let id = log_in(&cluster[0], "ada").await.id();
    cluster.settled().await;
    let body = json!({ "id": id.encode() });
    for node in cluster.nodes() {
        let admin = Admin::new(node.clone());
        let (status, shown) = ask(&admin, "POST", "/v1/sessions/find", body.clone()).await;
        assert_eq!((status, &shown["copies_equal"]), (200, &json!(true)), "{shown}");
        let copies = shown["copies"].as_array().expect("a list");
        let of = |state: &str| copies.iter().filter(|copy| copy["state"] == state).count();
        assert_eq!((copies.len(), of("live"), of("nothing")), (3, 2, 1), "{shown}");
        let live: Vec<_> = copies.iter().filter(|copy| copy["state"] == "live").collect();
        assert_eq!(live[0]["digest"], live[1]["digest"]);
        assert_eq!(live.iter().filter(|copy| copy["primary"] == true).count(), 1);
        assert_eq!(live[0]["content"]["attributes"], 1);
        let text = shown.to_string();
        assert!(
            !text.contains(&id.encode()) && !text.contains("ada"),
            "neither its id nor its values are shown: {text}"
        );
    }
    let admin = Admin::new(cluster[2].clone());
    let (status, shown) = ask(&admin, "POST", "/v1/sessions/end", body.clone()).await;
    assert_eq!((status, &shown["ended"]), (200, &json!(true)), "{shown}");
    cluster.serves_none_of(&[id], "ended by an operator").await;
    let (status, shown) = ask(&admin, "POST", "/v1/sessions/end", body.clone()).await;
    assert_eq!((status, &shown["error"]), (404, &json!("no_such_session")));
    eventually_async(PATIENCE, async || {
        let (_, shown) = ask(&admin, "POST", "/v1/sessions/find", body.clone()).await;
        let ended = shown["copies"].as_array().expect("a list").iter().filter(|copy| copy["state"] == "ended").count();
        check(ended == 2, || format!("both owners have the tombstone: {shown}"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_shows_values_only_where_that_is_allowed() {
    let cluster = Cluster::start_with(2, indexed).await;
    let id = log_in(&cluster[0], "ada").await.id();
    let body = json!({ "id": id.encode(), "reveal": true });
    let (status, shown) = ask(&Admin::new(cluster[1].clone()), "POST", "/v1/sessions/find", body.clone()).await;
    assert_eq!((status, &shown["error"]), (403, &json!("reveal_not_allowed")));
    let (status, shown) = ask(&Admin::new(cluster[1].clone()).reveal(true), "POST", "/v1/sessions/find", body).await;
    assert_eq!((status, &shown["values"]), (200, &json!({ "user": "ada" })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_finds_and_ends_all_sessions_of_a_user() {
    let cluster = Cluster::start_with(3, indexed).await;
    let mut ids = Vec::new();
    for node in cluster.nodes() {
        ids.push(log_in(node, "ada").await.id());
    }
    let other = log_in(&cluster[0], "bob").await.id();
    let admin = Admin::new(cluster[1].clone());
    let (status, shown) = ask(&admin, "POST", "/v1/users/find", json!({ "user": "ada" })).await;
    assert_eq!((status, shown["sessions"].as_array().map(Vec::len)), (200, Some(3)), "{shown}");
    let (status, shown) = ask(&admin, "POST", "/v1/users/end", json!({ "user": "ada" })).await;
    assert_eq!((status, shown), (200, json!({ "ended": 3, "unconfirmed": 0 })));
    cluster.serves_none_of(&ids, "logged out by an operator").await;
    assert!(cluster[2].load(other).await.expect("calm").is_some(), "nobody else is");

    let without = Cluster::start(1, Mode::AllToAll).await;
    let (status, shown) =
        ask(&Admin::new(without[0].clone()), "POST", "/v1/users/find", json!({ "user": "ada" })).await;
    assert_eq!((status, &shown["error"]), (404, &json!("no_user_index")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_ask_gets_no_answer_and_changes_nothing() {
    let cluster = Cluster::start_with(1, indexed).await;
    let id = log_in(&cluster[0], "ada").await.id();
    let drained = Arc::new(AtomicBool::new(false));
    let admin = {
        let drained = drained.clone();
        let admin = Admin::new(cluster[0].clone()).token(Token::new(TOKEN).expect("it is long"));
        admin.metrics(String::new).on_drain(move || drained.store(true, Ordering::SeqCst))
    };
    let session = json!({ "id": id.encode() });
    let user = json!({ "user": "ada" });
    let calls = [
        ("POST", "/v1/sessions/end", session.clone()),
        ("POST", "/v1/sessions/find", session),
        ("POST", "/v1/users/end", user.clone()),
        ("POST", "/v1/users/find", user),
        ("POST", "/v1/drain", Value::Null),
        ("GET", "/v1/members", Value::Null),
        ("GET", "/v1/config", Value::Null),
        ("GET", "/v1/events", Value::Null),
        ("GET", "/metrics", Value::Null),
        ("GET", "/openapi.json", Value::Null),
    ];
    let right = format!("Bearer {TOKEN}");
    let wrong = right.replace("this", "that");
    for (method, path, body) in calls {
        let refused = async |from: &str, headers: &[(&str, &str)], expected: u16| {
            let (status, shown) = send(&admin, method, path, body.clone(), Some(from), headers).await;
            assert_eq!(status, expected, "{path} from {from} with {headers:?}: {shown}");
            assert_eq!(shown["error"], "denied", "{shown}");
        };
        refused("192.0.2.1", &[("host", "node:7777")], 401).await;
        refused("192.0.2.1", &[("host", "localhost:7777")], 401).await;
        refused("192.0.2.1", &[("host", "node:7777"), ("authorization", &wrong)], 401).await;
        refused("127.0.0.1", &[("host", "localhost:7777"), ("authorization", &wrong)], 401).await;
        refused("127.0.0.1", &[("host", "evil.example:7777")], 403).await;
        refused("127.0.0.1", &[("host", "localhost:7777"), ("origin", "http://evil.example")], 403).await;
        refused("127.0.0.1", &[("host", "localhost:7777"), ("x-forwarded-for", "192.0.2.1")], 401).await;
    }
    assert!(!drained.load(Ordering::SeqCst));
    assert!(cluster[0].load(id).await.expect("calm").is_some(), "nothing was ended");
    let elsewhere = [("host", "node:7777"), ("authorization", right.as_str())];
    let (status, _) = send(&admin, "POST", "/v1/drain", Value::Null, Some("192.0.2.1"), &elsewhere).await;
    assert_eq!((status, drained.load(Ordering::SeqCst)), (202, true));
    for probe in ["/livez", "/readyz"] {
        let (status, shown) = send(&admin, "GET", probe, Value::Null, None, &[]).await;
        assert_eq!(
            (status, shown.as_str().map(|text| text.starts_with("ready"))),
            (200, Some(true)),
            "probes have no token"
        );
    }
}

/// A stream of events of this node.
async fn stream(admin: &Admin, query: &str) -> Result<EventStream, u16> {
    let uri = format!("/v1/events{query}");
    let (parts, ()) =
        http::Request::get(uri).header("host", "localhost").body(()).expect("it is well-formed").into_parts();
    let from = Some("127.0.0.1".parse().expect("an address"));
    let answer = admin.answer(&Request { parts, body: Vec::new().into(), from }).await;
    let status = answer.status().as_u16();
    match answer.into_body() {
        Body::Events(stream) => Ok(stream),
        _ => Err(status),
    }
}

/// Reads until something with each of `words` comes.
async fn told(stream: &mut EventStream, words: &[&str]) -> String {
    let reading = async {
        loop {
            let bytes = stream.next().await.expect("the node runs");
            let text = String::from_utf8(bytes.to_vec()).expect("text");
            if words.iter().all(|word| text.contains(word)) {
                return text;
            }
        }
    };
    timeout(PATIENCE, reading).await.unwrap_or_else(|_| panic!("{words:?} does not come"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_tells_of_events_and_figures_as_they_come() {
    let mut cluster = Cluster::start_with(2, indexed).await;
    let admin = Admin::new(cluster[0].clone());
    let mut events = stream(&admin, "").await.expect("there is room");
    let mut all = stream(&admin, "?sessions=true&figures=true").await.expect("there is room");
    log_in(&cluster[0], "ada").await;
    let figures = told(&mut all, &["event: figures", "\"n0\"", "\"n1\""]).await;
    assert!(figures.ends_with("\n\n"), "{figures}");
    cluster.crash("n1");
    let down = told(&mut events, &["event: event", "member_down"]).await;
    assert!(down.contains("member down: n1") && !down.contains("session_created"), "{down}");
    let session = cluster[0].create().await.expect("far from full");
    session.commit().await.expect("it is alone");
    told(&mut all, &["session_created"]).await;

    drop((events, all));
    let mut open = Vec::new();
    let refused = loop {
        match stream(&admin, "").await {
            Ok(stream) => open.push(stream),
            Err(status) => break status,
        }
    };
    assert_eq!((open.len(), refused), (64, 503), "and not more");
    open.pop();
    let mut last = stream(&admin, "").await.expect("one was closed");
    drop((admin, session));
    cluster.leave("n0").await;
    let ends = async { while last.next().await.is_some() {} };
    timeout(PATIENCE, ends).await.expect("it ends with the node");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mistakes_get_a_word_and_a_sentence() {
    let cluster = Cluster::start_with(1, indexed).await;
    let admin = Admin::new(cluster[0].clone());
    for (method, path, body, status, error) in [
        ("GET", "/v1/nothing", Value::Null, 404, "no_such_path"),
        ("POST", "/v1/members", Value::Null, 405, "wrong_method"),
        ("GET", "/v1/sessions/find", Value::Null, 405, "wrong_method"),
        ("POST", "/v1/sessions/find", Value::Null, 400, "malformed"),
        ("POST", "/v1/sessions/find", json!({ "id": "abc" }), 400, "malformed"),
        ("POST", "/v1/sessions/find", json!({ "ID": "abc" }), 400, "malformed"),
        ("POST", "/v1/users/find", json!({ "user": 1 }), 400, "malformed"),
        ("GET", "/metrics", Value::Null, 404, "no_metrics"),
        ("POST", "/v1/drain", Value::Null, 404, "no_drain"),
    ] {
        let (got, shown) = ask(&admin, method, path, body).await;
        assert_eq!((got, shown["error"].as_str()), (status, Some(error)), "{method} {path}: {shown}");
        assert!(shown["text"].as_str().is_some_and(|text| text.len() > 15), "{shown}");
    }
}

#[test]
fn the_description_calls_session_ids_what_the_api_takes_for_them() {
    for path in ["/v1/sessions/find", "/v1/sessions/end"] {
        let schema = &DESCRIPTION["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"];
        let validator = jsonschema::validator_for(schema).expect("it is a schema");
        let is_one = |id: &str| {
            let decoded = SessionId::decode(id).is_ok();
            assert_eq!(validator.is_valid(&json!({ "id": id })), decoded, "{path}: {id:?}");
            decoded
        };
        // 22 characters hold four bits more than an id has, and these are zero.
        let last = (0..128_u8).map(char::from).filter(|last| is_one(&format!("{}{last}", "z".repeat(21)))).count();
        assert_eq!(last, 4, "so there are four that it may end with");
        assert!(!is_one("") && !is_one(&"A".repeat(21)) && !is_one(&"A".repeat(23)) && is_one(&"A".repeat(22)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_says_in_words_why_it_is_not_ready() {
    let mut cluster = Cluster::start_with(1, |builder| builder.mode(Mode::AllToAll)).await;
    let waits = cluster.launch("waits", |builder| builder.min_members(3_u16)).await;
    let admin = Admin::new(waits.clone());
    let (status, shown) = ask(&admin, "GET", "/readyz", Value::Null).await;
    let text = shown.as_str().expect("text").to_owned();
    assert_eq!(status, 503, "{text}");
    eventually_async(PATIENCE, async || {
        let (_, shown) = ask(&admin, "GET", "/readyz", Value::Null).await;
        let text = shown.as_str().unwrap_or_default();
        check(text.contains("there are 2 members, and `min_members` is 3"), || format!("it says: {text}"))
    })
    .await;
    assert_eq!(ask(&admin, "GET", "/livez", Value::Null).await.0, 200, "it need not be started again");
    let left = cluster.take("waits");
    left.leave(PATIENCE).await.expect("it holds nothing");
    let (status, shown) = ask(&admin, "GET", "/readyz", Value::Null).await;
    assert_eq!((status, shown.as_str()), (503, Some("left: this node has left the cluster\n")));
}
