//! A config from names and values, such as the environment's.
//!
//! One table says which variable sets which field and what it takes.

use std::borrow::Cow;
use std::fmt;

use super::LimitConfig;
use super::fault::{ConfigError, ConfigFault};
use super::range::{CountRange, WaitRange};
use super::value::{count, switch, wait};

/// Names without it are somebody else's.
const PREFIX: &str = "LIMITS_";

struct Setting {
    name: &'static str,
    accepts: &'static (dyn fmt::Display + Sync),
    /// Reads a value into its field, or returns `None` and leaves the field alone.
    set: fn(&mut LimitConfig, &str) -> Option<()>,
}

const SWITCH: &str = "true or false, 1 or 0, yes or no, on or off";
const POLICY: &str = "drop_newest, drop_oldest or block";

/// A wait as it is written in a variable, where the unit is in the name.
struct Seconds(WaitRange);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a plain number such as 30 or 0.25, {}", self.0)
    }
}

static SETTINGS: [Setting; 10] = [
    Setting {
        name: "LIMITS_ENABLED",
        accepts: &SWITCH,
        set: |config, text| switch(text).map(|value| config.enabled = value),
    },
    Setting {
        name: "LIMITS_MAX_CONCURRENT_PER_USER",
        accepts: &CountRange::SLOTS,
        set: |config, text| {
            count(text, CountRange::SLOTS).map(|value| config.max_concurrent_per_user = value)
        },
    },
    Setting {
        name: "LIMITS_MAX_QUEUE_SIZE_PER_USER",
        accepts: &CountRange::PLACES,
        set: |config, text| {
            count(text, CountRange::PLACES).map(|value| config.max_queue_size_per_user = value)
        },
    },
    Setting {
        name: "LIMITS_MAX_CONCURRENT_GLOBAL",
        accepts: &CountRange::SLOTS,
        set: |config, text| {
            count(text, CountRange::SLOTS).map(|value| config.max_concurrent_global = value)
        },
    },
    Setting {
        name: "LIMITS_MAX_QUEUE_SIZE_GLOBAL",
        accepts: &CountRange::PLACES,
        set: |config, text| {
            count(text, CountRange::PLACES).map(|value| config.max_queue_size_global = value)
        },
    },
    Setting {
        name: "LIMITS_RETRY_AFTER_SECONDS",
        accepts: &Seconds(WaitRange::FROM_ZERO),
        set: |config, text| {
            wait(text, WaitRange::FROM_ZERO).map(|value| config.retry_after = value)
        },
    },
    Setting {
        name: "LIMITS_QUEUE_TIMEOUT_SECONDS",
        accepts: &Seconds(WaitRange::ABOVE_ZERO),
        set: |config, text| {
            wait(text, WaitRange::ABOVE_ZERO).map(|value| config.queue_timeout = value)
        },
    },
    Setting {
        name: "LIMITS_OVERLOAD_POLICY",
        accepts: &POLICY,
        set: |config, text| {
            text.parse()
                .ok()
                .map(|value| config.overload_policy = value)
        },
    },
    Setting {
        name: "LIMITS_IDLE_TIMEOUT_SECONDS",
        accepts: &Seconds(WaitRange::ABOVE_ZERO),
        set: |config, text| {
            wait(text, WaitRange::ABOVE_ZERO).map(|value| config.idle_timeout = value)
        },
    },
    Setting {
        name: "LIMITS_MAX_IDLE_USERS",
        accepts: &CountRange::IDLE_USERS,
        set: |config, text| {
            count(text, CountRange::IDLE_USERS).map(|value| config.max_idle_users = value)
        },
    },
];

impl LimitConfig {
    /// Reads a config from the environment of the process, now.
    ///
    /// See [`from_vars`](Self::from_vars) for the variables. What is not set has its default.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] with every fault, as for `from_vars`; and a value that is not Unicode.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::LimitConfig;
    ///
    /// match LimitConfig::from_env() {
    ///     Ok(config) => println!("{} at once", config.max_concurrent_global),
    ///     Err(error) => eprintln!("{error}"),
    /// }
    /// ```
    pub fn from_env() -> Result<Self, ConfigError> {
        let mut load = Load::default();
        for (name, value) in std::env::vars_os() {
            let text = value.to_str().ok_or_else(|| value.to_string_lossy());
            load.take(&name.to_string_lossy(), text);
        }
        load.finish()
    }

