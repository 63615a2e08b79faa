//! Any script of operations: the limiter does what the sequential model does.

use std::time::Duration;

use admit::{LimitConfig, OverloadPolicy, UserLimits, UserRule};

use super::bytes::Bytes;
use super::driver::{Both, Step, USERS};

/// Longer scripts find no more, and take longer.
const STEPS: usize = 150;

pub(crate) fn run(script: &[u8]) {
    let mut bytes = Bytes::new(script);
    let Some(config) = config(&mut bytes) else {
        return;
    };
    let mut both = Both::new(config);
    for _ in 0..STEPS {
        let Some(step) = step(&mut bytes) else {
            return;
        };
        if let Err(difference) = both.step(&step) {
            panic!("{difference}");
        }
    }
}

fn step(bytes: &mut Bytes<'_>) -> Option<Step> {
    Some(match bytes.below(32)? {
        0..=3 => Step::TryAcquire(user(bytes)?),
        4..=10 => Step::Check {
            user: user(bytes)?,
            timeout: None,
        },
        11..=13 => Step::Check {
            user: user(bytes)?,
            timeout: Some(bytes.below(20)?.into()),
        },
        14..=18 => Step::Collect(bytes.next()?.into()),
        19..=24 => Step::Drop(bytes.next()?.into()),
        25..=26 => Step::Advance(bytes.below(15)?.into()),
        27..=28 => Step::Reload(config(bytes)?),
        29 => Step::Cleanup,
        30 => Step::Reset,
        _ => Step::Close,
    })
}

fn user(bytes: &mut Bytes<'_>) -> Option<u8> {
    bytes.below(USERS.end)
}

fn config(bytes: &mut Bytes<'_>) -> Option<LimitConfig<u8>> {
    let mut config = LimitConfig {
        overload_policy: match bytes.below(3)? {
            0 => OverloadPolicy::DropNewest,
            1 => OverloadPolicy::DropOldest,
            _ => OverloadPolicy::Block,
        },
        max_concurrent_per_user: 1 + u32::from(bytes.below(3)?),
        max_queue_size_per_user: bytes.below(4)?.into(),
        max_concurrent_global: 1 + u32::from(bytes.below(6)?),
        max_queue_size_global: bytes.below(7)?.into(),
        queue_timeout: Duration::from_secs(5 + u64::from(bytes.below(10)?)),
        idle_timeout: Duration::from_secs(10 + u64::from(bytes.below(20)?)),
        enabled: !bytes.one_in(10)?,
        ..LimitConfig::default()
    };
    for _ in 0..bytes.below(3)? {
        config.users.insert(user(bytes)?, limits(bytes)?);
    }
    if bytes.one_in(5)? {
        let limits = limits(bytes)?;
        config.users_by = Some(UserRule::new(move |user: &u8| {
            (user % 2 == 0).then_some(limits)
        }));
    }
    Some(config)
}

fn limits(bytes: &mut Bytes<'_>) -> Option<UserLimits> {
    Some(UserLimits::new(
        bytes.below(4)?.into(),
        bytes.below(4)?.into(),
    ))
}
