//! Deadlines, giving up, forgetting, and one outcome for each request.

use super::*;

#[test]
fn the_deadline_runs_from_arrival_under_every_policy() {
    for policy in POLICIES {
        let mut m = model([1, 0], [9, 0], policy);
        m.update(|c| (c.max_queue_size_per_user, c.max_queue_size_global) = (1, 1));
        m.enter("a");
        m.advance(seconds(10));
        let waiter = m.enter("a");
        m.advance(seconds(30) - Duration::from_nanos(1));
        assert!(m.waits(waiter));
        m.advance(Duration::from_nanos(1));
        assert_eq!(m.status(waiter), timed_out(30));
        assert_eq!(m.global().waiting, 0, "the place is free at once");
    }
}

#[test]
fn the_deadline_binds_outside_the_bound_too() {
    let mut m = model([1, 0], [9, 0], Block);
    m.enter("a");
    let waiter = m.enter("a");
    m.advance(seconds(30));
    assert_eq!(m.status(waiter), timed_out(30));
}

#[test]
fn a_timeout_of_its_own_replaces_the_configured_one() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    m.enter("a");
    let patient = m.check("a", Some(seconds(60))).expect("a place");
    let hurried = m.check("a", Some(seconds(1))).expect("a place");
    let cannot_wait = m.check("a", Some(Duration::ZERO)).expect("a place");
    assert_eq!(m.status(cannot_wait), timed_out(0));
    m.advance(seconds(1));
    assert_eq!(m.status(hurried), timed_out(1));
    m.advance(seconds(58));
    assert!(m.waits(patient));
    m.advance(seconds(1));
    assert_eq!(m.status(patient), timed_out(60));
}

#[test]
fn a_timeout_without_end_is_no_deadline() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    m.advance(seconds(1));
    m.enter("a");
    let waiter = m.check("a", Some(Duration::MAX)).expect("a place");
    m.advance(seconds(1_000_000_000));
    assert!(m.waits(waiter));
}

#[test]
fn a_grant_that_nobody_collects_goes_to_the_next_in_line() {
    let mut m = model([9, 9], [1, 9], DropNewest);
    let held = m.enter("a");
    let forgetful = m.enter("a");
    m.advance(seconds(1));
    let next = m.enter("b");
    m.release(held);
    assert_eq!(m.status(forgetful), Status::Granted);
    m.advance(seconds(29));
    assert_eq!(m.status(forgetful), timed_out(30));
    assert_eq!(m.status(next), Status::Granted);
    assert_eq!(m.global().held, 1);
}

#[test]
fn deadlines_are_met_in_order_each_at_its_own_instant() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    let held = m.enter("a");
    let first = m.check("a", Some(seconds(1))).expect("a place");
    let second = m.check("a", Some(seconds(2))).expect("a place");
    let third = m.check("a", Some(seconds(3))).expect("a place");
    m.release(held);
    // In one go: each is granted what the one before left, and leaves it in turn.
    m.advance(seconds(2));
    assert_eq!(m.status(first), timed_out(1));
    assert_eq!(m.status(second), timed_out(2));
    assert_eq!(m.status(third), Status::Granted);
}

#[test]
fn a_ticket_that_was_a_slot_from_the_start_never_expires() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    let ticket = m.check("a", Some(seconds(1))).expect("a slot");
    m.advance(seconds(1_000_000));
    assert_eq!(m.status(ticket), Status::Held);
}

#[test]
fn a_collected_grant_never_expires() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    let held = m.enter("a");
    let waiter = m.enter("a");
    m.release(held);
    assert_eq!(m.collect(waiter), Poll::Ready(Ok(())));
    m.advance(seconds(1_000_000));
    assert_eq!(m.status(waiter), Status::Held);
}

#[test]
fn a_dropped_ticket_gives_up_whatever_it_had() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    let slot = m.enter("a");
    let ids = [m.enter("a"), m.enter("a"), m.enter("a")];
    m.abandon(ids[1]);
    assert_eq!(m.global().waiting, 2);
    m.abandon(slot);
    assert!(m.is_granted(ids[0]));
    m.abandon(ids[0]);
    assert!(m.is_granted(ids[2]));
    m.abandon(ids[2]);
    assert_eq!(m.global(), Counts::default());
    assert_eq!((m.totals().admitted, m.totals().abandoned), (1, 3));
}

#[test]
fn who_ended_is_told_once_and_counts_once() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    m.enter("a");
    let [told, untold] = [m.enter("b"), m.enter("b")];
    m.advance(seconds(30));
    m.advance(seconds(60));
    assert_eq!(m.user(&"b"), Counts::default());
    assert_eq!(m.total_users(), 1, "b is forgotten, his tickets are not");
    let timeout = seconds(30);
    let reason = Reason::QueueTimeout { timeout };
    assert_eq!(m.collect(told), Poll::Ready(Err(reason)));
    assert_eq!(m.status(told), Status::Gone);
    m.abandon(untold);
    assert_eq!((m.totals().timed_out, m.totals().abandoned), (2, 0));
}

