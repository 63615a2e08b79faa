//! What happens to a request, by state on arrival and by policy.

use super::*;

#[test]
fn a_free_slot_at_both_levels_is_taken_under_every_policy() {
    for policy in POLICIES {
        let mut m = model([1, 1], [2, 1], policy);
        let checked = m.check("a", None).expect("a slot");
        let acquired = m.try_acquire("b").expect("a slot");
        assert!(m.is_granted(checked) && m.is_granted(acquired));
        assert_eq!(m.global().held, 2);
        assert_eq!(m.collect(checked), Poll::Ready(Ok(())));
        assert_eq!(
            m.totals().admitted,
            2,
            "once, whether it is collected or not"
        );
    }
}

#[test]
fn no_slot_and_a_place_at_both_levels_queues_under_every_policy() {
    for policy in POLICIES {
        let mut m = model([1, 1], [1, 2], policy);
        m.enter("a");
        let (own_limit, global_limit) = (m.enter("a"), m.enter("b"));
        assert!(m.waits(own_limit) && m.waits(global_limit));
        assert_eq!(m.collect(own_limit), Poll::Pending);
        assert_eq!((m.global().held, m.global().queued), (1, 2));
        assert_eq!((m.user(&"b").held, m.user(&"b").queued), (0, 1));
    }
}

#[test]
fn a_full_user_queue_refuses_the_newcomer_under_drop_newest() {
    let mut m = model([1, 1], [9, 9], DropNewest);
    m.enter("a");
    let waiter = m.enter("a");
    let full = Reason::UserQueueFull { count: 1, limit: 1 };
    assert_eq!(m.check("a", None), Err(full));
    assert_eq!(full.status(), 429);
    assert!(m.waits(waiter));
}

#[test]
fn a_full_user_queue_evicts_the_oldest_of_that_user_under_drop_oldest() {
    let mut m = model([1, 2], [1, 9], DropOldest);
    m.enter("b");
    let other = m.enter("b");
    let [oldest, second] = [m.enter("a"), m.enter("a")];
    let newcomer = m.enter("a");
    assert_eq!(m.status(oldest), evicted(Level::User, 2, 2));
    assert_eq!(
        m.positions(&[other, second, newcomer]),
        [Some(0), Some(0), Some(1)]
    );
    assert_eq!(m.user(&"a").waiting, 2);
    assert_eq!(
        m.collect(oldest).map_err(Reason::status),
        Poll::Ready(Err(429))
    );
}

#[test]
fn a_full_user_queue_lets_the_newcomer_wait_outside_it_under_block() {
    let mut m = model([1, 1], [9, 9], Block);
    let held = m.enter("a");
    let [inside, outside] = [m.enter("a"), m.enter("a")];
    assert_eq!(m.positions(&[inside, outside]), [Some(0), Some(1)]);
    let expected = Counts {
        held: 1,
        waiting: 2,
        queued: 1,
        blocked: 1,
    };
    assert_eq!(m.user(&"a"), expected);
    m.release(held);
    assert_eq!((m.user(&"a").queued, m.user(&"a").blocked), (1, 0));
}

#[test]
fn a_full_global_queue_refuses_the_newcomer_under_drop_newest() {
    let mut m = model([1, 9], [1, 1], DropNewest);
    m.enter("a");
    let waiter = m.enter("a");
    let full = Reason::GlobalQueueFull { count: 1, limit: 1 };
    assert_eq!(m.check("b", None), Err(full));
    assert_eq!(full.status(), 503);
    assert!(m.waits(waiter));
}

#[test]
fn a_full_global_queue_evicts_the_oldest_of_the_own_user_first_under_drop_oldest() {
    let mut m = model([1, 9], [1, 2], DropOldest);
    m.enter("a");
    let [older, own] = [m.enter("a"), m.enter("b")];
    let newcomer = m.enter("b");
    assert_eq!(m.status(own), evicted(Level::Global, 2, 2));
    assert!(m.waits(older) && m.waits(newcomer));
    assert_eq!(
        m.collect(own).map_err(Reason::status),
        Poll::Ready(Err(503))
    );
}

#[test]
fn a_full_global_queue_evicts_the_oldest_of_all_if_the_newcomers_user_has_none() {
    let mut m = model([1, 9], [1, 2], DropOldest);
    m.enter("z");
    let [oldest, younger] = [m.enter("z"), m.enter("a")];
    let newcomer = m.enter("c");
    assert_eq!(m.status(oldest), evicted(Level::Global, 2, 2));
    assert!(m.waits(younger) && m.waits(newcomer));
    assert_eq!(m.global().waiting, 2);
}

