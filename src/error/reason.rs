//! The causes of a refusal, with the numbers that were true at that moment.

use std::fmt;
use std::time::Duration;

/// Which of the two levels a bound belongs to.
///
/// # Examples
///
/// ```
/// use admit::{Level, Reason};
///
/// let evicted = Reason::Evicted { level: Level::User, count: 10, limit: 10 };
/// assert_eq!(evicted.status(), 429);
/// let evicted = Reason::Evicted { level: Level::Global, count: 500, limit: 500 };
/// assert_eq!(evicted.status(), 503);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// One user's own slots and places.
    User,
    /// The slots and places of all users together.
    Global,
}

/// Why a request was refused.
///
/// `count` is how many there were at that level when the decision fell, `limit` the most that were
/// allowed then: slots for the two limits, places for the queues. Neither counts the refused
/// request. `Display` gives the sentence for the client.
///
/// # Examples
///
/// ```
/// use admit::Reason;
///
/// fn worth_an_alert(reason: Reason) -> bool {
///     // One user asking for too much is not an incident; a full server is.
///     matches!(reason, Reason::GlobalLimit { .. } | Reason::GlobalQueueFull { .. })
/// }
///
/// assert!(worth_an_alert(Reason::GlobalQueueFull { count: 500, limit: 500 }));
/// assert!(!worth_an_alert(Reason::UserQueueFull { count: 10, limit: 10 }));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No slot for this user, and the request did not ask for a place; or the user is blocked,
    /// with a limit of 0, and gets neither. 429.
    ///
    /// `count` is below `limit` when a slot would have been there but earlier requests of the same
    /// user were waiting for it.
    UserLimit {
        /// Slots the user held.
        count: u32,
        /// Slots the user could hold.
        limit: u32,
    },
    /// No place in this user's queue. 429.
    UserQueueFull {
        /// Requests of the user that waited.
        count: u32,
        /// Requests of the user that could wait.
        limit: u32,
    },
    /// No slot in the whole process, and the request did not ask for a place. 503.
    ///
    /// `count` is below `limit` when a slot would have been there but other users were waiting
    /// for it.
    GlobalLimit {
        /// Slots held by all users.
        count: u32,
        /// Slots there were.
        limit: u32,
    },
    /// No place in the global queue. 503.
    GlobalQueueFull {
        /// Requests that waited, of all users.
        count: u32,
        /// Requests that could wait.
        limit: u32,
    },
    /// The request waited, and a newer one took its place
    /// ([`DropOldest`](crate::OverloadPolicy::DropOldest)). 429 at the user's bound, 503 at the
    /// global one.
    Evicted {
        /// Whose bound was reached.
        level: Level,
        /// Requests that waited at that level.
        count: u32,
        /// Requests that could wait there.
        limit: u32,
    },
    /// The request waited as long as it was allowed to. 408.
    QueueTimeout {
        /// How long that was, from arrival.
        timeout: Duration,
    },
    /// The limiter takes no more requests. 503.
    Closed,
    /// The limiter was reset while the request waited. 503.
    Reset,
}

