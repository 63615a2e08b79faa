//! What a count and a wait may be. Each range is said once, here, and used by validation, by the
//! parsers and in the words of a fault.

use std::fmt;
use std::time::Duration;

/// The largest limit or queue size, and the most that a level can ever hold or that can ever wait
/// there: 1,048,575.
///
/// # Examples
///
/// ```
/// use admit::{LimitConfig, MAX_COUNT};
///
/// let most = LimitConfig::builder().max_concurrent_global(MAX_COUNT);
/// assert!(most.clone().build().is_ok());
/// assert!(most.max_concurrent_global(MAX_COUNT + 1).build().is_err());
/// ```
pub const MAX_COUNT: u32 = (1 << 20) - 1;

/// The largest [`max_idle_users`](crate::LimitConfig::max_idle_users): 100,000,000.
///
/// # Examples
///
/// ```
/// use admit::{LimitConfig, MAX_IDLE_USERS};
///
/// assert!(LimitConfig::builder().max_idle_users(MAX_IDLE_USERS).build().is_ok());
/// ```
pub const MAX_IDLE_USERS: u32 = 100_000_000;

/// The longest wait that can be set: a year of 365 days.
///
/// # Examples
///
/// ```
/// use admit::{LimitConfig, MAX_WAIT};
/// use std::time::Duration;
///
/// assert_eq!(MAX_WAIT, Duration::from_secs(365 * 24 * 60 * 60));
/// assert!(LimitConfig::builder().queue_timeout(MAX_WAIT).build().is_ok());
/// ```
pub const MAX_WAIT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// The values a count may have, both ends included.
#[derive(Clone, Copy, Debug)]
pub(super) struct CountRange {
    least: u32,
    most: u32,
}

impl CountRange {
    /// Requests that run. The common limits have at least 1: a limiter that admits nobody is
    /// closed, not configured.
    pub(super) const SLOTS: Self = Self {
        least: 1,
        most: MAX_COUNT,
    };
    /// Requests of one named user that run.
    pub(super) const OWN_SLOTS: Self = Self {
        least: 0,
        most: MAX_COUNT,
    };
    /// Requests that wait.
    pub(super) const PLACES: Self = Self {
        least: 0,
        most: MAX_COUNT,
    };
    /// Users that are remembered.
    pub(super) const IDLE_USERS: Self = Self {
        least: 0,
        most: MAX_IDLE_USERS,
    };

    pub(super) fn holds(self, value: u32) -> bool {
        (self.least..=self.most).contains(&value)
    }
}

impl fmt::Display for CountRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.least, self.most)
    }
}

/// The values a wait may have, up to [`MAX_WAIT`] included.
#[derive(Clone, Copy, Debug)]
pub(super) struct WaitRange {
    zero: bool,
}

impl WaitRange {
    /// A wait that may be no wait.
    pub(super) const FROM_ZERO: Self = Self { zero: true };
    /// A wait that has to be one.
    pub(super) const ABOVE_ZERO: Self = Self { zero: false };

    pub(super) fn holds(self, value: Duration) -> bool {
        (self.zero || !value.is_zero()) && value <= MAX_WAIT
    }
}

impl fmt::Display for WaitRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let most = MAX_WAIT.as_secs();
        let least = if self.zero { "from 0" } else { "above 0" };
        write!(f, "{least} up to {most} seconds (a year)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_of_a_count_are_in_range() {
        for (range, least, most) in [
            (CountRange::SLOTS, 1, 1_048_575),
            (CountRange::OWN_SLOTS, 0, 1_048_575),
            (CountRange::PLACES, 0, 1_048_575),
            (CountRange::IDLE_USERS, 0, 100_000_000),
        ] {
            assert!(range.holds(least) && range.holds(most), "{range}");
            assert!(!range.holds(most + 1) && !range.holds(u32::MAX), "{range}");
        }
        assert!(!CountRange::SLOTS.holds(0));
    }

    #[test]
    fn a_wait_ends_at_a_year() {
        let nano = Duration::from_nanos(1);
        for range in [WaitRange::FROM_ZERO, WaitRange::ABOVE_ZERO] {
            assert!(range.holds(nano) && range.holds(MAX_WAIT), "{range}");
            assert!(!range.holds(MAX_WAIT + nano), "{range}");
            assert!(!range.holds(Duration::MAX), "{range}");
        }
        assert!(WaitRange::FROM_ZERO.holds(Duration::ZERO));
        assert!(!WaitRange::ABOVE_ZERO.holds(Duration::ZERO));
    }
}
