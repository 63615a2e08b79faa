//! A number for each thread, so that threads count on cache lines of their own.
//!
//! The first threads have a stripe to themselves and count with a plain load and store; those beyond share the last
//! stripe and pay for a read-modify-write. A thread that ends gives its stripe to the next that starts.
//!
//! Counters are statistics, not part of the protocol, so they are `std` atomics in the model too.

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

const SHARED: Stripe = Stripe {
    index: OWN,
    is_own: false,
};

struct Lease(Stripe);

impl Lease {
    fn take() -> Self {
        let mut taken = TAKEN.load(Ordering::Relaxed);
        loop {
            let index = taken.trailing_ones() as usize;
            if index >= OWN {
                return Self(SHARED);
            }
            // Ordering: Acquire pairs with the Release of `drop`: the counts of the thread that had the stripe before
            // are seen here, else a plain load and store would undo them.
            match TAKEN.compare_exchange_weak(
                taken,
                taken | 1 << index,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    return Self(Stripe {
                        index,
                        is_own: true,
                    });
                }
                Err(now) => taken = now,
            }
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.0.is_own {
            // Ordering: Release pairs with the Acquire of `take`.
            TAKEN.fetch_and(!(1 << self.0.index), Ordering::Release);
        }
    }
}

thread_local! {
    static LEASE: Lease = Lease::take();
}

/// The stripe of the calling thread; the shared one while the thread is being torn down.
#[inline]
pub(crate) fn stripe() -> Stripe {
    LEASE.try_with(|lease| lease.0).unwrap_or(SHARED)
}
