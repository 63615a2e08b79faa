//! The limiter.

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use super::acquire::Acquire;
use super::handle::UserHandle;
use super::permit::Permit;
use super::request::Request;
use super::stats::Stats;
use super::ticket::{Ticket, ask};
use crate::UserKey;
use crate::clock::{Clock, FakeClock};
use crate::config::{ConfigError, LimitConfig};
use crate::core::arrival::Ask;
use crate::core::users::Core;
use crate::error::OverloadError;

/// Decides who may run now, who waits and who is turned away.
///
/// Each request names a user. It takes a slot, which counts at two levels at once (the user's and the global one), or a
/// place in a bounded queue, or is refused at once. Within one user, first come is first served; between users who
/// wait, slots go in turn.
///
/// A limiter is cheap to clone, and all clones are one limiter. It is `Send + Sync`, needs no async runtime, and takes
/// no lock of its own on admission, waiting, hand-over or release.
///
/// Users are named by reference: `&str` for `String`, `&u64` for `u64`. A known user is looked up without an
/// allocation; a new one is owned once.
///
/// # Memory ordering
/// What a thread did before it gave a slot back happens before whatever the next holder of that slot does.
///
/// # Examples
/// ```
/// use admit::{LimitConfig, Limiter};
///
/// let limiter = Limiter::new(LimitConfig::default())?;
/// match limiter.acquire_blocking("ada") {
///     Ok(permit) => {
///         // The work goes here; the slot is given back when `permit` is dropped.
///         drop(permit);
///     }
///     Err(refused) => println!("{} {}", refused.status(), refused.body()),
/// }
/// # Ok::<(), admit::ConfigError>(())
/// ```
pub struct Limiter<K: UserKey = String>(Arc<Core<K>>);

impl Limiter<String> {
    /// A limiter for users named by strings, on the real clock.
    ///
    /// # Errors
    /// If the config is out of range; every fault is named.
    ///
    /// # Examples
    /// ```
    /// let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn new(config: LimitConfig) -> Result<Self, ConfigError> {
        Self::keyed(config)
    }
}

