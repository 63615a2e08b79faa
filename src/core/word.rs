//! The whole state of one level in one word, and the steps it can take.
//!
//! ```text
//!   63..60    59..40    39..20    19..0
//!   flags     limit     held      units
//! ```
//!
//! - **limit**: slots that may be held; kept here so that no decision spans two words.
//! - **held**: slots given out, to running requests and to hands that are passing one on.
//! - **units**: rights to be served once. Who stands in the line of this level has been counted here first.
//!
//! Every step is one read-modify-write of one word, computed by a function without side effects:
//!
//! | step | when | held | units | flags |
//! | --- | --- | --- | --- | --- |
//! | `take` | open: units = 0, held < limit, not dead/closed/retired | +1 | | -MARK |
//! | `queue` | (otherwise) | | +1 | +RING if ready, -MARK |
//! | `turn` | a slot of this level, none of the other | -1 | +1 | +RING if ready |
//! | `put` | | -1 | | +RING if ready |
//! | `pass` | units > 0, held <= limit | | -1 | |
//! | `serve` | units > 0, held < limit | +1 | -1 | RING = still ready |
//! | `unit` | units > 0 | | -1 | |
//! | `back` | a unit not used after all | | +1 | +RING if ready |
//!
//! Invariants, named in tests and models:
//! - **W1** held never rises when it is at or above the limit.
//! - **W2** units, plus the units in somebody's hand, equal the places of the line that are not resolved.
//! - **W3** RING is set exactly while somebody owes this user a place in the ring or he stands there.

use crate::sync::{AtomicU64, Ordering};

/// The largest count a field can have, at every level: slots held, and requests waiting.
pub(crate) const MAX: u32 = (1 << 20) - 1;

const HELD: u32 = 20;
const LIMIT: u32 = 40;
const FIELD: u64 = MAX as u64;
const ONE_UNIT: u64 = 1;
const ONE_HELD: u64 = 1 << HELD;
const FLAGS: u64 = 0b1111 << 60;

/// Nobody enters here any more, at either level.
const BARRED: u64 = 1 << 60;

/// User: forgotten or reset; a request that sees it looks the user up afresh.
pub(crate) const DEAD: u64 = BARRED;
/// User: he stands in the ring, or somebody owes him the place there.
pub(crate) const RING: u64 = 1 << 61;
/// User: seen idle by the sweep and not used since.
pub(crate) const MARK: u64 = 1 << 62;
/// User: his limiter is gone. He is in no map, and goes on for those who still wait or ask through him.
pub(crate) const ORPHAN: u64 = 1 << 63;

/// Global: closed for ever.
pub(crate) const CLOSED: u64 = BARRED | 1 << 61;
/// Global: replaced by a reset; who sees it goes to the gate that came after.
pub(crate) const RETIRED: u64 = BARRED | 1 << 62;
/// Global: nobody refers to this gate any more except the slots still held.
pub(crate) const ABANDONED: u64 = 1 << 63;

/// A snapshot of a level.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Word(u64);

impl Word {
    pub(crate) const fn new(limit: u32, flags: u64) -> Self {
        debug_assert!(limit <= MAX);
        Self((limit as u64) << LIMIT | flags)
    }

    #[inline]
    pub(crate) const fn limit(self) -> u32 {
        (self.0 >> LIMIT & FIELD) as u32
    }

    #[inline]
    pub(crate) const fn held(self) -> u32 {
        (self.0 >> HELD & FIELD) as u32
    }

    #[inline]
    pub(crate) const fn units(self) -> u32 {
        (self.0 & FIELD) as u32
    }

    /// All bits of `flag` are set.
    #[inline]
    pub(crate) const fn has(self, flag: u64) -> bool {
        self.0 & flag == flag
    }

    /// No units and no flags: the common case, in which a step concerns nobody else.
    #[inline]
    pub(crate) const fn is_plain(self) -> bool {
        self.0 & (FLAGS | FIELD) == 0
    }

    /// A newcomer may take a slot here: one is free and nobody with a better claim waits.
    #[inline]
    pub(crate) const fn is_open(self) -> bool {
        self.units() == 0 && self.held() < self.limit() && !self.has(BARRED)
    }

    /// Somebody waits who could have a slot of this level.
    #[inline]
    pub(crate) const fn is_ready(self) -> bool {
        self.units() > 0 && self.held() < self.limit() && !self.has(BARRED)
    }

    /// Holds nothing and waits for nothing.
    pub(crate) const fn is_idle(self) -> bool {
        self.held() == 0 && self.units() == 0 && !self.has(RING)
    }

    pub(crate) const fn with(self, flag: u64) -> Self {
        Self(self.0 | flag)
    }

    pub(crate) const fn without(self, flag: u64) -> Self {
        Self(self.0 & !flag)
    }

    pub(crate) const fn with_limit(self, limit: u32) -> Self {
        debug_assert!(limit <= MAX);
        Self(self.0 & !(FIELD << LIMIT) | (limit as u64) << LIMIT)
    }

    pub(crate) const fn without_units(self) -> Self {
        Self(self.0 & !FIELD)
    }

    #[inline]
    pub(crate) const fn more_held(self) -> Self {
        debug_assert!(self.held() < self.limit());
        Self(self.0 + ONE_HELD)
    }

