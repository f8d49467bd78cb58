//! The other side of a [`Process`](super::Process): one node in a process of its own, which does what it is told.

use std::error::Error;
use std::future::Future;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::StreamExt as _;
use serde::Serialize;
use sessionmesh::{Ack, Commit, CommitError, Event, Events, Mesh, Session, SessionId};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use super::control::{
    Attributes, CONTROL, Done, Figures, Happened, Loaded, OUTCOME, Outcome, Request, Seen, Start, Wish,
};

/// So many sessions of one request are worked on at once.
const PARALLEL: usize = 64;
/// What happened and was not asked for yet; beyond it the oldest is forgotten.
const HAPPENED_MAX: usize = 100_000;

type Log = Arc<Mutex<Vec<Happened>>>;

/// What the program `testnode` does, until its test is gone.
///
/// # Errors
///
/// It was not started as a test starts it.
pub fn main() -> Result<(), Box<dyn Error>> {
    let filter = tracing_subscriber::EnvFilter::try_from_env("MESHTEST_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("sessionmesh=debug,warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    let start: Start = serde_json::from_str(&std::env::args().nth(1).ok_or("one argument: the start as JSON")?)?;
    std::thread::spawn(end_with_the_test);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(run(start))
}

/// The test holds the other end of the standard input. When it is gone, so is this process.
fn end_with_the_test() {
    let mut nothing = Vec::new();
    let _ = std::io::stdin().read_to_end(&mut nothing);
    std::process::exit(0);
}

async fn run(start: Start) -> Result<(), Box<dyn Error>> {
    let listener = UnixListener::bind(start.dir.join(CONTROL))?;
    let mesh = match Mesh::builder().config(start.config).start().await {
        Ok(mesh) => mesh,
        Err(error) => return tell(&start.dir, &Outcome::Refused(error.to_string())),
    };
    let log = Log::default();
    tokio::spawn(listen(mesh.events(), log.clone()));
    tell(&start.dir, &Outcome::Started(mesh.addr()))?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(serve(mesh.clone(), log.clone(), stream));
    }
}

/// Writes the outcome so that nobody reads half of it.
fn tell(dir: &Path, outcome: &Outcome) -> Result<(), Box<dyn Error>> {
    let draft = dir.join("draft");
    std::fs::write(&draft, serde_json::to_vec(outcome)?)?;
    Ok(std::fs::rename(draft, dir.join(OUTCOME))?)
}

async fn listen(mut events: Events, log: Log) {
    while let Some(event) = events.next().await {
        let happened = match event {
            Event::Created { id } => Happened::Session("created".to_owned(), id),
            Event::Expired { id } => Happened::Session("expired".to_owned(), id),
            Event::Invalidated { id } => Happened::Session("invalidated".to_owned(), id),
            Event::Renewed { id, .. } => Happened::Session("renewed".to_owned(), id),
            Event::Moved { id, .. } => Happened::Session("moved".to_owned(), id),
            Event::MemberUp { name } => Happened::Up(name.to_string()),
            Event::MemberDown { name, planned } => Happened::Down(name.to_string(), planned),
            _ => continue,
        };
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.len() >= HAPPENED_MAX {
            log.drain(..HAPPENED_MAX / 2);
        }
        log.push(happened);
    }
}

async fn serve(mesh: Mesh, log: Log, stream: UnixStream) {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let request = serde_json::from_str(&line).expect("the test speaks this protocol");
        let mut answer = answer(&mesh, &log, request).await.expect("answers can be JSON");
        answer.push(b'\n');
        if write.write_all(&answer).await.is_err() {
            return;
        }
    }
}

async fn answer(mesh: &Mesh, log: &Log, request: Request) -> serde_json::Result<Vec<u8>> {
    match request {
        Request::Ready => {
            mesh.ready().await;
            json(&figures(mesh))
        }
        Request::IsReady => json(&mesh.is_ready()),
        Request::Members => json(&members(mesh)),
        Request::Stats => json(&figures(mesh)),
        Request::Events => json(&std::mem::take(&mut *log.lock().unwrap_or_else(PoisonError::into_inner))),
        Request::Create { sessions, ack } => json(&each(sessions, |attributes| create(mesh, attributes, ack)).await),
        Request::Fill { sessions, value_bytes } => {
            json(&each(0..sessions, |number| fill(mesh, number, value_bytes)).await)
        }
        Request::Write { writes, ack } => {
            json(&each(writes, |(id, attributes)| change(mesh, id, attributes, ack)).await)
        }
        Request::Load(ids) => json(&each(ids, |id| load(mesh, id)).await),
        Request::Invalidate(ids) => json(&each(ids, |id| invalidate(mesh, id)).await),
        Request::Renew(ids) => json(&each(ids, |id| renew(mesh, id)).await),
        Request::Owners(ids) => {
            let names = |id: SessionId| mesh.owners(id).iter().map(ToString::to_string).collect::<Vec<_>>();
            json(&ids.into_iter().map(names).collect::<Vec<_>>())
        }
        Request::Digests(ids) => json(&ids.into_iter().map(|id| mesh.digest(id)).collect::<Vec<_>>()),
        Request::Leave(ms) => {
            let left = mesh.leave(Duration::from_millis(ms)).await;
            json(&left.err().map_or(0, |error| error.remaining))
        }
    }
}

