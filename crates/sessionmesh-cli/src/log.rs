//! The program's log. Lines wait in a bounded queue, and a thread of their own writes them to stderr: whoever reads slowly
//! or not at all, a full disk and a closed pipe cost lines, which are counted, and never hold up or end what logs.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait to be written, in bytes. As many again may be in the hands of the thread that writes.
const QUEUE_BYTES_MAX: usize = 1 << 20;

/// Takes lines; all clones are the same log.
#[derive(Clone, Debug)]
pub(crate) struct Log(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// A line waits.
    filled: Condvar,
    /// No line waits any more.
    emptied: Condvar,
    lost: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Queue {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The thread has taken lines that it has not written yet.
    writing: bool,
}

impl Log {
    /// A log that is written to `to`.
    ///
    /// # Errors
    ///
    /// There can be no further thread.
    pub(crate) fn start(to: impl Write + Send + 'static) -> io::Result<Self> {
        let log = Self(Arc::default());
        let shared = log.0.clone();
        thread::Builder::new().name("log".to_owned()).spawn(move || shared.write_to(to))?;
        Ok(log)
    }

    /// Queues one line, or several, without its last line break.
    pub(crate) fn say(&self, line: &str) {
        self.0.push(format!("{line}\n").into_bytes());
    }

    /// Waits until all that was said is written, or lost, or `patience` is over.
    pub(crate) fn flush(&self, patience: Duration) {
        let queue = self.0.queue();
        let waits = |queue: &mut Queue| queue.writing || !queue.lines.is_empty();
        drop(self.0.emptied.wait_timeout_while(queue, patience, waits));
    }

    /// How many lines could not be written so far.
    pub(crate) fn lost(&self) -> Arc<AtomicU64> {
        self.0.lost.clone()
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: Vec<u8>) {
        let mut queue = self.queue();
        if queue.bytes + line.len() > QUEUE_BYTES_MAX {
            drop(queue);
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.bytes += line.len();
        queue.lines.push_back(line);
        drop(queue);
        self.filled.notify_one();
    }

    /// Writes for ever, and says how many lines are missing before the next one that can be written.
    fn write_to(&self, mut to: impl Write) {
        let mut told = 0;
        loop {
            let lines = self.taken();
            for line in lines {
                let lost = self.lost.load(Ordering::Relaxed);
                if lost > told {
                    let notice = format!("{} log lines were lost here, {lost} in all\n", lost - told);
                    if to.write_all(notice.as_bytes()).is_ok() {
                        told = lost;
                    }
                }
                if to.write_all(&line).is_err() {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
            }
            // What cannot be flushed has been counted, or fails again with the next line.
            let _ = to.flush();
        }
    }

    /// Waits for lines, and takes all there are.
    fn taken(&self) -> VecDeque<Vec<u8>> {
        let mut queue = self.queue();
        queue.writing = false;
        if queue.lines.is_empty() {
            self.emptied.notify_all();
        }
        let mut queue =
            self.filled.wait_while(queue, |queue| queue.lines.is_empty()).unwrap_or_else(PoisonError::into_inner);
        queue.writing = true;
        queue.bytes = 0;
        std::mem::take(&mut queue.lines)
    }
}

/// One line on its way into the log. It takes everything and never fails, for a failure would be reported by a panic: see
/// `log_internal_errors` of tracing-subscriber.
#[derive(Debug)]
pub(crate) struct Line<'a>(&'a Log);

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.0.push(bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Line<'a> {
        Line(self)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Writes what it is allowed to, one line for each permission, and nothing where an error was sent.
    struct Gate {
        permissions: mpsc::Receiver<io::Result<()>>,
        written: Arc<Mutex<String>>,
    }

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.permissions.recv().unwrap_or(Ok(()))?;
            self.written.lock().unwrap().push_str(std::str::from_utf8(bytes).unwrap());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn gated() -> (Log, mpsc::Sender<io::Result<()>>, Arc<Mutex<String>>) {
        let (permit, permissions) = mpsc::channel();
        let written = Arc::<Mutex<String>>::default();
        let log = Log::start(Gate { permissions, written: written.clone() }).unwrap();
        (log, permit, written)
    }

    #[test]
    fn a_reader_that_does_not_read_costs_lines_and_no_time_and_no_more_memory_than_is_named() {
        let (log, permit, written) = gated();
        log.say("first");
        let line = "x".repeat(1023);
        for _ in 0..4096 {
            log.say(&line);
        }
        let lost = log.lost().load(Ordering::Relaxed);
        // The queue holds the first line and 1,023 others. The thread has taken none, or some of them, before it stood still.
        assert!((2048..=4096 - 1023).contains(&lost), "{lost}");
        log.flush(Duration::from_millis(1));
        drop(permit);
        log.flush(PATIENCE);
        let written = written.lock().unwrap();
        assert!(written.contains("log lines were lost here") || log.lost().load(Ordering::Relaxed) == lost);
        assert!(written.len() <= 2 * QUEUE_BYTES_MAX + 1024, "{}", written.len());
    }

    #[test]
    fn what_cannot_be_written_is_counted_and_told_before_the_next_line() {
        let (log, permit, written) = gated();
        for _ in 0..3 {
            permit.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        }
        log.say("lost");
        log.flush(PATIENCE);
        // Telling of it fails, and so does the line.
        log.say("lost, too");
        log.flush(PATIENCE);
        drop(permit);
        log.say("there is room again");
        log.flush(PATIENCE);
        assert_eq!(*written.lock().unwrap(), "2 log lines were lost here, 2 in all\nthere is room again\n");
        assert_eq!(log.lost().load(Ordering::Relaxed), 2);
    }

    #[test]
    fn what_is_written_in_pieces_is_written_in_order() {
        let (log, permit, written) = gated();
        drop(permit);
        for number in 0..100 {
            log.make_writer().write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        log.flush(PATIENCE);
        let expected: String = (0..100).map(|number| format!("{number}\n")).collect();
        assert_eq!(*written.lock().unwrap(), expected);
    }
}