#[test]
fn a_full_global_queue_lets_the_newcomer_wait_outside_it_under_block() {
    let mut m = model([1, 1], [1, 1], Block);
    m.enter("a");
    m.enter("b");
    m.enter("c");
    // At each level by itself: each user is within his own bound, together they are not.
    assert_eq!((m.user(&"b").queued, m.user(&"b").blocked), (1, 0));
    assert_eq!((m.user(&"c").queued, m.user(&"c").blocked), (1, 0));
    assert_eq!((m.global().queued, m.global().blocked), (1, 1));
}

#[test]
fn a_full_user_queue_is_looked_at_before_the_global_one() {
    let mut m = model([1, 1], [1, 1], DropNewest);
    m.enter("a");
    m.enter("a");
    let full = Reason::UserQueueFull { count: 1, limit: 1 };
    assert_eq!(m.check("a", None), Err(full));

    let mut m = model([1, 1], [1, 1], DropOldest);
    m.enter("a");
    let victim = m.enter("a");
    m.enter("a");
    assert_eq!(m.status(victim), evicted(Level::User, 1, 1));
}

#[test]
fn a_queue_of_size_0_refuses_whoever_finds_no_slot() {
    for policy in [DropNewest, DropOldest] {
        let mut m = model([1, 0], [9, 9], policy);
        m.enter("a");
        let full = Reason::UserQueueFull { count: 0, limit: 0 };
        assert_eq!(m.check("a", None), Err(full));

        let mut m = model([1, 9], [1, 0], policy);
        m.enter("a");
        let full = Reason::GlobalQueueFull { count: 0, limit: 0 };
        assert_eq!(m.check("a", None), Err(full));
    }
}

#[test]
fn a_queue_of_size_0_is_waited_for_under_block() {
    let mut m = model([1, 0], [1, 0], Block);
    m.enter("a");
    let waiter = m.enter("a");
    assert!(m.waits(waiter));
    assert_eq!((m.user(&"a").queued, m.user(&"a").blocked), (0, 1));
    assert_eq!((m.global().queued, m.global().blocked), (0, 1));
}

#[test]
fn a_queue_that_shrank_to_0_has_no_place_to_inherit() {
    let mut m = model([1, 2], [1, 9], DropOldest);
    m.enter("a");
    let waiter = m.enter("a");
    m.update(|c| c.max_queue_size_per_user = 0);
    let full = Reason::UserQueueFull { count: 1, limit: 0 };
    assert_eq!(m.check("a", None), Err(full));
    m.update(|c| (c.max_queue_size_per_user, c.max_queue_size_global) = (9, 0));
    let full = Reason::GlobalQueueFull { count: 1, limit: 0 };
    assert_eq!(m.check("b", None), Err(full));
    assert!(m.waits(waiter));
}

#[test]
fn an_eviction_replaces_exactly_one_even_above_a_bound_that_shrank() {
    let mut m = model([1, 9], [1, 9], DropOldest);
    m.enter("a");
    let [first, second, third] = [m.enter("a"), m.enter("a"), m.enter("a")];
    m.update(|c| c.max_queue_size_per_user = 2);
    let newcomer = m.enter("a");
    assert_eq!(m.status(first), evicted(Level::User, 3, 2));
    assert_eq!(
        m.positions(&[second, third, newcomer]),
        [Some(0), Some(1), Some(2)]
    );

    // The own user's place counts at both levels, so the global bound is not asked again.
    m.update(|c| c.max_queue_size_global = 1);
    m.enter("a");
    assert_eq!(m.status(second), evicted(Level::User, 3, 2));
    assert_eq!(m.global().waiting, 3);
}

#[test]
fn try_acquire_never_queues() {
    for policy in POLICIES {
        let mut m = model([1, 9], [2, 9], policy);
        m.enter("a");
        let user = Reason::UserLimit { count: 1, limit: 1 };
        assert_eq!(m.try_acquire("a"), Err(user));
        m.enter("b");
        let global = Reason::GlobalLimit { count: 2, limit: 2 };
        assert_eq!(m.try_acquire("c"), Err(global));
        assert_eq!(m.global().waiting, 0);
    }
}

#[test]
fn try_acquire_does_not_overtake_a_waiter_of_the_same_user() {
    let mut m = model([2, 9], [1, 9], DropNewest);
    m.enter("b");
    m.enter("a");
    let behind = Reason::UserLimit { count: 0, limit: 2 };
    assert_eq!(m.try_acquire("a"), Err(behind));
}

