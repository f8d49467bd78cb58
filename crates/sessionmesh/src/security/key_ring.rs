//! The keys that follow from the cluster secrets.
//!
//! Each purpose has keys of its own, by HKDF-SHA-256 (RFC 5869) with the name of the cluster in it: nodes of two clusters with
//! the same secret do not understand each other.

use std::fmt;
use std::sync::Arc;

use ring::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use tokio_util::sync::CancellationToken;
use zeroize::Zeroizing;

use super::secret::Secret;

/// Separates these keys from those that another protocol may derive from the same secret.
const SALT: &[u8] = b"sessionmesh 1";
/// What each key is for.
const FOR_ID: &[u8] = b"key id";
const FOR_LINKS: &[u8] = b"links: Ed25519 seed";
const FOR_DATAGRAMS: &[u8] = b"datagrams: of one life";
const FOR_SHORT_HASHES: &[u8] = b"short hashes of session ids";

/// Names a secret without telling anything of it. Travels in clear.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct KeyId(pub(crate) [u8; 8]);

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The keys of one secret in one cluster.
pub(crate) struct Key {
    pub(crate) id: KeyId,
    /// The private key that every node with this secret proves to have, and only such a node.
    link_seed: Zeroizing<[u8; 32]>,
    link_public: [u8; 32],
    derive: Prk,
    cluster: String,
    /// Ends when the secret is taken out of the ring: nothing that relies on it may go on.
    pub(crate) retired: CancellationToken,
}

impl Key {
    fn new(secret: &Secret, cluster: &str) -> Self {
        let derive = Salt::new(HKDF_SHA256, SALT).extract(secret.bytes());
        let mut id = [0; 8];
        expand(&derive, &[FOR_ID, cluster.as_bytes()], &mut id);
        let mut link_seed = Zeroizing::new([0; 32]);
        expand(&derive, &[FOR_LINKS, cluster.as_bytes()], &mut *link_seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*link_seed).expect("a seed has 32 bytes");
        let link_public = pair.public_key().as_ref().try_into().expect("a public key has 32 bytes");
        let (id, cluster, retired) = (KeyId(id), cluster.to_owned(), CancellationToken::new());
        Self { id, link_seed, link_public, derive, cluster, retired }
    }

    /// The seed of the Ed25519 key of links, and its public half.
    pub(super) fn link_key(&self) -> (&[u8; 32], &[u8; 32]) {
        (&self.link_seed, &self.link_public)
    }

    /// The key of the datagrams that this life of a node sends.
    pub(super) fn datagram_key(&self, life: &[u8; 16]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        expand(&self.derive, &[FOR_DATAGRAMS, life, self.cluster.as_bytes()], &mut *key);
        key
    }

