//! Counts by outcome, on a cache line for each thread.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Reason;
use crate::sync::{STRIPES, stripe};

/// What is counted. Every request ends in exactly one outcome; `Queued` counts those that took a place on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Tally {
    Admitted,
    Queued,
    UserLimit,
    UserQueueFull,
    GlobalLimit,
    GlobalQueueFull,
    Evicted,
    TimedOut,
    Closed,
    Reset,
    Abandoned,
}

const KINDS: usize = Tally::Abandoned as usize + 1;

impl Tally {
    pub(crate) fn of(reason: Reason) -> Self {
        match reason {
            Reason::UserLimit { .. } => Self::UserLimit,
            Reason::UserQueueFull { .. } => Self::UserQueueFull,
            Reason::GlobalLimit { .. } => Self::GlobalLimit,
            Reason::GlobalQueueFull { .. } => Self::GlobalQueueFull,
            Reason::Evicted { .. } => Self::Evicted,
            Reason::QueueTimeout { .. } => Self::TimedOut,
            Reason::Closed => Self::Closed,
            Reason::Reset => Self::Reset,
        }
    }
}

#[repr(align(128))]
struct Counts([AtomicU64; KINDS]);

/// One row of counts for each stripe, in place: the row is found without another pointer.
pub(crate) struct Tallies([Counts; STRIPES]);

impl Tallies {
    pub(crate) fn new() -> Self {
        Self(std::array::from_fn(|_| {
            Counts(std::array::from_fn(|_| AtomicU64::new(0)))
        }))
    }

    /// Counts one.
    #[inline]
    pub(crate) fn count(&self, tally: Tally) {
        let stripe = stripe();
        let Some(row) = self.0.get(stripe.index) else {
            return;
        };
        let cell = &row.0[tally as usize];
        // Ordering: Relaxed: a sum of statistics. Nobody else writes to a stripe of one's own, so there a load and a
        // store lose nothing.
        if stripe.is_own {
            cell.store(cell.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        } else {
            cell.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sum over all threads; not a snapshot of one instant.
    pub(crate) fn sum(&self, tally: Tally) -> u64 {
        // Ordering: Relaxed, as above.
        self.0
            .iter()
            .map(|row| row.0[tally as usize].load(Ordering::Relaxed))
            .sum()
    }
}
