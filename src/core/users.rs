//! Users that come and go, and what is done to all of them at once: reload, close, reset, sweep.
//!
//! The map finds a user by name. A queue holds every known user once, for the sweep: it marks who is idle, and forgets
//! who is still marked after the idle time. Using a user clears the mark in the very step that takes the slot, so an
//! admission pays nothing for it. Arrivals of *new* users drive the sweep, a few visits each, so memory is bounded
//! without a thread.
//!
//! Invariants:
//! - **M1** an entry in the map is not dead: it dies in the step that takes it out, under its shard's lock.
//! - **M2** an entry is made from the config and the gate in force, looked at under the shard's lock; a reload or reset
//!   stores first and walks the map second, so it meets every entry made from what was before.
//! - **M3** one reload, close or reset at a time (`steer`), so that snapshot and words change in one order. Wakers are
//!   called after it: they may steer themselves, and a panic of theirs must not cut short what is half done.

use std::borrow::Borrow;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr::NonNull;
use std::sync::{Arc, MutexGuard, PoisonError};

use super::arrival;
use super::dispatch::{Wakes, Work};
use super::gate::{GateLimits, GateRef};
use super::shared::Shared;
use super::user::User;
use super::word::{CLOSED, DEAD, MARK, MAX, ORPHAN, RETIRED};
use crate::UserKey;
use crate::clock::{Clock, Forgets, nanos};
use crate::config::{LimitConfig, UserLimits};
use crate::error::OverloadError;
use crate::sync::{AtomicUsize, Inserted, Map, Ordering, Queue, Swap};

/// Users that the arrival of a new one visits at most.
const VISITS: usize = 4;
/// Users that it forgets at most.
const FORGETS: usize = 2;

/// A visit's note that the user had not been seen idle.
const NOT_IDLE: u64 = u64::MAX;

/// See the module.
pub(crate) struct Core<K: UserKey> {
    users: Map<User<K>>,
    known: AtomicUsize,
    /// Every known user, with the time he was marked idle.
    sweep: Queue<(Arc<User<K>>, u64)>,
    gate: Swap<GateRef<K>>,
    pub(crate) shared: Arc<Shared<K>>,
    steer: Steer,
}

#[expect(
    clippy::disallowed_types,
    reason = "one reload, close or reset at a time (M3); no request takes it or waits for who has it"
)]
type Steer = std::sync::Mutex<()>;

impl<K: UserKey> Core<K> {
    pub(crate) fn new(config: LimitConfig<K>, clock: Clock) -> Arc<Self> {
        let shared = Arc::new(Shared::new(config, clock));
        let limits = shared.config.peek(gate_limits);
        let gate = GateRef::new(limits, false, (0, 0), shared.clone());
        let core = Arc::new(Self {
            users: Map::new(),
            known: AtomicUsize::new(0),
            sweep: Queue::new(),
            gate: Swap::new(Arc::new(gate)),
            shared,
            steer: Steer::default(),
        });
        if let Clock::Fake(_, lists) = &core.shared.clock {
            if let Some(lists) = lists.upgrade() {
                let forgets: Arc<dyn Forgets> = core.clone();
                lists.add(Arc::downgrade(&forgets));
            }
        }
        core
    }

    pub(crate) fn gate(&self) -> GateRef<K> {
        self.gate.peek(GateRef::clone)
    }