    /// The key of the short hashes by which logs call sessions: the same on all nodes.
    fn short_hash_key(&self) -> u64 {
        let mut key = [0; 8];
        expand(&self.derive, &[FOR_SHORT_HASHES, self.cluster.as_bytes()], &mut key);
        u64::from_le_bytes(key)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The keys in use, the one of this node's own first. Others may use any of them.
#[derive(Clone, Debug)]
pub(crate) struct KeyRing(Arc<[Arc<Key>]>);

impl KeyRing {
    /// The keys of these secrets; none of a secret that stands twice. `None` without a secret.
    pub(crate) fn new(secrets: &[Secret], cluster: &str) -> Option<Self> {
        let mut keys: Vec<Arc<Key>> = Vec::new();
        for secret in secrets {
            let key = Key::new(secret, cluster);
            if keys.iter().all(|known| known.id != key.id) {
                keys.push(Arc::new(key));
            }
        }
        (!keys.is_empty()).then(|| Self(keys.into()))
    }

    /// The keys of `next`; those that are in this ring, too, are the same ones.
    pub(crate) fn joined_by(&self, next: &Self) -> Self {
        let known = |key: &Arc<Key>| self.get(key.id).unwrap_or(key).clone();
        Self(next.0.iter().map(known).collect())
    }

    /// Ends what relies on keys that are not in `next`.
    pub(crate) fn retire_all_but(&self, next: &Self) {
        self.0.iter().filter(|key| next.get(key.id).is_none()).for_each(|key| key.retired.cancel());
    }

    /// Whether it has the same keys in the same order.
    pub(crate) fn has_the_keys_of(&self, other: &Self) -> bool {
        self.0.iter().map(|key| key.id).eq(other.0.iter().map(|key| key.id))
    }

    /// The key with this id.
    pub(crate) fn get(&self, id: KeyId) -> Option<&Arc<Key>> {
        self.0.iter().find(|key| key.id == id)
    }

    /// The key of short hashes that follows from the first of them.
    pub(crate) fn short_hash_key(&self) -> u64 {
        self.0[0].short_hash_key()
    }

    /// All of them, the one of this node's own first.
    pub(crate) fn keys(&self) -> &[Arc<Key>] {
        &self.0
    }
}

/// HKDF-Expand. The parts of `info` are of fixed length but the last one.
fn expand(key: &Prk, info: &[&[u8]], into: &mut [u8]) {
    let length = Length(into.len());
    key.expand(info, length).and_then(|output| output.fill(into)).expect("a key is far below the limit of 8,160 bytes");
}

struct Length(usize);

impl KeyType for Length {
    fn len(&self) -> usize {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(secrets: &[&Secret], cluster: &str) -> KeyRing {
        let secrets: Vec<Secret> = secrets.iter().copied().cloned().collect();
        KeyRing::new(&secrets, cluster).unwrap()
    }

    #[test]
    fn keys_follow_from_the_secret_and_the_name_of_the_cluster_alone() {
        let [one, two] = [Secret::generate(), Secret::generate()];
        let all = |secret, cluster| {
            let ring = ring(&[secret], cluster);
            let key = &ring.keys()[0];
            (key.id, *key.link_key().1, (*key.datagram_key(&[7; 16]), key.short_hash_key()))
        };
        assert_eq!(all(&one, "shop"), all(&one, "shop"));
        for (secret, cluster) in [(&two, "shop"), (&one, "shop2"), (&one, "")] {
            let (id, public, datagrams) = all(secret, cluster);
            let (other_id, other_public, other_datagrams) = all(&one, "shop");
            assert!(id != other_id && public != other_public && datagrams != other_datagrams);
        }
        let ring = ring(&[&one], "shop");
        let key = &ring.keys()[0];
        assert_ne!(*key.datagram_key(&[7; 16]), *key.datagram_key(&[8; 16]));
        assert_ne!(*key.datagram_key(&[7; 16]), *key.link_key().0);
    }

    /// What every version derives for links and datagrams in this form. The bytes were made by another implementation of RFC
    /// 5869.
    #[test]
    fn the_keys_of_a_secret_are_part_of_the_protocol() {
        let secret = Secret::parse("3q2Jf0dXUzVbq7mRk1sYgE5wA9tLhPcOiZ8nTuB6vKo=").unwrap();
        let ring = ring(&[&secret], "shop");
        let key = &ring.keys()[0];
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        assert_eq!(format!("{:?}", key.id), "c5374af23146c6d7");
        assert_eq!(hex(key.link_key().0), "0b294f43843aff8d6495ea4f9cacc70d9b3045725203f4054773fcec9645e16a");
        assert_eq!(
            hex(&*key.datagram_key(&[7; 16])),
            "558733e55264973e02af7e58456a187821204745a6096afad2d8770451d3aa62"
        );
    }

    #[test]
    fn a_key_that_is_taken_out_is_retired_and_the_others_stay_the_same() {
        let [one, two] = [Secret::generate(), Secret::generate()];
        let old = ring(&[&one], "shop");
        let both = old.joined_by(&ring(&[&two, &one], "shop"));
        old.retire_all_but(&both);
        let first = old.keys()[0].clone();
        assert!(Arc::ptr_eq(&both.keys()[1], &first) && !first.retired.is_cancelled());
        assert!(
            both.has_the_keys_of(&ring(&[&two, &one], "shop")) && !both.has_the_keys_of(&ring(&[&one, &two], "shop"))
        );
        let new = both.joined_by(&ring(&[&two], "shop"));
        both.retire_all_but(&new);
        assert!(first.retired.is_cancelled() && !new.keys()[0].retired.is_cancelled());
        assert!(Arc::ptr_eq(&new.keys()[0], &both.keys()[0]));
    }

    #[test]
    fn no_output_shows_a_key() {
        let ring = ring(&[&Secret::generate()], "shop");
        let shown = format!("{ring:?}");
        assert!(shown.len() < 80 && shown.contains("id: ") && shown.contains(".."), "{shown}");
    }
}
