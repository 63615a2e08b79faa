//! A config made in code, checked at the end.

use std::hash::Hash;
use std::time::Duration;

use super::{ConfigError, LimitConfig, UserLimits, UserRule};
use crate::policy::OverloadPolicy;

/// Collects settings and checks them together.
///
/// From [`LimitConfig::builder`] or [`LimitConfig::keyed`]. What is not set keeps its default; what
/// is set twice has the last value.
///
/// # Examples
///
/// ```
/// use admit::{LimitConfig, OverloadPolicy, UserLimits};
/// use std::time::Duration;
///
/// let config = LimitConfig::builder()
///     .max_concurrent_per_user(5)
///     .max_queue_size_per_user(20)
///     .max_concurrent_global(200)
///     .max_queue_size_global(1_000)
///     .retry_after(Duration::from_secs(10))
///     .queue_timeout(Duration::from_secs(30))
///     .overload_policy(OverloadPolicy::DropOldest)
///     .user("batch", UserLimits::new(1, 100))
///     .build()?;
/// assert_eq!(config.max_concurrent_global, 200);
/// # Ok::<(), admit::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build` is called"]
pub struct LimitConfigBuilder<K = String> {
    config: LimitConfig<K>,
}

impl<K> LimitConfigBuilder<K> {
    pub(super) fn new() -> Self {
        Self {
            config: LimitConfig::default(),
        }
    }

    /// Whether limits are enforced at all. Default: true.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = admit::LimitConfig::builder().enabled(false).build()?;
    /// assert!(!config.enabled);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.config.enabled = enabled;
        self
    }

    /// Requests of one user that may run at once, 1 to 1,048,575. Default: 3.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = admit::LimitConfig::builder().max_concurrent_per_user(5).build()?;
    /// assert_eq!(config.max_concurrent_per_user, 5);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn max_concurrent_per_user(mut self, slots: u32) -> Self {
        self.config.max_concurrent_per_user = slots;
        self
    }

    /// Requests of one user that may wait at once, 0 to 1,048,575. Default: 10.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = admit::LimitConfig::builder().max_queue_size_per_user(0).build()?;
    /// assert_eq!(config.max_queue_size_per_user, 0);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn max_queue_size_per_user(mut self, places: u32) -> Self {
        self.config.max_queue_size_per_user = places;
        self
    }

    /// Requests of all users that may run at once, 1 to 1,048,575. Default: 100.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = admit::LimitConfig::builder().max_concurrent_global(200).build()?;
    /// assert_eq!(config.max_concurrent_global, 200);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn max_concurrent_global(mut self, slots: u32) -> Self {
        self.config.max_concurrent_global = slots;
        self
    }

    /// Requests of all users that may wait at once, 0 to 1,048,575. Default: 500.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = admit::LimitConfig::builder().max_queue_size_global(1_000).build()?;
    /// assert_eq!(config.max_queue_size_global, 1_000);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn max_queue_size_global(mut self, places: u32) -> Self {
        self.config.max_queue_size_global = places;
        self
    }

    /// How long a refused client is asked to stay away, up to a year. Default: 5 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let config = admit::LimitConfig::builder().retry_after(Duration::from_secs(10)).build()?;
    /// assert_eq!(config.retry_after, Duration::from_secs(10));
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.config.retry_after = wait;
        self
    }

    /// How long a request may wait for its slot, above 0 and up to a year. Default: 30 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let config = admit::LimitConfig::builder().queue_timeout(Duration::from_millis(250)).build()?;
    /// assert_eq!(config.queue_timeout, Duration::from_millis(250));
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn queue_timeout(mut self, wait: Duration) -> Self {
        self.config.queue_timeout = wait;
        self
    }

    /// What happens to a request that finds the queue full. Default: it is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{LimitConfig, OverloadPolicy};
    ///
    /// let config = LimitConfig::builder().overload_policy(OverloadPolicy::Block).build()?;
    /// assert_eq!(config.overload_policy, OverloadPolicy::Block);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn overload_policy(mut self, policy: OverloadPolicy) -> Self {
        self.config.overload_policy = policy;
        self
    }

    /// How long a user who runs and waits for nothing is remembered, above 0 and up to a year.
    /// Default: 60 s.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let config = admit::LimitConfig::builder().idle_timeout(Duration::from_secs(5)).build()?;
    /// assert_eq!(config.idle_timeout, Duration::from_secs(5));
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn idle_timeout(mut self, wait: Duration) -> Self {
        self.config.idle_timeout = wait;
        self
    }

    /// How many such users are remembered, 0 to 100,000,000. Default: 65,536.
    ///
    /// # Examples
    ///
    /// ```
    /// let config = admit::LimitConfig::builder().max_idle_users(1_000).build()?;
    /// assert_eq!(config.max_idle_users, 1_000);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn max_idle_users(mut self, users: u32) -> Self {
        self.config.max_idle_users = users;
        self
    }

    /// Gives one user limits of its own. 0 slots block the user.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{LimitConfig, UserLimits};
    ///
    /// let config = LimitConfig::builder().user("batch", UserLimits::new(1, 100)).build()?;
    /// assert_eq!(config.users["batch"].max_queue_size, 100);
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn user(mut self, user: impl Into<K>, limits: UserLimits) -> Self
    where
        K: Hash + Eq,
    {
        self.config.users.insert(user.into(), limits);
        self
    }

    /// Gives limits of their own to those users for whom `rule` has an answer, unless they are
    /// named by [`user`](Self::user). There is one rule; a second call replaces the first.
    ///
    /// See [`UserRule`] for when it is asked.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{LimitConfig, UserLimits};
    ///
    /// let config = LimitConfig::builder()
    ///     .users_by(|user| user.starts_with("free-").then(|| UserLimits::new(1, 5)))
    ///     .build()?;
    /// assert_eq!(config.limits_of(&"free-9".to_string()), UserLimits::new(1, 5));
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn users_by<F>(mut self, rule: F) -> Self
    where
        F: Fn(&K) -> Option<UserLimits> + Send + Sync + 'static,
    {
        self.config.users_by = Some(UserRule::new(rule));
        self
    }

    /// Checks the settings and hands them over.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] with every setting that is out of range; see [`LimitConfig::validate`].
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::LimitConfig;
    ///
    /// let error = LimitConfig::builder()
    ///     .max_concurrent_per_user(0)
    ///     .max_concurrent_global(2_000_000)
    ///     .build()
    ///     .unwrap_err();
    /// assert_eq!(error.faults().len(), 2);
    /// ```
    pub fn build(self) -> Result<LimitConfig<K>, ConfigError>
    where
        K: 'static,
    {
        self.config.validate()?;
        Ok(self.config)
    }
}
