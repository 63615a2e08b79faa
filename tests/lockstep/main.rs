//! The limiter and the sequential model, step by step: same outcomes, same reasons, same order, same counts.
//!
//! `PROPTEST_CASES=20000 cargo test --release --test lockstep` runs more scripts. A script that fails is shrunk and
//! printed as the list of its steps.

mod driver;

use std::time::Duration;

use admit::{LimitConfig, OverloadPolicy, UserLimits, UserRule};
use proptest::prelude::*;

use driver::{Both, Step, USERS};

fn config() -> impl Strategy<Value = LimitConfig<u8>> {
    let policy = prop::sample::select(vec![
        OverloadPolicy::DropNewest,
        OverloadPolicy::DropOldest,
        OverloadPolicy::Block,
    ]);
    let own = prop::collection::hash_map(USERS, (0..4u32, 0..4u32), 0..3);
    let rule = prop::option::weighted(0.2, (0..3u32, 0..3u32));
    let limits = (1..4u32, 0..4u32, 1..7u32, 0..7u32);
    let times = (5..15u64, 10..30u64, 0..9u64);
    (limits, times, prop::bool::weighted(0.9), policy, own, rule).prop_map(
        |(limits, times, enabled, overload_policy, own, rule)| LimitConfig {
            enabled,
            max_concurrent_per_user: limits.0,
            max_queue_size_per_user: limits.1,
            max_concurrent_global: limits.2,
            max_queue_size_global: limits.3,
            queue_timeout: Duration::from_secs(times.0),
            idle_timeout: Duration::from_secs(times.1),
            retry_after: Duration::from_secs(times.2),
            overload_policy,
            users: own
                .into_iter()
                .map(|(user, (slots, places))| (user, UserLimits::new(slots, places)))
                .collect(),
            users_by: rule.map(|(slots, places)| {
                UserRule::new(move |user: &u8| {
                    (user % 2 == 0).then(|| UserLimits::new(slots, places))
                })
            }),
            ..LimitConfig::default()
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => USERS.prop_map(Step::TryAcquire),
        24 => (USERS, prop::option::weighted(0.3, 0..20u64))
            .prop_map(|(user, timeout)| Step::Check { user, timeout }),
        12 => any::<u16>().prop_map(Step::Collect),
        16 => any::<u16>().prop_map(Step::Drop),
        4 => (0..15u64).prop_map(Step::Advance),
        3 => config().prop_map(Step::Reload),
        1 => Just(Step::Cleanup),
        1 => Just(Step::Reset),
        1 => Just(Step::Close),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_limiter_does_what_the_model_does(
        config in config(),
        script in prop::collection::vec(step(), 1..60),
    ) {
        let mut both = Both::new(config);
        for step in &script {
            both.step(step).map_err(TestCaseError::fail)?;
        }
    }
}
