//! Memory of processes.

use anyhow::Context as _;

/// Bytes of the physical memory that a process uses (RSS).
pub(crate) fn resident(pid: u32) -> anyhow::Result<u64> {
    of(pid, "VmRSS:")
}

/// The most of it that a process has used since it started, or since [`forget_peak`].
pub(crate) fn peak(pid: u32) -> anyhow::Result<u64> {
    of(pid, "VmHWM:")
}

/// Lets the peak of a process start anew.
pub(crate) fn forget_peak(pid: u32) -> anyhow::Result<()> {
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").context("the peak of a process cannot be forgotten")
}

fn of(pid: u32, name: &str) -> anyhow::Result<u64> {
    let file = format!("/proc/{pid}/status");
    let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    field(&text, name).with_context(|| format!("{file} is not understood"))
}

/// A field that is given in KiB, as bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(rest.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_in_bytes() {
        assert_eq!(field("Name:\tx\nVmRSS:\t    1024 kB\n", "VmRSS:"), Some(1 << 20));
        assert_eq!(field("VmRSS:\t12 MB\n", "VmRSS:"), None);
        assert!(resident(std::process::id()).unwrap() > 1 << 16);
    }
}
