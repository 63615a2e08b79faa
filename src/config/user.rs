//! Limits of single users: by name, or by a rule that is asked about a name.

use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::sync::Arc;

use super::MAX_COUNT;

/// The limits of one user, in place of the common ones.
///
/// # Examples
///
/// ```
/// use admit::{LimitConfig, UserLimits};
///
/// let config = LimitConfig::builder()
///     .user("batch", UserLimits::new(1, 100))
///     .user("abuser", UserLimits::new(0, 0)) // refused at once, always
///     .build()?;
/// assert_eq!(config.users["abuser"].max_concurrent, 0);
/// # Ok::<(), admit::ConfigError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UserLimits {
    /// Requests of the user that may run at once: 0 to [`MAX_COUNT`].
    ///
    /// 0 blocks the user: every request is refused at once, under every policy.
    pub max_concurrent: u32,
    /// Requests of the user that may wait at once: 0 to [`MAX_COUNT`].
    pub max_queue_size: u32,
}

impl UserLimits {
    /// Limits of `max_concurrent` slots and `max_queue_size` places.
    ///
    /// Nothing is checked here; [`LimitConfig::validate`](crate::LimitConfig::validate) does.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::UserLimits;
    ///
    /// const PAID: UserLimits = UserLimits::new(20, 100);
    /// assert_eq!(PAID.max_queue_size, 100);
    /// ```
    #[must_use]
    pub const fn new(max_concurrent: u32, max_queue_size: u32) -> Self {
        Self {
            max_concurrent,
            max_queue_size,
        }
    }
}

/// A rule that gives some users limits of their own, by looking at who they are.
///
/// The limiter asks it when a user is first seen and again after a reload, not on every request;
/// the answer must depend on nothing but the user. `None` means the common limits. Answers cannot
/// be checked beforehand, so a number above [`MAX_COUNT`] counts as [`MAX_COUNT`].
///
/// # Examples
///
/// ```
/// use admit::{LimitConfig, UserLimits, UserRule};
///
/// let trial = UserRule::new(|user: &String| {
///     user.starts_with("trial-").then(|| UserLimits::new(1, 1))
/// });
/// let config = LimitConfig { users_by: Some(trial), ..Default::default() };
/// assert_eq!(config.limits_of(&"trial-7".to_string()), UserLimits::new(1, 1));
/// ```
pub struct UserRule<K>(Arc<Rule<K>>);

type Rule<K> = dyn Fn(&K) -> Option<UserLimits> + Send + Sync;

impl<K> UserRule<K> {
    /// Makes a rule of a closure.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{UserLimits, UserRule};
    ///
    /// let odd = UserRule::new(|user: &u64| (user % 2 == 1).then(|| UserLimits::new(1, 0)));
    /// assert_eq!(odd.limits_of(&2), None);
    /// ```
    #[must_use]
    pub fn new<F>(rule: F) -> Self
    where
        F: Fn(&K) -> Option<UserLimits> + Send + Sync + 'static,
    {
        Self(Arc::new(rule))
    }

    /// What the rule says about `user`, numbers above [`MAX_COUNT`] brought down to it.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{MAX_COUNT, UserLimits, UserRule};
    ///
    /// let generous = UserRule::new(|_: &u64| Some(UserLimits::new(u32::MAX, 5)));
    /// assert_eq!(generous.limits_of(&7), Some(UserLimits::new(MAX_COUNT, 5)));
    /// ```
    #[must_use]
    pub fn limits_of(&self, user: &K) -> Option<UserLimits> {
        (self.0)(user).map(|own| UserLimits {
            max_concurrent: own.max_concurrent.min(MAX_COUNT),
            max_queue_size: own.max_queue_size.min(MAX_COUNT),
        })
    }
}

impl<K> Clone for UserRule<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> fmt::Debug for UserRule<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserRule(..)")
    }
}

// A rule is only ever called through a shared reference and keeps no state of ours, so a panic in
// it leaves nothing half done. Without these, a config and all that holds one could not cross
// `catch_unwind`.
impl<K> UnwindSafe for UserRule<K> {}
impl<K> RefUnwindSafe for UserRule<K> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_needs_nothing_of_its_key() {
        struct Opaque;
        let rule = UserRule::new(|_: &Opaque| None);
        assert_eq!(rule.clone().limits_of(&Opaque), None);
        assert_eq!(format!("{rule:?}"), "UserRule(..)");
    }

    #[test]
    fn what_a_rule_says_above_the_maximum_counts_as_the_maximum() {
        let rule = UserRule::new(|user: &u32| Some(UserLimits::new(*user, *user)));
        for (said, counts) in [
            (0, 0),
            (5, 5),
            (MAX_COUNT, MAX_COUNT),
            (u32::MAX, MAX_COUNT),
        ] {
            assert_eq!(rule.limits_of(&said), Some(UserLimits::new(counts, counts)));
        }
    }
}