fn json(answer: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(answer)
}

/// Does something with each item, many at once, and returns the results in the order of the items.
async fn each<I, T, F: Future<Output = T>>(items: impl IntoIterator<Item = I>, act: impl Fn(I) -> F) -> Vec<T> {
    futures::stream::iter(items).map(act).buffered(PARALLEL).collect().await
}

fn members(mesh: &Mesh) -> Vec<Seen> {
    let seen = |member: sessionmesh::Member| Seen {
        name: member.name.to_string(),
        incarnation: member.incarnation,
        state: format!("{:?}", member.state),
    };
    mesh.members().into_iter().map(seen).collect()
}

fn figures(mesh: &Mesh) -> Figures {
    let stats = mesh.stats();
    Figures {
        sessions: stats.sessions,
        ended: stats.ended,
        owned: stats.owned,
        outbox: stats.outbox,
        suspected: stats.suspected,
        suspicions: stats.suspicions,
        late_ms: stats.late_ms,
        busy: stats.busy,
        local_reads: stats.local_reads,
        remote_reads: stats.remote_reads,
        commit_timeouts: stats.commit_timeouts,
        audit_differences: stats.audit_differences,
        bytes_decoded: stats.bytes_decoded,
        refusals: stats.refusals.by_reason().into_iter().map(|(reason, count)| (reason.to_owned(), count)).collect(),
    }
}

fn done(id: SessionId, result: Result<Commit, CommitError>) -> Done {
    match result {
        Ok(commit) => Done::Acknowledged(commit.id, commit.copies),
        Err(error) => Done::Failed(id, error.to_string()),
    }
}

async fn commit(session: &Session, attributes: Attributes, ack: Wish) -> Done {
    for (key, value) in attributes {
        session.insert(&key, &value).expect("a text can be JSON");
    }
    let result = match ack {
        Wish::Configured => session.commit().await,
        Wish::Local => session.commit_with(Ack::Local).await,
        Wish::Copies(copies) => session.commit_with(Ack::Copies(copies)).await,
        Wish::Owners => session.commit_with(Ack::Owners).await,
    };
    done(session.id(), result)
}

async fn create(mesh: &Mesh, attributes: Attributes, ack: Wish) -> Done {
    let session = mesh.create().await.expect("below the limit of sessions");
    commit(&session, attributes, ack).await
}

async fn fill(mesh: &Mesh, number: usize, value_bytes: usize) -> Done {
    let session = mesh.create().await.expect("below the limit of sessions");
    // A xorshift generator: texts of digits that no compression makes small.
    let mut state = number as u64 * 2 + 1;
    let mut value = String::with_capacity(value_bytes + 20);
    while value.len() < value_bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        value.push_str(&state.to_string());
    }
    value.truncate(value_bytes);
    commit(&session, Attributes::from([("value".to_owned(), value)]), Wish::Configured).await
}

/// The session, or why there is none.
async fn find(mesh: &Mesh, id: SessionId) -> Result<Session, Done> {
    match mesh.load(id).await {
        Ok(Some(session)) => Ok(session),
        Ok(None) => Err(Done::Failed(id, "no such session".to_owned())),
        Err(error) => Err(Done::Failed(id, error.to_string())),
    }
}

async fn change(mesh: &Mesh, id: SessionId, attributes: Attributes, ack: Wish) -> Done {
    match find(mesh, id).await {
        Ok(session) => commit(&session, attributes, ack).await,
        Err(failed) => failed,
    }
}

async fn invalidate(mesh: &Mesh, id: SessionId) -> Done {
    match find(mesh, id).await {
        Ok(session) => done(id, session.invalidate().await),
        Err(failed) => failed,
    }
}

async fn renew(mesh: &Mesh, id: SessionId) -> Done {
    match find(mesh, id).await {
        Ok(session) => done(id, session.renew_id().await),
        Err(failed) => failed,
    }
}

async fn load(mesh: &Mesh, id: SessionId) -> Loaded {
    let session = match mesh.load(id).await {
        Ok(Some(session)) => session,
        Ok(None) => return Loaded::None,
        Err(error) => return Loaded::CannotTell(error.to_string()),
    };
    let value = |key: Arc<str>| {
        let value = session.get::<String>(&key).expect("tests store texts").expect("it was listed");
        (key.to_string(), value)
    };
    Loaded::Session(session.keys().into_iter().map(value).collect())
}
