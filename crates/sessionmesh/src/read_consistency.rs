//! How sure of itself a read must be.

/// Whether a read may serve what others may know better.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadConsistency {
    /// The newest that is known: a node that may have missed something asks the owners first. [`crate::Mesh::load`] does
    /// this. In calm it sees every commit that was acknowledged with the default [`crate::Ack::Owners`].
    #[default]
    Current,
    /// Whatever live copy this node holds that is not past its idle limit, without asking anybody; it asks only if it
    /// holds none. So a node answers at once also while the cluster changes or others do not answer, but **it may miss the
    /// newest writes, and a logout**: somebody who logged out elsewhere can go on reading here until this node hears of
    /// it. For pages where that is harmless, never for what a login protects.
    Held,
}
