//! Local monotonic time, as a number that can be subtracted from.

use std::time::Duration;

/// A point on one node's own monotonic clock, in milliseconds.
///
/// It means nothing on another node: there it travels as an age and is turned back into a moment of the
/// receiver. The clock of a node starts at [`Moment::START`], far enough from zero that an access of long
/// before the node was started can still be written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// When a node's clock starts: 2^42 milliseconds, about 139 years after zero.
    pub const START: Self = Self(1 << 42);

    /// The end of all time: later than every other moment.
    pub const END: Self = Self(u64::MAX);

    /// The moment `elapsed` after [`Moment::START`].
    pub fn after_start(elapsed: Duration) -> Self {
        Self(Self::START.0.saturating_add(millis(elapsed)))
    }

    /// This moment as a number, for a message that brings it back.
    pub const fn as_ms(self) -> u64 {
        self.0
    }

    /// The moment that [`Moment::as_ms`] gave.
    pub const fn from_ms(ms: u64) -> Self {
        Self(ms)
    }

    /// The moment `age_ms` milliseconds before this one; an age beyond the clock's range is cut to it.
    #[must_use]
    pub const fn minus_ms(self, age_ms: u64) -> Self {
        Self(self.0.saturating_sub(age_ms))
    }

    /// The moment `ms` milliseconds after this one.
    #[must_use]
    pub const fn plus_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// The moment `duration` after this one.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        self.plus_ms(millis(duration))
    }

    /// The moment `duration` before this one, cut as by [`Moment::minus_ms`].
    #[must_use]
    pub fn minus(self, duration: Duration) -> Self {
        self.minus_ms(millis(duration))
    }

    /// Milliseconds from `earlier` to this moment; 0 when `earlier` is the later one.
    pub const fn ms_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// A duration in whole milliseconds; what exceeds 2^64 ms is cut.
pub fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
