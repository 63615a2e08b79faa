//! The rules one by one, and then all of them at once under random operations.

mod arriving;
mod ending;
mod random;
mod steering;
mod turns;

use std::task::Poll;
use std::time::Duration;

use super::{Counts, Id, Model, Status, Totals};
use crate::config::{LimitConfig, UserLimits};
use crate::error::{Level, Reason};
use crate::policy::OverloadPolicy::{self, Block, DropNewest, DropOldest};

type Config = LimitConfig<&'static str>;

const POLICIES: [OverloadPolicy; 3] = [DropNewest, DropOldest, Block];

/// Slots and places of each user, then of all together.
fn limits(user: [u32; 2], global: [u32; 2], policy: OverloadPolicy) -> Config {
    LimitConfig {
        max_concurrent_per_user: user[0],
        max_queue_size_per_user: user[1],
        max_concurrent_global: global[0],
        max_queue_size_global: global[1],
        overload_policy: policy,
        ..LimitConfig::default()
    }
}

fn model(user: [u32; 2], global: [u32; 2], policy: OverloadPolicy) -> Model<&'static str> {
    Model::new(limits(user, global, policy))
}

impl Model<&'static str> {
    /// A slot or a place, which there has to be.
    fn enter(&mut self, user: &'static str) -> Id {
        let id = self.check(user, None).expect("a slot or a place");
        self.check_invariants();
        id
    }

    /// A reload that changes some of the config.
    fn update(&mut self, change: impl FnOnce(&mut Config)) {
        let mut config = self.config().clone();
        change(&mut config);
        self.reload(config);
        self.check_invariants();
    }

    fn waits(&self, id: Id) -> bool {
        matches!(self.status(id), Status::Waiting { .. })
    }

    fn positions(&self, ids: &[Id]) -> Vec<Option<usize>> {
        let position = |id: &Id| match self.status(*id) {
            Status::Waiting { position } => Some(position),
            _ => None,
        };
        ids.iter().map(position).collect()
    }

    fn ring_now(&self) -> Vec<&'static str> {
        self.ring().copied().collect()
    }
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn timed_out(n: u64) -> Status {
    Status::Ended(Reason::QueueTimeout {
        timeout: seconds(n),
    })
}

fn evicted(level: Level, count: u32, limit: u32) -> Status {
    Status::Ended(Reason::Evicted {
        level,
        count,
        limit,
    })
}
