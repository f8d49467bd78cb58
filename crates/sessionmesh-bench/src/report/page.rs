//! The whole report, as a page of the documentation.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::Context as _;

use super::chapter::goals_table;
use super::{Chapter, Figures, Machine};

/// All chapters of a run.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    pub(crate) machine: &'a Machine,
    pub(crate) quick: bool,
    pub(crate) figures: &'a Figures,
    pub(crate) chapters: &'a [Chapter],
}

/// What lies between these lines belongs to the program; the text around it is ours.
const MARKS: [&str; 2] = [BEGIN, END];
const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

impl Page<'_> {
    /// Writes the measured part of `docs/performance.md`, and the plots beside it.
    pub(crate) fn write(&self, docs: &Path) -> anyhow::Result<()> {
        let plots = docs.join("performance");
        fs::create_dir_all(&plots).with_context(|| format!("cannot create {}", plots.display()))?;
        for plot in self.chapters.iter().flat_map(|chapter| &chapter.plots) {
            plot.draw(&plots)?;
        }
        Self::replace(docs, MARKS, &self.markdown())
    }

    /// Writes what lies between two lines of `docs/performance.md`. A page that is not there is begun.
    pub(crate) fn replace(docs: &Path, marks: [&str; 2], text: &str) -> anyhow::Result<()> {
        let [begin, end] = marks;
        let file = docs.join("performance.md");
        let before = match fs::read_to_string(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => format!("# Performance\n\n{begin}\n{end}\n"),
            read => read.with_context(|| format!("cannot read {}", file.display()))?,
        };
        let text = replace(&before, marks, text)
            .with_context(|| format!("{} has no lines {begin} and {end}", file.display()))?;
        fs::write(&file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    fn markdown(&self) -> String {
        let mut text = String::from("\n## The run\n\n");
        let _ = write!(text, "{}", self.machine.markdown());
        let quick = if self.quick { " --quick" } else { "" };
        let _ = writeln!(text, "- command: `cargo run --release -- all{quick}` in `crates/sessionmesh-bench`\n");
        let goals = self.chapters.iter().flat_map(|chapter| &chapter.goals);
        if let Some(goals) = goals_table(goals, self.figures) {
            let _ = writeln!(text, "{}", goals.markdown());
        }
        for chapter in self.chapters {
            text.push_str(&chapter.markdown(self.figures, Some("performance")));
        }
        text
    }
}

/// `page` with everything between the two marks replaced.
fn replace(page: &str, [begin, end]: [&str; 2], text: &str) -> Option<String> {
    let (before, rest) = page.split_once(begin)?;
    let (_, after) = rest.split_once(end)?;
    Some(format!("{before}{begin}\n{text}{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_that_is_not_there_is_begun() {
        let folder = tempfile::tempdir().unwrap();
        let machine = Machine::here();
        let chapters = [Chapter { title: "Speed", how: "Measured.".to_owned(), ..Chapter::default() }];
        let page = Page { machine: &machine, quick: true, figures: &Figures::default(), chapters: &chapters };
        let docs = folder.path().join("docs");
        page.write(&docs).unwrap();
        page.write(&docs).unwrap();
        let text = fs::read_to_string(docs.join("performance.md")).unwrap();
        assert_eq!(text.matches("## Speed").count(), 1, "{text}");
        assert!(text.contains("all --quick`"), "{text}");
    }

    #[test]
    fn only_what_was_measured_is_replaced() {
        let page = format!("ours\n{BEGIN}\nold\n{END}\nours, too\n");
        let new = replace(&page, MARKS, "new\n").unwrap();
        assert_eq!(new, format!("ours\n{BEGIN}\nnew\n{END}\nours, too\n"));
        assert_eq!(replace(&new, MARKS, "new\n").as_deref(), Some(new.as_str()));
        assert_eq!(replace("no marks", MARKS, "new"), None);
    }
}
