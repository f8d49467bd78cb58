//! Where a run took place.

use std::fs;
use std::process::Command;

/// The machine and the versions of all that was measured on it.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// Name and version of each program, as it tells them itself; what is missing is left out.
    pub(crate) programs: Vec<(&'static str, String)>,
}

/// How each program tells its version.
const PROGRAMS: [(&str, &str, &[&str]); 4] = [
    ("Rust", "rustc", &["--version"]),
    ("Redis", "redis-server", &["--version"]),
    ("Java", "java", &["-version"]),
    ("Tomcat", "dpkg-query", &["--show", "--showformat=${Version}", "tomcat10"]),
];

impl Machine {
    /// This one.
    pub(crate) fn here() -> Self {
        let programs = PROGRAMS.into_iter().filter_map(|(name, program, arguments)| {
            let output =
                Command::new(program).args(arguments).output().ok().filter(|output| output.status.success())?;
            let text = [output.stdout, output.stderr].concat();
            let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
            (!line.is_empty()).then_some((name, line))
        });
        Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_gib: field("/proc/meminfo", "MemTotal")
                .and_then(|text| text.split(' ').next()?.parse::<u64>().ok())
                .map_or(0, |kib| kib >> 20),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
            programs: programs.collect(),
        }
    }

    pub(crate) fn markdown(&self) -> String {
        let Self { processor, cores, memory_gib, kernel, programs } = self;
        let mut text = format!("- {cores} cores of {processor}, {memory_gib} GiB, Linux {kernel}\n");
        for (name, version) in programs {
            text.push_str(&format!("- {name}: {version}\n"));
        }
        text
    }
}

fn field(file: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
