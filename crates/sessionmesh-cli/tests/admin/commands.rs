//! The commands of operators: their text, their JSON, and how they fail.

use std::process::Stdio;

use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use tokio::time::timeout;

use crate::node::{PATIENCE, log_in, node, started};

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// What the program answers an operator.
async fn say(at: &str, args: &[&str], stdin: &str) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sessionmesh"));
    command.args(args).env("SESSIONMESH_ADMIN", at);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).await.unwrap();
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("it ends").unwrap();
    Said {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// It goes well, and says each of `words`; with `--json` it says JSON.
async fn says(at: &str, args: &[&str], words: &[&str]) -> serde_json::Value {
    let Said { code, stdout, stderr } = say(at, args, "").await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}: {stdout}");
    assert!(words.iter().all(|word| stdout.contains(word)), "{args:?} says {words:?}:\n{stdout}");
    assert!(!stdout.contains('\u{1b}'), "no colours without a terminal");
    let Said { code, stdout, .. } = say(at, &[args, &["--json"]].concat(), "").await;
    assert_eq!(code, Some(0), "{stdout}");
    serde_json::from_str(&stdout).unwrap()
}

#[tokio::test]
async fn operators_see_and_end_sessions_from_the_command_line() {
    let mut command = node(&["--admin", "127.0.0.1:0"]);
    command.env("SESSIONMESH_USER_ATTRIBUTE", "user");
    let (mut child, line) = started(command).await;
    let (_, at) = line.split_once(", admin http://").unwrap();
    let (_, http) = line.split_once("is ready: http://").unwrap();
    let http = http.split(',').next().unwrap();
    let id = log_in(http, "ada").await;

    let shown = says(at, &["status"], &["web-1 of cluster", "ready", "1 as primary, 0 as replica", "alone: "]).await;
    assert_eq!((&shown["health"]["state"], &shown["stats"]["sessions"]["all"]), (&"ready".into(), &1.into()));
    let shown = says(at, &["members"], &["name", "web-1", "ready", "4,096", "(this node)"]).await;
    assert_eq!(shown["members"].as_array().unwrap().len(), 1);
    let shown =
        says(at, &["session", &id], &["all copies are equal", "web-1", "primary", "live", "1 attribute,"]).await;
    assert_eq!(shown["copies"][0]["state"], "live");
    let shown = says(at, &["user", "ada"], &["ada has 1 session", "idle for"]).await;
    assert_eq!(shown["sessions"].as_array().unwrap().len(), 1);

    // The id from stdin, where nobody sees it; then there is no such session any more.
    let Said { code, stdout, .. } = say(at, &["end", "-"], &format!("{id}\n")).await;
    assert_eq!((code, stdout.as_str()), (Some(0), "ended 1 session\n"));
    let Said { code, stderr, .. } = say(at, &["end", &id], "").await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("there is no such session"), "{stderr}");
    assert_eq!(say(at, &["session", &id], "").await.code, Some(1), "only its tombstone is there");
    assert_eq!(say(at, &["user", "ada"], "").await.code, Some(1));
    log_in(http, "bob").await;
    log_in(http, "bob").await;
    let Said { code, stdout, .. } = say(at, &["end", "--user", "bob", "--json"], "").await;
    assert_eq!((code, stdout.as_str()), (Some(0), "{\"ended\":2,\"unconfirmed\":0}\n"));

    for (args, word) in [
        (&["session", "abc"][..], "`id` is no session id"),
        (&["session", &id, "--reveal"][..], "`reveal` must be allowed"),
        (&["end"][..], "required"),
        (&["end", &id, "--user", "ada"][..], "cannot be used with"),
        (&["status", "--admin", "nowhere"][..], "invalid"),
    ] {
        let Said { code, stderr, .. } = say(at, args, "").await;
        assert_eq!(code, Some(2), "{args:?}: {stderr}");
        assert!(stderr.contains(word), "{args:?} says {word}: {stderr}");
    }
    let Said { code, stdout, .. } = say(at, &["drain"], "").await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains("hands over and stops"), "{stdout}");
    let status = timeout(PATIENCE, child.wait()).await.expect("it stops").unwrap();
    assert_eq!(status.code(), Some(0), "its sessions had ended");
    let Said { code, stderr, .. } = say(at, &["status"], "").await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("is the node started with `--admin"), "{stderr}");
}