#[test]
fn one_slot_and_two_places_take_three_checks_and_under_block_a_fourth() {
    for policy in POLICIES {
        let mut m = model([1, 2], [9, 9], policy);
        let ids = [m.enter("user1"), m.enter("user1"), m.enter("user1")];
        let fourth = m.check("user1", None);
        match policy {
            DropNewest => {
                let full = Reason::UserQueueFull { count: 2, limit: 2 };
                assert_eq!(fourth, Err(full));
            }
            DropOldest => assert!(fourth.is_ok() && !m.waits(ids[1])),
            Block => {
                assert!(fourth.is_ok() && m.waits(ids[1]));
                assert_eq!((m.user(&"user1").queued, m.user(&"user1").blocked), (2, 1));
            }
        }
    }
}

#[test]
fn a_user_with_0_slots_is_refused_at_once_under_every_policy() {
    for policy in POLICIES {
        let mut config = limits([1, 9], [9, 9], policy);
        config.users.insert("a", UserLimits::new(0, 9));
        let mut m = Model::new(config);
        let blocked = Reason::UserLimit { count: 0, limit: 0 };
        assert_eq!(m.check("a", None), Err(blocked));
        assert_eq!(m.try_acquire("a"), Err(blocked));
        assert!(m.try_acquire("b").is_ok());
    }
}

#[test]
fn own_limits_come_before_the_rule_and_the_rule_before_the_common_ones() {
    let config = LimitConfig::keyed()
        .max_concurrent_per_user(3)
        .user("named-free", UserLimits::new(2, 0))
        .users_by(|user: &&str| user.ends_with("free").then(|| UserLimits::new(1, 0)))
        .build()
        .expect("a valid config");
    let mut m: Model<&'static str> = Model::new(config);
    for (user, slots) in [("named-free", 2), ("free", 1), ("somebody", 3)] {
        for _ in 0..slots {
            m.try_acquire(user).expect("a slot");
        }
        let reached = Reason::UserLimit {
            count: slots,
            limit: slots,
        };
        assert_eq!(m.try_acquire(user), Err(reached));
    }
}

#[test]
fn limits_that_are_off_limit_nobody_and_count_everybody() {
    let mut config = limits([1, 0], [1, 0], DropNewest);
    config.enabled = false;
    config.users.insert("a", UserLimits::new(0, 0));
    let mut m = Model::new(config);
    for user in ["a", "b"] {
        for _ in 0..5 {
            m.try_acquire(user).expect("no limit");
        }
    }
    assert_eq!((m.global().held, m.user(&"a").held), (10, 5));
}

#[test]
fn the_most_that_can_be_counted_is_held_even_if_limits_are_off() {
    let mut config = limits([1, 0], [1, 0], DropNewest);
    config.enabled = false;
    let mut m = Model::with_max_count(config, 3);
    for user in ["a", "a", "b"] {
        m.try_acquire(user).expect("no limit");
    }
    let full = Reason::GlobalLimit { count: 3, limit: 3 };
    assert_eq!(m.try_acquire("b"), Err(full));
    m.enter("b");
}

#[test]
fn the_most_that_can_be_counted_waits_under_block_and_the_one_more_is_refused() {
    let mut m = Model::with_max_count(limits([1, 1], [1, 1], Block), 2);
    m.enter("a");
    m.enter("a");
    m.enter("a");
    let full = Reason::UserQueueFull { count: 2, limit: 2 };
    assert_eq!(m.check("a", None), Err(full));
    let full = Reason::GlobalQueueFull { count: 2, limit: 2 };
    assert_eq!(m.check("b", None), Err(full));
}

#[test]
fn the_one_more_is_refused_and_nobody_evicted_while_limits_are_off() {
    let mut config = limits([1, 1], [1, 1], DropOldest);
    config.enabled = false;
    let mut m = Model::with_max_count(config, 1);
    m.enter("a");
    m.enter("a");
    let full = Reason::UserQueueFull { count: 1, limit: 1 };
    assert_eq!(m.check("a", None), Err(full));
}

#[test]
fn an_answer_of_the_rule_above_the_maximum_counts_as_the_maximum() {
    let config = LimitConfig::keyed()
        .users_by(|_: &&str| Some(UserLimits::new(u32::MAX, u32::MAX)))
        .build()
        .expect("a valid config");
    let mut m: Model<&'static str> = Model::with_max_count(config, 2);
    m.enter("a");
    m.enter("a");
    let reached = Reason::UserLimit { count: 2, limit: 2 };
    assert_eq!(m.try_acquire("a"), Err(reached));
}
