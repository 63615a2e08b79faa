//! The limits: what they are, what they may be, and where they come from.
//!
//! A config is plain data. Anybody can write one down by hand, so whatever takes one validates it
//! first; nothing is ever adjusted to fit.
//!
//! | file | what is in it |
//! | --- | --- |
//! | `mod.rs` | [`LimitConfig`] and its validation |
//! | `user.rs` | limits of single users, by name and by rule |
//! | `range.rs` | what a count and a wait may be |
//! | `builder.rs` | from code |
//! | `parse.rs` | from the environment: the variables |
//! | `value.rs` | from the environment: single values |
//! | `fault.rs` | what is said about a value that will not do |

mod builder;
mod fault;
mod parse;
mod range;
mod user;
mod value;

use std::any::Any;
use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use crate::policy::OverloadPolicy;

pub use builder::LimitConfigBuilder;
pub use fault::{ConfigError, ConfigFault};
pub use range::{MAX_COUNT, MAX_IDLE_USERS, MAX_WAIT};
pub use user::{UserLimits, UserRule};

use fault::entry_name;
use range::{CountRange, WaitRange};

/// Every setting of a limiter.
///
/// `K` is the type that names a user. The fields are public and have defaults, so a config can be
/// written as a struct; [`builder`](LimitConfig::builder), [`keyed`](LimitConfig::keyed),
/// [`from_env`](LimitConfig::from_env) and [`from_vars`](LimitConfig::from_vars) also check it.
///
/// A slot counts at two levels at once, the user's and the global one, and so does a place in the
/// queue; both have to have room. Nothing requires the global numbers to be the larger ones.
///
/// # Examples
///
/// ```
/// use admit::LimitConfig;
/// use std::time::Duration;
///
/// let config: LimitConfig = LimitConfig {
///     max_concurrent_global: 200,
///     queue_timeout: Duration::from_secs(2),
///     ..Default::default()
/// };
/// assert_eq!(config.max_concurrent_per_user, 3);
/// config.validate()?;
/// # Ok::<(), admit::ConfigError>(())
/// ```
#[derive(Clone, Debug)]
pub struct LimitConfig<K = String> {
    /// Whether limits are enforced at all. Default: true.
    ///
    /// If not, everybody is admitted, blocked users too, and still counted, so that enforcing
    /// again starts from true numbers.
    pub enabled: bool,
    /// Requests of one user that may run at once: 1 to [`MAX_COUNT`]. Default: 3.
    pub max_concurrent_per_user: u32,
    /// Requests of one user that may wait at once: 0 to [`MAX_COUNT`]. Default: 10.
    pub max_queue_size_per_user: u32,
    /// Requests of all users that may run at once: 1 to [`MAX_COUNT`]. Default: 100.
    pub max_concurrent_global: u32,
    /// Requests of all users that may wait at once: 0 to [`MAX_COUNT`]. Default: 500.
    pub max_queue_size_global: u32,
    /// How long a refused client is asked to stay away: up to [`MAX_WAIT`]. Default: 5 s.
    ///
    /// What the client is told is rounded up to whole seconds and is at least 1.
    pub retry_after: Duration,
    /// How long a request may wait for its slot, from its arrival: above 0, up to [`MAX_WAIT`].
    /// Default: 30 s.
    pub queue_timeout: Duration,
    /// What happens to a request that finds the queue full. Default: the request is refused.
    pub overload_policy: OverloadPolicy,
    /// How long a user who runs and waits for nothing is remembered: above 0, up to [`MAX_WAIT`].
    /// Default: 60 s.
    pub idle_timeout: Duration,
    /// How many such users are remembered, 0 to [`MAX_IDLE_USERS`]; above it they are forgotten
    /// sooner. Default: 65,536.
    pub max_idle_users: u32,
    /// Users with limits of their own, by name. Default: none.
    pub users: HashMap<K, UserLimits>,
    /// A rule that gives limits of their own to users who are not in `users`. Default: none.
    pub users_by: Option<UserRule<K>>,
}

impl<K> Default for LimitConfig<K> {
    fn default() -> Self {
        Self {
            enabled: true,
            max_concurrent_per_user: 3,
            max_queue_size_per_user: 10,
            max_concurrent_global: 100,
            max_queue_size_global: 500,
            retry_after: Duration::from_secs(5),
            queue_timeout: Duration::from_secs(30),
            overload_policy: OverloadPolicy::DropNewest,
            idle_timeout: Duration::from_secs(60),
            max_idle_users: 65_536,
            users: HashMap::new(),
            users_by: None,
        }
    }
}

impl LimitConfig {
    /// Starts a config for users named by a `String`, from the defaults.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{LimitConfig, UserLimits};
    ///
    /// let config = LimitConfig::builder()
    ///     .max_concurrent_per_user(5)
    ///     .user("batch", UserLimits::new(1, 100))
    ///     .build()?;
    /// assert_eq!(config.users["batch"], UserLimits::new(1, 100));
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn builder() -> LimitConfigBuilder {
        Self::keyed()
    }
}

impl<K> LimitConfig<K> {
    /// Starts a config for users named by any type, from the defaults.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{LimitConfig, UserLimits};
    ///
    /// let config = LimitConfig::<u64>::keyed()
    ///     .user(7u64, UserLimits::new(1, 0))
    ///     .build()?;
    /// assert_eq!(config.limits_of(&7), UserLimits::new(1, 0));
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn keyed() -> LimitConfigBuilder<K> {
        LimitConfigBuilder::new()
    }

