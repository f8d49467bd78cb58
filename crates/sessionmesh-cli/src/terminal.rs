//! The look of what is printed: colours on a terminal, plain text elsewhere and with `NO_COLOR`.

use std::io::Write as _;
use std::time::Duration;

use anstyle::{AnsiColor, Style};

/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What did not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What deserves a second look.
pub(crate) const ODD: Style = AnsiColor::Yellow.on_default().bold();
/// What is there for those who look closer.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What stands out.
pub(crate) const BOLD: Style = Style::new().bold();

/// Prints the beginning of a line, for a step that takes a while; the step completes the line.
pub(crate) fn begin(text: &str) {
    anstream::print!("{text}");
    // A closed terminal is noticed by whoever prints the next line.
    let _ = anstream::stdout().flush();
}

/// A time in milliseconds, right-aligned: `   3.2 ms`.
pub(crate) fn millis(time: Duration) -> String {
    format!("{:>7.1} ms", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_aligned_in_milliseconds() {
        assert_eq!(millis(Duration::from_micros(3_240)), "    3.2 ms");
        assert_eq!(millis(Duration::from_millis(1_104)), " 1104.0 ms");
    }
}
