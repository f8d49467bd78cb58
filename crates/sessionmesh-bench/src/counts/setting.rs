//! What counts depend on beside the code: with another of these they say nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde::{Deserialize, Serialize};

/// The versions of what makes and counts instructions.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Setting(BTreeMap<String, String>);

impl Setting {
    /// That of this machine.
    pub(super) fn here() -> anyhow::Result<Self> {
        let told = [
            ("rustc", said_by("rustc", &["--version"])?),
            ("valgrind", said_by("valgrind", &["--version"])?),
            ("libc", said_by("getconf", &["GNU_LIBC_VERSION"])?),
            ("processor", processor()),
        ];
        Ok(Self(told.into_iter().map(|(name, text)| (name.to_owned(), text)).collect()))
    }

    /// The first thing of which `other` had another one, as it had it and as it is here.
    pub(super) fn other_than(&self, other: &Self) -> Option<String> {
        let here = |name: &String| self.0.get(name).map_or("none", String::as_str);
        let (name, theirs) = other.0.iter().find(|(name, theirs)| here(name) != theirs.as_str())?;
        // Most tell their names themselves.
        let name_first = if theirs.starts_with(name.as_str()) { String::new() } else { format!("{name} ") };
        Some(format!("{name_first}{theirs}, here is {}", here(name)))
    }
}

impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, text)| writeln!(f, "- {name}: {text}"))
    }
}

fn said_by(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {} fails", arguments.join(" "));
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The architecture, and what of the processor decides which code libraries run: copying, hashing, ciphers.
fn processor() -> String {
    let mut text = std::env::consts::ARCH.to_owned();
    #[cfg(target_arch = "x86_64")]
    {
        let features = [
            ("aes", std::is_x86_feature_detected!("aes")),
            ("avx2", std::is_x86_feature_detected!("avx2")),
            ("avx512bw", std::is_x86_feature_detected!("avx512bw")),
            ("bmi2", std::is_x86_feature_detected!("bmi2")),
            ("ermsb", std::is_x86_feature_detected!("ermsb")),
            ("sha", std::is_x86_feature_detected!("sha")),
        ];
        for (name, _) in features.iter().filter(|(_, detected)| *detected) {
            text.push(' ');
            text.push_str(name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setting(rustc: &str) -> Setting {
        let told = [("processor", "x86_64 avx2"), ("rustc", rustc)];
        Setting(told.into_iter().map(|(name, text)| (name.to_owned(), text.to_owned())).collect())
    }

    #[test]
    fn counts_of_another_compiler_or_processor_are_told_apart() {
        let here = setting("rustc 1.96.0");
        assert_eq!(here.other_than(&here), None);
        let other = here.other_than(&setting("rustc 1.95.0"));
        assert_eq!(other.as_deref(), Some("rustc 1.95.0, here is rustc 1.96.0"));
        let other = Setting::default().other_than(&here);
        assert_eq!(other.as_deref(), Some("processor x86_64 avx2, here is none"));
    }
}