    /// The limits that hold for `user`: those in [`users`](Self::users), else what the
    /// [rule](Self::users_by) says, else the common ones.
    ///
    /// [`enabled`](Self::enabled) is not looked at. A rule that panics panics here.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{LimitConfig, UserLimits};
    ///
    /// let config = LimitConfig::builder()
    ///     .user("free-but-loved", UserLimits::new(5, 5))
    ///     .users_by(|user| user.starts_with("free-").then(|| UserLimits::new(1, 2)))
    ///     .build()?;
    /// let limits_of = |user: &str| config.limits_of(&user.to_string());
    /// assert_eq!(limits_of("free-but-loved"), UserLimits::new(5, 5));
    /// assert_eq!(limits_of("free-123"), UserLimits::new(1, 2));
    /// assert_eq!(limits_of("somebody"), UserLimits::new(3, 10));
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    #[must_use]
    pub fn limits_of(&self, user: &K) -> UserLimits
    where
        K: Hash + Eq,
    {
        if let Some(own) = self.users.get(user) {
            return *own;
        }
        let ruled = self.users_by.as_ref().and_then(|rule| rule.limits_of(user));
        ruled.unwrap_or(UserLimits {
            max_concurrent: self.max_concurrent_per_user,
            max_queue_size: self.max_queue_size_per_user,
        })
    }

    /// Checks that every setting is in its range.
    ///
    /// Call it if you like to know early; whatever takes a config calls it too. A
    /// [rule](Self::users_by) can only be asked about a user, so what it will say is not checked.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] with a fault for each setting that is out of range, named like the field;
    /// for a user's own limits like `users["batch"].max_queue_size`, or `users[_].max_queue_size`
    /// if the key is neither a text nor an integer.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::LimitConfig;
    /// use std::time::Duration;
    ///
    /// let config: LimitConfig = LimitConfig {
    ///     max_concurrent_global: 0,
    ///     queue_timeout: Duration::ZERO,
    ///     ..Default::default()
    /// };
    /// let error = config.validate().unwrap_err();
    /// assert_eq!(error.faults().len(), 2);
    /// assert_eq!(
    ///     error.faults()[0].to_string(),
    ///     "max_concurrent_global = 0: must be a whole number from 1 to 1048575",
    /// );
    /// ```
    pub fn validate(&self) -> Result<(), ConfigError>
    where
        K: 'static,
    {
        let counts = [
            (
                "max_concurrent_per_user",
                self.max_concurrent_per_user,
                CountRange::SLOTS,
            ),
            (
                "max_queue_size_per_user",
                self.max_queue_size_per_user,
                CountRange::PLACES,
            ),
            (
                "max_concurrent_global",
                self.max_concurrent_global,
                CountRange::SLOTS,
            ),
            (
                "max_queue_size_global",
                self.max_queue_size_global,
                CountRange::PLACES,
            ),
            (
                "max_idle_users",
                self.max_idle_users,
                CountRange::IDLE_USERS,
            ),
        ];
        let waits = [
            ("retry_after", self.retry_after, WaitRange::FROM_ZERO),
            ("queue_timeout", self.queue_timeout, WaitRange::ABOVE_ZERO),
            ("idle_timeout", self.idle_timeout, WaitRange::ABOVE_ZERO),
        ];

        let mut faults = Vec::new();
        for (field, value, range) in counts {
            if !range.holds(value) {
                faults.push(ConfigFault::field(field, value, range));
            }
        }
        for (field, value, range) in waits {
            if !range.holds(value) {
                faults.push(ConfigFault::field(field, format_args!("{value:?}"), range));
            }
        }
        faults.extend(self.faults_of_users());
        ConfigError::unless_empty(faults)
    }

    /// Sorted, because the order of a hash map would be another one on every run.
    fn faults_of_users(&self) -> Vec<ConfigFault>
    where
        K: 'static,
    {
        let mut faults = Vec::new();
        for (user, own) in &self.users {
            let fields = [
                // 0 slots are allowed here: they block the user.
                ("max_concurrent", own.max_concurrent, CountRange::OWN_SLOTS),
                ("max_queue_size", own.max_queue_size, CountRange::PLACES),
            ];
            for (field, value, range) in fields {
                if !range.holds(value) {
                    let name = format!("{}.{field}", entry_name(user as &dyn Any));
                    faults.push(ConfigFault::field(name, value, range));
                }
            }
        }
        faults.sort_by(|a, b| (a.name(), a.value()).cmp(&(b.name(), b.value())));
        faults
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_valid_for_every_key_type() {
        struct Opaque;
        assert!(LimitConfig::<Opaque>::default().validate().is_ok());
        assert!(LimitConfig::<String>::default().validate().is_ok());
    }

    #[test]
    fn a_config_can_be_shared_and_carried_over_a_panic() {
        use std::panic::{RefUnwindSafe, UnwindSafe};
        fn shared<T: Send + Sync + UnwindSafe + RefUnwindSafe + 'static>() {}
        shared::<LimitConfig>();
        shared::<LimitConfig<u64>>();
    }

    #[test]
    fn a_key_that_cannot_be_shown_still_has_its_faults() {
        #[derive(Clone, PartialEq, Eq, Hash)]
        struct Opaque(u8);
        let mut config = LimitConfig::<Opaque>::default();
        for key in [2, 1] {
            config
                .users
                .insert(Opaque(key), UserLimits::new(u32::MAX, 2_000_000));
        }
        let error = config.validate().expect_err("four numbers too large");
        let names: Vec<_> = error.faults().iter().map(ConfigFault::name).collect();
        assert_eq!(
            names,
            [
                "users[_].max_concurrent",
                "users[_].max_concurrent",
                "users[_].max_queue_size",
                "users[_].max_queue_size",
            ]
        );
    }
}