    /// A slot for a known user, in the common case.
    #[inline]
    pub(crate) fn take_plain<Q>(&self, key: &Q) -> Option<NonNull<User<K>>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.plain(key, |_| None)?.ok()
    }

    /// The same, or a plain refusal, for somebody who asks for a slot now.
    #[inline]
    pub(crate) fn try_plain<Q>(&self, key: &Q) -> Option<Result<NonNull<User<K>>, OverloadError>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.plain(key, arrival::refuse_at_once)
    }

    /// Both steps happen under the shard's lock, which keeps other readers from nothing: so the look at the global word
    /// and the step on it come close together, and its line seldom has to be fetched twice.
    #[inline]
    fn plain<Q>(
        &self,
        key: &Q,
        otherwise: impl FnOnce(&User<K>) -> Option<OverloadError>,
    ) -> Option<Result<NonNull<User<K>>, OverloadError>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut refused = None;
        let taken = self.users.find(key, |user| {
            let Some(slot) = arrival::take_plain(user) else {
                refused = otherwise(user);
                return None;
            };
            // SAFETY: the slot just taken.
            Some((slot, unsafe { arrival::take_global(slot) }))
        });
        let user = match taken.flatten() {
            Some((user, true)) => return Some(Ok(user)),
            Some((user, false)) => user,
            None => return refused.map(Err),
        };
        // SAFETY: the slot just taken keeps the entry until it is put back.
        let user = unsafe {
            Arc::increment_strong_count(user.as_ptr());
            Arc::from_raw(user.as_ptr().cast_const())
        };
        arrival::untake(&user);
        None
    }

    /// The entry of a user, made if he is new.
    #[inline]
    pub(crate) fn user<Q>(self: &Arc<Self>, key: &Q) -> Arc<User<K>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.users
            .find(key, Arc::clone)
            .unwrap_or_else(|| self.make(key.to_owned()))
    }

    #[cold]
    fn make(self: &Arc<Self>, mut key: K) -> Arc<User<K>> {
        loop {
            let config = self.shared.config.get();
            let gate = self.gate.get();
            let is_closed = self.shared.is_closed();
            // The rule is the user's code: asked before the shard is locked.
            let limits = user_limits(&config, is_closed, &key);
            let user = Arc::new(User::new(
                key,
                limits,
                (*gate).clone(),
                Arc::downgrade(self),
            ));
            if is_closed {
                // He will be refused, and need not be known for that.
                return user;
            }
            // Ordering: Relaxed: a count by itself. Before the entry is there to be taken out.
            self.known.fetch_add(1, Ordering::Relaxed);
            let inserted = self.users.insert(&user, || {
                self.shared.config.is(&config)
                    && self.gate.is(&gate)
                    && self.shared.is_closed() == is_closed
            });
            match inserted {
                Inserted::New => {
                    // Before he stands there himself: not to be forgotten by his own arrival.
                    self.sweep_some();
                    self.sweep.push((user.clone(), NOT_IDLE));
                    return user;
                }
                Inserted::Found(user) => {
                    self.known.fetch_sub(1, Ordering::Relaxed);
                    return user;
                }
                Inserted::Outdated => {
                    self.known.fetch_sub(1, Ordering::Relaxed);
                    key = user.key.clone();
                }
            }
        }
    }

    /// The entry to go on with for somebody whose entry is stale. None if the limiter is gone.
    pub(crate) fn renew(user: &Arc<User<K>>, wakes: &mut Wakes) -> Option<Arc<User<K>>> {
        let core = user.core.upgrade()?;
        if user.gate.word.load().has(RETIRED) {
            core.replace_gate(&user.gate);
            core.bury(user, wakes);
        }
        Some(core.user(&user.key))
    }

    pub(crate) fn known(&self) -> usize {
        // Ordering: Relaxed, as above.
        self.known.load(Ordering::Relaxed)
    }

    pub(crate) fn all(&self) -> Vec<Arc<User<K>>> {
        self.users.all()
    }

    // Steering.

    fn steer(&self) -> MutexGuard<'_, ()> {
        self.steer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a valid config in force. With `expected`, only if that one still is.
    pub(crate) fn reload(
        &self,
        config: LimitConfig<K>,
        expected: Option<&Arc<LimitConfig<K>>>,
    ) -> bool {
        let mut wakes = Wakes::default();
        let one = self.steer();
        if expected.is_some_and(|expected| !self.shared.config.is(expected)) {
            return false;
        }
        let old = self.shared.config.set(Arc::new(config));
        let panic = self.push(&mut wakes);
        drop(one);
        // The last of a config may be the last of a rule: the user's code, like a waker.
        drop(old);
        wakes.wake();
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
        true
    }

    /// Brings every word in line with the snapshot: first whatever shrinks, then what grows, the global level around
    /// the users. So nobody is served under one limit that is new and another that is old.
    ///
    /// A rule that panics counts as one that knows nothing of the user; the panic is returned, and goes on when all is
    /// in line.
    fn push(&self, wakes: &mut Wakes) -> Option<Panic> {
        let config = self.shared.config.get();
        let is_closed = self.shared.is_closed();
        let gate = self.gate();
        let limits = gate_limits(&config);
        gate.set_retry_after(limits.retry_after);
        gate.places().set_bound(limits.queue);
        let set_global = |wakes: &mut Wakes| {
            let mut work = Work::new(gate.clone());
            work.set_global_limit(limits.concurrent);
            work.finish(wakes);
        };
        let grows = gate.word.load().limit() < limits.concurrent;
        if !grows {
            set_global(wakes);
        }
        let mut panic = None;
        let mut growing = Vec::new();
        for user in self.all() {
            let asked = catch_unwind(AssertUnwindSafe(|| {
                user_limits(&config, is_closed, &user.key)
            }));
            let limits = asked.unwrap_or_else(|payload| {
                panic.get_or_insert(payload);
                UserLimits::new(
                    config.max_concurrent_per_user,
                    config.max_queue_size_per_user,
                )
            });
            user.places.set_bound(limits.max_queue_size);
            let limit = user.word.load().limit();
            if limits.max_concurrent < limit {
                shrink(&user, limits.max_concurrent, wakes);
            } else if limits.max_concurrent > limit {
                growing.push((user, limits.max_concurrent));
            }
        }
        let mut work = Work::new(gate.clone());
        for (user, limit) in growing {
            if user.gate.is(&gate) {
                work.grow_user(&user, limit);
            }
        }
        work.finish(wakes);
        if grows {
            set_global(wakes);
        }
        // A bound that grew lets those count as queued who were blocked.
        gate.note_waiting(gate.places().fill().queued());
        panic
    }

    pub(crate) fn close(&self) {
        let mut wakes = Wakes::default();
        let one = self.steer();
        // The word first: who finds the limiter closed finds the reason in the word.
        let gate = self.gate();
        gate.word.apply(|word| word.with(CLOSED));
        self.shared.close();
        for user in self.all() {
            // The bounds stay: who arrives meanwhile is to hear that it is closed, not that a queue is full.
            shrink(&user, 0, &mut wakes);
        }
        self.tell_if_drained(&gate, &mut wakes);
        drop(one);
        wakes.wake();
    }

    pub(crate) fn is_drained(&self) -> bool {
        let word = self.gate().word.load();
        word.has(CLOSED) && word.held() == 0
    }

    fn tell_if_drained(&self, gate: &GateRef<K>, wakes: &mut Wakes) {
        let word = gate.word.load();
        if word.has(CLOSED) && word.held() == 0 {
            self.shared.drained(|waker| wakes.push(waker));
        }
    }

    pub(crate) fn reset(&self) {
        let mut wakes = Wakes::default();
        let one = self.steer();
        let old = self.gate();
        self.replace_gate(&old);
        for user in self.all() {
            if user.gate.is(&old) {
                self.bury(&user, &mut wakes);
            }
        }
        self.visit_all(|_, since| Some(since));
        self.tell_if_drained(&self.gate(), &mut wakes);
        drop(one);
        wakes.wake();
    }

    /// Retires a gate and puts a new one in its place. Whoever meets a retired gate does the same, so that nobody
    /// waits for the thread that resets. That needs no lock: a retired gate that is still current means that a reset is
    /// under way, which keeps config and closing as they are until it has been replaced.
    fn replace_gate(&self, old: &GateRef<K>) {
        old.word.apply(|word| word.with(RETIRED));
        let current = self.gate.get();
        if current.is(old) {
            let limits = self.shared.config.peek(gate_limits);
            let new = GateRef::new(
                limits,
                self.shared.is_closed(),
                old.peaks(),
                self.shared.clone(),
            );
            self.gate.replace(&current, Arc::new(new));
        }
    }

    /// Takes a user of a retired gate out and ends all who wait for him.
    fn bury(&self, user: &Arc<User<K>>, wakes: &mut Wakes) {
        let taken = self.users.remove(user, || {
            user.unmap(DEAD);
            true
        });
        if taken {
            self.known.fetch_sub(1, Ordering::Relaxed);
            let mut work = Work::new(user.gate.clone());
            work.close_line(user, work.end_of(user));
            work.finish(wakes);
        }
    }

    // Forgetting.

    /// Forgets everybody who is idle now; returns how many.
    pub(crate) fn cleanup(&self) -> usize {
        let mut forgotten = 0;
        self.visit_all(|user, _| {
            let gone = self.forget(user, false);
            forgotten += usize::from(gone);
            (!gone).then_some(NOT_IDLE)
        });
        forgotten
    }

    fn forget(&self, user: &Arc<User<K>>, marked: bool) -> bool {
        let gone = self.users.remove(user, || user.die(marked));
        if gone {
            // Ordering: Relaxed: a count by itself.
            self.known.fetch_sub(1, Ordering::Relaxed);
        }
        gone
    }

    /// Visits every user in the queue once; `visit` returns the note to put him back with.
    fn visit_all(&self, mut visit: impl FnMut(&Arc<User<K>>, u64) -> Option<u64>) {
        for _ in 0..self.sweep.len() {
            let Some((user, since)) = self.sweep.pop() else {
                return;
            };
            if user.word.load().has(DEAD) {
                continue;
            }
            if let Some(since) = visit(&user, since) {
                self.sweep.push((user, since));
            }
        }
    }

    /// The part of the sweep that the arrival of one new user pays for.
    fn sweep_some(&self) {
        let (idle_timeout, max_idle) = self
            .shared
            .config
            .peek(|config| (nanos(config.idle_timeout), config.max_idle_users as usize));
        let now = self.shared.clock.now();
        let mut forgotten = 0;
        // Each at most once: who has just been marked may be about to arrive, and forgetting him would make him start
        // over.
        for _ in 0..VISITS.min(self.sweep.len()) {
            let Some((user, since)) = self.sweep.pop() else {
                return;
            };
            let word = user.word.load();
            let gone = if word.has(DEAD) {
                true
            } else if word.has(MARK) {
                let is_due = self.known() > max_idle || now.saturating_sub(since) >= idle_timeout;
                is_due && self.forget(&user, true)
            } else {
                false
            };
            if gone {
                forgotten += 1;
                if forgotten == FORGETS {
                    return;
                }
            } else {
                let since = mark(&user, since, now);
                self.sweep.push((user, since));
            }
        }
    }
}

