//! One request that waits: what became of it, and whom to wake.
//!
//! | state | to | by | when |
//! | --- | --- | --- | --- |
//! | `PENDING` | `GRANTED`, an end | who claimed the cell | told; a waker comes back to be woken later |
//! | `PENDING` | `EXPIRED` | the deadline | the cell was claimed, the claimer has not told yet |
//! | `PENDING`, `EXPIRED` | `ABANDONED` | the owner | as above, but the ticket was dropped |
//! | `EXPIRED` | `TIMED_OUT` | who claimed the cell | told; a slot that came with it goes on |
//! | `ABANDONED` | | who claimed the cell | nobody to tell; a slot that came with it goes on |
//! | `GRANTED` | `COLLECTED` | the owner | the slot is a permit now |
//! | `GRANTED` | `TIMED_OUT` | the deadline | not collected in time: the slot goes on |
//!
//! The `WAKER` bit goes with `PENDING` and `EXPIRED` only. While it is clear the waker belongs to the owner; while it
//! is set, to whoever moves the state on and so clears it.
//!
//! Invariants:
//! - **T1** the state is told once, by the one who took the waiter's cell.
//! - **T2** a granted slot is collected, taken back, or given back by the owner: one of them.
//! - **T3** a waker registered before the state moved on is woken; one that comes after sees the new state.

use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use super::line::{AtomicPosition, Message, Occupant};
use super::user::User;
use super::word::{Fill, MAX};
use crate::UserKey;
use crate::error::{Level, Reason};
use crate::sync::{AtomicBool, AtomicU64, Ordering, UnsafeCell};

/// What a waiter is told: that it was granted a slot, or why not.
///
/// ```text
///   47..28   27..8    7..5   4       3..0
///   limit    count           WAKER   code
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome(u64);

const CODE: u64 = 0b1111;
const WAKER: u64 = 0b1_0000;
const COUNT: u32 = 8;
const LIMIT: u32 = 28;

const PENDING: u64 = 0;
const GRANTED: u64 = 1;
const EVICTED_BY_USER: u64 = 2;
const EVICTED_BY_GLOBAL: u64 = 3;
const USER_LIMIT: u64 = 4;
const IS_CLOSED: u64 = 5;
const IS_RESET: u64 = 6;
const TIMED_OUT: u64 = 7;
const COLLECTED: u64 = 8;
const EXPIRED: u64 = 9;
const ABANDONED: u64 = 10;

impl Outcome {
    pub(crate) const GRANTED: Self = Self(GRANTED);
    pub(crate) const CLOSED: Self = Self(IS_CLOSED);
    pub(crate) const RESET: Self = Self(IS_RESET);
    pub(crate) const TIMED_OUT: Self = Self(TIMED_OUT);
    /// The owner gave up.
    pub(crate) const ABANDONED: Self = Self(ABANDONED);

    pub(crate) fn evicted(level: Level, fill: Fill) -> Self {
        let code = match level {
            Level::User => EVICTED_BY_USER,
            Level::Global => EVICTED_BY_GLOBAL,
        };
        Self::with(code, fill.waiting, fill.bound)
    }

    pub(crate) fn user_limit(count: u32, limit: u32) -> Self {
        Self::with(USER_LIMIT, count, limit)
    }

    fn with(code: u64, count: u32, limit: u32) -> Self {
        Self(code | u64::from(count) << COUNT | u64::from(limit) << LIMIT)
    }

    pub(crate) fn is_granted(self) -> bool {
        self.0 & CODE == GRANTED
    }

    pub(crate) fn is_eviction(self) -> bool {
        matches!(self.0 & CODE, EVICTED_BY_USER | EVICTED_BY_GLOBAL)
    }

    pub(crate) fn message(self) -> Message {
        Message::new(self.0)
    }

    pub(crate) fn from_message(message: Message) -> Self {
        Self(message.payload())
    }

