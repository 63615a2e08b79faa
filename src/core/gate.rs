//! The global level: one word, its places, and the lines that are common to all users.
//!
//! A reset replaces the gate whole; permits and waiters of before go on with the one they came through.
//!
//! # Who keeps a gate alive
//! Users, the limiter and whoever works on it count in `refs`. A slot has no count of its own, as with users:
//! - **G1** a gate is freed when no reference is left and no slot is held. Whoever drops the last reference says so in
//!   the word (`ABANDONED`); that step and the last `put` are ordered by the word, and the later one frees.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use super::line::Line;
use super::shared::Shared;
use super::waiter::Waiter;
use super::word::{ABANDONED, AtomicWord, CLOSED, Places, Word};
use crate::UserKey;
use crate::sync::{AtomicBool, AtomicU64, AtomicUsize, Ordered, Ordering, fence};

/// See the module.
///
/// The word has its line to itself: all cores write to it, and whoever has just done so may have lost the line again when
/// he looks at anything else there.
#[repr(C, align(128))]
pub(crate) struct Gate<K: UserKey> {
    pub(crate) word: AtomicWord,
    warm: Warm<K>,
    cold: Cold<K>,
}

/// What an admission only reads, as a rule: every core has its own copy.
#[repr(align(128))]
struct Warm<K: UserKey> {
    /// Nanoseconds, for refusals without a look at the config.
    retry_after: AtomicU64,
    peak_held: AtomicU64,
    shared: Arc<Shared<K>>,
}

/// For those who wait or replace.
#[repr(align(128))]
struct Cold<K: UserKey> {
    places: Places,
    peak_waiting: AtomicU64,
    refs: AtomicUsize,
    /// Users who are ready, in turn.
    ring: Line,
    /// All who wait, in order of arrival.
    arrivals: Line,
    /// All who wait or have not collected, by deadline.
    deadlines: Ordered<(u64, u64), Arc<Waiter<K>>>,
    numbers: AtomicU64,
    /// Whether a timer looks after the deadlines.
    timed: AtomicBool,
}

/// What the global level allows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct GateLimits {
    pub(crate) concurrent: u32,
    pub(crate) queue: u32,
    pub(crate) retry_after: u64,
}

impl<K: UserKey> Gate<K> {
    /// Gives back a slot, if nothing is unusual. When this succeeds the gate may be gone.
    #[inline]
    pub(crate) fn put_plain(&self) -> bool {
        self.word
            .update(|word| word.is_plain().then(|| word.less_held()))
            .is_ok()
    }

    /// A slot, if one is free and nobody with a better claim waits.
    #[inline]
    pub(crate) fn take(&self) -> Result<(), Word> {
        let (_, word) = self
            .word
            .update(|word| word.is_open().then(|| word.more_held()))?;
        self.note_held(word);
        Ok(())
    }

    /// Keeps the peak; called with the word after each step that raised `held`.
    #[inline]
    pub(crate) fn note_held(&self, word: Word) {
        let held = u64::from(word.held());
        // Ordering: Relaxed, a statistic.
        if held > self.warm.peak_held.load(Ordering::Relaxed) {
            self.warm.peak_held.fetch_max(held, Ordering::Relaxed);
        }
    }

    pub(crate) fn note_waiting(&self, queued: u32) {
        let queued = u64::from(queued);
        // Ordering: Relaxed, a statistic.
        if queued > self.cold.peak_waiting.load(Ordering::Relaxed) {
            self.cold.peak_waiting.fetch_max(queued, Ordering::Relaxed);
        }
    }

    /// Most slots held, and most waiting within the bound.
    pub(crate) fn peaks(&self) -> (u32, u32) {
        // Ordering: Relaxed, statistics.
        (
            self.warm.peak_held.load(Ordering::Relaxed) as u32,
            self.cold.peak_waiting.load(Ordering::Relaxed) as u32,
        )
    }

    pub(crate) fn retry_after(&self) -> u64 {
        // Ordering: Relaxed: a number by itself.
        self.warm.retry_after.load(Ordering::Relaxed)
    }

