//! What the benchmarks compare with, and the users they all ask for.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use admit::{LimitConfig, Limiter, OverloadPolicy};
use dashmap::DashMap;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Users known to every contender.
pub(crate) const USERS: usize = 1_024;

/// Slots for each user.
pub(crate) const PER_USER: u32 = 10;

/// Slots for all users: nobody is refused unless that is what is measured.
pub(crate) const GLOBAL: u32 = 10_000;

pub(crate) fn names() -> Vec<String> {
    (0..USERS)
        .map(|number| format!("user-{number:06}"))
        .collect()
}

/// The numbers below `USERS` that leave `part` when divided by `parts`, in an order that no prefetcher guesses, the
/// same in every run.
pub(crate) fn order(part: usize, parts: usize) -> Vec<usize> {
    let mut own: Vec<usize> = (part..USERS).step_by(parts).collect();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    for at in (1..own.len()).rev() {
        // xorshift64
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        own.swap(at, seed as usize % (at + 1));
    }
    own
}

pub(crate) fn config(per_user: u32, global: u32) -> LimitConfig {
    LimitConfig {
        max_concurrent_per_user: per_user,
        max_queue_size_per_user: 10,
        max_concurrent_global: global,
        max_queue_size_global: 1_000,
        overload_policy: OverloadPolicy::DropNewest,
        ..LimitConfig::default()
    }
}

/// A limiter that knows all of `names`.
pub(crate) fn limiter(names: &[String], per_user: u32, global: u32) -> Limiter {
    let limiter = Limiter::new(config(per_user, global)).expect("the config is in range");
    for name in names {
        drop(limiter.try_acquire(name.as_str()).expect("a free slot"));
    }
    limiter
}

/// An atomic on a cache line of its own; two lines, since some cores fetch them in pairs.
#[derive(Default)]
#[repr(align(128))]
pub(crate) struct Padded(AtomicU64);

impl Padded {
    /// A load and a compare-and-exchange, as any lock-free counter with a bound has to do.
    #[inline]
    pub(crate) fn step(&self) {
        let mut seen = self.0.load(Ordering::Acquire);
        while let Err(now) = self.0.compare_exchange_weak(
            seen,
            black_box(seen.wrapping_add(1)),
            Ordering::AcqRel,
            Ordering::Acquire,
        ) {
            seen = now;
        }
    }
}

/// What most services have: a semaphore for each user, found by name, and one for all.
pub(crate) struct TwoSemaphores {
    users: DashMap<String, Arc<Semaphore>>,
    global: Arc<Semaphore>,
}

impl TwoSemaphores {
    pub(crate) fn new(names: &[String]) -> Self {
        let slots = || Arc::new(Semaphore::new(PER_USER as usize));
        Self {
            users: names.iter().map(|name| (name.clone(), slots())).collect(),
            global: Arc::new(Semaphore::new(GLOBAL as usize)),
        }
    }

    #[inline]
    pub(crate) fn try_acquire(
        &self,
        name: &str,
    ) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let user = self.users.get(name)?.clone();
        let user = user.try_acquire_owned().ok()?;
        let global = self.global.clone().try_acquire_owned().ok()?;
        Some((user, global))
    }
}
