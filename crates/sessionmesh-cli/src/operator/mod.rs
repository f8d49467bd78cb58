//! What operators ask a running node, by its admin address.

mod show;
pub(crate) mod top;

use std::io::Read as _;
use std::net::SocketAddr;

use clap::Args;
use hyper::StatusCode;
use hyper::header::AUTHORIZATION;
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::http_client::{Refusal, ask_with, follow};

/// Where a node is asked, if nothing else is said.
const USUAL: &str = "127.0.0.1:7777";
const ADMIN: &str = "SESSIONMESH_ADMIN";
const TOKEN: &str = "SESSIONMESH_ADMIN_TOKEN";

/// Whom to ask, and how to answer.
#[derive(Clone, Debug, Args)]
pub(crate) struct OperatorArgs {
    /// The admin address of the node [default: SESSIONMESH_ADMIN, or 127.0.0.1:7777]
    #[arg(long, value_name = "ADDR")]
    admin: Option<SocketAddr>,
    /// Print the answer of the node as JSON
    #[arg(long)]
    json: bool,
}

/// What `session` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct SessionArgs {
    /// The session id as the cookie has it, or - to read it from stdin: who has it is logged in, and a command line is seen by all
    #[arg(value_name = "ID")]
    id: String,
    /// Show the values, too, if the node allows it
    #[arg(long)]
    reveal: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// What `user` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct UserArgs {
    /// The user, as the application names them
    #[arg(value_name = "NAME")]
    user: String,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// What `watch` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct WatchArgs {
    /// The events of single sessions, too: there may be thousands a second
    #[arg(long)]
    sessions: bool,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// What `end` takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct EndArgs {
    /// The session id as the cookie has it, or - to read it from stdin
    #[arg(value_name = "ID", required_unless_present = "user", conflicts_with = "user")]
    id: Option<String>,
    /// All sessions of this user
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    #[command(flatten)]
    operator: OperatorArgs,
}

/// `sessionmesh status`.
pub(crate) async fn status(args: &OperatorArgs) -> Result<(), Failure> {
    let node = Node::of(args)?;
    let health = node.get("/v1/health").await?;
    let stats = node.get("/v1/stats").await?;
    if args.json {
        say(&json!({ "health": health, "stats": stats }).to_string());
    } else {
        show::status(&health, &stats);
    }
    // It has been printed.
    if health["ready"] == true { Ok(()) } else { Err(Failure::Failed(None)) }
}

/// `sessionmesh members`.
pub(crate) async fn members(args: &OperatorArgs) -> Result<(), Failure> {
    let members = Node::of(args)?.get("/v1/members").await?;
    args.print(&members, show::members);
    Ok(())
}

/// `sessionmesh session`.
pub(crate) async fn session(args: &SessionArgs) -> Result<(), Failure> {
    let body = json!({ "id": id(&args.id)?, "reveal": args.reveal });
    let found = Node::of(&args.operator)?.post("/v1/sessions/find", &body).await?;
    args.operator.print(&found, show::session);
    let is_held = |copy: &Value| matches!(copy["state"].as_str(), Some("live" | "expired"));
    let copies = found["copies"].as_array().map(Vec::as_slice).unwrap_or_default();
    if copies.iter().any(is_held) { Ok(()) } else { Err(Failure::Failed(None)) }
}

/// `sessionmesh user`.
pub(crate) async fn user(args: &UserArgs) -> Result<(), Failure> {
    let found = Node::of(&args.operator)?.post("/v1/users/find", &json!({ "user": args.user })).await?;
    args.operator.print(&found, show::user);
    let sessions = found["sessions"].as_array().map_or(0, Vec::len);
    if sessions > 0 { Ok(()) } else { Err(Failure::Failed(None)) }
}

/// `sessionmesh end`.
pub(crate) async fn end(args: &EndArgs) -> Result<(), Failure> {
    let node = Node::of(&args.operator)?;
    let ended = match (&args.user, &args.id) {
        (Some(user), _) => node.post("/v1/users/end", &json!({ "user": user })).await?,
        (None, id_or_dash) => {
            let id = id(id_or_dash.as_deref().unwrap_or("-"))?;
            node.post("/v1/sessions/end", &json!({ "id": id })).await?
        }
    };
    args.operator.print(&ended, show::ended);
    Ok(())
}

