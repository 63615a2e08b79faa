//! What always holds between two calls, and from one call to the next.

use std::hash::Hash;

use super::{Id, Model, Request, State};

impl<K: Clone + Ord + Hash> Model<K> {
    /// Checks everything that holds whenever no call is in flight.
    ///
    /// # Panics
    ///
    /// If something does not.
    pub fn check_invariants(&self) {
        self.check_lines();
        self.check_slots();
        self.check_ring();
        self.check_outcomes();
        assert!(self.idle_users() <= self.config.max_idle_users as usize);
        if self.closed {
            assert_eq!(self.waiting(), 0, "nobody waits for a closed limiter");
        }
    }

    /// Checks that nothing rose above a limit or a bound on the way from `before` to here. What
    /// already was above one that shrank may stay, and falls.
    ///
    /// # Panics
    ///
    /// If something rose.
    pub fn check_step(&self, before: &Self) {
        let (is, was) = (self.global(), before.global());
        let limits = self.global_limits();
        assert!(is.held <= was.held.max(limits.max_concurrent));
        assert!(is.waiting <= was.waiting.max(self.bound(limits)));
        for user in self.users.keys() {
            let (is, was) = (self.user(user), before.user(user));
            let limits = self.limits_of(user);
            assert!(is.held <= was.held.max(limits.max_concurrent));
            assert!(is.waiting <= was.waiting.max(self.bound(limits)));
        }
        assert!(self.totals.outcomes() >= before.totals.outcomes());
        assert!(self.peaks.held >= before.peaks.held);
        assert!(self.peaks.queued >= before.peaks.queued);
    }

    /// Who waits stands in one line, his user's, in order of arrival, and is not overdue.
    fn check_lines(&self) {
        assert_eq!(
            self.all_waiting(),
            self.ids(|r| r.state == State::Waiting),
            "everyone who waits stands in exactly one line, and nobody else",
        );
        for (name, user) in &self.users {
            assert!(user.line.iter().is_sorted(), "a line is in arrival order");
            for id in &user.line {
                let request = &self.requests[id];
                assert!(&request.user == name, "a line is of one user");
                assert_eq!(request.generation, self.generation);
            }
            if !user.line.is_empty() {
                assert_ne!(self.limits_of(name).max_concurrent, 0);
            }
        }
        if let Some((deadline, ..)) = self.next_deadline() {
            assert!(deadline > self.now, "nobody is overdue");
        }
    }

    /// Slots are counted exactly, and no older request of the same user was passed over.
    fn check_slots(&self) {
        for (name, user) in &self.users {
            let has_slot = self.ids(|r| {
                matches!(r.state, State::Granted | State::Held)
                    && r.generation == self.generation
                    && r.user == *name
            });
            assert_eq!(user.held as usize, has_slot.len(), "slots add up");
            if let (Some(last), Some(first)) = (has_slot.last(), user.line.front()) {
                assert!(last < first, "first come, first served");
            }
        }
        assert!(self.held() <= self.max_count);
        assert!(self.waiting() <= self.max_count);
    }

    /// The ring has every ready user once and nobody else, and no slot is free for him.
    fn check_ring(&self) {
        let mut ring: Vec<&K> = self.ring.iter().collect();
        ring.sort();
        let ready = self.users.keys().filter(|user| self.is_ready(user));
        assert!(
            ring.into_iter().eq(ready),
            "in the ring if and only if ready"
        );
        if !self.ring.is_empty() {
            let limit = self.global_limits().max_concurrent;
            assert!(self.held() >= limit, "no slot is free while one is ready");
        }
    }

    /// Every request that ever arrived is still undecided, or counted under one outcome.
    fn check_outcomes(&self) {
        let undecided = self.ids(|r| matches!(r.state, State::Waiting | State::Granted));
        assert_eq!(
            self.arrivals,
            self.totals.outcomes() + undecided.len() as u64,
            "one outcome for each request",
        );
    }

    fn ids(&self, is_meant: impl Fn(&Request<K>) -> bool) -> Vec<Id> {
        let meant = self.requests.iter().filter(|(_, r)| is_meant(r));
        meant.map(|(&id, _)| id).collect()
    }
}
