//! The clients' books: how many requests ended how, after how long, and whose they were.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::client::Ending;

/// How a request can end, seen from its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// Admitted, and the whole answer read.
    Answered,
    /// Admitted, and hung up in the middle of the answer.
    LeftStreaming,
    Refused429,
    Refused408,
    Refused503,
    /// Hung up before there was an answer.
    LeftWaiting,
    /// An answer that should not be, or none.
    Failed,
}

impl End {
    pub(crate) const ALL: [Self; 7] = [
        Self::Answered,
        Self::LeftStreaming,
        Self::Refused429,
        Self::Refused408,
        Self::Refused503,
        Self::LeftWaiting,
        Self::Failed,
    ];

    /// What it is called in tables.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Answered => "admitted, whole answer",
            Self::LeftStreaming => "admitted, hung up in it",
            Self::Refused429 => "refused 429 (user)",
            Self::Refused408 => "refused 408 (time)",
            Self::Refused503 => "refused 503 (global)",
            Self::LeftWaiting => "hung up waiting",
            Self::Failed => "failed",
        }
    }

    /// What it is called in JSON.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::LeftStreaming => "left_streaming",
            Self::Refused429 => "refused_429",
            Self::Refused408 => "refused_408",
            Self::Refused503 => "refused_503",
            Self::LeftWaiting => "left_waiting",
            Self::Failed => "failed",
        }
    }
}

/// The counts of one user.
#[derive(Debug)]
pub(crate) struct UserTally {
    pub(crate) requests: u64,
    pub(crate) admitted: u64,
    pub(crate) refused: u64,
    /// From asking to the head of the answer, in microseconds, of the admitted.
    pub(crate) wait: Histogram<u64>,
}

/// The counts of all.
#[derive(Debug)]
pub(crate) struct Tally {
    /// Times from asking to the end, in microseconds, in the order of `End::ALL`.
    times: Vec<Histogram<u64>>,
    pub(crate) users: Vec<UserTally>,
    /// The first few things that went wrong.
    pub(crate) faults: Vec<String>,
}

/// So many faults are kept; the rest is only counted.
const KEPT_FAULTS: usize = 5;

impl Tally {
    pub(crate) fn new(users: u32) -> Self {
        let user = |_| UserTally {
            requests: 0,
            admitted: 0,
            refused: 0,
            wait: histogram(),
        };
        Self {
            times: End::ALL.iter().map(|_| histogram()).collect(),
            users: (0..users).map(user).collect(),
            faults: Vec::new(),
        }
    }

    pub(crate) fn count(&mut self, ending: &Ending) {
        self.times[ending.end as usize].saturating_record(micros(ending.took));
        let user = &mut self.users[ending.user as usize];
        user.requests += 1;
        match ending.end {
            End::Answered | End::LeftStreaming => user.admitted += 1,
            End::Refused429 | End::Refused408 | End::Refused503 => user.refused += 1,
            End::LeftWaiting | End::Failed => {}
        }
        if let Some(wait) = ending.wait {
            user.wait.saturating_record(micros(wait));
        }
        if let Some(fault) = &ending.fault {
            if self.faults.len() < KEPT_FAULTS && !self.faults.contains(fault) {
                self.faults.push(fault.clone());
            }
        }
    }

    pub(crate) fn requests(&self) -> u64 {
        self.times.iter().map(Histogram::len).sum()
    }

    pub(crate) fn of(&self, end: End) -> u64 {
        self.times(end).len()
    }

    pub(crate) fn times(&self, end: End) -> &Histogram<u64> {
        &self.times[end as usize]
    }

    pub(crate) fn admitted(&self) -> u64 {
        self.of(End::Answered) + self.of(End::LeftStreaming)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Up to an hour, to within a hundredth.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 2).expect("these bounds make a histogram")
}
