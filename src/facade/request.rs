//! A request with names and a timeout of its own.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use super::acquire::Acquire;
use super::permit::{Permit, TagNames, Tags};
use super::ticket::{Ticket, ask};
use crate::UserKey;
use crate::core::arrival::Ask;
use crate::core::user::User;
use crate::core::users::Core;
use crate::error::OverloadError;

/// A request in the making: for a user, with a session, a name or a timeout of its own.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
/// let permit = limiter
///     .request("ada")
///     .session_id("s-1")
///     .request_id("r-42")
///     .timeout(Duration::from_secs(2))
///     .acquire_blocking()?;
/// assert_eq!(permit.session_id(), Some("s-1"));
/// assert_eq!(permit.request_id(), Some("r-42"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a request does nothing until it asks"]
pub struct Request<K: UserKey = String> {
    user: Arc<User<K>>,
    timeout: Option<Duration>,
    tags: Tags,
}

impl<K: UserKey> Request<K> {
    pub(crate) fn new<Q>(core: &Arc<Core<K>>, user: &Q) -> Self
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        Self::of(core.user(user))
    }

    pub(crate) fn of(user: Arc<User<K>>) -> Self {
        Self {
            user,
            timeout: None,
            tags: None,
        }
    }

    fn names(&mut self) -> &mut TagNames {
        self.tags.get_or_insert_default()
    }

    /// Names the session; the permit and the ticket carry it.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.request("ada").session_id("s-1").try_acquire()?;
    /// assert_eq!(permit.session_id(), Some("s-1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn session_id(mut self, session_id: impl Into<String>) -> Self {
        self.names().session_id = Some(session_id.into());
        self
    }

    /// Names the request; the permit and the ticket carry it.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.request("ada").request_id("r-42").try_acquire()?;
    /// assert_eq!(permit.request_id(), Some("r-42"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_id(mut self, request_id: impl Into<String>) -> Self {
        self.names().request_id = Some(request_id.into());
        self
    }

    /// How long this request may wait, instead of the configured time. Zero: not at all.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use admit::{LimitConfig, Limiter, Reason};
    ///
    /// let config = LimitConfig::builder().max_concurrent_per_user(1).build()?;
    /// let limiter = Limiter::new(config)?;
    /// let running = limiter.try_acquire("ada")?;
    /// let hurried = limiter.request("ada").timeout(Duration::from_millis(5));
    /// let refusal = hurried.acquire_blocking().unwrap_err();
    /// assert!(matches!(refusal.reason(), Reason::QueueTimeout { .. }));
    /// # drop(running);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// As [`Limiter::acquire`](crate::Limiter::acquire).
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.request("ada").acquire().await?;
    /// # drop(permit);
    /// # Ok(())
    /// # }
    /// ```
    pub fn acquire(self) -> Acquire<K> {
        Acquire::new(self.user, self.timeout, self.tags)
    }

    /// As [`Limiter::acquire_blocking`](crate::Limiter::acquire_blocking).
    ///
    /// # Errors
    /// Why there is no slot.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.request("ada").acquire_blocking()?;
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn acquire_blocking(self) -> Result<Permit<K>, OverloadError> {
        self.check_limits()?.wait()
    }

    /// As [`Limiter::try_acquire`](crate::Limiter::try_acquire).
    ///
    /// # Errors
    /// Why there is no slot now.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.request("ada").try_acquire()?;
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn try_acquire(self) -> Result<Permit<K>, OverloadError> {
        // A request that asks for a slot now never gets a place, so waiting ends at once.
        ask(&self.user, Ask::Now, self.tags)?.wait()
    }

    /// As [`Limiter::check_limits`](crate::Limiter::check_limits).
    ///
    /// # Errors
    /// Why there is neither a slot nor a place.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ticket = limiter.request("ada").session_id("s-1").check_limits()?;
    /// assert_eq!(ticket.session_id(), Some("s-1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn check_limits(self) -> Result<Ticket<K>, OverloadError> {
        ask(&self.user, Ask::Queue(self.timeout), self.tags)
    }
}

impl<K: UserKey + fmt::Debug> fmt::Debug for Request<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("user", &self.user.key)
            .field("timeout", &self.timeout)
            .field("tags", &self.tags)
            .finish()
    }
}
