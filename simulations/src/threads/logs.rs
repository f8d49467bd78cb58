//! The last lines that the nodes of each cluster logged, and what panicked: told when a promise breaks.
//!
//! All clusters of a stress run in one process. The name of a thread says whose it is: `c17-n2` works for node 2 of cluster 17.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Write as _};
use std::sync::{LazyLock, Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use tokio::time::Instant;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

/// Lines kept of each cluster.
const LINES_MAX: usize = 400;
/// The longest line, in bytes.
const LINE_BYTES_MAX: usize = 300;

static CLUSTERS: LazyLock<Mutex<BTreeMap<u64, Log>>> = LazyLock::new(Mutex::default);

#[derive(Debug)]
struct Log {
    began: Instant,
    lines: VecDeque<String>,
    panic: Option<String>,
}

/// The name of the threads of a node.
pub(super) fn thread_name(cluster: u64, node: usize) -> String {
    format!("c{cluster}-n{node}")
}

/// From now on all of this process is listened to.
pub(super) fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let subscriber = tracing_subscriber::registry().with(Lines);
        // Somebody else may listen: then there are no lines.
        let _ = tracing::subscriber::set_global_default(subscriber);
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            let text = panic.to_string();
            with_log(|log, _| {
                log.panic.get_or_insert(text);
            });
            usual(panic);
        }));
    });
}

/// A cluster begins.
pub(super) fn begin(cluster: u64, began: Instant) {
    clusters().insert(cluster, Log { began, lines: VecDeque::new(), panic: None });
}

/// What panicked in it.
pub(super) fn panic_in(cluster: u64) -> Option<String> {
    clusters().get(&cluster).and_then(|log| log.panic.clone())
}

/// It has ended: its last lines.
pub(super) fn end(cluster: u64) -> Vec<String> {
    clusters().remove(&cluster).map(|log| log.lines.into()).unwrap_or_default()
}

fn clusters() -> MutexGuard<'static, BTreeMap<u64, Log>> {
    CLUSTERS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives the log of the cluster that this thread works for, and the thread's node.
fn with_log(note: impl FnOnce(&mut Log, &str)) {
    let thread = thread::current();
    let Some((cluster, node)) = thread.name().and_then(|name| name.strip_prefix('c')?.split_once('-')) else { return };
    let Ok(cluster) = cluster.parse() else { return };
    if let Some(log) = clusters().get_mut(&cluster) {
        note(log, node);
    }
}

struct Lines;

impl<S: Subscriber> Layer<S> for Lines {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && metadata.target().starts_with("sessionmesh") && *metadata.level() <= Level::DEBUG
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut words = Words::default();
        event.record(&mut words);
        with_log(|log, node| {
            if log.lines.len() == LINES_MAX {
                log.lines.pop_front();
            }
            let at_ms = log.began.elapsed().as_millis();
            log.lines.push_back(format!("{at_ms} {node} {} {}", event.metadata().level(), words.0.trim()));
        });
    }
}

#[derive(Default)]
struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if self.0.len() < LINE_BYTES_MAX {
            let _ = match field.name() {
                "message" => write!(self.0, "{value:?}"),
                name => write!(self.0, " {name}={value:?}"),
            };
        }
    }
}
