//! A reason in 16 bytes.
//!
//! Every admission returns a `Result`, as large as its larger half, and moves it at least once. As a plain enum a
//! reason takes 24 bytes, and the refusal would be the larger half.

use std::time::Duration;

use super::reason::{Level, Reason};

/// See the module. Equal if and only if the reasons are: what a kind has no use for is 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Packed {
    kind: Kind,
    /// The count, or the nanoseconds beside the seconds.
    low: u32,
    /// The limit, or the seconds.
    high: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    UserLimit,
    UserQueueFull,
    GlobalLimit,
    GlobalQueueFull,
    EvictedByUser,
    EvictedByGlobal,
    QueueTimeout,
    Closed,
    Reset,
}

impl Packed {
    pub(super) const fn of(reason: Reason) -> Self {
        let (kind, low, high) = match reason {
            Reason::UserLimit { count, limit } => (Kind::UserLimit, count, limit as u64),
            Reason::UserQueueFull { count, limit } => (Kind::UserQueueFull, count, limit as u64),
            Reason::GlobalLimit { count, limit } => (Kind::GlobalLimit, count, limit as u64),
            Reason::GlobalQueueFull { count, limit } => {
                (Kind::GlobalQueueFull, count, limit as u64)
            }
            Reason::Evicted {
                level: Level::User,
                count,
                limit,
            } => (Kind::EvictedByUser, count, limit as u64),
            Reason::Evicted {
                level: Level::Global,
                count,
                limit,
            } => (Kind::EvictedByGlobal, count, limit as u64),
            Reason::QueueTimeout { timeout } => (
                Kind::QueueTimeout,
                timeout.subsec_nanos(),
                timeout.as_secs(),
            ),
            Reason::Closed => (Kind::Closed, 0, 0),
            Reason::Reset => (Kind::Reset, 0, 0),
        };
        Self { kind, low, high }
    }

    pub(super) const fn reason(self) -> Reason {
        let count = self.low;
        let limit = self.high as u32;
        match self.kind {
            Kind::UserLimit => Reason::UserLimit { count, limit },
            Kind::UserQueueFull => Reason::UserQueueFull { count, limit },
            Kind::GlobalLimit => Reason::GlobalLimit { count, limit },
            Kind::GlobalQueueFull => Reason::GlobalQueueFull { count, limit },
            Kind::EvictedByUser => Reason::Evicted {
                level: Level::User,
                count,
                limit,
            },
            Kind::EvictedByGlobal => Reason::Evicted {
                level: Level::Global,
                count,
                limit,
            },
            Kind::QueueTimeout => Reason::QueueTimeout {
                timeout: Duration::new(self.high, self.low),
            },
            Kind::Closed => Reason::Closed,
            Kind::Reset => Reason::Reset,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_comes_back_as_it_was() {
        let (count, limit) = (u32::MAX, 7);
        let all = [
            Reason::UserLimit { count, limit },
            Reason::UserQueueFull { count, limit },
            Reason::GlobalLimit { count, limit },
            Reason::GlobalQueueFull { count, limit },
            Reason::Evicted {
                level: Level::User,
                count,
                limit,
            },
            Reason::Evicted {
                level: Level::Global,
                count,
                limit,
            },
            Reason::QueueTimeout {
                timeout: Duration::MAX,
            },
            Reason::QueueTimeout {
                timeout: Duration::new(3, 4),
            },
            Reason::Closed,
            Reason::Reset,
        ];
        for reason in all {
            assert_eq!(Packed::of(reason).reason(), reason);
        }
        for (number, one) in all.iter().enumerate() {
            for other in &all[number + 1..] {
                assert!(Packed::of(*one) != Packed::of(*other));
            }
        }
    }
}