    /// The reason for a refusal; `timeout` is what a waiter had been given.
    pub(crate) fn reason(self, timeout: Duration) -> Reason {
        let count = (self.0 >> COUNT) as u32 & MAX;
        let limit = (self.0 >> LIMIT) as u32 & MAX;
        match self.0 & CODE {
            EVICTED_BY_USER => Reason::Evicted {
                level: Level::User,
                count,
                limit,
            },
            EVICTED_BY_GLOBAL => Reason::Evicted {
                level: Level::Global,
                count,
                limit,
            },
            USER_LIMIT => Reason::UserLimit { count, limit },
            IS_CLOSED => Reason::Closed,
            IS_RESET => Reason::Reset,
            _ => Reason::QueueTimeout { timeout },
        }
    }
}

/// What the one who tells learns himself.
#[derive(Debug)]
pub(crate) enum Told {
    /// The waiter knows; wake this when nothing is held any more.
    Yes(Option<Waker>),
    /// Its deadline had passed in between, so it was told that instead. A slot that was meant for it goes on.
    TimedOut(Option<Waker>),
    /// Its owner had gone in between. A slot that was meant for it goes on.
    Gone,
}

/// What an owner sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Pending,
    Granted,
    Ended(Outcome),
}

/// See the module.
pub(crate) struct Waiter<K: UserKey> {
    pub(crate) user: Arc<User<K>>,
    state: AtomicU64,
    waker: UnsafeCell<Option<Waker>>,
    /// Its cell in the user's line; set before the cell is filled.
    pub(crate) cell: AtomicPosition,
    /// Its cell in the line of all in order of arrival.
    pub(crate) arrival: AtomicPosition,
    /// Nanoseconds of the limiter's clock.
    pub(crate) arrived: u64,
    pub(crate) deadline: u64,
    /// Tells waiters with one deadline apart.
    pub(crate) number: u64,
    /// How long it waited, known once it is granted.
    waited: AtomicU64,
    /// Whether it still has its places.
    has_places: AtomicBool,
}

// SAFETY: the waker cell is the only part that is not `Sync` by itself; the `WAKER` bit says whose it is (T3), and the
// owner, who is the only one to call `register`, does so through `&mut` of its ticket.
unsafe impl<K: UserKey> Sync for Waiter<K> {}
// SAFETY: as above; a `Waker` is `Send`.
unsafe impl<K: UserKey> Send for Waiter<K> {}

impl<K: UserKey> Waiter<K> {
    pub(crate) fn new(user: Arc<User<K>>, arrived: u64, deadline: u64, number: u64) -> Self {
        Self {
            user,
            state: AtomicU64::new(PENDING),
            waker: UnsafeCell::new(None),
            cell: AtomicPosition::new(),
            arrival: AtomicPosition::new(),
            arrived,
            deadline,
            number,
            waited: AtomicU64::new(0),
            has_places: AtomicBool::new(true),
        }
    }

    /// True for the one who gives its places back, or takes them over: the one who claimed its cell, or the owner who
    /// goes before that one has come to it.
    pub(crate) fn take_places(&self) -> bool {
        // Ordering: Relaxed: one of the two sees true, and the places are counted in words of their own.
        self.has_places.swap(false, Ordering::Relaxed)
    }

    pub(crate) fn occupant(self: &Arc<Self>) -> Occupant {
        Occupant::of(Arc::as_ptr(self))
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_nanos(self.deadline - self.arrived)
    }

    pub(crate) fn waited(&self) -> Duration {
        // Ordering: Relaxed: written before the grant was told, read after it was seen.
        Duration::from_nanos(self.waited.load(Ordering::Relaxed))
    }

    pub(crate) fn state(&self) -> State {
        // Ordering: Acquire pairs with `tell`: who sees the grant sees all that came before it.
        let state = self.state.load(Ordering::Acquire);
        match state & CODE {
            PENDING | EXPIRED => State::Pending,
            GRANTED => State::Granted,
            _ => State::Ended(Outcome(state & !WAKER)),
        }
    }