impl Reason {
    /// The HTTP status that fits: 429 when it was this user's doing, 503 when it was the state of
    /// the server, 408 when the time ran out.
    ///
    /// # Examples
    ///
    /// ```
    /// use admit::Reason;
    ///
    /// assert_eq!(Reason::UserLimit { count: 3, limit: 3 }.status(), 429);
    /// assert_eq!(Reason::GlobalLimit { count: 100, limit: 100 }.status(), 503);
    /// ```
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Reason::UserLimit { .. }
            | Reason::UserQueueFull { .. }
            | Reason::Evicted {
                level: Level::User, ..
            } => 429,
            Reason::GlobalLimit { .. }
            | Reason::GlobalQueueFull { .. }
            | Reason::Evicted {
                level: Level::Global,
                ..
            }
            | Reason::Closed
            | Reason::Reset => 503,
            Reason::QueueTimeout { .. } => 408,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Reason::UserLimit { count, limit: 0 } => write!(
                f,
                "User blocked ({count}/0). No requests of this user are admitted."
            ),
            Reason::UserLimit { count, limit } if count < limit => write!(
                f,
                "User slots spoken for ({count}/{limit}). Earlier requests of this user are waiting."
            ),
            Reason::UserLimit { count, limit } => write!(
                f,
                "User limit reached ({count}/{limit}). Too many concurrent requests."
            ),
            Reason::UserQueueFull { count, limit } => write!(
                f,
                "User queue full ({count}/{limit}). Too many concurrent requests."
            ),
            Reason::GlobalLimit { count, limit } if count < limit => write!(
                f,
                "Global slots spoken for ({count}/{limit}). Earlier requests are waiting."
            ),
            Reason::GlobalLimit { count, limit } => write!(
                f,
                "Global limit reached ({count}/{limit}). The server is busy."
            ),
            Reason::GlobalQueueFull { count, limit } => write!(
                f,
                "Global queue full ({count}/{limit}). The server is overloaded."
            ),
            Reason::Evicted {
                level: Level::User,
                count,
                limit,
            } => write!(
                f,
                "Evicted from user queue ({count}/{limit}). A newer request of this user took the place."
            ),
            Reason::Evicted {
                level: Level::Global,
                count,
                limit,
            } => write!(
                f,
                "Evicted from global queue ({count}/{limit}). The server is overloaded."
            ),
            Reason::QueueTimeout { timeout } => {
                write!(f, "Queue timeout ({timeout:?}). No slot came free in time.")
            }
            Reason::Closed => f.write_str("Limiter closed. No more requests are admitted."),
            Reason::Reset => f.write_str("Limiter reset. Every waiting request was dropped."),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVER: (u32, u32) = (10, 10);

    fn evicted(level: Level) -> Reason {
        let (count, limit) = OVER;
        Reason::Evicted {
            level,
            count,
            limit,
        }
    }

    #[test]
    fn every_reason_has_its_status_and_its_sentence() {
        let (count, limit) = OVER;
        let timeout = Duration::from_millis(1_500);
        let table = [
            (
                Reason::UserLimit { count, limit },
                429,
                "User limit reached (10/10). Too many concurrent requests.",
            ),
            (
                Reason::UserLimit { count: 1, limit: 3 },
                429,
                "User slots spoken for (1/3). Earlier requests of this user are waiting.",
            ),
            (
                Reason::UserLimit { count: 2, limit: 0 },
                429,
                "User blocked (2/0). No requests of this user are admitted.",
            ),
            (
                Reason::UserQueueFull { count, limit },
                429,
                "User queue full (10/10). Too many concurrent requests.",
            ),
            (
                Reason::GlobalLimit { count, limit },
                503,
                "Global limit reached (10/10). The server is busy.",
            ),
            (
                Reason::GlobalLimit { count: 1, limit: 3 },
                503,
                "Global slots spoken for (1/3). Earlier requests are waiting.",
            ),
            (
                Reason::GlobalQueueFull { count, limit },
                503,
                "Global queue full (10/10). The server is overloaded.",
            ),
            (
                evicted(Level::User),
                429,
                "Evicted from user queue (10/10). A newer request of this user took the place.",
            ),
            (
                evicted(Level::Global),
                503,
                "Evicted from global queue (10/10). The server is overloaded.",
            ),
            (
                Reason::QueueTimeout { timeout },
                408,
                "Queue timeout (1.5s). No slot came free in time.",
            ),
            (
                Reason::Closed,
                503,
                "Limiter closed. No more requests are admitted.",
            ),
            (
                Reason::Reset,
                503,
                "Limiter reset. Every waiting request was dropped.",
            ),
        ];
        for (reason, status, sentence) in table {
            assert_eq!(reason.status(), status, "{reason:?}");
            assert_eq!(reason.to_string(), sentence);
        }
    }

    #[test]
    fn a_count_above_a_bound_that_shrank_is_told_as_it_is() {
        let full = Reason::UserQueueFull { count: 7, limit: 2 };
        assert_eq!(
            full.to_string(),
            "User queue full (7/2). Too many concurrent requests."
        );
        let held = Reason::UserLimit { count: 5, limit: 3 };
        assert_eq!(
            held.to_string(),
            "User limit reached (5/3). Too many concurrent requests."
        );
    }
}
