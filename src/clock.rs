//! Time, real or pretended.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::{Duration, Instant};

/// Where a limiter gets its time from.
pub(crate) enum Clock {
    Monotonic,
    /// A limiter shares the time of a pretended clock, but does not keep its lists, which refer to the limiter: when
    /// nobody is left to move the clock, no deadline will pass any more.
    Fake(Arc<AtomicU64>, Weak<Lists>),
}

impl Clock {
    /// Nanoseconds since an instant in the past that is the same for all limiters.
    pub(crate) fn now(&self) -> u64 {
        match self {
            Self::Monotonic => monotonic(),
            // Ordering: Acquire pairs with the Release of `set`.
            Self::Fake(time, _) => time.load(Ordering::Acquire),
        }
    }
}

impl Clock {
    /// Whether a pretended clock has passed a deadline that it was not told of in time. The real one has a thread that
    /// looks by itself.
    pub(crate) fn has_passed(&self, deadline: u64) -> bool {
        matches!(self, Self::Fake(..)) && self.now() >= deadline
    }
}

fn monotonic() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    nanos(START.get_or_init(Instant::now).elapsed())
}

/// Saturates after 584 years.
pub(crate) fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Something with deadlines.
pub(crate) trait Timed: Send + Sync {
    /// The earliest deadline, in nanoseconds of the clock.
    fn next_deadline(&self) -> Option<u64>;
    /// Ends everything that is due.
    fn end_due(&self, now: u64);
    /// Says that nobody looks after these deadlines any more; false if there are some after all.
    fn let_go(&self) -> bool;
}

/// Something that forgets what has been idle.
pub(crate) trait Forgets: Send + Sync {
    /// Whatever is idle and has not been seen idle before is idle since `now`.
    fn mark_idle(&self, now: u64);
    /// Forgets what has been idle long enough.
    fn forget_idle(&self, now: u64);
}

/// A clock that stands still until it is told to go on, for tests of everything that depends on time.
///
/// Clones are one clock. Any number of limiters can go by it. Keep a clone for as long as deadlines matter: when the last
/// one is gone, time stands still for its limiters.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use admit::{FakeClock, LimitConfig, Limiter, Reason};
///
/// let clock = FakeClock::new();
/// let config = LimitConfig::builder().max_concurrent_per_user(1).build()?;
/// let limiter: Limiter = Limiter::with_clock(config, clock.clone())?;
///
/// let running = limiter.check_limits("ada")?;
/// let waiting = limiter.check_limits("ada")?;
/// clock.advance(Duration::from_secs(30));
/// let error = waiting.wait().unwrap_err();
/// assert!(matches!(error.reason(), Reason::QueueTimeout { .. }));
/// # drop(running);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct FakeClock {
    time: Arc<AtomicU64>,
    lists: Arc<Lists>,
}

/// Whom a pretended clock tells.
#[derive(Default)]
pub(crate) struct Lists {
    timed: List<Arc<dyn Timed>>,
    forgets: List<Weak<dyn Forgets>>,
}

#[expect(
    clippy::disallowed_types,
    reason = "a pretended clock is for tests; no request on the real clock comes here"
)]
type List<T> = std::sync::Mutex<Vec<T>>;

impl FakeClock {
    /// A clock at zero.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// assert_eq!(admit::FakeClock::new().now(), Duration::ZERO);
    /// ```
    pub fn new() -> Self {
        Self::default()
    }

    /// The time since the clock was made.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    ///
    /// let clock = admit::FakeClock::new();
    /// clock.advance(Duration::from_millis(250));
    /// assert_eq!(clock.now(), Duration::from_millis(250));
    /// ```
    pub fn now(&self) -> Duration {
        Duration::from_nanos(self.nanos())
    }

    fn nanos(&self) -> u64 {
        // Ordering: Acquire pairs with the Release of `set`.
        self.time.load(Ordering::Acquire)
    }

    fn set(&self, now: u64) {
        // Ordering: Release: what was done at the old time comes before what is done at the new one.
        self.time.fetch_max(now, Ordering::Release);
    }

    /// Lets time pass. Every waiter whose deadline is reached on the way is ended, in the order of the deadlines, and
    /// every user who has been idle for the idle time is forgotten, before this returns. Wakers are called from here.
    ///
    /// # Panics
    /// If a waker panics, after all that was due has been done.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use admit::{FakeClock, LimitConfig, Limiter};
    ///
    /// let clock = FakeClock::new();
    /// let limiter: Limiter = Limiter::with_clock(LimitConfig::default(), clock.clone())?;
    /// limiter.try_acquire("ada")?.release();
    /// clock.advance(Duration::from_secs(60)); // the idle time
    /// assert_eq!(limiter.stats().total_users, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn advance(&self, by: Duration) {
        let target = self.nanos().saturating_add(nanos(by));
        self.each_forgetful(|limiter| limiter.mark_idle(self.nanos()));
        let mut panic = None;
        loop {
            let timed = list(&self.lists.timed).clone();
            let due = timed
                .iter()
                .filter_map(|timed| timed.next_deadline())
                .filter(|&deadline| deadline <= target)
                .min();
            let Some(due) = due else { break };
            self.set(due);
            for timed in timed {
                if let Err(payload) = catch_unwind(AssertUnwindSafe(|| timed.end_due(due))) {
                    panic.get_or_insert(payload);
                }
            }
            self.each_forgetful(|limiter| limiter.mark_idle(due));
        }
        self.set(target);
        self.each_forgetful(|limiter| limiter.forget_idle(target));
        // On a copy, outside the lock: the last reference to a gate may end here, and with it other people's values.
        let mut over: Vec<Arc<dyn Timed>> = list(&self.lists.timed).clone();
        over.retain(|timed| timed.next_deadline().is_none() && timed.let_go());
        list(&self.lists.timed).retain(|timed| !over.iter().any(|gone| Arc::ptr_eq(gone, timed)));
        drop(over);
        if let Some(payload) = panic {
            resume_unwind(payload);
        }
    }

    pub(crate) fn clock(&self) -> Clock {
        Clock::Fake(self.time.clone(), Arc::downgrade(&self.lists))
    }

    fn each_forgetful(&self, f: impl Fn(&dyn Forgets)) {
        let limiters: Vec<_> = list(&self.lists.forgets)
            .iter()
            .filter_map(Weak::upgrade)
            .collect();
        for limiter in limiters {
            f(&*limiter);
        }
    }
}

impl Lists {
    pub(crate) fn watch(&self, timed: Arc<dyn Timed>) {
        list(&self.timed).push(timed);
    }

    pub(crate) fn add(&self, limiter: Weak<dyn Forgets>) {
        let mut forgets = list(&self.forgets);
        forgets.retain(|limiter| limiter.strong_count() > 0);
        forgets.push(limiter);
    }
}

/// The lists stay good even if a waker panicked while `advance` ran: they are never left half changed.
fn list<T>(lock: &List<T>) -> MutexGuard<'_, Vec<T>> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for FakeClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FakeClock").field(&self.now()).finish()
    }
}
