//! Settings as the text of a TOML file.

use sessionmesh::Config;
use sessionmesh::config::Origin;

use crate::{Outcome, Target};

/// What reads settings: what it reads is in range, and told again it is read as the same; no error shows a secret.
pub const TARGET: Target = Target { name: "config_file", check, seeds };

fn check(bytes: &[u8]) -> Outcome {
    let Ok(text) = str::from_utf8(bytes) else { return Outcome::Refused };
    match Config::from_toml(text) {
        Ok(config) => {
            holds(&config);
            Outcome::Read
        }
        Err(error) => {
            let said = format!("{error} {error:?}");
            // In a text of several lines a line is no setting.
            let lines = text.lines().filter(|_| !text.contains("\"\"\"") && !text.contains("'''"));
            lines.filter_map(secret_in).for_each(|line| shows_nothing_of(line, text, &said));
            Outcome::Refused
        }
    }
}

/// What a line of a file gives as the secret.
fn secret_in(line: &str) -> Option<&str> {
    line.trim_start().strip_prefix("secret").filter(|rest| rest.starts_with([' ', '=']))
}

/// What must hold of all settings that were read.
pub(super) fn holds(config: &Config) {
    // That it is complete, and that settings fit each other, is another question: it must be answered.
    let _ = config.validate();
    let again = config.clone().from_env_over([]).expect("what was read is in range");
    assert_eq!(&again, config);
    let mut told = config.clone();
    if told.name.is_empty() {
        told.name.push('a');
    }
    // Secrets are not told.
    told.secret.clear();
    assert_eq!(Config::from_table(&told, &Origin::Program).expect("what was told is in range"), told);
    let shown = format!("{config:?}");
    assert!(config.secret.iter().all(|secret| !shown.contains(&**secret.to_text())));
}

/// No part of `secret` that could be one, and that stands nowhere else in what was given, is in `said`.
pub(super) fn shows_nothing_of(secret: &str, given: &str, said: &str) {
    let parts = secret.split(|c: char| !c.is_ascii_alphanumeric()).filter(|part| part.len() >= 24);
    for part in parts.filter(|part| given.matches(part).count() == 1) {
        assert!(!said.contains(part), "an error shows a secret: {said}");
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let [base64, hexadecimal] = super::secret::texts();
    let member = format!(
        "name = \"web-1\"\nbind = \"10.0.0.1:7700\"\nsecret = \"{hexadecimal}\"\nseeds = [\"web-2:7700\", \"[fd00::2]:7700\"]\n"
    );
    let rotation = format!("name = 'web-1'\nsecret = ['{base64}', \"{hexadecimal}\"]\naccept_plaintext = true\n");
    let sizes = "mode = \"all-to-all\"\nbackups = 2\nack = \"copies\"\nack_copies = 2\nstrict = true\ncommit_deadline = \"1s 500ms\"\n\
        max_inactive = \"1h\"\nmulticast = false\ndns = [\"web.local:7700\"]\ngossip_phi = 8.5\nmax_sessions = 100_000\nuser_attribute = \"login\"\n\
        user_pointer = \"/user_id\"\nmax_sessions_per_user = 5\ntombstone_retention = \"2days\"\n";
    let group = "multicast_group = \"228.0.0.5\"\nmulticast_port = 45565\nmulticast_interface = \"10.0.0.1\"\nmulticast_ttl = 1\nzone = \"a\"\n\
        advertise = \"[::1]:0\"\nsecret_file = \"/nowhere\"\ninsecure = true\n";
    let half = format!("secret = \"{hexadecimal}\n");
    let twice = format!("secret = \"{hexadecimal}\"\nsecret = 5\n");
    [member, rotation, sizes.to_owned(), group.to_owned(), String::new(), half, twice].map(String::into_bytes).to_vec()
}