    /// Reads a config from pairs of a name and a value.
    ///
    /// | variable | accepts | default |
    /// | --- | --- | --- |
    /// | `LIMITS_ENABLED` | `true`/`false`, `1`/`0`, `yes`/`no`, `on`/`off`, in any case | `true` |
    /// | `LIMITS_MAX_CONCURRENT_PER_USER` | 1 to 1048575 | `3` |
    /// | `LIMITS_MAX_QUEUE_SIZE_PER_USER` | 0 to 1048575 | `10` |
    /// | `LIMITS_MAX_CONCURRENT_GLOBAL` | 1 to 1048575 | `100` |
    /// | `LIMITS_MAX_QUEUE_SIZE_GLOBAL` | 0 to 1048575 | `500` |
    /// | `LIMITS_RETRY_AFTER_SECONDS` | seconds from 0 | `5` |
    /// | `LIMITS_QUEUE_TIMEOUT_SECONDS` | seconds above 0 | `30` |
    /// | `LIMITS_OVERLOAD_POLICY` | `drop_newest`, `drop_oldest`, `block` | `drop_newest` |
    /// | `LIMITS_IDLE_TIMEOUT_SECONDS` | seconds above 0 | `60` |
    /// | `LIMITS_MAX_IDLE_USERS` | 0 to 100000000 | `65536` |
    ///
    /// Space around a value does not count. Counts are written in digits alone. Seconds are digits
    /// with or without a decimal point, up to a year (31536000), exact to the nanosecond and
    /// rounded to it beyond nine decimals, though never down to 0. Names that do not begin with
    /// `LIMITS_` are ignored. Limits of single users cannot be given this way.
    ///
    /// # Errors
    ///
    /// A [`ConfigError`] with every fault there is: a value that does not parse or is out of
    /// range, an empty one included; a name that begins with `LIMITS_` and that no setting has; a
    /// name that comes more than once, even with the same value.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::LimitConfig;
    /// use std::time::Duration;
    ///
    /// let config = LimitConfig::from_vars([
    ///     ("LIMITS_MAX_CONCURRENT_PER_USER", "5"),
    ///     ("LIMITS_QUEUE_TIMEOUT_SECONDS", "0.25"),
    ///     ("HOME", "/root"),
    /// ])?;
    /// assert_eq!(config.max_concurrent_per_user, 5);
    /// assert_eq!(config.queue_timeout, Duration::from_millis(250));
    /// # Ok::<(), admit::ConfigError>(())
    /// ```
    pub fn from_vars<I, N, V>(vars: I) -> Result<Self, ConfigError>
    where
        I: IntoIterator<Item = (N, V)>,
        N: AsRef<str>,
        V: AsRef<str>,
    {
        let mut load = Load::default();
        for (name, value) in vars {
            load.take(name.as_ref(), Ok(value.as_ref()));
        }
        load.finish()
    }
}

/// A config being read, with what was wrong so far.
#[derive(Default)]
struct Load {
    config: LimitConfig,
    seen: [bool; SETTINGS.len()],
    faults: Vec<ConfigFault>,
}

impl Load {
    /// Takes one pair; `Err` is a value that is not Unicode, with replacements.
    fn take(&mut self, name: &str, value: Result<&str, Cow<'_, str>>) {
        if !name.starts_with(PREFIX) {
            return;
        }
        let shown = match &value {
            Ok(text) => text,
            Err(lossy) => lossy.as_ref(),
        };
        let Some(at) = SETTINGS.iter().position(|setting| setting.name == name) else {
            let names = SETTINGS.each_ref().map(|setting| setting.name);
            self.faults.push(ConfigFault::unknown(name, shown, &names));
            return;
        };
        let Setting { accepts, set, .. } = &SETTINGS[at];
        if std::mem::replace(&mut self.seen[at], true) {
            let fault = ConfigFault::repeated(name, shown, accepts);
            self.faults.push(fault);
        }
        match value {
            Err(_) => {
                let fault = ConfigFault::not_text(name, shown, accepts);
                self.faults.push(fault);
            }
            Ok(text) if set(&mut self.config, text.trim()).is_none() => {
                let fault = ConfigFault::variable(name, shown, accepts);
                self.faults.push(fault);
            }
            Ok(_) => {}
        }
    }

    fn finish(self) -> Result<LimitConfig, ConfigError> {
        ConfigError::unless_empty(self.faults)?;
        Ok(self.config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_lists_the_words_that_are_read() {
        let read = |policy: &str| policy.parse::<crate::policy::OverloadPolicy>().is_ok();
        assert!(POLICY.split([',', ' ']).filter(|word| read(word)).count() == 3);
        assert!(
            SWITCH
                .split([',', ' '])
                .filter(|word| switch(word).is_some())
                .count()
                == 8
        );
    }

    #[test]
    fn every_name_has_the_prefix_and_is_there_once() {
        let mut names = SETTINGS.each_ref().map(|setting| setting.name).to_vec();
        assert!(names.iter().all(|name| name.starts_with(PREFIX)));
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SETTINGS.len());
    }
}
