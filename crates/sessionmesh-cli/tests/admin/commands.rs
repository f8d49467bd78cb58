//! The commands of operators: their text, their JSON, and how they fail.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::Command;
use tokio::time::{Duration, sleep, timeout};

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

    // What happens is told until the node stops.
    let mut watching = Command::new(env!("CARGO_BIN_EXE_sessionmesh"));
    watching.args(["watch", "--sessions"]).env("SESSIONMESH_ADMIN", at);
    let mut watching = watching.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(watching.stdout.take().unwrap()).lines();
    // It may need a moment until it listens.
    let reading = async {
        loop {
            tokio::select! {
                line = lines.next_line() => return line.unwrap().unwrap(),
                () = async { log_in(http, "eve").await; sleep(Duration::from_millis(100)).await } => {}
            }
        }
    };
    let line = timeout(PATIENCE, reading).await.expect("it is told of");
    assert!(line.contains("Z session_created      session #"), "{line}");

    for (args, word) in [
        (&["top"][..], "draws in a terminal"),
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
    assert_eq!(status.code(), Some(4), "nobody stayed to take its sessions");
    let ended = timeout(PATIENCE, watching.wait()).await.expect("it ends with the node").unwrap();
    assert_eq!(ended.code(), Some(0), "that is how it ends");
    let Said { code, stderr, .. } = say(at, &["status"], "").await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("is the node started with `--admin"), "{stderr}");
}

#[tokio::test]
async fn settings_are_checked_and_compared_with_those_of_a_running_node() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("node.toml");
    let mut command = node(&["--admin", "127.0.0.1:0"]);
    command.env("SESSIONMESH_BACKUPS", "2");
    let (_child, line) = started(command).await;
    let (_, at) = line.split_once(", admin http://").unwrap();
    let check = async |text: &str, more: &[&str]| {
        std::fs::write(&file, text).unwrap();
        say(at, &[&["config", "check", "--config", file.to_str().unwrap()], more].concat(), "").await
    };
    let Said { code, stdout, stderr } = check("name = 'web-1'", &[]).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    assert!(stdout.ends_with("valid\n") && stdout.contains("node.toml") && stdout.contains("default"), "{stdout}");

    let same = "name = 'web-1'\nseeds = ['127.0.0.1:1']\nbackups = 2";
    let Said { code, stdout, .. } = check(same, &["--against"]).await;
    assert_eq!(code, Some(0), "{stdout}");
    assert!(stdout.contains("as on the running node"), "{stdout}");
    let Said { code, stdout, .. } = check(&same.replace("backups = 2", "backups = 3"), &["--against"]).await;
    assert_eq!(code, Some(1), "{stdout}");
    assert!(stdout.contains("1 of them would change"), "{stdout}");
    let Said { code, stdout, .. } = check(same, &["--against", "--json"]).await;
    assert_eq!(code, Some(0));
    let shown: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    let backups = shown["settings"].as_array().unwrap().iter().find(|row| row["setting"] == "backups").unwrap();
    assert_eq!(backups["value"], 2, "{backups}");

    let Said { code, stderr, .. } = check("name = 'web-1'\nbackups = 99", &[]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("`backups` cannot be 99"), "{stderr}");
}

#[tokio::test]
async fn shells_complete_commands_and_manuals_are_there() {
    for shell in ["bash", "zsh", "fish"] {
        let Said { code, stdout, .. } = say("127.0.0.1:1", &["completions", shell], "").await;
        assert_eq!(code, Some(0));
        assert!(["status", "drain", "multicast-check"].iter().all(|command| stdout.contains(command)), "{shell}");
    }
    let Said { code, stdout, .. } = say("127.0.0.1:1", &["man"], "").await;
    assert_eq!(code, Some(0));
    assert!(stdout.contains(".TH sessionmesh"), "{stdout}");
    let folder = tempfile::tempdir().unwrap();
    let Said { code, .. } = say("127.0.0.1:1", &["man", folder.path().to_str().unwrap()], "").await;
    assert_eq!(code, Some(0));
    let page = std::fs::read_to_string(folder.path().join("sessionmesh-session.1")).unwrap();
    assert!(page.contains("reveal"), "{page}");
    let Said { code, stderr, .. } = say("127.0.0.1:1", &["man", "/no/such/folder"], "").await;
    assert_eq!(code, Some(1));
    assert!(stderr.contains("cannot write pages to /no/such/folder"), "{stderr}");
}

/// The commands of the guide that come to an end. (`watch` and `top` have tests of their own.)
fn commands_of_the_guide() -> Vec<Vec<String>> {
    let guide = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let text = std::fs::read_to_string(guide).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).map(|line| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    lines.filter(|words| !["node", "watch", "top"].contains(&words[1].as_str())).collect()
}

#[tokio::test]
async fn each_command_of_the_guide_for_operators_does_what_it_says() {
    let commands = commands_of_the_guide();
    assert!(commands.len() > 8, "{commands:?}");
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("web-1.toml"),
        "name = 'web-1'\nseeds = ['127.0.0.1:1']\nuser_attribute = 'user'",
    )
    .unwrap();
    let mut drains = 0;
    for words in commands {
        let mut command = node(&["--admin", "127.0.0.1:0"]);
        command.env("SESSIONMESH_USER_ATTRIBUTE", "user");
        let (mut child, line) = started(command).await;
        let (_, at) = line.split_once(", admin http://").unwrap();
        let http = line.split_once("is ready: http://").unwrap().1.split(',').next().unwrap();
        let id = log_in(http, "ada").await;
        let mut command = Command::new(env!("CARGO_BIN_EXE_sessionmesh"));
        command.args(&words[1..]).env("SESSIONMESH_ADMIN", at).current_dir(folder.path());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut running = command.spawn().unwrap();
        running.stdin.take().unwrap().write_all(id.as_bytes()).await.unwrap();
        let output = timeout(PATIENCE, running.wait_with_output()).await.expect("it ends").unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{words:?}: {stderr}");
        if words[1] == "drain" {
            let status = timeout(PATIENCE, child.wait()).await.expect("it stops").unwrap();
            assert_eq!(status.code(), Some(4), "there was nobody to hand over to");
            drains += 1;
        }
    }
    assert_eq!(drains, 1);
}
