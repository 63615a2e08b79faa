//! The right to run.

use std::fmt;
use std::ptr::NonNull;
use std::time::Duration;

use crate::UserKey;
use crate::clock::nanos;
use crate::core::dispatch;
use crate::core::user::User;

/// Owns a slot. Dropping it gives the slot back, at both levels, and hands it to whoever is next: on return, on `?`, on
/// a panic, when a task is aborted, when a thread ends.
///
/// A permit is `Send + Sync + 'static` and touches no shared reference count. A permit that is leaked
/// (`std::mem::forget`) keeps its slot for ever: the limits stay exact, with one slot less.
///
/// After [`Limiter::reset`](crate::Limiter::reset) the permits of before are inert: dropping them changes nothing.
///
/// # Examples
/// ```
/// let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
/// let permit = limiter.try_acquire("ada")?;
/// assert_eq!(permit.user(), "ada");
/// assert_eq!(limiter.stats().global_concurrent, 1);
/// drop(permit);
/// assert_eq!(limiter.stats().global_concurrent, 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a permit that is dropped at once gives its slot back at once"]
pub struct Permit<K: UserKey = String> {
    user: NonNull<User<K>>,
    /// Nanoseconds: half the size of a `Duration`, in what is moved about most.
    queued: u64,
    tags: Tags,
}

// SAFETY: a permit owns a slot of an entry whose parts are `Sync`, and gives it back by atomic steps that may happen
// on any thread; the slot keeps the entry alive (U1, U2).
unsafe impl<K: UserKey> Send for Permit<K> {}
// SAFETY: a shared permit only reads the entry's key, which is `Sync`.
unsafe impl<K: UserKey> Sync for Permit<K> {}

/// Names that a request brings along; an allocation only if there are any.
pub(crate) type Tags = Option<Box<TagNames>>;

#[derive(Clone, Debug, Default)]
pub(crate) struct TagNames {
    pub(crate) session_id: Option<String>,
    pub(crate) request_id: Option<String>,
}

pub(crate) fn session_id(tags: &Tags) -> Option<&str> {
    tags.as_deref()?.session_id.as_deref()
}

pub(crate) fn request_id(tags: &Tags) -> Option<&str> {
    tags.as_deref()?.request_id.as_deref()
}

impl<K: UserKey> Permit<K> {
    /// # Safety
    /// The caller owns a slot of `user`, taken at both levels, and gives it to the permit.
    #[inline]
    pub(crate) unsafe fn new(user: NonNull<User<K>>, queue_time: Duration, tags: Tags) -> Self {
        Self {
            user,
            queued: nanos(queue_time),
            tags,
        }
    }

    /// The user the slot is charged to.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.try_acquire("ada")?;
    /// assert_eq!(permit.user(), "ada");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn user(&self) -> &K {
        // SAFETY: the slot keeps the entry alive as long as the permit (U1, U2).
        unsafe { &self.user.as_ref().key }
    }

    /// How long the request waited for its slot: zero if there was one at once, else the time from its arrival to the
    /// grant.
    ///
    /// # Examples
    /// ```
    /// # use std::time::Duration;
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.try_acquire("ada")?;
    /// assert_eq!(permit.queue_time(), Duration::ZERO);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn queue_time(&self) -> Duration {
        Duration::from_nanos(self.queued)
    }

    /// The session the request named, if it named one.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.request("ada").session_id("s-1").try_acquire()?;
    /// assert_eq!(permit.session_id(), Some("s-1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn session_id(&self) -> Option<&str> {
        session_id(&self.tags)
    }

    /// The request's own name, if it has one.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.request("ada").request_id("r-42").try_acquire()?;
    /// assert_eq!(permit.request_id(), Some("r-42"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_id(&self) -> Option<&str> {
        request_id(&self.tags)
    }

    /// Gives the slot back; the same as dropping the permit, said aloud.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let permit = limiter.try_acquire("ada")?;
    /// permit.release();
    /// assert_eq!(limiter.stats().global_concurrent, 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn release(self) {}
}

impl<K: UserKey> Drop for Permit<K> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: the permit owns the slot and ends here.
        unsafe { dispatch::release(self.user) };
    }
}

impl<K: UserKey + fmt::Debug> fmt::Debug for Permit<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("user", self.user())
            .field("queue_time", &self.queue_time())
            .field("session_id", &self.session_id())
            .field("request_id", &self.request_id())
            .finish()
    }
}