    pub(crate) fn set_retry_after(&self, nanos: u64) {
        // Ordering: Relaxed, as above.
        self.warm.retry_after.store(nanos, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn shared(&self) -> &Shared<K> {
        &self.warm.shared
    }

    pub(crate) fn places(&self) -> &Places {
        &self.cold.places
    }

    pub(crate) fn ring(&self) -> &Line {
        &self.cold.ring
    }

    pub(crate) fn arrivals(&self) -> &Line {
        &self.cold.arrivals
    }

    pub(crate) fn deadlines(&self) -> &Ordered<(u64, u64), Arc<Waiter<K>>> {
        &self.cold.deadlines
    }

    pub(crate) fn timed(&self) -> &AtomicBool {
        &self.cold.timed
    }

    pub(crate) fn next_number(&self) -> u64 {
        // Ordering: Relaxed: numbers only have to differ.
        self.cold.numbers.fetch_add(1, Ordering::Relaxed)
    }
}

/// A counted reference to a gate.
pub(crate) struct GateRef<K: UserKey>(NonNull<Gate<K>>);

// SAFETY: a shared reference to a `Gate`, whose parts are `Sync` for such `K`; freed by whoever is last (G1).
unsafe impl<K: UserKey> Send for GateRef<K> {}
// SAFETY: as above.
unsafe impl<K: UserKey> Sync for GateRef<K> {}

impl<K: UserKey> GateRef<K> {
    pub(crate) fn new(
        limits: GateLimits,
        is_closed: bool,
        peaks: (u32, u32),
        shared: Arc<Shared<K>>,
    ) -> Self {
        let flags = if is_closed { CLOSED } else { 0 };
        let gate = Box::new(Gate {
            word: AtomicWord::new(Word::new(limits.concurrent, flags)),
            warm: Warm {
                retry_after: AtomicU64::new(limits.retry_after),
                peak_held: AtomicU64::new(u64::from(peaks.0)),
                shared,
            },
            cold: Cold {
                places: Places::new(limits.queue),
                peak_waiting: AtomicU64::new(u64::from(peaks.1)),
                refs: AtomicUsize::new(1),
                ring: Line::new(),
                arrivals: Line::new(),
                deadlines: Ordered::new(),
                numbers: AtomicU64::new(0),
                timed: AtomicBool::new(false),
            },
        });
        Self(NonNull::from(Box::leak(gate)))
    }

    pub(crate) fn as_ptr(&self) -> NonNull<Gate<K>> {
        self.0
    }

    pub(crate) fn is(&self, other: &Self) -> bool {
        self.0 == other.0
    }

    /// A reference for someone who has a slot of `gate` in hand; none if the slots are all that is left of it.
    ///
    /// # Safety
    /// The caller has a slot of `gate`, and keeps it until this returns.
    pub(crate) unsafe fn from_slot(gate: NonNull<Gate<K>>) -> Option<Self> {
        // SAFETY: the slot keeps the gate (G1).
        let refs = unsafe { &gate.as_ref().cold.refs };
        // Ordering: Acquire: comes after whatever the other references were used for.
        refs.fetch_update(Ordering::Acquire, Ordering::Relaxed, |refs| {
            (refs > 0).then_some(refs + 1)
        })
        .ok()
        .map(|_| Self(gate))
    }

    /// Gives back a slot of a gate that only slots keep alive.
    ///
    /// # Safety
    /// The caller has a slot of `gate`, which is spent here; `from_slot` has said that no reference is left.
    pub(crate) unsafe fn put_abandoned(gate: NonNull<Gate<K>>) {
        // SAFETY: the slot keeps the gate until this step.
        let (_, word) = unsafe { gate.as_ref() }.word.apply(Word::less_held);
        if word.held() == 0 && word.has(ABANDONED) {
            // SAFETY: G1: no reference and no slot is left, and only the later of the two steps sees both.
            drop(unsafe { Box::from_raw(gate.as_ptr()) });
        }
    }
}

impl<K: UserKey> Deref for GateRef<K> {
    type Target = Gate<K>;

    #[inline]
    fn deref(&self) -> &Gate<K> {
        // SAFETY: G1: a counted reference keeps the gate.
        unsafe { self.0.as_ref() }
    }
}

impl<K: UserKey> Clone for GateRef<K> {
    fn clone(&self) -> Self {
        // Ordering: Relaxed: made from one that exists, as with `Arc`.
        self.cold.refs.fetch_add(1, Ordering::Relaxed);
        Self(self.0)
    }
}

impl<K: UserKey> Drop for GateRef<K> {
    fn drop(&mut self) {
        // Ordering: Release pairs with the fence below: all uses come before the end.
        if self.cold.refs.fetch_sub(1, Ordering::Release) == 1 {
            fence(Ordering::Acquire);
            let (_, word) = self.word.apply(|word| word.with(ABANDONED));
            if word.held() == 0 {
                // SAFETY: G1, as in `put_abandoned`.
                drop(unsafe { Box::from_raw(self.0.as_ptr()) });
            }
        }
    }
}

impl<K: UserKey> std::fmt::Debug for GateRef<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("word", &self.word.load())
            .field("places", &self.cold.places.fill())
            .finish_non_exhaustive()
    }
}