#[test]
fn an_idle_user_is_forgotten_at_exactly_the_idle_timeout() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    let held = m.enter("a");
    m.advance(seconds(100));
    assert_eq!(m.total_users(), 1, "he is not idle while he holds");
    m.release(held);
    m.advance(seconds(60) - Duration::from_nanos(1));
    assert_eq!((m.total_users(), m.idle_users()), (1, 1));
    m.advance(Duration::from_nanos(1));
    assert_eq!(m.total_users(), 0);
}

#[test]
fn a_user_made_idle_by_a_deadline_is_idle_from_that_instant() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    m.enter("a");
    m.enter("b");
    m.advance(seconds(89));
    assert_eq!(m.total_users(), 2);
    m.advance(seconds(1));
    assert_eq!(m.users().collect::<Vec<_>>(), [&"a"]);
}

#[test]
fn a_user_who_is_only_ever_refused_is_idle_from_when_he_was_first_seen() {
    let mut m = model([1, 0], [1, 0], DropNewest);
    m.enter("a");
    m.advance(seconds(100));
    m.try_acquire("b").expect_err("no slot");
    m.advance(seconds(59));
    m.try_acquire("b").expect_err("no slot");
    assert_eq!(m.total_users(), 2);
    m.advance(seconds(1));
    assert_eq!(m.total_users(), 1);
}

#[test]
fn cleanup_forgets_the_idle_at_once_and_nobody_else() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    m.enter("holds");
    m.enter("waits");
    m.try_acquire("refused").expect_err("no slot");
    let gave_up = m.enter("gave up");
    m.abandon(gave_up);
    assert_eq!(m.total_users(), 4);
    assert_eq!(m.cleanup(), 2);
    assert_eq!(m.users().collect::<Vec<_>>(), [&"holds", &"waits"]);
    m.check_invariants();
}

#[test]
fn more_idle_users_than_may_be_remembered_are_forgotten_sooner() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    for user in ["a", "b", "c"] {
        let id = m.enter(user);
        m.release(id);
    }
    assert_eq!(m.total_users(), 3);
    m.update(|c| c.max_idle_users = 1);
    assert_eq!(m.total_users(), 1);
    m.update(|c| c.max_idle_users = 0);
    let id = m.enter("a");
    m.release(id);
    assert_eq!(m.total_users(), 0);
}

#[test]
fn every_request_has_exactly_one_outcome() {
    let mut config = limits([1, 1], [2, 2], DropNewest);
    config.users.insert("two", UserLimits::new(2, 2));
    let mut m = Model::new(config);
    let a = m.enter("a"); // admitted
    let a_next = m.enter("a"); // admitted when collected
    m.check("a", None).expect_err("user_queue_full");
    m.try_acquire("a").expect_err("user_limit");
    let b = m.enter("b"); // admitted
    m.try_acquire("c").expect_err("global_limit");
    let late = m.check("two", Some(seconds(1))).expect("timed_out");
    m.check("two", None).expect_err("global_queue_full");
    m.advance(seconds(1));
    assert_eq!(m.status(late), timed_out(1));

    m.update(|c| c.overload_policy = DropOldest);
    m.release(a);
    m.collect(a_next).map_err(|_| ()).is_ready();
    m.enter("two"); // evicted
    m.enter("two"); // evicted
    m.enter("two"); // abandoned
    let gives_up = m.enter("two");
    m.abandon(gives_up);
    m.reset(); // reset
    m.try_acquire("two").expect("admitted");
    m.try_acquire("two").expect("admitted");
    m.enter("two"); // closed
    m.close();
    m.check("a", None).expect_err("closed");
    m.release(b);

    let expected = Totals {
        admitted: 5,
        queued: 7,
        user_limit: 1,
        user_queue_full: 1,
        global_limit: 1,
        global_queue_full: 1,
        evicted: 2,
        timed_out: 1,
        closed: 2,
        reset: 1,
        abandoned: 1,
    };
    assert_eq!(m.totals(), expected);
    m.check_invariants();
}

#[test]
fn a_reload_can_be_what_makes_a_peak() {
    let mut m = model([1, 0], [1, 1], Block);
    m.enter("a");
    for _ in 0..3 {
        m.enter("a");
    }
    m.update(|c| c.max_queue_size_global = 9);
    assert_eq!((m.peaks().held, m.peaks().queued), (1, 3));
    m.update(|c| c.enabled = false);
    assert_eq!((m.peaks().held, m.peaks().queued), (4, 3));
}

#[test]
fn peaks_are_of_what_ran_and_queued_at_once_and_survive_a_reset() {
    let mut m = model([2, 1], [2, 9], Block);
    m.enter("a");
    let b = m.enter("b");
    assert_eq!((m.peaks().held, m.peaks().queued), (2, 0));
    m.release(b);
    m.enter("b");
    m.enter("a");
    m.enter("b");
    m.update(|c| c.max_queue_size_global = 1);
    m.reset();
    assert_eq!((m.peaks().held, m.peaks().queued), (2, 2));
    m.enter("a");
    assert_eq!((m.peaks().held, m.peaks().queued), (2, 2));
}
