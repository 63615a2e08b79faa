//! What is said about a config that will not do: every fault at once, each with the name, the
//! value and what would have been accepted.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// A config was not accepted. It lists every fault, not only the first.
///
/// # Examples
///
/// ```
/// use admit::LimitConfig;
///
/// let error = LimitConfig::from_vars([
///     ("LIMITS_ENABLED", "maybe"),
///     ("LIMITS_MAX_CONCURENT_GLOBAL", "50"),
/// ])
/// .unwrap_err();
/// assert_eq!(
///     error.to_string(),
///     "the limits have 2 faults:\n\
///      LIMITS_ENABLED = \"maybe\": must be true or false, 1 or 0, yes or no, on or off\n\
///      LIMITS_MAX_CONCURENT_GLOBAL = \"50\": no setting has this name; \
///      did you mean LIMITS_MAX_CONCURRENT_GLOBAL?",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    faults: Vec<ConfigFault>,
}

impl ConfigError {
    /// The only way to make one, so that there is none without a fault.
    pub(super) fn unless_empty(faults: Vec<ConfigFault>) -> Result<(), Self> {
        if faults.is_empty() {
            Ok(())
        } else {
            Err(Self { faults })
        }
    }

    /// The faults, at least one.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::LimitConfig;
    ///
    /// let error = LimitConfig::from_vars([("LIMITS_MAX_IDLE_USERS", "-1")]).unwrap_err();
    /// assert_eq!(error.faults()[0].name(), "LIMITS_MAX_IDLE_USERS");
    /// ```
    #[must_use]
    pub fn faults(&self) -> &[ConfigFault] {
        &self.faults
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.faults.len() {
            1 => f.write_str("the limits have a fault:")?,
            n => write!(f, "the limits have {n} faults:")?,
        }
        for fault in &self.faults {
            write!(f, "\n{fault}")?;
        }
        Ok(())
    }
}

impl Error for ConfigError {}

/// One setting that was not accepted. `Display` says it in one line.
///
/// # Examples
///
/// ```
/// use admit::LimitConfig;
///
/// let error = LimitConfig::builder().max_queue_size_global(2_000_000).build().unwrap_err();
/// assert_eq!(
///     error.faults()[0].to_string(),
///     "max_queue_size_global = 2000000: must be a whole number from 0 to 1048575",
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    name: String,
    value: String,
    accepts: String,
    wrong: Wrong,
}

/// What is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Wrong {
    /// A field is out of range.
    Field,
    /// A variable does not parse or is out of range.
    Variable,
    /// A variable is not Unicode.
    NotText,
    /// A variable is there more than once.
    Repeated,
    /// There is no such variable; perhaps this one was meant.
    Unknown(Option<&'static str>),
}

impl ConfigFault {
    /// The variable, like `LIMITS_ENABLED`, or the field, like `max_concurrent_global` or
    /// `users["batch"].max_queue_size`.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::{LimitConfig, UserLimits};
    ///
    /// let limits = UserLimits::new(1, 2_000_000);
    /// let error = LimitConfig::builder().user("batch", limits).build().unwrap_err();
    /// assert_eq!(error.faults()[0].name(), "users[\"batch\"].max_queue_size");
    /// ```
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The value as it was given. What is not Unicode is replaced by U+FFFD.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::LimitConfig;
    ///
    /// let error = LimitConfig::from_vars([("LIMITS_MAX_IDLE_USERS", " many ")]).unwrap_err();
    /// assert_eq!(error.faults()[0].value(), " many ");
    /// ```
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// What would have been accepted, in words; the names there are, if the name was the fault.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::LimitConfig;
    ///
    /// let error = LimitConfig::from_vars([("LIMITS_OVERLOAD_POLICY", "panic")]).unwrap_err();
    /// assert_eq!(error.faults()[0].accepts(), "drop_newest, drop_oldest or block");
    /// ```
    #[must_use]
    pub fn accepts(&self) -> &str {
        &self.accepts
    }

    /// The variable that was probably meant, if no setting has the name given but one comes close.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::LimitConfig;
    ///
    /// let error = LimitConfig::from_vars([("LIMITS_RETRY_AFTER", "5")]).unwrap_err();
    /// assert_eq!(error.faults()[0].suggestion(), Some("LIMITS_RETRY_AFTER_SECONDS"));
    /// ```
    #[must_use]
    pub fn suggestion(&self) -> Option<&str> {
        match self.wrong {
            Wrong::Unknown(meant) => meant,
            _ => None,
        }
    }

    pub(super) fn field(
        name: impl Into<String>,
        value: impl fmt::Display,
        accepts: impl fmt::Display,
    ) -> Self {
        Self::new(name, value, accepts, Wrong::Field)
    }

    pub(super) fn variable(name: &str, value: &str, accepts: impl fmt::Display) -> Self {
        Self::new(name, value, accepts, Wrong::Variable)
    }

    pub(super) fn not_text(name: &str, lossy: &str, accepts: impl fmt::Display) -> Self {
        Self::new(name, lossy, accepts, Wrong::NotText)
    }