/// `sessionmesh watch`.
pub(crate) async fn watch(args: &WatchArgs) -> Result<(), Failure> {
    let path = if args.sessions { "/v1/events?sessions=true" } else { "/v1/events" };
    let json = args.operator.json;
    let each = |event: &Value| if json { say(&event.to_string()) } else { show::event(event) };
    Node::of(&args.operator)?.follow(path, each).await?;
    anstream::eprintln!("the node has stopped, or the connection to it broke");
    Ok(())
}

/// `sessionmesh drain`.
pub(crate) async fn drain(args: &OperatorArgs) -> Result<(), Failure> {
    let accepted = Node::of(args)?.post("/v1/drain", &Value::Null).await?;
    args.print(&accepted, |_| {
        say("the node hands over and stops; `sessionmesh status` says how many sessions are left")
    });
    Ok(())
}

/// The settings of the running node, by name.
pub(crate) async fn running_settings(args: &OperatorArgs) -> Result<Value, Failure> {
    Ok(Node::of(args)?.get("/v1/config").await?["settings"].take())
}

impl OperatorArgs {
    /// Whether JSON is wanted.
    pub(crate) const fn json(&self) -> bool {
        self.json
    }

    fn print(&self, answer: &Value, show: impl FnOnce(&Value)) {
        if self.json { say(&answer.to_string()) } else { show(answer) }
    }
}

/// Prints a line.
fn say(line: &str) {
    anstream::println!("{line}");
}

fn id(given: &str) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given.to_owned());
    }
    let mut text = String::new();
    let read = std::io::stdin().take(4096).read_to_string(&mut text);
    read.map_err(|error| Failure::Refused(format!("cannot read the session id from stdin: {error}")))?;
    Ok(text.trim().to_owned())
}

/// A node that answers operators.
struct Node {
    at: SocketAddr,
    token: Option<String>,
}

impl Node {
    fn of(args: &OperatorArgs) -> Result<Self, Failure> {
        let at = match args.admin {
            Some(at) => at,
            None => {
                let text = std::env::var(ADMIN).unwrap_or_else(|_| USUAL.to_owned());
                text.parse().map_err(|_| {
                    Failure::Refused(format!(
                        "{ADMIN} cannot be {text}; allowed is an address with a port, such as {USUAL}"
                    ))
                })?
            }
        };
        Ok(Self { at, token: std::env::var(TOKEN).ok().filter(|token| !token.is_empty()) })
    }

    async fn get(&self, path: &str) -> Result<Value, Failure> {
        self.ask("GET", path, None).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<Value, Failure> {
        self.ask("POST", path, Some(body)).await
    }

    async fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, Failure> {
        let bearer = self.bearer();
        let header = bearer.as_deref().map(|bearer| (AUTHORIZATION, bearer));
        let answer = ask_with(self.at, method, path, header, body).await.map_err(|error| self.unreachable(&error))?;
        if answer.status.is_success() { Ok(answer.body) } else { Err(refused(answer.status, &answer.body)) }
    }

    /// Gives the data of each server-sent event to `each`, until the node stops.
    async fn follow(&self, path: &str, mut each: impl FnMut(&Value)) -> Result<(), Failure> {
        let bearer = self.bearer();
        let header = bearer.as_deref().map(|bearer| (AUTHORIZATION, bearer));
        let line = |line: &str| {
            if let Some(data) = line.strip_prefix("data: ") {
                each(&serde_json::from_str(data).unwrap_or_default());
            }
        };
        follow(self.at, path, header, line).await.map_err(|refusal| match refusal {
            Refusal::NoAnswer(error) => self.unreachable(&error),
            Refusal::Answered(status, body) => refused(status, &body),
        })
    }

    fn bearer(&self) -> Option<String> {
        self.token.as_ref().map(|token| format!("Bearer {token}"))
    }

    fn unreachable(&self, error: &str) -> Failure {
        Failure::Refused(format!(
            "{error}\nis the node started with `--admin {}`? Name another one with --admin or {ADMIN}",
            self.at
        ))
    }
}

fn refused(status: StatusCode, body: &Value) -> Failure {
    let text = body["text"].as_str().unwrap_or("this is no admin address of a node of Sessionmesh").to_owned();
    match status {
        StatusCode::UNAUTHORIZED => Failure::Refused(format!("{text} (set {TOKEN})")),
        StatusCode::NOT_FOUND if body["error"] == "no_such_session" => Failure::Failed(Some(text)),
        StatusCode::SERVICE_UNAVAILABLE => Failure::Failed(Some(text)),
        _ => Failure::Refused(text),
    }
}
