//! The fail-over, step by step: each step is tried, timed and checked.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::cluster::{AGAIN, Cluster};
use crate::failure::Failure;
use crate::http_client::ask;
use crate::terminal::{BAD, FAINT, GOOD, begin, millis};

/// How long a node may answer "come again" before the play counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);
/// The node that is logged in on, and killed.
const VICTIM: usize = 0;
/// The node that is logged out on.
const OTHER: usize = 1;

/// Logs in, kills the node, reads elsewhere, starts it again, logs out.
pub(crate) async fn play(cluster: &mut Cluster) -> Result<(), Failure> {
    let names: Vec<String> = cluster.nodes.iter().map(|node| node.ready.name.clone()).collect();
    let victim = &names[VICTIM];
    let others = 0..names.len();
    let others = others.filter(|&at| at != VICTIM);
    anstream::println!();

    let mut visitor = step(&format!("log in on {victim}"), log_in(cluster)).await?;
    step(&format!("read it on {}", names[OTHER]), visitor.visit(cluster, OTHER)).await?;
    step(&format!("kill -9 {victim}"), kill(cluster)).await?;
    for at in others {
        step(&format!("read it on {}", names[at]), visitor.visit(cluster, at)).await?;
    }
    step(&format!("start {victim} again"), restart(cluster)).await?;
    step(&format!("read it on {victim}"), visitor.visit(cluster, VICTIM)).await?;
    step(&format!("log out on {}", names[OTHER]), visitor.log_out(cluster)).await?;
    for (at, name) in names.iter().enumerate() {
        step(&format!("read it on {name}"), visitor.knock(cluster, at)).await?;
    }
    let good = GOOD;
    anstream::println!("\n{good}{victim} crashed, nobody was logged out, and the logout still holds.{good:#}");
    Ok(())
}

/// What came of a step, and a remark to print.
type Done<T> = Result<(T, String), String>;

async fn step<T>(title: &str, work: impl Future<Output = Done<T>>) -> Result<T, Failure> {
    let (good, bad, faint) = (GOOD, BAD, FAINT);
    begin(&format!("  {title:<22}"));
    let start = Instant::now();
    let done = work.await;
    let time = millis(start.elapsed());
    match done {
        Ok((value, remark)) => {
            anstream::println!("{time}  {good}ok{good:#}  {faint}{remark}{faint:#}");
            Ok(value)
        }
        Err(error) => {
            anstream::println!("{time}  {bad}FAILED{bad:#}  {error}");
            Err(Failure::Failed(None))
        }
    }
}

/// Somebody with a cookie.
#[derive(Debug)]
struct Visitor {
    cookie: String,
    visits: u64,
}

async fn log_in(cluster: &Cluster) -> Done<Visitor> {
    let to = cluster.nodes[VICTIM].ready.http;
    let answer = ask(to, "POST", "/login", None, Some(&json!({ "user": "ada" }))).await?;
    let cookie = answer.cookie().ok_or_else(|| format!("{}, and no cookie: {}", answer.status, answer.body))?;
    let remark = format!("ada, session {}, on {}", text(&answer.body["session"]), owners(&answer.body));
    Ok((Visitor { cookie, visits: 0 }, remark))
}

async fn kill(cluster: &mut Cluster) -> Done<()> {
    cluster.nodes[VICTIM].kill().await?;
    Ok(((), "the process is gone, and so is its memory".to_owned()))
}

async fn restart(cluster: &mut Cluster) -> Done<()> {
    cluster.restart(VICTIM).await?;
    let pid = cluster.nodes[VICTIM].pid().unwrap_or_default();
    Ok(((), format!("pid {pid}; it started empty, and the others sent it its share")))
}

impl Visitor {
    /// Reads the session on a node, and checks that it is complete.
    async fn visit(&mut self, cluster: &Cluster, at: usize) -> Done<()> {
        let (body, again) = self.settled(cluster, at, StatusCode::OK).await?;
        self.visits += 1;
        if body["user"] != "ada" || body["visits"] != self.visits {
            return Err(format!("not visit {} of ada: {body}", self.visits));
        }
        let from = if body["held_here"] == true { "its own copy" } else { "the copy of another node" };
        Ok(((), format!("ada, visit {}, from {from}{again}; on {}", self.visits, owners(&body))))
    }

    /// Checks that a node knows that the session has ended.
    async fn knock(&self, cluster: &Cluster, at: usize) -> Done<()> {
        let (_, again) = self.settled(cluster, at, StatusCode::UNAUTHORIZED).await?;
        Ok(((), format!("not logged in{again}")))
    }

    async fn log_out(&self, cluster: &Cluster) -> Done<()> {
        let to = cluster.nodes[OTHER].ready.http;
        let answer = ask(to, "POST", "/logout", Some(&self.cookie), None).await?;
        match answer.status {
            StatusCode::OK => Ok(((), "ended for good, on every node".to_owned())),
            other => Err(format!("{other}: {}", answer.body)),
        }
    }

    /// Asks as a browser does: "503, come again" is followed, everything else is an answer.
    async fn settled(&self, cluster: &Cluster, at: usize, wanted: StatusCode) -> Result<(Value, String), String> {
        let to = cluster.nodes[at].ready.http;
        let mut again = 0;
        let asking = async {
            loop {
                let answer = ask(to, "GET", "/session", Some(&self.cookie), None).await?;
                if answer.status != StatusCode::SERVICE_UNAVAILABLE {
                    return Ok(answer);
                }
                again += 1;
                sleep(AGAIN).await;
            }
        };
        let answer: Result<_, String> =
            timeout(PATIENCE, asking).await.unwrap_or_else(|_| Err(format!("503 for {PATIENCE:?}")));
        let answer = answer?;
        if answer.status != wanted {
            return Err(format!("{} instead of {wanted}: {}", answer.status, answer.body));
        }
        let again = if again == 0 { String::new() } else { format!(", after {again} times 503") };
        Ok((answer.body, again))
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("?")
}

fn owners(body: &Value) -> String {
    let names: Vec<_> = body["owners"].as_array().into_iter().flatten().map(text).collect();
    listed(&names)
}

fn listed(names: &[&str]) -> String {
    match names {
        [before @ .., last] if !before.is_empty() => format!("{} and {last}", before.join(", ")),
        one => one.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_listed_as_in_a_sentence() {
        assert_eq!(listed(&[]), "");
        assert_eq!(listed(&["a"]), "a");
        assert_eq!(listed(&["a", "b"]), "a and b");
        assert_eq!(listed(&["a", "b", "c"]), "a, b and c");
    }
}
