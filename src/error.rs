//! A refusal: why, what to tell the client, and when to come back.
//!
//! Refusing is an answer and happens most when there is least time for it, so the error is a few
//! words of plain data; text is made only when somebody asks for it.

mod body;
mod packed;
mod reason;

use std::error::Error;
use std::fmt;
use std::time::Duration;

pub use body::{OverloadBody, create_429_response};
use packed::Packed;
pub use reason::{Level, Reason};

/// A request was not admitted, or lost its place in the queue.
///
/// Whoever gets this error holds nothing: no slot and no place. It is small, costs no allocation
/// to make, pass on or drop, and carries all that an HTTP answer needs.
///
/// # Examples
///
/// ```
/// use admit::{OverloadError, Reason};
/// use std::time::Duration;
///
/// fn answer(refusal: &OverloadError) -> (u16, [(&'static str, String); 1], String) {
///     let retry_after = refusal.retry_after_secs().to_string();
///     (refusal.status(), [("retry-after", retry_after)], refusal.body())
/// }
///
/// let refusal = OverloadError::new(
///     Reason::UserQueueFull { count: 10, limit: 10 },
///     Duration::from_secs(5),
/// );
/// let (status, headers, body) = answer(&refusal);
/// assert_eq!(status, 429);
/// assert_eq!(headers, [("retry-after", "5".to_string())]);
/// assert!(body.contains("User queue full (10/10)."));
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OverloadError {
    reason: Packed,
    retry_after: Duration,
}

impl OverloadError {
    /// A refusal for `reason`, asking the client to wait for `retry_after`.
    ///
    /// The limiter makes these itself; this is for tests of the code that answers them.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{OverloadError, Reason};
    /// use std::time::Duration;
    ///
    /// let refusal = OverloadError::new(Reason::Closed, Duration::from_secs(1));
    /// assert_eq!(refusal.status(), 503);
    /// ```
    #[must_use]
    pub const fn new(reason: Reason, retry_after: Duration) -> Self {
        Self {
            reason: Packed::of(reason),
            retry_after,
        }
    }

    /// Why the request was refused, for code to match on.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{OverloadError, Reason};
    /// use std::time::Duration;
    ///
    /// let refusal = OverloadError::new(
    ///     Reason::UserLimit { count: 3, limit: 3 },
    ///     Duration::from_secs(5),
    /// );
    /// assert!(matches!(refusal.reason(), Reason::UserLimit { limit: 3, .. }));
    /// ```
    #[must_use]
    pub const fn reason(&self) -> Reason {
        self.reason.reason()
    }

    /// How long the client is asked to stay away, exactly as configured.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{OverloadError, Reason};
    /// use std::time::Duration;
    ///
    /// let refusal = OverloadError::new(Reason::Closed, Duration::from_millis(1_500));
    /// assert_eq!(refusal.retry_after(), Duration::from_millis(1_500));
    /// ```
    #[must_use]
    pub const fn retry_after(&self) -> Duration {
        self.retry_after
    }

    /// The same in whole seconds, for a `Retry-After` header: rounded up, and at least 1, because
    /// 0 would invite the client back at once.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{OverloadError, Reason};
    /// use std::time::Duration;
    ///
    /// let after = |wait| OverloadError::new(Reason::Closed, wait).retry_after_secs();
    /// assert_eq!(after(Duration::from_millis(1_500)), 2);
    /// assert_eq!(after(Duration::ZERO), 1);
    /// ```
    #[must_use]
    pub fn retry_after_secs(&self) -> u64 {
        let begun = u64::from(self.retry_after.subsec_nanos() > 0);
        self.retry_after.as_secs().saturating_add(begun).max(1)
    }

    /// The HTTP status that fits: 429, 503 or 408. See [`Reason::status`].
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{OverloadError, Reason};
    /// use std::time::Duration;
    ///
    /// let timeout = Duration::from_secs(30);
    /// let refusal = OverloadError::new(Reason::QueueTimeout { timeout }, Duration::from_secs(5));
    /// assert_eq!(refusal.status(), 408);
    /// ```
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.reason().status()
    }

    /// The refusal in words fit for the client; the same text as `to_string()`. Allocates.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{OverloadError, Reason};
    /// use std::time::Duration;
    ///
    /// let refusal = OverloadError::new(
    ///     Reason::UserQueueFull { count: 10, limit: 10 },
    ///     Duration::from_secs(5),
    /// );
    /// assert_eq!(refusal.message(), "User queue full (10/10). Too many concurrent requests.");
    /// ```
    #[must_use]
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The refusal as a JSON object with `status`, `error`, `message` and `retry_after`.
    ///
    /// It is the text of [`create_429_response`]. Allocates.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{OverloadError, Reason};
    /// use std::time::Duration;
    ///
    /// let refusal = OverloadError::new(Reason::Closed, Duration::from_secs(5));
    /// assert!(refusal.body().starts_with(r#"{"status":503,"error":"service_unavailable","#));
    /// ```
    #[must_use]
    pub fn body(&self) -> String {
        create_429_response(self).to_string()
    }
}

impl fmt::Display for OverloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.reason().fmt(f)
    }
}

impl fmt::Debug for OverloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverloadError")
            .field("reason", &self.reason())
            .field("retry_after", &self.retry_after)
            .finish()
    }
}

impl Error for OverloadError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry_after(wait: Duration) -> u64 {
        OverloadError::new(Reason::Closed, wait).retry_after_secs()
    }

    #[test]
    fn a_refusal_is_small() {
        assert!(size_of::<OverloadError>() <= 32);
        assert!(size_of::<Result<(), OverloadError>>() <= 32);
    }

    #[test]
    fn a_refusal_travels_between_threads() {
        fn travels<T: Error + Send + Sync + Unpin + Clone + 'static>() {}
        travels::<OverloadError>();
    }

    #[test]
    fn retry_after_rounds_up_and_is_never_zero() {
        assert_eq!(retry_after(Duration::ZERO), 1);
        assert_eq!(retry_after(Duration::from_nanos(1)), 1);
        assert_eq!(retry_after(Duration::from_millis(999)), 1);
        assert_eq!(retry_after(Duration::from_secs(1)), 1);
        assert_eq!(
            retry_after(Duration::from_secs(1) + Duration::from_nanos(1)),
            2
        );
        assert_eq!(retry_after(Duration::from_secs(5)), 5);
        assert_eq!(retry_after(Duration::MAX), u64::MAX);
    }
}
