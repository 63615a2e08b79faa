//! What happens to a newcomer who finds neither a slot nor a place.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

/// What happens when a request finds every slot taken and the queue full.
///
/// The policy decides about queues only. A request that finds a slot is admitted under each of
/// them, one that finds a place is queued under each of them, and a user with 0 slots is refused
/// under each of them.
///
/// It is written as `drop_newest`, `drop_oldest` or `block`, in lower case, both by `Display` and
/// in `LIMITS_OVERLOAD_POLICY`.
///
/// # Examples
///
/// ```
/// use admit::OverloadPolicy;
///
/// let policy: OverloadPolicy = "drop_oldest".parse()?;
/// assert_eq!(policy, OverloadPolicy::DropOldest);
/// assert_eq!(policy.to_string(), "drop_oldest");
/// assert_eq!(OverloadPolicy::default(), OverloadPolicy::DropNewest);
/// # Ok::<(), admit::ParsePolicyError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OverloadPolicy {
    /// The newcomer is refused; who already waits keeps waiting.
    #[default]
    DropNewest,
    /// The waiter who came first is evicted and the newcomer takes the place.
    ///
    /// At the user's bound it is that user's oldest waiter, at the global bound the oldest of the
    /// newcomer's own user, or the oldest of all if that user has none waiting.
    DropOldest,
    /// The newcomer waits outside the bound, in the same line, until there is room or the queue
    /// timeout passes.
    Block,
}

impl OverloadPolicy {
    const ALL: [OverloadPolicy; 3] = [
        OverloadPolicy::DropNewest,
        OverloadPolicy::DropOldest,
        OverloadPolicy::Block,
    ];

    /// The name used in configuration: `drop_newest`, `drop_oldest` or `block`.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::OverloadPolicy;
    ///
    /// assert_eq!(OverloadPolicy::Block.as_str(), "block");
    /// ```
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OverloadPolicy::DropNewest => "drop_newest",
            OverloadPolicy::DropOldest => "drop_oldest",
            OverloadPolicy::Block => "block",
        }
    }
}

impl fmt::Display for OverloadPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for OverloadPolicy {
    type Err = ParsePolicyError;

    /// Reads exactly one of the three names, without space around it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.as_str() == text)
            .ok_or(ParsePolicyError(()))
    }
}

/// The text was not the name of an [`OverloadPolicy`].
///
/// # Examples
///
/// ```
/// use admit::OverloadPolicy;
///
/// let error = "drop_all".parse::<OverloadPolicy>().unwrap_err();
/// assert_eq!(error.to_string(), "an overload policy is drop_newest, drop_oldest or block");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsePolicyError(());

impl fmt::Display for ParsePolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an overload policy is drop_newest, drop_oldest or block")
    }
}

impl Error for ParsePolicyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_policy_reads_back_from_its_name() {
        for policy in OverloadPolicy::ALL {
            assert_eq!(policy.to_string().parse(), Ok(policy));
        }
    }

    #[test]
    fn a_policy_name_is_exact() {
        for text in [
            "",
            " block",
            "block ",
            "BLOCK",
            "Block",
            "drop-newest",
            "dropnewest",
            "drop_newest|block",
        ] {
            assert!(text.parse::<OverloadPolicy>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn display_honours_width() {
        assert_eq!(format!("{:>7}", OverloadPolicy::Block), "  block");
    }
}
