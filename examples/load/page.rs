//! The server's books: its page `/limits`, and what was seen on it over a run.

use std::collections::BTreeMap;

use serde::Deserialize;

/// The page, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Page {
    pub(crate) global_concurrent: u64,
    pub(crate) global_queue_size: u64,
    pub(crate) global_blocked: u64,
    pub(crate) peak_concurrent: u64,
    pub(crate) peak_queue_size: u64,
    pub(crate) users: Vec<User>,
    pub(crate) totals: BTreeMap<String, u64>,
    pub(crate) config: Config,
}

/// A user on the page.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct User {
    pub(crate) user_id: String,
    pub(crate) concurrent: u64,
    pub(crate) queued: u64,
    pub(crate) blocked: u64,
    pub(crate) max_concurrent: u64,
    pub(crate) max_queue_size: u64,
}

/// The limits in force.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Config {
    pub(crate) enabled: bool,
    pub(crate) max_concurrent_per_user: u64,
    pub(crate) max_queue_size_per_user: u64,
    pub(crate) max_concurrent_global: u64,
    pub(crate) max_queue_size_global: u64,
    pub(crate) queue_timeout_seconds: f64,
    pub(crate) overload_policy: String,
}

impl Page {
    /// Nobody holds a slot and nobody waits.
    pub(crate) fn is_quiet(&self) -> bool {
        self.global_concurrent == 0
            && self.global_queue_size == 0
            && self.global_blocked == 0
            && self
                .users
                .iter()
                .all(|user| user.concurrent == 0 && user.queued == 0 && user.blocked == 0)
    }

    /// A total since the server's start.
    pub(crate) fn total(&self, name: &str) -> u64 {
        self.totals.get(name).copied().unwrap_or(0)
    }
}

/// The most that was ever seen, against what is allowed.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    pub(crate) looks: u64,
    /// Of the last look.
    pub(crate) last: (u64, u64),
    pub(crate) held: u64,
    pub(crate) queued: u64,
    /// Of whichever user had the most.
    pub(crate) user_held: u64,
    pub(crate) user_queued: u64,
    /// The bounds that were passed, each with the first look that showed it.
    pub(crate) passed: BTreeMap<String, String>,
}

impl Watch {
    pub(crate) fn see(&mut self, page: &Page) {
        self.looks += 1;
        self.last = (page.global_concurrent, page.global_queue_size);
        self.held = self.held.max(page.global_concurrent);
        self.queued = self.queued.max(page.global_queue_size);
        let config = &page.config;
        let mut check = |what: String, found: u64, bound: u64| {
            if found > bound && config.enabled {
                let seen = format!("{found} with {bound} allowed");
                self.passed.entry(what).or_insert(seen);
            }
        };
        let (slots, places) = (config.max_concurrent_global, config.max_queue_size_global);
        check("slots in all".into(), page.global_concurrent, slots);
        check("most slots in all".into(), page.peak_concurrent, slots);
        check("places in all".into(), page.global_queue_size, places);
        check("most places in all".into(), page.peak_queue_size, places);
        for user in &page.users {
            self.user_held = self.user_held.max(user.concurrent);
            self.user_queued = self.user_queued.max(user.queued);
            let name = &user.user_id;
            check(
                format!("slots of {name}"),
                user.concurrent,
                user.max_concurrent,
            );
            check(
                format!("places of {name}"),
                user.queued,
                user.max_queue_size,
            );
        }
    }
}
