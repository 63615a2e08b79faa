//! What a limiter does, as a program anybody can read: the sequential reference model.
//!
//! One caller, one step at a time, plain collections, no clock but [`advance`](Model::advance).
//! Each call is a single step: what it promises holds when it returns, and nothing can be seen in
//! between. The limiter does the same for many callers at once; tests run both and compare.
//!
//! A request is charged to a user and counts at two levels, the user's and the global one. It is
//! in one of these states:
//!
//! | state | has | leaves it by |
//! | --- | --- | --- |
//! | Waiting | a place | a grant; eviction, deadline, close, reset, its user blocked; `abandon` |
//! | Granted | a slot | `collect`; its deadline; `abandon` |
//! | Held | a slot | `release`, or `abandon` of a ticket that was a slot from the start |
//! | Ended | nothing | `collect` tells the reason; `abandon` |
//! | Gone | nothing | |
//!
//! **Who is next.** Within a user: his line, in order of arrival. Between users: the *ring*, where
//! those stand who are *ready*, which is to have a waiter and a free slot of their own. A free
//! global slot goes to the first in the ring, and if he is still ready he stands at its end again.
//! Whoever stops being ready leaves the ring, and comes back at its end.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `mod.rs` | the states, and what callers can do |
//! | `arrive.rs` | an arrival: refused, or a slot, or a place |
//! | `turns.rs` | how slots and places come free, and who is next |
//! | `seen.rs` | what can be seen |
//! | `check.rs` | what always holds: [`Model::check_invariants`], [`Model::check_step`] |
//!
//! ```
//! use admit::{LimitConfig, Reason, spec::{Model, Status}};
//! use std::task::Poll;
//!
//! let config = LimitConfig::<u64>::keyed()
//!     .max_concurrent_per_user(1)
//!     .max_queue_size_per_user(1)
//!     .build()?;
//! let mut model = Model::new(config);
//!
//! let running = model.try_acquire(7).unwrap();
//! let waiting = model.check(7, None).unwrap();
//! assert_eq!(model.status(waiting), Status::Waiting { position: 0 });
//! assert_eq!(model.check(7, None), Err(Reason::UserQueueFull { count: 1, limit: 1 }));
//!
//! model.release(running);
//! assert_eq!(model.collect(waiting), Poll::Ready(Ok(())));
//! model.check_invariants();
//! # Ok::<(), admit::ConfigError>(())
//! ```
//!
//! Deliberately open, so that a comparison has to allow for it: in which order the users stand
//! whom one reload made ready, and which idle users are forgotten when there are too many.

mod arrive;
mod check;
mod seen;
#[cfg(test)]
mod tests;
mod turns;

use std::collections::{BTreeMap, VecDeque};
use std::hash::Hash;
use std::task::Poll;
use std::time::Duration;

use crate::config::{LimitConfig, MAX_COUNT};
use crate::error::Reason;

pub use seen::{Counts, Peaks, Status, Totals};

/// Names a request: its number in order of arrival.
pub type Id = u64;

/// A limiter without concurrency; see the [module](self).
///
/// Configs are taken as they come: who calls has validated them.
#[derive(Clone, Debug)]
pub struct Model<K> {
    config: LimitConfig<K>,
    /// The most that a level ever holds, and the most that ever wait there.
    max_count: u32,
    now: Duration,
    closed: bool,
    /// How often it was reset. A slot of an earlier generation is inert.
    generation: u64,
    /// All that ever arrived, refused ones too.
    arrivals: u64,
    /// Those that are not gone.
    requests: BTreeMap<Id, Request<K>>,
    users: BTreeMap<K, User>,
    ring: VecDeque<K>,
    totals: Totals,
    peaks: Peaks,
}

#[derive(Clone, Debug)]
struct Request<K> {
    user: K,
    generation: u64,
    arrived: Duration,
    timeout: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting,
    Granted,
    Held,
    Ended(Reason),
}

#[derive(Clone, Debug, Default)]
struct User {
    /// Slots, granted ones included.
    held: u32,
    line: VecDeque<Id>,
    /// When he was first seen, or last gave up a slot or a place. Being refused is not being there.
    idle_since: Duration,
}

impl User {
    fn waiting(&self) -> u32 {
        u32::try_from(self.line.len()).unwrap_or(u32::MAX)
    }

    fn is_idle(&self) -> bool {
        self.held == 0 && self.line.is_empty()
    }
}

/// What callers do.
impl<K: Clone + Ord + Hash> Model<K> {
    /// A limiter with nobody in it.
    pub fn new(config: LimitConfig<K>) -> Self {
        Self::with_max_count(config, MAX_COUNT)
    }

