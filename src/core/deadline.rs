//! Deadlines hold on any executor, on plain threads, and for tickets that nobody polls.
//!
//! Each gate keeps its waiters in order of deadline, without a lock. One thread of the process, started when somebody
//! first waits on a real clock, sleeps until the earliest deadline of all gates and ends what is due. A waiter only
//! wakes that thread if its deadline comes before the one slept for, which with one timeout for all is rare: the
//! thread wakes about once a timeout, not once a waiter. A pretended clock plays the thread's part itself.

use std::sync::Arc;
#[cfg(not(admit_loom))]
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::OnceLock,
    thread::{self, Thread},
    time::Duration,
};

use super::dispatch::Work;
use super::gate::GateRef;
use crate::UserKey;
use crate::clock::{Clock, Timed};
#[cfg(not(admit_loom))]
use crate::sync::{AtomicBool, AtomicU64, Queue};
use crate::sync::{Ordering, fence};

struct TimedGate<K: UserKey>(GateRef<K>);

impl<K: UserKey> Timed for TimedGate<K> {
    fn next_deadline(&self) -> Option<u64> {
        self.0
            .deadlines()
            .first()
            .map(|((deadline, _), _)| deadline)
    }

    fn end_due(&self, now: u64) {
        let mut work = Work::new(self.0.clone());
        work.expire_due(now);
        work.run();
    }

    fn let_go(&self) -> bool {
        // Ordering: SeqCst, by the fence: either the next waiter sees the mark gone, or its deadline is seen here.
        self.0.timed().store(false, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        self.0.deadlines().is_empty() || self.0.timed().swap(true, Ordering::Relaxed)
    }
}

/// Makes sure that somebody looks after a deadline that has just been entered.
pub(crate) fn watch<K: UserKey>(gate: &GateRef<K>, deadline: u64) {
    // Ordering: SeqCst pairs with the fences of `let_go` and of the timer.
    fence(Ordering::SeqCst);
    let is_new =
        !gate.timed().load(Ordering::Relaxed) && !gate.timed().swap(true, Ordering::Relaxed);
    match &gate.shared().clock {
        Clock::Fake(_, lists) => {
            if let Some(lists) = lists.upgrade().filter(|_| is_new) {
                lists.watch(Arc::new(TimedGate(gate.clone())));
            }
        }
        #[cfg(not(admit_loom))]
        Clock::Monotonic => {
            if is_new {
                TIMER.inbox.push(Arc::new(TimedGate(gate.clone())));
            }
            TIMER.wake_before(deadline, is_new);
        }
        // A model lets deadlines pass when it likes.
        #[cfg(admit_loom)]
        Clock::Monotonic => {
            let _ = (deadline, is_new);
        }
    }
}

/// What is left of a gate whose deadlines are over.
#[cfg(not(admit_loom))]
struct Nothing;

#[cfg(not(admit_loom))]
impl Timed for Nothing {
    fn next_deadline(&self) -> Option<u64> {
        None
    }

    fn end_due(&self, _now: u64) {}

    fn let_go(&self) -> bool {
        true
    }
}

/// The one thread for all limiters.
#[cfg(not(admit_loom))]
struct Timer {
    inbox: Queue<Arc<dyn Timed>>,
    /// Until when the thread sleeps; the maximum while it looks around.
    sleeps_until: AtomicU64,
    is_started: AtomicBool,
    thread: OnceLock<Thread>,
}

#[cfg(not(admit_loom))]
static TIMER: Timer = Timer {
    inbox: Queue::new(),
    sleeps_until: AtomicU64::new(u64::MAX),
    is_started: AtomicBool::new(false),
    thread: OnceLock::new(),
};

#[cfg(not(admit_loom))]
impl Timer {
    fn wake_before(&'static self, deadline: u64, is_new: bool) {
        // Ordering: SeqCst: the gate is in the inbox before the thread is looked for; the thread is there to be found
        // before it looks into the inbox.
        fence(Ordering::SeqCst);
        // Ordering: Relaxed, after the fence: the thread, which stores before its own fence and looks after
        // it, either has seen the deadline or is seen here to sleep too long.
        if !is_new && deadline >= self.sleeps_until.load(Ordering::Relaxed) {
            return;
        }
        if !self.is_started.load(Ordering::Relaxed)
            && !self.is_started.swap(true, Ordering::Relaxed)
        {
            let spawned = thread::Builder::new()
                .name("admit-timer".into())
                .spawn(|| self.run());
            if spawned.is_err() {
                // No thread to be had now; the next waiter tries again.
                self.is_started.store(false, Ordering::Relaxed);
            }
        }
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn run(&self) {
        // Before the first look around: from then on, whoever comes too late for it finds whom to unpark.
        let _ = self.thread.set(thread::current());
        let mut all: Vec<Arc<dyn Timed>> = Vec::new();
        loop {
            // While looking around, every newcomer unparks: `park_timeout` below then returns at once.
            self.sleeps_until.store(u64::MAX, Ordering::Relaxed);
            fence(Ordering::SeqCst);
            while let Some(new) = self.inbox.pop() {
                all.push(new);
            }
            let now = Clock::Monotonic.now();
            let mut earliest = u64::MAX;
            all.retain_mut(|timed| {
                // Wakers, and the end of a limiter's last gate, are other people's code. Their panic has been heard of
                // by the panic hook; the deadlines of others still hold.
                let _ = catch_unwind(AssertUnwindSafe(|| timed.end_due(now)));
                if let Some(deadline) = timed.next_deadline() {
                    earliest = earliest.min(deadline);
                    return true;
                }
                if !timed.let_go() {
                    earliest = 0;
                    return true;
                }
                let ended = std::mem::replace(timed, Arc::new(Nothing));
                let _ = catch_unwind(AssertUnwindSafe(|| drop(ended)));
                false
            });
            self.sleeps_until.store(earliest, Ordering::Relaxed);
            if earliest == u64::MAX {
                thread::park();
            } else {
                let now = Clock::Monotonic.now();
                thread::park_timeout(Duration::from_nanos(earliest.saturating_sub(now)));
            }
        }
    }
}
