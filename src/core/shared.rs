//! What all gates of one limiter share: the config, the clock, the counters.

use std::task::Waker;

use super::totals::Tallies;
use crate::UserKey;
use crate::clock::Clock;
use crate::config::LimitConfig;
use crate::sync::{AtomicBool, AtomicU64, Ordered, Ordering, Swap, fence};

/// See the module.
pub(crate) struct Shared<K: UserKey> {
    pub(crate) config: Swap<LimitConfig<K>>,
    pub(crate) clock: Clock,
    pub(crate) tallies: Tallies,
    closed: AtomicBool,
    /// Who waits for the end of the last permit after a close.
    drain: Ordered<u64, Waker>,
    numbers: AtomicU64,
}

impl<K: UserKey> Shared<K> {
    pub(crate) fn new(config: LimitConfig<K>, clock: Clock) -> Self {
        Self {
            config: Swap::new(std::sync::Arc::new(config)),
            clock,
            tallies: Tallies::new(),
            closed: AtomicBool::new(false),
            drain: Ordered::new(),
            numbers: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        // Ordering: Acquire pairs with `close`. That nobody is admitted after it is the word's doing, not this flag's.
        self.closed.load(Ordering::Acquire)
    }

    pub(crate) fn close(&self) {
        // Ordering: Release pairs with `is_closed`.
        self.closed.store(true, Ordering::Release);
    }

    pub(crate) fn number(&self) -> u64 {
        // Ordering: Relaxed: numbers only have to differ.
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Stores a waker for the drain. The caller looks at the word once more afterwards.
    pub(crate) fn await_drain(&self, number: u64, waker: Waker) {
        self.drain.insert(number, waker);
        // Ordering: SeqCst pairs with the fence of `drained`: either the one who puts the last slot finds the waker, or
        // the one who waits finds the word empty.
        fence(Ordering::SeqCst);
    }

    pub(crate) fn leave_drain(&self, number: u64) {
        self.drain.remove(number);
    }

    /// Called after the word showed closed and empty; returns whom to wake.
    pub(crate) fn drained(&self, mut wake: impl FnMut(Waker)) {
        fence(Ordering::SeqCst);
        while let Some((number, waker)) = self.drain.first() {
            if self.drain.remove(number) {
                wake(waker);
            }
        }
    }
}

impl<K: UserKey> std::fmt::Debug for Shared<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").finish_non_exhaustive()
    }
}