    pub(super) fn repeated(name: &str, value: &str, accepts: impl fmt::Display) -> Self {
        Self::new(name, value, accepts, Wrong::Repeated)
    }

    pub(super) fn unknown(name: &str, value: &str, known: &[&'static str]) -> Self {
        let meant = closest(name, known);
        Self::new(name, value, known.join(", "), Wrong::Unknown(meant))
    }

    fn new(
        name: impl Into<String>,
        value: impl fmt::Display,
        accepts: impl fmt::Display,
        wrong: Wrong,
    ) -> Self {
        Self {
            name: name.into(),
            value: value.to_string(),
            accepts: accepts.to_string(),
            wrong,
        }
    }
}

impl fmt::Display for ConfigFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            value,
            accepts,
            wrong,
        } = self;
        match wrong {
            Wrong::Field => write!(f, "{name} = {value}: must be {accepts}"),
            // Debug for the value, and for a name that strangers chose: quotes show the spaces,
            // and a line break stays one line.
            Wrong::Variable => write!(f, "{name} = {value:?}: must be {accepts}"),
            Wrong::NotText => write!(f, "{name} = {value:?}: not Unicode; must be {accepts}"),
            Wrong::Repeated => write!(f, "{name} = {value:?}: set more than once; set it once"),
            Wrong::Unknown(meant) => {
                let name = name.escape_debug();
                write!(f, "{name} = {value:?}: no setting has this name; ")?;
                match meant {
                    Some(meant) => write!(f, "did you mean {meant}?"),
                    None => write!(f, "the names are {accepts}"),
                }
            }
        }
    }
}

/// How an entry of `users` is called in a fault.
///
/// Whatever takes a config has to validate it without asking that its keys can be printed, so this
/// knows the kinds of key that nearly everybody has and leaves out the others.
pub(super) fn entry_name(key: &dyn Any) -> String {
    macro_rules! shown {
        ($($kind:ty),*) => {
            $(if let Some(key) = key.downcast_ref::<$kind>() {
                return format!("users[{key:?}]");
            })*
        };
    }
    shown!(String, &'static str, Box<str>, Arc<str>, char);
    shown!(
        u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize
    );
    "users[_]".to_string()
}

/// The known name that `name` was probably meant to be.
///
/// Close is: up to a third of the letters differ, or the end is missing. Case does not count, nor
/// does space around it, which is what a badly quoted line leaves.
fn closest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let name = name.trim().to_ascii_uppercase();
    let stem = known.first().map_or(0, |first| shared_stem(first, known));
    let close = known.iter().copied().filter_map(|candidate| {
        // What every name begins with says nothing about which one was meant.
        let letters = candidate.len() - stem;
        let cut_short = name.len() > stem + 3 && candidate.starts_with(&name);
        let distance = edits(name.as_bytes(), candidate.as_bytes());
        (cut_short || distance <= letters / 3).then_some((distance, candidate))
    });
    let (_, meant) = close.min_by_key(|&(distance, _)| distance)?;
    Some(meant)
}

/// How many bytes all of `known` begin with.
fn shared_stem(first: &str, known: &[&str]) -> usize {
    let shared = |other: &&str| {
        let pairs = first.bytes().zip(other.bytes());
        pairs.take_while(|(a, b)| a == b).count()
    };
    known.iter().map(shared).min().unwrap_or(0)
}

/// Levenshtein's distance: letters inserted, left out or replaced.
fn edits(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_count_letters() {
        for (a, b, distance) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("abc", "abc", 0),
            ("kitten", "sitting", 3),
            ("ENABLED", "ENABELD", 2),
        ] {
            assert_eq!(edits(a.as_bytes(), b.as_bytes()), distance, "{a} {b}");
        }
    }

    #[test]
    fn an_entry_is_named_by_its_key_where_it_can_be_shown() {
        struct Opaque;
        assert_eq!(entry_name(&"a\"b".to_string()), r#"users["a\"b"]"#);
        assert_eq!(entry_name(&"a"), r#"users["a"]"#);
        assert_eq!(entry_name(&Arc::<str>::from("a")), r#"users["a"]"#);
        assert_eq!(entry_name(&7_u64), "users[7]");
        assert_eq!(entry_name(&-7_i128), "users[-7]");
        assert_eq!(entry_name(&Opaque), "users[_]");
    }

    #[test]
    fn one_fault_is_one_line_whatever_is_in_it() {
        let names = ["LIMITS_ENABLED", "LIMITS_OTHER"];
        for fault in [
            ConfigFault::unknown("LIMITS_A\nB", "1\n2", &names),
            ConfigFault::variable("LIMITS_ENABLED", "\r\n", "words"),
            ConfigFault::not_text("LIMITS_ENABLED", "\u{fffd}\n", "words"),
            ConfigFault::repeated("LIMITS_ENABLED", "\n", "words"),
        ] {
            assert_eq!(fault.to_string().lines().count(), 1, "{fault}");
        }
    }
}
