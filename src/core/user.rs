//! What is known of one user: his word, his places, his line.
//!
//! The first cache line of an entry is all that an admission touches. The line of waiters is made when somebody waits
//! for the first time.
//!
//! # Who keeps an entry alive
//! Those who look at it for long (the map, handles, waiters, the ring, whoever works on it) have a strong count. A
//! **permit has none**: touching a count would cost as much as the admission. It relies on `held`:
//! - **U1** an entry in the map is kept by the map, and one that holds slots is never taken out, except
//! - **U2** by `unmap` (reset, or the end of the limiter): from then on one strong count stands for all slots held. It
//!   is made by whoever sets the flag or takes the first slot after it, and given back by whoever puts the last one.

use std::sync::{Arc, Weak};

use super::gate::GateRef;
use super::line::{AtomicPosition, Line, Occupant};
use super::users::Core;
use super::word::{AtomicWord, DEAD, MARK, ORPHAN, Places, Word};
use crate::UserKey;
use crate::config::UserLimits;
use crate::sync::{AtomicPtr, Keyed, Ordering};

/// See the module. Aligned, so that an admission touches one line, and no other user is on it; with a `String` for a
/// key that line is the whole entry.
#[repr(C, align(64))]
pub(crate) struct User<K: UserKey> {
    pub(crate) word: AtomicWord,
    /// The gate this user was born under; his slots go back there.
    pub(crate) gate: GateRef<K>,
    pub(crate) key: K,
    pub(crate) places: Places,
    queue: AtomicPtr<Queue>,
    pub(crate) core: Weak<Core<K>>,
}

const _: () = assert!(size_of::<User<String>>() == 64 || cfg!(admit_loom));

/// What only a user with waiters needs.
struct Queue {
    line: Line,
    /// His cell in the ring.
    ring: AtomicPosition,
}

impl<K: UserKey> Keyed for User<K> {
    type Key = K;

    fn key(&self) -> &K {
        &self.key
    }
}

impl<K: UserKey> User<K> {
    pub(crate) fn new(key: K, limits: UserLimits, gate: GateRef<K>, core: Weak<Core<K>>) -> Self {
        Self {
            word: AtomicWord::new(Word::new(limits.max_concurrent, 0)),
            gate,
            key,
            places: Places::new(limits.max_queue_size),
            queue: AtomicPtr::new(std::ptr::null_mut()),
            core,
        }
    }

    /// The hot step: a slot of this user, if nothing is unusual.
    #[inline]
    pub(crate) fn take_plain(&self) -> bool {
        self.word
            .update(|word| {
                (word.is_plain() && word.held() < word.limit() && self.places.is_empty())
                    .then(|| word.more_held())
            })
            .is_ok()
    }

    /// A newcomer may take a slot: one is free, and nobody of this user waits. The word alone does not say so: the unit
    /// of one who waits may for a moment be in the hand of somebody who came for another's cell. His place, on the same
    /// cache line, does: it was taken before he was counted, so whoever sees that count sees it.
    pub(crate) fn is_open(&self, word: Word, own_places: u32) -> bool {
        word.is_open() && self.places.fill().waiting <= own_places
    }

    /// Gives back a slot, if nothing is unusual. When this succeeds the entry may be gone.
    #[inline]
    pub(crate) fn put_plain(&self) -> bool {
        self.word
            .update(|word| word.is_plain().then(|| word.less_held()))
            .is_ok()
    }

    /// Any step that may change `held`, with U2 kept.
    pub(crate) fn step(
        self: &Arc<Self>,
        step: impl FnMut(Word) -> Option<Word>,
    ) -> Result<(Word, Word), Word> {
        let (old, new) = self.word.update(step)?;
        if is_unmapped(new) {
            match (old.held(), new.held()) {
                // SAFETY: `self` is alive, and the slot just taken is ours: nobody can put it back yet.
                (0, 1..) => unsafe { Arc::increment_strong_count(Arc::as_ptr(self)) },
                // SAFETY: U2: one count stands for all slots, and this was the last; `self` keeps its own count.
                (1.., 0) => unsafe { Arc::decrement_strong_count(Arc::as_ptr(self)) },
                _ => {}
            }
        }
        Ok((old, new))
    }

    /// Takes the entry off the map's care: `DEAD` or `ORPHAN`.
    pub(crate) fn unmap(self: &Arc<Self>, flag: u64) {
        // SAFETY: `self` is alive. The count is made first: a permit that ends right after the step gives it back.
        unsafe { Arc::increment_strong_count(Arc::as_ptr(self)) };
        let (old, _) = self.word.apply(|word| word.with(flag).without(MARK));
        if is_unmapped(old) || old.held() == 0 {
            // SAFETY: the count made above, not needed after all.
            unsafe { Arc::decrement_strong_count(Arc::as_ptr(self)) };
        }
    }

    /// Ends an entry that is idle; with `marked`, only one that was not used since it was marked.
    ///
    /// The word alone does not say that nobody waits: the unit of the last one may be in the hand of somebody who came
    /// for another's cell and will put it back. But who waits has a place until he is told, taken before he was counted.
    pub(crate) fn die(&self, marked: bool) -> bool {
        self.word
            .update(|word| {
                (word.is_idle()
                    && !word.has(DEAD)
                    && (word.has(MARK) || !marked)
                    && self.places.fill().waiting == 0)
                    .then(|| word.with(DEAD))
            })
            .is_ok()
    }

    /// Marks an idle entry; any use of it clears the mark.
    pub(crate) fn mark(&self) -> bool {
        self.word
            .update(|word| {
                (word.is_idle() && !word.has(DEAD) && !word.has(MARK)).then(|| word.with(MARK))
            })
            .is_ok()
    }

    fn queue(&self) -> &Queue {
        // Ordering: Acquire pairs with the step below.
        let mut queue = self.queue.load(Ordering::Acquire);
        if queue.is_null() {
            let new = Box::into_raw(Box::new(Queue {
                line: Line::new(),
                ring: AtomicPosition::new(),
            }));
            // Ordering: AcqRel: shows the new queue set up; a failure shows the other one.
            match self
                .queue
                .compare_exchange(queue, new, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => queue = new,
                Err(other) => {
                    // SAFETY: made above and never shown to anybody.
                    drop(unsafe { Box::from_raw(new) });
                    queue = other;
                }
            }
        }
        // SAFETY: set once, freed when the entry is.
        unsafe { &*queue }
    }

    pub(crate) fn line(&self) -> &Line {
        &self.queue().line
    }

    pub(crate) fn ring(&self) -> &AtomicPosition {
        &self.queue().ring
    }

    pub(crate) fn occupant(self: &Arc<Self>) -> Occupant {
        Occupant::of(Arc::as_ptr(self))
    }
}

fn is_unmapped(word: Word) -> bool {
    word.has(DEAD) || word.has(ORPHAN)
}

impl<K: UserKey> Drop for User<K> {
    fn drop(&mut self) {
        let queue = self.queue.load(Ordering::Relaxed);
        if !queue.is_null() {
            // SAFETY: made by `queue`, and nobody else has the entry any more.
            drop(unsafe { Box::from_raw(queue) });
        }
    }
}

impl<K: UserKey> std::fmt::Debug for User<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("User")
            .field("word", &self.word.load())
            .field("places", &self.places.fill())
            .finish_non_exhaustive()
    }
}