    /// The same with another number in place of [`MAX_COUNT`], so that a test can reach it.
    pub fn with_max_count(config: LimitConfig<K>, max_count: u32) -> Self {
        Self {
            config,
            max_count,
            now: Duration::ZERO,
            closed: false,
            generation: 0,
            arrivals: 0,
            requests: BTreeMap::new(),
            users: BTreeMap::new(),
            ring: VecDeque::new(),
            totals: Totals::default(),
            peaks: Peaks::default(),
        }
    }

    /// A request that wants a slot now or nothing. `Ok` is a held slot.
    pub fn try_acquire(&mut self, user: K) -> Result<Id, Reason> {
        let id = self.arrive(&user);
        let answer = self.may_enter(&user).and_then(|()| self.slot(&user));
        match answer {
            Ok(()) => Ok(self.admit(id, user)),
            Err(reason) => Err(self.refuse(reason)),
        }
    }

    /// A request that takes a slot, which it then holds, or a place. `timeout` replaces the
    /// configured one.
    pub fn check(&mut self, user: K, timeout: Option<Duration>) -> Result<Id, Reason> {
        let id = self.arrive(&user);
        if let Err(reason) = self.may_enter(&user) {
            return Err(self.refuse(reason));
        }
        if self.slot(&user).is_ok() {
            return Ok(self.admit(id, user));
        }
        match self.place(&user) {
            Ok(victim) => {
                self.wait_in_line(id, user, timeout.unwrap_or(self.config.queue_timeout));
                // The newcomer stands there before the victim leaves, so a user who replaces his
                // only waiter stays ready all the time and keeps his turn.
                if let Some((victim, reason)) = victim {
                    self.end(victim, reason);
                }
                self.note_peaks();
                // A timeout of zero has passed already.
                self.expire(self.now);
                Ok(id)
            }
            Err(reason) => Err(self.refuse(reason)),
        }
    }

    /// The owner of a ticket asks for his slot. An error is told once, then the request is gone.
    ///
    /// # Panics
    ///
    /// If the request is gone.
    pub fn collect(&mut self, id: Id) -> Poll<Result<(), Reason>> {
        let request = self.requests.get_mut(&id).expect("a ticket not used up");
        match request.state {
            State::Waiting => Poll::Pending,
            State::Granted => {
                request.state = State::Held;
                self.totals.admitted += 1;
                Poll::Ready(Ok(()))
            }
            State::Held => Poll::Ready(Ok(())),
            State::Ended(reason) => {
                self.requests.remove(&id);
                Poll::Ready(Err(reason))
            }
        }
    }

    /// A ticket is dropped, whatever has become of it.
    ///
    /// # Panics
    ///
    /// If the request is gone.
    pub fn abandon(&mut self, id: Id) {
        let request = self.requests.remove(&id).expect("a ticket not used up");
        if matches!(request.state, State::Waiting | State::Granted) {
            self.totals.abandoned += 1;
        }
        self.withdraw(id, &request);
    }

    /// A permit is dropped.
    ///
    /// # Panics
    ///
    /// If the request does not hold a slot.
    pub fn release(&mut self, id: Id) {
        let request = self.requests.remove(&id).expect("a permit not dropped yet");
        assert_eq!(request.state, State::Held, "only a held slot is released");
        self.withdraw(id, &request);
    }

    /// Time passes. Deadlines are met one after the other, each at its own instant; then those are
    /// forgotten who have been idle for long enough.
    pub fn advance(&mut self, by: Duration) {
        let then = self.now.saturating_add(by);
        self.expire(then);
        self.now = then;
        let long_enough = self.config.idle_timeout;
        self.forget_idle(|user| then - user.idle_since >= long_enough);
    }

    /// Another config takes effect, all of it in one step: no slot is granted under some of the
    /// old limits and some of the new.
    pub fn reload(&mut self, config: LimitConfig<K>) {
        self.config = config;
        let users: Vec<K> = self.users.keys().cloned().collect();
        for user in &users {
            self.settle(user);
        }
        for id in self.all_waiting() {
            if let Err(reason) = self.may_enter(&self.requests[&id].user) {
                self.end(id, reason);
            }
        }
        self.serve();
        self.note_peaks();
        self.forget_surplus();
    }

    /// Nobody comes in any more; who has a slot keeps it.
    pub fn close(&mut self) {
        self.closed = true;
        for id in self.all_waiting() {
            self.end(id, Reason::Closed);
        }
    }

    /// Everybody is forgotten. Slots that were given out can still be collected and dropped, and
    /// mean nothing.
    pub fn reset(&mut self) {
        for id in self.all_waiting() {
            self.end(id, Reason::Reset);
        }
        // Nobody waits any more, so the ring is empty.
        self.users.clear();
        self.generation += 1;
    }

    /// Forgets all idle users now. Returns how many.
    pub fn cleanup(&mut self) -> usize {
        self.forget_idle(|_| true)
    }
}
