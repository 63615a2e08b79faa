//! What can be seen of the model.

use std::hash::Hash;
use std::time::Duration;

use super::{Id, Model, State, User};
use crate::config::{LimitConfig, UserLimits};
use crate::error::Reason;

/// What has become of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It has a place.
    Waiting {
        /// How many of the same user are ahead of it.
        position: usize,
    },
    /// It waited and now has a slot, which it has not collected.
    Granted,
    /// It runs, or could at once: its ticket was a slot from the start, or was collected.
    Held,
    /// It is out, and has not been told yet.
    Ended(Reason),
    /// It was refused, or its owner is done with it.
    Gone,
}

/// Who is there, at one level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Slots, granted ones included.
    pub held: u32,
    /// Everybody in line: `queued` and `blocked` together.
    pub waiting: u32,
    /// Those within the queue size.
    pub queued: u32,
    /// Those above it: they came under Block, or before it shrank.
    pub blocked: u32,
}

impl Counts {
    fn new(held: u32, waiting: u32, limits: UserLimits) -> Self {
        let queued = waiting.min(limits.max_queue_size);
        Self {
            held,
            waiting,
            queued,
            blocked: waiting - queued,
        }
    }
}

/// The most there ever was of the global [`Counts`], across resets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Peaks {
    /// Of `held`.
    pub held: u32,
    /// Of `queued`.
    pub queued: u32,
}

/// Requests by outcome, across resets. Every request has one in the end; `queued` is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "named like the outcomes")]
pub struct Totals {
    pub admitted: u64,
    /// Those that took a place, whatever came of it.
    pub queued: u64,
    pub user_limit: u64,
    pub user_queue_full: u64,
    pub global_limit: u64,
    pub global_queue_full: u64,
    pub evicted: u64,
    pub timed_out: u64,
    pub closed: u64,
    pub reset: u64,
    pub abandoned: u64,
}

impl Totals {
    pub(super) fn count(&mut self, reason: Reason) {
        *match reason {
            Reason::UserLimit { .. } => &mut self.user_limit,
            Reason::UserQueueFull { .. } => &mut self.user_queue_full,
            Reason::GlobalLimit { .. } => &mut self.global_limit,
            Reason::GlobalQueueFull { .. } => &mut self.global_queue_full,
            Reason::Evicted { .. } => &mut self.evicted,
            Reason::QueueTimeout { .. } => &mut self.timed_out,
            Reason::Closed => &mut self.closed,
            Reason::Reset => &mut self.reset,
        } += 1;
    }

    /// How many requests have had their outcome.
    pub fn outcomes(&self) -> u64 {
        self.admitted
            + self.user_limit
            + self.user_queue_full
            + self.global_limit
            + self.global_queue_full
            + self.evicted
            + self.timed_out
            + self.closed
            + self.reset
            + self.abandoned
    }
}

impl<K: Clone + Ord + Hash> Model<K> {
    /// What has become of a request.
    pub fn status(&self, id: Id) -> Status {
        let Some(request) = self.requests.get(&id) else {
            return Status::Gone;
        };
        match request.state {
            State::Waiting => {
                let line = &self.users[&request.user].line;
                let ahead = line.iter().take_while(|&&other| other != id);
                Status::Waiting {
                    position: ahead.count(),
                }
            }
            State::Granted => Status::Granted,
            State::Held => Status::Held,
            State::Ended(reason) => Status::Ended(reason),
        }
    }

    /// Whether the request has a slot, collected or not.
    pub fn is_granted(&self, id: Id) -> bool {
        matches!(self.status(id), Status::Granted | Status::Held)
    }

    /// Everybody, at the global level.
    pub fn global(&self) -> Counts {
        Counts::new(self.held(), self.waiting(), self.global_limits())
    }

    /// One user; nobody is there of a user who is not known.
    pub fn user(&self, name: &K) -> Counts {
        match self.users.get(name) {
            Some(user) => Counts::new(user.held, user.waiting(), self.limits_of(name)),
            None => Counts::default(),
        }
    }

    /// The users who are known, idle ones too, by name.
    pub fn users(&self) -> impl Iterator<Item = &K> {
        self.users.keys()
    }

    /// How many users are known. Above
    /// [`max_idle_users`](LimitConfig::max_idle_users) idle ones, a comparison can only ask for a
    /// bound.
    pub fn total_users(&self) -> usize {
        self.users.len()
    }

    /// How many of them hold and wait for nothing.
    pub fn idle_users(&self) -> usize {
        self.users.values().filter(|user| user.is_idle()).count()
    }

    /// The ready users, next first.
    pub fn ring(&self) -> impl Iterator<Item = &K> {
        self.ring.iter()
    }

    /// Requests by outcome.
    pub fn totals(&self) -> Totals {
        self.totals
    }

    /// The most there ever was at once.
    pub fn peaks(&self) -> Peaks {
        self.peaks
    }

    /// The config in force.
    pub fn config(&self) -> &LimitConfig<K> {
        &self.config
    }

    /// The time, from the start of the model.
    pub fn now(&self) -> Duration {
        self.now
    }

    /// Whether it was ever closed.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Whether it is closed and the last slot has been given back.
    pub fn is_drained(&self) -> bool {
        self.closed && self.held() == 0
    }

    pub(super) fn held(&self) -> u32 {
        self.users.values().map(|user| user.held).sum()
    }

    pub(super) fn waiting(&self) -> u32 {
        self.users.values().map(User::waiting).sum()
    }

    /// Everybody who waits, oldest first.
    pub(super) fn all_waiting(&self) -> Vec<Id> {
        let mut ids: Vec<Id> = Vec::new();
        for user in self.users.values() {
            ids.extend(&user.line);
        }
        ids.sort_unstable();
        ids
    }

    pub(super) fn note_peaks(&mut self) {
        let Counts { held, queued, .. } = self.global();
        self.peaks.held = self.peaks.held.max(held);
        self.peaks.queued = self.peaks.queued.max(queued);
    }
}
