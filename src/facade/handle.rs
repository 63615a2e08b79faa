//! A user at hand.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::acquire::Acquire;
use super::limiter::Limiter;
use super::permit::Permit;
use super::request::Request;
use super::ticket::{Ticket, ask};
use crate::UserKey;
use crate::core::arrival::{Ask, refuse_at_once, take_at_once};
use crate::core::user::User;
use crate::error::OverloadError;

/// A user without the look-up: the methods of [`Limiter`](crate::Limiter), without the key.
///
/// A handle is worth keeping where one user asks often, as for a connection. It does not keep its user from being
/// forgotten when idle, nor does a reset end it: a handle that has become stale looks its user up by name again, at
/// the price of doing so.
///
/// # Examples
/// ```
/// let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
/// let ada = limiter.user("ada");
/// let permit = ada.try_acquire()?;
/// assert_eq!(permit.user(), "ada");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct UserHandle<K: UserKey = String> {
    limiter: Limiter<K>,
    user: Arc<User<K>>,
}

impl<K: UserKey> UserHandle<K> {
    pub(crate) fn new(limiter: Limiter<K>, user: Arc<User<K>>) -> Self {
        Self { limiter, user }
    }

    /// The user.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// assert_eq!(limiter.user("ada").key(), "ada");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn key(&self) -> &K {
        &self.user.key
    }

    /// The limiter it belongs to.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ada = limiter.user("ada");
    /// assert!(!ada.limiter().is_closed());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limiter(&self) -> &Limiter<K> {
        &self.limiter
    }

    #[inline]
    fn take_plain(&self) -> Option<Permit<K>> {
        let slot = take_at_once(&self.user)?;
        // SAFETY: `take_at_once` hands over a slot of both levels.
        Some(unsafe { Permit::new(slot, Duration::ZERO, None) })
    }

    /// A slot now, or nothing. Never queues.
    ///
    /// # Errors
    /// Why there is no slot now.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ada = limiter.user("ada");
    /// let permit = ada.try_acquire()?;
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<K>, OverloadError> {
        match self.take_plain() {
            Some(permit) => Ok(permit),
            None => self.try_at_length(),
        }
    }

    #[cold]
    fn try_at_length(&self) -> Result<Permit<K>, OverloadError> {
        match refuse_at_once(&self.user) {
            Some(refused) => Err(refused),
            None => ask(&self.user, Ask::Now, None)?.wait(),
        }
    }

    /// Waits for a slot on an executor; see [`Limiter::acquire`](crate::Limiter::acquire).
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ada = limiter.user("ada");
    /// let permit = ada.acquire().await?;
    /// # drop(permit);
    /// # Ok(())
    /// # }
    /// ```
    #[inline]
    pub fn acquire(&self) -> Acquire<K> {
        Acquire::new(self.user.clone(), None, None)
    }

    /// Waits for a slot on this thread.
    ///
    /// # Errors
    /// Why there is no slot.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ada = limiter.user("ada");
    /// let permit = ada.acquire_blocking()?;
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[inline]
    pub fn acquire_blocking(&self) -> Result<Permit<K>, OverloadError> {
        match self.take_plain() {
            Some(permit) => Ok(permit),
            None => self.wait(),
        }
    }

    #[cold]
    fn wait(&self) -> Result<Permit<K>, OverloadError> {
        ask(&self.user, Ask::Queue(None), None)?.wait()
    }

    /// A slot or a place; never waits.
    ///
    /// # Errors
    /// Why there is neither.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ada = limiter.user("ada");
    /// let ticket = ada.check_limits()?;
    /// assert!(ticket.is_admitted());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_limits(&self) -> Result<Ticket<K>, OverloadError> {
        match self.take_plain() {
            Some(permit) => Ok(Ticket::admitted(permit)),
            None => ask(&self.user, Ask::Queue(None), None),
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
    /// let ada = limiter.user("ada");
    /// assert_eq!(ada.limit(|| 6 * 7)?, 42);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn limit<T>(&self, work: impl FnOnce() -> T) -> Result<T, OverloadError> {
        let _permit = self.acquire_blocking()?;
        Ok(work())
    }

    /// Waits on the executor, then runs `work` with a slot held.
    ///
    /// # Errors
    /// Why there is no slot; `work` is not polled then.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ada = limiter.user("ada");
    /// assert_eq!(ada.limit_async(async { 6 * 7 }).await?, 42);
    /// # Ok(())
    /// # }
    /// ```
    pub fn limit_async<F: Future>(
        &self,
        work: F,
    ) -> impl Future<Output = Result<F::Output, OverloadError>> + use<K, F> {
        let acquire = self.acquire();
        async move {
            let _permit = acquire.await?;
            Ok(work.await)
        }
    }

    /// A request with names or a timeout of its own.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ada = limiter.user("ada");
    /// let permit = ada.request().request_id("r-42").try_acquire()?;
    /// assert_eq!(permit.request_id(), Some("r-42"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request(&self) -> Request<K> {
        Request::of(self.user.clone())
    }
}

impl<K: UserKey + fmt::Debug> fmt::Debug for UserHandle<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserHandle")
            .field("user", &self.user.key)
            .finish_non_exhaustive()
    }
}
