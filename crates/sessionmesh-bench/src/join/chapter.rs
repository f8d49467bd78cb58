//! What is told about joins.

use super::readers::{EACH_PER_SECOND, Readers, TASKS};
use super::{BYTES, Donors, SESSIONS, SESSIONS_MANY, SESSIONS_QUICK};
use crate::report::{Bound, Chapter, Figures, Goal, Table};

const GOALS: [Goal; 2] = [
    Goal {
        what: "100,000 sessions of 1 KiB to a newcomer, from seen to ready",
        unit: "ms",
        bound: Bound::AtMost(1_000.0),
        value: |figures| figures.median("join/100000/all-to-all/seen-to-ready"),
    },
    Goal {
        what: "reads of a busy donor meanwhile, to before, a core for each node",
        unit: "",
        bound: Bound::AtLeast(0.8),
        value: |figures| {
            let name = |when: &str| format!("join/100000/readers/fast-own-core/{when}/rate");
            figures.ratio(&name("during"), &name("before"))
        },
    },
];

pub(super) fn chapter(figures: &Figures, left_out: Vec<String>) -> Chapter {
    let how = format!(
        "Nodes as processes on loopback, default settings, values of {BYTES} random bytes. `primary-backup`: two nodes \
         hold all sessions, a third joins and gets two thirds of them. `all-to-all`: one node holds all, a second joins \
         and gets all. *Start* is when the newcomer's process is started; it first looks around and gossips. *Seen* is \
         when the first donor has it in its view, which is when the transfer begins. *Ready* is when the newcomer says \
         that it has all; *all* is when it was looked at next, had exactly what it must hold, and no donor owed \
         anything. CPU is the processor time from start to ready. Each newcomer leaves again, and the next is empty.\n\n\
         Readers: {TASKS} tasks on the donor of an all-to-all pair read random sessions of its own by `Mesh::load`, \
         before (until the newcomer's process starts) and during the join (from seen to ready). A latency counts from \
         when the read was due: at the fixed pace ({} reads/s in all) it includes what tokio's timer adds, up to a \
         millisecond or two; at full speed a read is due when its task has done the one before, so that it includes the \
         turns of all other tasks, the node's own ones too. At the fixed pace what is late is caught up with, so look at \
         its latency and not at its rate. Readers at full speed leave no processor time idle, so \
         whatever else runs takes some of theirs. Where both nodes share all cores, that includes the work of the \
         newcomer and of the kernel for it, which in production is another machine's; with a core for each node only \
         the donor's part is left, and this is what the goal means. How large that part is depends on how much a reader \
         does before it lets other tasks have their turn, since tokio shares a core by turns and not by time: \
         `full speed` reads until tokio's budget for a turn is used up (128 reads), as a task does whose socket always \
         has data; `one in a turn` lets all others go first after each read of about a microsecond, which is the worst \
         case.",
        TASKS * EACH_PER_SECOND as usize
    );
    let mut chapter = Chapter { title: "Joins", how, left_out, goals: GOALS.to_vec(), ..Chapter::default() };
    chapter.tables = vec![joins(figures), readers(figures)];
    chapter
}

fn joins(figures: &Figures) -> Table {
    let head = [
        "placement",
        "sessions",
        "received",
        "start to ready",
        "start to all",
        "seen to ready",
        "spread",
        "MB/s",
        "CPU of donors",
        "of newcomer",
    ];
    let mut table = Table::new("", &head);
    for kind in Donors::ALL {
        for count in [SESSIONS_QUICK, SESSIONS, SESSIONS_MANY] {
            table.rows.extend(joins_row(figures, kind, count));
        }
    }
    table
}

fn joins_row(figures: &Figures, kind: Donors, count: usize) -> Option<Vec<String>> {
    let name = |what: &str| format!("join/{count}/{}/{what}", kind.name());
    let transfer = figures.get(&name("seen-to-ready"))?;
    let received = figures.median(&name("received"))?;
    let megabytes = received * BYTES as f64 / 1e6;
    let mut row = vec![kind.name().to_owned(), count.to_string(), format!("{received:.0}")];
    for what in ["start-to-ready", "start-to-all", "seen-to-ready"] {
        row.push(format!("{:.0} ms", figures.median(&name(what))?));
    }
    row.push(transfer.spread(0));
    row.push(format!("{:.0}", megabytes / (transfer.median() / 1e3)));
    for what in ["donors-cpu", "newcomer-cpu"] {
        row.push(format!("{:.0} ms", figures.median(&name(what))?));
    }
    Some(row)
}

fn readers(figures: &Figures) -> Table {
    let head = ["readers", "sessions", "reads/s before", "during", "ratio", "p99 before", "during", "seen to ready"];
    let mut table = Table::new("", &head);
    for readers in Readers::ALL {
        for count in [SESSIONS_QUICK, SESSIONS] {
            table.rows.extend(readers_row(figures, readers, count));
        }
    }
    table
}

fn readers_row(figures: &Figures, readers: Readers, count: usize) -> Option<Vec<String>> {
    let name = |what: &str| format!("join/{count}/readers/{}/{what}", readers.name());
    let what = match readers {
        Readers::Paced => "fixed pace",
        Readers::Fast => "full speed, cores shared",
        Readers::FastOnOwnCore => "full speed, a core each",
        Readers::OneInATurnOnOwnCore => "one in a turn, a core each",
    };
    let mut row = vec![what.to_owned(), count.to_string()];
    for when in ["before", "during"] {
        row.push(format!("{:.0}", figures.median(&name(&format!("{when}/rate")))?));
    }
    row.push(format!("{:.2}", figures.ratio(&name("during/rate"), &name("before/rate"))?));
    for when in ["before", "during"] {
        row.push(format!("{:.1} us", figures.median(&name(&format!("{when}/p99")))?));
    }
    row.push(format!("{:.0} ms", figures.median(&name("seen-to-ready"))?));
    Some(row)
}