impl<K: UserKey> Limiter<K> {
    /// A limiter for users of any key type, on the real clock.
    ///
    /// # Errors
    /// As [`new`](Limiter::new).
    ///
    /// # Examples
    /// ```
    /// let limiter = admit::Limiter::<u64>::keyed(admit::LimitConfig::default())?;
    /// let permit = limiter.try_acquire(&7)?;
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keyed(config: LimitConfig<K>) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self(Core::new(config, Clock::Monotonic)))
    }

    /// A limiter that goes by a pretended clock, for tests.
    ///
    /// # Errors
    /// As [`new`](Limiter::new).
    ///
    /// # Examples
    /// See [`FakeClock`].
    pub fn with_clock(config: LimitConfig<K>, clock: FakeClock) -> Result<Self, ConfigError> {
        config.validate()?;
        Ok(Self(Core::new(config, clock.clock())))
    }

    /// A slot now, or a refusal. Never queues.
    ///
    /// # Errors
    /// [`UserLimit`](crate::Reason::UserLimit) or [`GlobalLimit`](crate::Reason::GlobalLimit) if there is no slot, or
    /// somebody with a better claim waits for it; [`Closed`](crate::Reason::Closed).
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.try_acquire("ada")?;
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_acquire<Q>(&self, user: &Q) -> Result<Permit<K>, OverloadError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        match self.0.try_plain(user) {
            // SAFETY: `try_plain` hands over a slot of both levels.
            Some(Ok(slot)) => Ok(unsafe { Permit::new(slot, Duration::ZERO, None) }),
            Some(Err(refused)) => Err(refused),
            None => self.try_at_length(user),
        }
    }

    #[cold]
    fn try_at_length<Q>(&self, user: &Q) -> Result<Permit<K>, OverloadError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        ask(&self.0.user(user), Ask::Now, None)?.wait()
    }

    /// Waits for a slot on an executor. The future arrives at its first poll, borrows nothing, allocates nothing for a
    /// known user that does not have to wait, and is cancelled by dropping it.
    ///
    /// # Errors
    /// Why there is no slot: see [`Reason`](crate::Reason).
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.acquire("ada").await?;
    /// # drop(permit);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn acquire<Q>(&self, user: &Q) -> Acquire<K>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        Acquire::new(self.0.user(user), None, None)
    }

    /// Waits for a slot by parking the thread. It stands in the same line as those who wait on an executor.
    ///
    /// # Errors
    /// Why there is no slot: see [`Reason`](crate::Reason).
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.acquire_blocking("ada")?;
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn acquire_blocking<Q>(&self, user: &Q) -> Result<Permit<K>, OverloadError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        match self.take_plain(user) {
            Some(permit) => Ok(permit),
            None => self.wait(user),
        }
    }

    #[cold]
    fn wait<Q>(&self, user: &Q) -> Result<Permit<K>, OverloadError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        ask(&self.0.user(user), Ask::Queue(None), None)?.wait()
    }

    /// A slot or a place; never waits. The [`Ticket`] is waited for later, or dropped.
    ///
    /// # Errors
    /// Why there is neither: see [`Reason`](crate::Reason).
    ///
    /// # Examples
    /// With one slot and two places, three checks of one user succeed and the fourth is refused:
    /// ```
    /// let config = admit::LimitConfig::builder()
    ///     .max_concurrent_per_user(1)
    ///     .max_queue_size_per_user(2)
    ///     .build()?;
    /// let limiter = admit::Limiter::new(config)?;
    /// let tickets = [
    ///     limiter.check_limits("ada")?,
    ///     limiter.check_limits("ada")?,
    ///     limiter.check_limits("ada")?,
    /// ];
    /// let refused = limiter.check_limits("ada").unwrap_err();
    /// assert!(refused.message().contains("(2/2)"));
    /// # drop(tickets);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_limits<Q>(&self, user: &Q) -> Result<Ticket<K>, OverloadError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        match self.take_plain(user) {
            Some(permit) => Ok(Ticket::admitted(permit)),
            None => ask(&self.0.user(user), Ask::Queue(None), None),
        }
    }

    /// Waits on this thread, then runs `work` with a slot held. A panic gives the slot back.
    ///
    /// # Errors
    /// Why there is no slot; `work` is not run then.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let answer = limiter.limit("ada", || 6 * 7)?;
    /// assert_eq!(answer, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit<Q, T>(&self, user: &Q, work: impl FnOnce() -> T) -> Result<T, OverloadError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let _permit = self.acquire_blocking(user)?;
        Ok(work())
    }

    /// Waits on the executor, then runs `work` with a slot held. Dropping the future gives the slot or the place back.
    ///
    /// # Errors
    /// Why there is no slot; `work` is not polled then.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let answer = limiter.limit_async("ada", async { 6 * 7 }).await?;
    /// assert_eq!(answer, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn limit_async<Q, F>(
        &self,
        user: &Q,
        work: F,
    ) -> impl Future<Output = Result<F::Output, OverloadError>> + use<K, Q, F>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
        F: Future,
    {
        let acquire = self.acquire(user);
        async move {
            let _permit = acquire.await?;
            Ok(work.await)
        }
    }

    /// A handle for one user, without the look-up.
    ///
    /// # Examples
    /// See [`UserHandle`].
    pub fn user<Q>(&self, user: &Q) -> UserHandle<K>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        UserHandle::new(self.clone(), self.0.user(user))
    }

    /// A request with a session, a name or a timeout of its own.
    ///
    /// # Examples
    /// See [`Request`].
    pub fn request<Q>(&self, user: &Q) -> Request<K>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        Request::new(&self.0, user)
    }

    #[cfg(all(test, admit_loom))]
    pub(crate) fn core(&self) -> &Arc<Core<K>> {
        &self.0
    }

    #[inline]
    fn take_plain<Q>(&self, user: &Q) -> Option<Permit<K>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let slot = self.0.take_plain(user)?;
        // SAFETY: `take_plain` hands over a slot of both levels.
        Some(unsafe { Permit::new(slot, Duration::ZERO, None) })
    }

    /// Counts, users, totals and the config at this moment. Requests of known users go on meanwhile.
    ///
    /// # Examples
    /// See [`Stats`].
    pub fn stats(&self) -> Stats<K> {
        Stats::of(&self.0)
    }

    /// The config in force.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// assert_eq!(limiter.config().max_concurrent_global, 100);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn config(&self) -> Arc<LimitConfig<K>> {
        self.0.shared.config.get()
    }

    /// Puts another config in force while requests go on. Limits, bounds and policy act at once: growing a limit admits
    /// waiters before this returns; shrinking one revokes nothing. Who waits keeps his place and his deadline. Reloads
    /// that race take effect one after the other.
    ///
    /// # Errors
    /// If the config is out of range; nothing is changed then, and every fault is named.
    ///
    /// # Deadlocks
    /// A rule ([`UserRule`](crate::UserRule)) is asked during a reload and must not reload, close or reset the same
    /// limiter.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// limiter.reload(admit::LimitConfig { max_concurrent_global: 200, ..Default::default() })?;
    /// assert_eq!(limiter.config().max_concurrent_global, 200);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn reload(&self, config: LimitConfig<K>) -> Result<(), ConfigError> {
        config.validate()?;
        self.0.reload(config, None);
        Ok(())
    }

    /// Reads the config, lets `change` change a copy, and puts that in force. If another reload came between, `change`
    /// is asked again with what that one left, so no change is lost.
    ///
    /// # Errors
    /// As [`reload`](Self::reload).
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// limiter.update(|config| config.max_concurrent_global = 50)?;
    /// assert_eq!(limiter.config().max_concurrent_global, 50);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn update(&self, mut change: impl FnMut(&mut LimitConfig<K>)) -> Result<(), ConfigError> {
        loop {
            let current = self.config();
            let mut config = (*current).clone();
            change(&mut config);
            config.validate()?;
            if self.0.reload(config, Some(&current)) {
                return Ok(());
            }
        }
    }

    /// Forgets every user who holds and waits for nothing, now; returns how many.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// limiter.try_acquire("ada")?.release();
    /// assert_eq!(limiter.cleanup(), 1);
    /// assert_eq!(limiter.stats().total_users, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cleanup(&self) -> usize {
        self.0.cleanup()
    }

    /// Starts afresh, for tests: forgets every user, ends every waiter with [`Reset`](crate::Reason::Reset), and makes
    /// outstanding permits inert, so that dropping them later changes nothing. Config, totals and peaks stay, and a
    /// closed limiter stays closed.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let old = limiter.try_acquire("ada")?;
    /// limiter.reset();
    /// assert_eq!(limiter.stats().global_concurrent, 0);
    /// drop(old);
    /// assert_eq!(limiter.stats().global_concurrent, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn reset(&self) {
        self.0.reset();
    }

    /// Refuses newcomers and ends waiters with [`Closed`](crate::Reason::Closed) from now on; permits finish. Cannot
    /// be undone.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.try_acquire("ada")?;
    /// limiter.close();
    /// assert_eq!(limiter.try_acquire("bob").unwrap_err().status(), 503);
    /// drop(permit);
    /// assert!(limiter.drained_blocking(Duration::from_secs(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn close(&self) {
        self.0.close();
    }

    /// Whether [`close`](Self::close) has been called.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// assert!(!limiter.is_closed());
    /// limiter.close();
    /// assert!(limiter.is_closed());
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn is_closed(&self) -> bool {
        self.0.shared.is_closed()
    }

    /// Waits until the limiter is closed and the last permit has been given back.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// limiter.close();
    /// limiter.drained().await;
    /// # Ok(())
    /// # }
    /// ```
    pub fn drained(&self) -> Drained<K> {
        Drained {
            number: self.0.shared.number(),
            core: self.0.clone(),
        }
    }

    /// As [`drained`](Self::drained), on this thread and for `timeout` at most; says whether it is drained. The time is
    /// real time, also on a pretended clock.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.try_acquire("ada")?;
    /// limiter.close();
    /// assert!(!limiter.drained_blocking(Duration::from_millis(1)));
    /// drop(permit);
    /// assert!(limiter.drained_blocking(Duration::from_secs(1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn drained_blocking(&self, timeout: Duration) -> bool {
        let start = Instant::now();
        let mut drained = self.drained();
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        while Pin::new(&mut drained).poll(&mut context).is_pending() {
            let Some(left) = timeout
                .checked_sub(start.elapsed())
                .filter(|left| !left.is_zero())
            else {
                return false;
            };
            thread::park_timeout(left);
        }
        true
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

impl<K: UserKey> Clone for Limiter<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K: UserKey> fmt::Debug for Limiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gate = self.0.gate();
        let word = gate.word.load();
        let places = gate.places().fill();
        f.debug_struct("Limiter")
            .field("concurrent", &word.held())
            .field("queued", &places.queued())
            .field("users", &self.0.known())
            .field("is_closed", &self.is_closed())
            .finish_non_exhaustive()
    }
}

/// The future of [`Limiter::drained`].
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
/// let drained: admit::Drained = limiter.drained();
/// let closer = limiter.clone();
/// let task = tokio::spawn(drained);
/// closer.close();
/// task.await?;
/// # Ok(())
/// # }
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Drained<K: UserKey = String> {
    core: Arc<Core<K>>,
    number: u64,
}

impl<K: UserKey> Future for Drained<K> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.core.is_drained() {
            return Poll::Ready(());
        }
        self.core
            .shared
            .await_drain(self.number, context.waker().clone());
        if self.core.is_drained() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl<K: UserKey> Drop for Drained<K> {
    fn drop(&mut self) {
        self.core.shared.leave_drain(self.number);
    }
}

impl<K: UserKey> fmt::Debug for Drained<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drained").finish_non_exhaustive()
    }
}
