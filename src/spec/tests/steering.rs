//! Reload, close and reset.

use super::*;

#[test]
fn a_smaller_limit_revokes_nothing_and_drains() {
    let mut m = model([9, 9], [9, 9], DropNewest);
    let held = [m.enter("a"), m.enter("a"), m.enter("a")];
    m.update(|c| c.max_concurrent_per_user = 1);
    assert_eq!(m.user(&"a").held, 3);
    let waiter = m.enter("a");
    m.release(held[0]);
    m.release(held[1]);
    assert!(
        m.waits(waiter),
        "two too many are gone, the limit is reached"
    );
    m.release(held[2]);
    assert!(m.is_granted(waiter));
}

#[test]
fn a_smaller_global_limit_revokes_nothing_and_drains() {
    let mut m = model([9, 9], [3, 9], DropNewest);
    let held = [m.enter("a"), m.enter("b"), m.enter("c")];
    let waiter = m.enter("d");
    m.update(|c| c.max_concurrent_global = 1);
    assert_eq!(m.global().held, 3);
    m.release(held[0]);
    m.release(held[1]);
    assert!(m.waits(waiter));
    m.release(held[2]);
    assert!(m.is_granted(waiter));
}

#[test]
fn a_larger_limit_admits_at_once() {
    let mut m = model([1, 9], [2, 9], DropNewest);
    m.enter("a");
    let [own, other] = [m.enter("a"), m.enter("a")];
    m.update(|c| c.max_concurrent_per_user = 2);
    assert!(m.is_granted(own) && m.waits(other));
    m.update(|c| c.max_concurrent_per_user = 3);
    assert!(m.waits(other));
    m.update(|c| c.max_concurrent_global = 3);
    assert!(m.is_granted(other));
}

#[test]
fn a_reload_takes_effect_as_a_whole() {
    // The global limit grows and the user's shrinks: he must not get a slot in between.
    let mut m = model([2, 9], [1, 9], DropNewest);
    m.enter("a");
    let waiter = m.enter("a");
    assert_eq!(m.ring_now(), ["a"]);
    m.update(|c| (c.max_concurrent_global, c.max_concurrent_per_user) = (9, 1));
    assert!(m.waits(waiter));
    assert_eq!(m.user(&"a").held, 1);
    assert!(m.ring_now().is_empty());
}

#[test]
fn a_reload_keeps_the_turns_of_those_who_stay_ready() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    m.enter("a");
    m.enter("a");
    m.enter("c");
    m.enter("b");
    assert_eq!(m.ring_now(), ["c", "b"]);
    m.update(|c| c.max_concurrent_per_user = 2);
    assert_eq!(m.ring_now(), ["c", "b", "a"]);
}

#[test]
fn who_waits_keeps_his_place_and_deadline_also_above_a_bound_that_shrank() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    m.enter("a");
    let ids = [m.enter("a"), m.enter("a"), m.enter("a")];
    m.update(|c| {
        c.max_queue_size_per_user = 1;
        c.max_queue_size_global = 2;
        c.queue_timeout = seconds(1);
    });
    assert_eq!(m.positions(&ids), [Some(0), Some(1), Some(2)]);
    assert_eq!((m.user(&"a").queued, m.user(&"a").blocked), (1, 2));
    assert_eq!((m.global().queued, m.global().blocked), (2, 1));
    m.advance(seconds(29));
    assert_eq!(m.global().waiting, 3);
    m.advance(seconds(1));
    assert_eq!(m.global().waiting, 0);
}

#[test]
fn a_new_policy_acts_on_the_next_arrival() {
    let mut m = model([1, 1], [9, 9], DropNewest);
    m.enter("a");
    let waiter = m.enter("a");
    m.check("a", None).expect_err("refused");
    m.update(|c| c.overload_policy = Block);
    let outside = m.enter("a");
    m.update(|c| c.overload_policy = DropOldest);
    assert!(m.waits(waiter) && m.waits(outside));
    m.enter("a");
    assert!(!m.waits(waiter) && m.waits(outside));
}