/// Marks an idle user; returns since when he has been marked.
fn mark<K: UserKey>(user: &User<K>, since: u64, now: u64) -> u64 {
    if user.mark() {
        now
    } else if user.word.load().has(MARK) {
        since
    } else {
        NOT_IDLE
    }
}

impl<K: UserKey> Forgets for Core<K> {
    fn mark_idle(&self, now: u64) {
        self.visit_all(|user, since| Some(mark(user, since, now)));
    }

    fn forget_idle(&self, now: u64) {
        let idle_timeout = self.shared.config.peek(|config| nanos(config.idle_timeout));
        self.visit_all(|user, since| {
            let is_due = user.word.load().has(MARK) && now.saturating_sub(since) >= idle_timeout;
            (!(is_due && self.forget(user, true))).then_some(since)
        });
    }
}

impl<K: UserKey> Drop for Core<K> {
    fn drop(&mut self) {
        // Those who still hold, wait or ask through an entry go on with it.
        for user in self.users.all() {
            user.unmap(ORPHAN);
        }
    }
}

const NOTHING: UserLimits = UserLimits::new(0, 0);

type Panic = Box<dyn std::any::Any + Send>;

fn shrink<K: UserKey>(user: &Arc<User<K>>, limit: u32, wakes: &mut Wakes) {
    let mut work = Work::new(user.gate.clone());
    work.shrink_user(user, limit);
    work.finish(wakes);
}

/// What a config means for one user. Switched off, it means all that can be counted.
fn user_limits<K: Hash + Eq>(config: &LimitConfig<K>, is_closed: bool, key: &K) -> UserLimits {
    if is_closed {
        NOTHING
    } else if config.enabled {
        let limits = config.limits_of(key);
        // Named limits were validated; what a rule answers can only be cut here.
        UserLimits::new(
            limits.max_concurrent.min(MAX),
            limits.max_queue_size.min(MAX),
        )
    } else {
        UserLimits::new(MAX, MAX)
    }
}

fn gate_limits<K: UserKey>(config: &LimitConfig<K>) -> GateLimits {
    let (concurrent, queue) = if config.enabled {
        (config.max_concurrent_global, config.max_queue_size_global)
    } else {
        (MAX, MAX)
    };
    GateLimits {
        concurrent,
        queue,
        retry_after: nanos(config.retry_after),
    }
}

impl<K: UserKey> std::fmt::Debug for Core<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Core").finish_non_exhaustive()
    }
}
