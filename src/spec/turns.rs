//! How slots and places come free, who gets them, and the limits that say how many there are.

use std::hash::Hash;
use std::time::Duration;

use super::{Id, Model, Request, State, User};
use crate::config::UserLimits;
use crate::error::Reason;
use crate::policy::OverloadPolicy;

impl<K: Clone + Ord + Hash> Model<K> {
    /// Ends a waiter, or takes back a slot that was not collected.
    pub(super) fn end(&mut self, id: Id, reason: Reason) {
        let request = self.requests.get_mut(&id).expect("a request not gone");
        let before = request.clone();
        request.state = State::Ended(reason);
        self.totals.count(reason);
        self.withdraw(id, &before);
    }

    /// Gives up what the request had, and lets in whoever can use it.
    pub(super) fn withdraw(&mut self, id: Id, request: &Request<K>) {
        let is_inert = request.generation != self.generation;
        if is_inert || matches!(request.state, State::Ended(_)) {
            return;
        }
        let user = self.users.get_mut(&request.user);
        let user = user.expect("a user who has something is known");
        match request.state {
            State::Waiting => user.line.retain(|&other| other != id),
            _ => user.held -= 1,
        }
        user.idle_since = self.now;
        // A user made ready by his own slot joins the ring before the global slot goes round, but
        // at its end.
        self.settle(&request.user);
        self.serve();
        self.forget_surplus();
    }

    /// Whoever is ready is in the ring, and nobody else.
    pub(super) fn settle(&mut self, user: &K) {
        match (self.is_ready(user), self.ring.contains(user)) {
            (true, false) => self.ring.push_back(user.clone()),
            (false, true) => self.ring.retain(|other| other != user),
            _ => {}
        }
    }

    pub(super) fn is_ready(&self, user: &K) -> bool {
        let User { held, line, .. } = &self.users[user];
        !line.is_empty() && *held < self.limits_of(user).max_concurrent
    }

    /// Grants global slots, one turn each, until there are none or nobody is ready.
    pub(super) fn serve(&mut self) {
        while self.held() < self.global_limits().max_concurrent {
            let Some(next) = self.ring.pop_front() else {
                return;
            };
            let user = self.users.get_mut(&next).expect("the ring knows its users");
            let first = user.line.pop_front().expect("a ready user has a waiter");
            user.held += 1;
            let request = self.requests.get_mut(&first);
            request.expect("a waiter is not gone").state = State::Granted;
            self.settle(&next);
        }
    }

    /// Meets the deadlines up to `then`, one after the other, each at its own instant: a slot that
    /// is taken back goes to the next in line before the next deadline is met.
    pub(super) fn expire(&mut self, then: Duration) {
        while let Some((deadline, id, timeout)) = self.next_deadline() {
            if deadline > then {
                return;
            }
            self.now = deadline;
            self.end(id, Reason::QueueTimeout { timeout });
        }
    }

    pub(super) fn next_deadline(&self) -> Option<(Duration, Id, Duration)> {
        let live = self.requests.iter();
        live.filter(|(_, r)| matches!(r.state, State::Waiting | State::Granted))
            .map(|(&id, r)| (r.arrived.saturating_add(r.timeout), id, r.timeout))
            .min()
    }

    pub(super) fn forget_idle(&mut self, is_due: impl Fn(&User) -> bool) -> usize {
        let before = self.users.len();
        self.users
            .retain(|_, user| !(user.is_idle() && is_due(user)));
        before - self.users.len()
    }

    /// Keeps to the number of idle users that may be remembered.
    pub(super) fn forget_surplus(&mut self) {
        let max = self.config.max_idle_users as usize;
        let mut surplus = self.idle_users().saturating_sub(max);
        self.users.retain(|_, user| {
            let goes = user.is_idle() && surplus > 0;
            surplus -= usize::from(goes);
            !goes
        });
    }
}

/// The limits in force.
impl<K: Clone + Ord + Hash> Model<K> {
    fn in_force(&self, limits: UserLimits) -> UserLimits {
        if !self.config.enabled {
            return UserLimits::new(self.max_count, self.max_count);
        }
        UserLimits::new(
            limits.max_concurrent.min(self.max_count),
            limits.max_queue_size.min(self.max_count),
        )
    }

    pub(super) fn limits_of(&self, user: &K) -> UserLimits {
        self.in_force(self.config.limits_of(user))
    }

    pub(super) fn global_limits(&self) -> UserLimits {
        self.in_force(UserLimits::new(
            self.config.max_concurrent_global,
            self.config.max_queue_size_global,
        ))
    }

    /// How many may wait. Under Block the queue size is only what is reported.
    pub(super) fn bound(&self, limits: UserLimits) -> u32 {
        match self.config.overload_policy {
            OverloadPolicy::Block => self.max_count,
            _ => limits.max_queue_size,
        }
    }
}
