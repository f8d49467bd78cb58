//! Nodes in processes of their own, attacked from this one.
//!
//! [`alone`] is the program `sessionmesh node` with nobody to talk to: what its decoder is given came from attackers. [`pair`]
//! are two nodes with everything that they say to each other in the hands of the attacker ([`relay`]). An [`insider`] has a
//! secret, and a TLS library of its own.

mod alone;
mod flips;
mod flood;
mod insider;
mod pair;
mod plaintext;
mod relay;
mod replays;
mod strangers;
mod versions;
