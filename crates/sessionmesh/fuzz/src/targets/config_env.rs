//! Settings as environment variables.

use sessionmesh::Config;

use super::config_file::{holds, shows_nothing_of};
use crate::{Outcome, Target};

/// What reads variables: the same as of files. Each line of the input is a name, `=` and a value.
pub const TARGET: Target = Target { name: "config_env", check, seeds };

fn check(bytes: &[u8]) -> Outcome {
    let Ok(text) = str::from_utf8(bytes) else { return Outcome::Refused };
    let pairs = text.split('\n').filter_map(|line| line.split_once('='));
    let vars = pairs.clone().map(|(name, value)| (name.to_owned(), value.to_owned()));
    match Config::default().from_env_over(vars) {
        Ok(config) => {
            holds(&config);
            Outcome::Read
        }
        Err(error) => {
            let said = format!("{error} {error:?}");
            let secrets = pairs.filter(|(name, _)| *name == "SESSIONMESH_SECRET");
            secrets.for_each(|(_, secret)| shows_nothing_of(secret, text, &said));
            Outcome::Refused
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    let [base64, hexadecimal] = super::secret::texts();
    let texts = [
        format!("SESSIONMESH_NAME=web-1\nSESSIONMESH_BIND=10.0.0.1:7700\nSESSIONMESH_SECRET={base64}, {hexadecimal}\nPATH=/bin"),
        "SESSIONMESH_BACKUPS=2\nSESSIONMESH_GOSSIP_PHI=1e1\nSESSIONMESH_STRICT=true\nSESSIONMESH_SEEDS=web-2:7700,[fd00::2]:1".to_owned(),
        "SESSIONMESH_ADVERTISE=[10.1.2.3]:7700\nSESSIONMESH_DISCOVERY_WINDOW=0s\nSESSIONMESH_MODE=all-to-all\nSESSIONMESH_ACK=local".to_owned(),
        "SESSIONMESH_USER_POINTER=/a~0b\nSESSIONMESH_MAX_INACTIVE=1year\nSESSIONMESH_NAMES=web-1".to_owned(),
        format!("SESSIONMESH_ACCEPT_PLAINTEXT=false\nSESSIONMESH_SECRET_FILE=/nowhere\nSESSIONMESH_SECRET={hexadecimal}x"),
        "SESSIONMESH_MULTICAST_GROUP=228.0.0.4\nSESSIONMESH_MULTICAST_TTL=3\nSESSIONMESH_INSECURE=true".to_owned(),
    ];
    texts.map(String::into_bytes).to_vec()
}
