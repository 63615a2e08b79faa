//! An arrival: the reasons to refuse it come first, then a slot, then a place.

use std::hash::Hash;
use std::time::Duration;

use super::{Id, Model, Request, State, User};
use crate::error::{Level, Reason};
use crate::policy::OverloadPolicy;

impl<K: Clone + Ord + Hash> Model<K> {
    /// From here on the user is known, also if he is refused; a closed limiter meets nobody.
    pub(super) fn arrive(&mut self, user: &K) -> Id {
        let id = self.arrivals;
        self.arrivals += 1;
        if !self.closed && !self.users.contains_key(user) {
            let newcomer = User {
                idle_since: self.now,
                ..User::default()
            };
            self.users.insert(user.clone(), newcomer);
        }
        id
    }

    /// Closed, or a user with no slots: refused at once, whatever is asked for.
    pub(super) fn may_enter(&self, user: &K) -> Result<(), Reason> {
        if self.closed {
            return Err(Reason::Closed);
        }
        match self.limits_of(user).max_concurrent {
            0 => Err(Reason::UserLimit {
                count: self.users[user].held,
                limit: 0,
            }),
            _ => Ok(()),
        }
    }

    /// Is a slot free at both levels, and nobody there who should have it first?
    pub(super) fn slot(&self, user: &K) -> Result<(), Reason> {
        let User { held, line, .. } = &self.users[user];
        let limit = self.limits_of(user).max_concurrent;
        if *held >= limit || !line.is_empty() {
            return Err(Reason::UserLimit {
                count: *held,
                limit,
            });
        }
        let (count, limit) = (self.held(), self.global_limits().max_concurrent);
        if count >= limit {
            return Err(Reason::GlobalLimit { count, limit });
        }
        // Between two calls nobody in the ring is kept from a free slot.
        debug_assert!(self.ring.is_empty());
        Ok(())
    }

    /// Is a place free at both levels, and if not, whose place does the newcomer inherit?
    pub(super) fn place(&self, user: &K) -> Result<Option<(Id, Reason)>, Reason> {
        let own_oldest = self.users[user].line.front().copied();
        let count = self.users[user].waiting();
        let limit = self.bound(self.limits_of(user));
        if count >= limit {
            let level = Level::User;
            return match own_oldest.filter(|_| self.evicts(limit)) {
                Some(victim) => Ok(Some((victim, evicted(level, count, limit)))),
                None => Err(Reason::UserQueueFull { count, limit }),
            };
        }

        let oldest = own_oldest.or_else(|| self.all_waiting().first().copied());
        let count = self.waiting();
        let limit = self.bound(self.global_limits());
        if count >= limit {
            let level = Level::Global;
            return match oldest.filter(|_| self.evicts(limit)) {
                Some(victim) => Ok(Some((victim, evicted(level, count, limit)))),
                None => Err(Reason::GlobalQueueFull { count, limit }),
            };
        }
        Ok(None)
    }

    /// A bound of 0 has no place to inherit, even if somebody still waits above it; and while
    /// limits are off, only the one who is more than can be counted pays for it.
    fn evicts(&self, bound: u32) -> bool {
        self.config.enabled
            && bound > 0
            && self.config.overload_policy == OverloadPolicy::DropOldest
    }

    pub(super) fn refuse(&mut self, reason: Reason) -> Reason {
        self.totals.count(reason);
        self.forget_surplus();
        reason
    }

    pub(super) fn admit(&mut self, id: Id, user: K) -> Id {
        self.users.entry(user.clone()).or_default().held += 1;
        self.totals.admitted += 1;
        self.note_peaks();
        self.remember(id, user, Duration::ZERO, State::Held)
    }

    pub(super) fn wait_in_line(&mut self, id: Id, user: K, timeout: Duration) {
        let line = &mut self.users.entry(user.clone()).or_default().line;
        line.push_back(id);
        self.totals.queued += 1;
        self.settle(&user);
        self.remember(id, user, timeout, State::Waiting);
    }

    fn remember(&mut self, id: Id, user: K, timeout: Duration, state: State) -> Id {
        let request = Request {
            user,
            generation: self.generation,
            arrived: self.now,
            timeout,
            state,
        };
        self.requests.insert(id, request);
        id
    }
}

fn evicted(level: Level, count: u32, limit: u32) -> Reason {
    Reason::Evicted {
        level,
        count,
        limit,
    }
}