#[test]
fn waiters_of_a_user_who_now_has_0_slots_are_refused() {
    let mut m = model([1, 9], [1, 9], Block);
    let held = m.enter("a");
    let [waiter, other] = [m.enter("a"), m.enter("b")];
    m.update(|c| {
        c.users.insert("a", UserLimits::new(0, 9));
    });
    let blocked = Reason::UserLimit { count: 1, limit: 0 };
    assert_eq!(m.status(waiter), Status::Ended(blocked));
    assert!(m.waits(other));
    assert_eq!(m.status(held), Status::Held);
    m.release(held);
    assert!(m.is_granted(other));
}

#[test]
fn switching_limits_off_admits_everyone_and_on_again_is_exact() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    let held = m.enter("a");
    let ids = [m.enter("a"), m.enter("b"), m.enter("b")];
    m.update(|c| c.enabled = false);
    assert!(ids.iter().all(|&id| m.is_granted(id)));
    m.update(|c| c.enabled = true);
    assert_eq!((m.global().held, m.user(&"b").held), (4, 2));
    let waiter = m.enter("a");
    m.release(held);
    m.abandon(ids[0]);
    m.abandon(ids[1]);
    assert!(m.waits(waiter));
    m.abandon(ids[2]);
    assert!(m.is_granted(waiter));
}

#[test]
fn close_refuses_newcomers_and_waiters_and_lets_permits_finish() {
    let mut m = model([1, 9], [9, 9], Block);
    assert!(!m.is_drained(), "empty, but open");
    let held = [m.enter("a"), m.enter("b")];
    let [granted, waiter] = [m.enter("a"), m.enter("b")];
    m.release(held[0]);
    assert!(!m.is_closed());
    m.close();
    assert!(m.is_closed());
    assert_eq!(m.status(waiter), Status::Ended(Reason::Closed));
    assert_eq!(m.check("a", None), Err(Reason::Closed));
    assert_eq!(m.try_acquire("c"), Err(Reason::Closed));
    assert_eq!(m.user(&"c"), Counts::default());
    assert_eq!(m.total_users(), 2, "a closed limiter meets nobody");
    assert_eq!(m.collect(granted), Poll::Ready(Ok(())));
    m.release(granted);
    assert!(!m.is_drained());
    m.release(held[1]);
    assert!(m.is_drained());
}

#[test]
fn a_grant_that_a_closed_limiter_takes_back_lets_it_drain() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    let held = m.enter("a");
    let granted = m.enter("a");
    m.release(held);
    m.close();
    m.advance(seconds(30));
    assert_eq!(m.status(granted), timed_out(30));
    assert!(m.is_drained());
}

#[test]
fn neither_reset_nor_reload_nor_limits_off_open_what_was_closed() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    m.enter("a");
    m.close();
    m.update(|c| c.enabled = false);
    assert_eq!(m.check("a", None), Err(Reason::Closed));
    m.reset();
    assert_eq!(m.try_acquire("a"), Err(Reason::Closed));
    assert!(m.is_drained(), "the slot that is still out is inert");
}

#[test]
fn reset_forgets_everybody_and_ends_every_waiter() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    m.enter("a");
    let waiter = m.enter("a");
    m.reset();
    m.check_invariants();
    assert_eq!(m.status(waiter), Status::Ended(Reason::Reset));
    assert_eq!((m.total_users(), m.global()), (0, Counts::default()));
    assert_eq!(m.config().max_queue_size_per_user, 9, "the config stays");
}

#[test]
fn a_permit_from_before_a_reset_changes_nothing_however_many_resets_lie_between() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    let older = m.enter("a");
    m.reset();
    let old = m.enter("a");
    m.reset();
    let current = m.enter("a");
    let waiter = m.enter("a");
    m.release(older);
    m.release(old);
    assert!(m.waits(waiter));
    assert_eq!(m.global().held, 1);
    m.release(current);
    assert!(m.is_granted(waiter));
}

#[test]
fn a_grant_from_before_a_reset_can_be_collected_and_means_nothing() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    for _ in 0..2 {
        let held = m.enter("a");
        m.enter("a");
        m.release(held);
        m.reset();
    }
    let (collected, expires) = (1, 3);
    assert_eq!(m.collect(collected), Poll::Ready(Ok(())));
    let current = m.enter("a");
    m.release(collected);
    m.advance(seconds(30));
    assert_eq!(m.status(expires), timed_out(30));
    assert_eq!(m.status(current), Status::Held);
    assert_eq!(m.global().held, 1);
    m.check_invariants();
}