    #[inline]
    pub(crate) const fn less_held(self) -> Self {
        debug_assert!(self.held() > 0);
        Self(self.0 - ONE_HELD)
    }

    #[inline]
    pub(crate) const fn more_units(self) -> Self {
        debug_assert!(self.units() < MAX);
        Self(self.0 + ONE_UNIT)
    }

    #[inline]
    pub(crate) const fn less_units(self) -> Self {
        debug_assert!(self.units() > 0);
        Self(self.0 - ONE_UNIT)
    }
}

impl std::fmt::Debug for Word {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}/{} held, {} units, flags {:04b}",
            self.held(),
            self.limit(),
            self.units(),
            self.0 >> 60
        )
    }
}

/// The word of a level, shared.
#[derive(Debug)]
pub(crate) struct AtomicWord(AtomicU64);

impl AtomicWord {
    pub(crate) fn new(word: Word) -> Self {
        Self(AtomicU64::new(word.0))
    }

    #[inline]
    pub(crate) fn load(&self) -> Word {
        // Ordering: Acquire pairs with the Release half of `update`: who sees a count also sees what was done before
        // it was changed (a cell filled, a user's own fields set up).
        Word(self.0.load(Ordering::Acquire))
    }

    /// One step: replaces the word by `step` of it, or leaves it when `step` declines. Returns the word before and
    /// after, or the word that was declined. Lock-free: a retry means that somebody else's step succeeded.
    #[inline]
    pub(crate) fn update(
        &self,
        mut step: impl FnMut(Word) -> Option<Word>,
    ) -> Result<(Word, Word), Word> {
        let mut seen = self.load();
        loop {
            let Some(next) = step(seen) else {
                return Err(seen);
            };
            // Ordering: AcqRel. Release publishes what this thread did before the step to whoever takes the next one;
            // Acquire shows it what the holder of the slot or unit it takes did before. Failure is an Acquire for the
            // same reason as `load`.
            match self
                .0
                .compare_exchange_weak(seen.0, next.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return Ok((seen, next)),
                Err(now) => seen = Word(now),
            }
        }
    }

    /// A step that always happens.
    #[inline]
    pub(crate) fn apply(&self, step: impl Fn(Word) -> Word) -> (Word, Word) {
        match self.update(|word| Some(step(word))) {
            Ok(moved) => moved,
            Err(word) => (word, word),
        }
    }

    /// Takes a unit in hand, if there is one.
    pub(crate) fn take_unit(&self) -> bool {
        self.update(|word| (word.units() > 0).then(|| word.less_units()))
            .is_ok()
    }
}

/// The places of one level: how many wait, and how many may. Exact: a place is taken before a unit is counted and
/// given back before its waiter can learn that he is out.
///
/// ```text
///   39..20   19..0
///   bound    waiting
/// ```
/// Invariant **P1**: `waiting` never rises when it is at or above the bound it is held to.
#[derive(Debug)]
pub(crate) struct Places(AtomicU64);

/// How full a level is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fill {
    pub(crate) waiting: u32,
    pub(crate) bound: u32,
}

impl Fill {
    const fn of(raw: u64) -> Self {
        Self {
            waiting: (raw & FIELD) as u32,
            bound: (raw >> HELD & FIELD) as u32,
        }
    }

    /// Waiting within the bound.
    pub(crate) fn queued(self) -> u32 {
        self.waiting.min(self.bound)
    }

    /// Waiting for a place.
    pub(crate) fn blocked(self) -> u32 {
        self.waiting - self.queued()
    }
}

impl Places {
    pub(crate) fn new(bound: u32) -> Self {
        Self(AtomicU64::new(u64::from(bound) << HELD))
    }

    pub(crate) fn fill(&self) -> Fill {
        // Ordering: Relaxed. A report; decisions are made by `take`.
        Fill::of(self.0.load(Ordering::Relaxed))
    }

    /// Nobody waits.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        // Ordering: Relaxed, after an Acquire of the word in which the waiters were counted.
        self.0.load(Ordering::Relaxed) & FIELD == 0
    }

    /// Takes a place if fewer wait than may; `blocks` lets the newcomer wait outside the bound.
    pub(crate) fn take(&self, blocks: bool) -> Result<Fill, Fill> {
        let mut seen = self.0.load(Ordering::Relaxed);
        loop {
            let fill = Fill::of(seen);
            let most = if blocks { MAX } else { fill.bound };
            if fill.waiting >= most {
                return Err(Fill {
                    waiting: fill.waiting,
                    bound: most,
                });
            }
            // Ordering: Acquire pairs with the Release of `give`: who gets a freed place comes after its last owner.
            match self
                .0
                .compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Ok(Fill::of(seen + 1)),
                Err(now) => seen = now,
            }
        }
    }

    pub(crate) fn give(&self) {
        // Ordering: Release pairs with the Acquire of `take`.
        let before = self.0.fetch_sub(1, Ordering::Release);
        debug_assert!(Fill::of(before).waiting > 0);
    }

    pub(crate) fn set_bound(&self, bound: u32) {
        // Ordering: Relaxed. The count is what must be exact, and every step on this word is a read-modify-write; the
        // reload that sets a bound is ordered by its own lock.
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |raw| {
                Some(raw & FIELD | u64::from(bound) << HELD)
            });
    }
}