    /// Tells a waiter whose cell the caller has claimed.
    pub(crate) fn tell(&self, outcome: Outcome, now: u64) -> Told {
        if outcome.is_granted() {
            // Ordering: Relaxed: published by the step below.
            self.waited
                .store(now.saturating_sub(self.arrived), Ordering::Relaxed);
        }
        let mut seen = self.state.load(Ordering::Acquire);
        loop {
            let to = match seen & CODE {
                PENDING => outcome,
                // Who leaves by himself has left, whatever the time.
                EXPIRED if outcome == Outcome::ABANDONED => outcome,
                EXPIRED => Outcome::TIMED_OUT,
                state => {
                    debug_assert_eq!(state, ABANDONED, "T1");
                    return Told::Gone;
                }
            };
            // Ordering: AcqRel. Release shows the owner what was done before (places free, slot taken); Acquire pairs
            // with `register`: the waker is seen as it was stored.
            match self
                .state
                .compare_exchange(seen, to.0, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => {
                    let waker = if seen & WAKER != 0 {
                        self.take_waker()
                    } else {
                        None
                    };
                    return if to != outcome {
                        Told::TimedOut(waker)
                    } else {
                        Told::Yes(waker)
                    };
                }
                Err(now) => seen = now,
            }
        }
    }

    /// `GRANTED -> COLLECTED`, by the owner.
    pub(crate) fn collect(&self) -> bool {
        self.step(GRANTED, COLLECTED)
    }

    /// `GRANTED -> TIMED_OUT`, by the deadline.
    pub(crate) fn take_back(&self) -> bool {
        self.step(GRANTED, TIMED_OUT)
    }

    fn step(&self, from: u64, to: u64) -> bool {
        // Ordering: AcqRel: whoever gets the slot comes after the grant and before what it does with it (T2).
        self.state
            .compare_exchange(from, to, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }

    /// Marks a waiter whose cell has been claimed, so that the claimer finds the deadline passed. False if it has
    /// been told already.
    pub(crate) fn expire(&self) -> bool {
        self.mark(EXPIRED)
    }

    /// The same for an owner who goes; he takes his waker with him. `None` if it has been told already.
    pub(crate) fn abandon(&self) -> Option<Option<Waker>> {
        // The claimer leaves the waker of one who is gone alone.
        self.mark(ABANDONED).then(|| self.take_waker())
    }

    fn mark(&self, to: u64) -> bool {
        let mut seen = self.state.load(Ordering::Acquire);
        loop {
            if !matches!(seen & CODE, PENDING | EXPIRED) {
                return false;
            }
            let next = if to == EXPIRED { to | seen & WAKER } else { to };
            // Ordering: AcqRel, as in `tell`.
            match self
                .state
                .compare_exchange(seen, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    /// Stores the waker to be woken. False if the state has moved on, so that there is something to see at once.
    /// Called by the owner alone.
    pub(crate) fn register(&self, waker: &Waker) -> bool {
        let mut seen = self.state.load(Ordering::Acquire);
        // First the cell becomes ours.
        loop {
            if !matches!(seen & CODE, PENDING | EXPIRED) {
                return false;
            }
            if seen & WAKER == 0 {
                break;
            }
            // Ordering: Acquire: nobody else has the cell after this step.
            match self.state.compare_exchange(
                seen,
                seen & !WAKER,
                Ordering::Acquire,
                Ordering::Acquire,
            ) {
                Ok(_) => seen &= !WAKER,
                Err(now) => seen = now,
            }
        }
        let new = waker.clone();
        // SAFETY: T3: the bit is clear, and only the owner sets it.
        let old = self.waker.with_mut(|cell| unsafe { (*cell).replace(new) });
        drop(old);
        loop {
            if !matches!(seen & CODE, PENDING | EXPIRED) {
                drop(self.take_waker());
                return false;
            }
            // Ordering: Release pairs with `tell`: the waker is stored.
            match self.state.compare_exchange(
                seen,
                seen | WAKER,
                Ordering::Release,
                Ordering::Acquire,
            ) {
                Ok(_) => return true,
                Err(now) => seen = now,
            }
        }
    }

    fn take_waker(&self) -> Option<Waker> {
        // SAFETY: T3: called by the one who cleared the bit, or by the owner while it is clear.
        self.waker.with_mut(|cell| unsafe { (*cell).take() })
    }
}

impl<K: UserKey> std::fmt::Debug for Waiter<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiter")
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}
