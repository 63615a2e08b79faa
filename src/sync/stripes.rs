//! A number for each thread, so that threads count on cache lines of their own.
//!
//! The first threads have a stripe to themselves and count with a plain load and store; those beyond share the last
//! stripe and pay for a read-modify-write. A thread that ends gives its stripe to the next that starts.
//!
//! Counters are statistics, not part of the protocol, so they are `std` atomics in the model too.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Stripes that a thread can have to itself.
const OWN: usize = 63;
/// All stripes, the shared one included.
pub(crate) const STRIPES: usize = OWN + 1;

/// One bit for each stripe in use.
static TAKEN: AtomicU64 = AtomicU64::new(1 << OWN);

/// The stripe of this thread: its number, and whether nobody else has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stripe {
    pub(crate) index: usize,
    pub(crate) is_own: bool,
}

/// The index of a thread that has not asked yet.
const UNKNOWN: usize = usize::MAX;

/// The stripe of a thread, until the thread ends.
struct Lease(usize);

impl Lease {
    fn take() -> Self {
        let mut taken = TAKEN.load(Ordering::Relaxed);
        loop {
            let index = taken.trailing_ones() as usize;
            if index >= OWN {
                return Self(OWN);
            }
            // Ordering: Acquire pairs with the Release of `drop`: the counts of the thread that had the stripe before
            // are seen here, else a plain load and store would undo them.
            match TAKEN.compare_exchange_weak(
                taken,
                taken | 1 << index,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Self(index),
                Err(now) => taken = now,
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What the thread counts while it is torn down goes to the shared stripe.
        INDEX.set(OWN);
        if self.0 < OWN {
            // Ordering: Release pairs with the Acquire of `take`.
            TAKEN.fetch_and(!(1 << self.0), Ordering::Release);
        }
    }
}

thread_local! {
    /// What the lease says. By itself, since a cell that needs no destructor is one load, without a look at whether it
    /// is there.
    static INDEX: Cell<usize> = const { Cell::new(UNKNOWN) };
    static LEASE: Lease = Lease::take();
}

/// The stripe of the calling thread; the shared one while the thread is being torn down.
#[inline]
pub(crate) fn stripe() -> Stripe {
    let index = INDEX.get();
    if index < OWN {
        Stripe {
            index,
            is_own: true,
        }
    } else {
        lease()
    }
}

/// For a thread that asks for the first time, or has no stripe to itself.
#[cold]
fn lease() -> Stripe {
    let index = LEASE.try_with(|lease| lease.0).unwrap_or(OWN);
    INDEX.set(index);
    Stripe {
        index,
        is_own: index < OWN,
    }
}
