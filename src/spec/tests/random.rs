//! All rules at once: random operations, every invariant after each of them.

use proptest::prelude::*;
use proptest::sample::Index;

use super::super::{Id, Model, Status};
use super::{Block, DropNewest, DropOldest, Duration, LimitConfig, UserLimits};

#[derive(Clone, Debug)]
enum Op {
    TryAcquire(u8),
    Check(u8, Option<u64>),
    Collect(Index),
    Drop(Index),
    Advance(u64),
    Reload(LimitConfig<u8>),
    Close,
    Reset,
    Cleanup,
}

const USERS: std::ops::Range<u8> = 0..4;

fn config() -> impl Strategy<Value = LimitConfig<u8>> {
    let counts = (1..4u32, 0..4u32, 1..7u32, 0..7u32, 0..4u32);
    let others = (
        prop::bool::weighted(0.9),
        prop::sample::select(vec![DropNewest, DropOldest, Block]),
        prop::collection::hash_map(USERS, (0..4u32, 0..4u32), 0..3),
    );
    (counts, others).prop_map(|(counts, (enabled, overload_policy, users))| LimitConfig {
        enabled,
        max_concurrent_per_user: counts.0,
        max_queue_size_per_user: counts.1,
        max_concurrent_global: counts.2,
        max_queue_size_global: counts.3,
        max_idle_users: counts.4,
        queue_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(20),
        overload_policy,
        users: users
            .into_iter()
            .map(|(user, own)| (user, UserLimits::new(own.0, own.1)))
            .collect(),
        ..LimitConfig::default()
    })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => USERS.prop_map(Op::TryAcquire),
        24 => (USERS, prop::option::weighted(0.3, 0..20u64)).prop_map(|(u, t)| Op::Check(u, t)),
        12 => any::<Index>().prop_map(Op::Collect),
        16 => any::<Index>().prop_map(Op::Drop),
        4 => (0..15u64).prop_map(Op::Advance),
        4 => config().prop_map(Op::Reload),
        1 => Just(Op::Reset),
        1 => Just(Op::Cleanup),
        1 => Just(Op::Close),
    ]
}

/// Runs one operation. `tickets` are those whose owner has not dropped them or heard the end.
fn run(model: &mut Model<u8>, tickets: &mut Vec<Id>, op: Op) {
    match op {
        Op::TryAcquire(user) => tickets.extend(model.try_acquire(user)),
        Op::Check(user, timeout) => {
            tickets.extend(model.check(user, timeout.map(Duration::from_secs)));
        }
        Op::Collect(index) if !tickets.is_empty() => {
            let id = *index.get(tickets);
            let _ = model.collect(id);
            tickets.retain(|&id| model.status(id) != Status::Gone);
        }
        Op::Drop(index) if !tickets.is_empty() => {
            let id = tickets.swap_remove(index.index(tickets.len()));
            match model.status(id) {
                Status::Held => model.release(id),
                _ => model.abandon(id),
            }
        }
        Op::Collect(_) | Op::Drop(_) => {}
        Op::Advance(by) => model.advance(Duration::from_secs(by)),
        Op::Reload(config) => model.reload(config),
        Op::Close => model.close(),
        Op::Reset => model.reset(),
        Op::Cleanup => {
            model.cleanup();
            assert_eq!(model.idle_users(), 0);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_invariant_holds_after_every_step(
        config in config(),
        max_count in 3..9u32,
        ops in prop::collection::vec(op(), 1..120),
    ) {
        let mut model = Model::with_max_count(config, max_count);
        let mut tickets = Vec::new();
        for op in ops {
            let before = model.clone();
            run(&mut model, &mut tickets, op);
            model.check_invariants();
            model.check_step(&before);
            if model.totals().admitted > before.totals().admitted
                && model.global().held > before.global().held
            {
                prop_assert_eq!(before.ring().count(), 0, "a newcomer overtook a waiter");
            }
        }

        for id in tickets {
            model.abandon(id);
            model.check_invariants();
        }
        prop_assert_eq!(model.global(), super::Counts::default());
        model.cleanup();
        prop_assert_eq!(model.total_users(), 0);
    }
}
