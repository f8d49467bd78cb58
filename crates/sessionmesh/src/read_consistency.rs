//! How sure of itself a read must be.

/// How current a read must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadConsistency {
    /// The newest known state: a node that may have missed something asks the owners first. [`crate::Mesh::load`] does
    /// this. While no fault disturbs the cluster, it sees every commit that was acknowledged with the default
    /// [`crate::Ack::Owners`].
    #[default]
    Current,
    /// Any live copy that this node holds and that is not past its idle limit, without asking other nodes; the node
    /// asks them only if it holds no such copy. So it answers at once even while the cluster changes or other nodes do
    /// not answer. But **it may miss the newest writes, and a logout**: a visitor who logged out elsewhere can go on
    /// reading here until this node hears of it. For pages where that is harmless, never for what a login protects.
    Held,
}
