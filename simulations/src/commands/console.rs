//! What is printed: results on stdout, and on stderr a line that says how far it is.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::real_time;

/// How often a terminal is told.
const TERMINAL_EVERY: Duration = Duration::from_millis(250);
/// How often a log is told.
const LOG_EVERY: Duration = Duration::from_secs(30);
/// Goes to the start of the line, and erases it.
const ERASE: &str = "\r\x1b[2K";

/// Whether a line of progress stands on the terminal and must go before anything else is printed.
static STANDING: Mutex<bool> = Mutex::new(false);

/// Prints a line on stdout. Nobody may be there to read it: that is no failure.
pub(super) fn say(text: impl fmt::Display) {
    let mut standing = STANDING.lock().unwrap_or_else(PoisonError::into_inner);
    if std::mem::take(&mut *standing) {
        let _ = write!(io::stderr(), "{ERASE}");
    }
    let _ = writeln!(io::stdout().lock(), "{text}");
}

/// Shows how far something is until it is dropped: on a terminal in one line, in a log every now and then.
#[derive(Debug)]
pub(super) struct Progress {
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub(super) fn new(line: impl Fn() -> String + Send + 'static) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let over = ended.clone();
        let terminal = io::stderr().is_terminal();
        let thread = thread::spawn(move || {
            let every = if terminal { TERMINAL_EVERY } else { LOG_EVERY };
            let mut next = real_time::now() + every;
            while !over.load(Ordering::Acquire) {
                thread::park_timeout(next.saturating_duration_since(real_time::now()));
                if real_time::now() < next {
                    continue;
                }
                next += every;
                show(&line(), terminal);
            }
        });
        Self { ended, thread: Some(thread) }
    }
}

fn show(line: &str, terminal: bool) {
    let mut standing = STANDING.lock().unwrap_or_else(PoisonError::into_inner);
    let mut stderr = io::stderr().lock();
    let _ = if terminal {
        *standing = true;
        write!(stderr, "{ERASE}{line}").and_then(|()| stderr.flush())
    } else {
        writeln!(stderr, "{line}")
    };
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        if std::mem::take(&mut *STANDING.lock().unwrap_or_else(PoisonError::into_inner)) {
            let _ = write!(io::stderr(), "{ERASE}");
        }
    }
}
