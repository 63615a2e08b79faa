//! Who is next.

use super::*;

#[test]
fn a_user_is_served_first_come_first_served() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    let mut held = m.enter("a");
    let waiters = [m.enter("a"), m.enter("a"), m.enter("a")];
    for (i, next) in waiters.into_iter().enumerate() {
        assert_eq!(m.positions(&waiters[i..])[0], Some(0));
        m.release(held);
        assert_eq!(m.status(next), Status::Granted);
        assert_eq!(m.collect(next), Poll::Ready(Ok(())));
        held = next;
    }
}

#[test]
fn a_grant_counts_as_running_before_it_is_collected() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    let held = m.enter("a");
    let waiter = m.enter("a");
    m.release(held);
    assert!(m.is_granted(waiter));
    assert_eq!((m.global().held, m.global().waiting), (1, 0));
    assert_eq!(m.positions(&[waiter]), [None]);
}

#[test]
fn users_take_turns_however_many_wait() {
    let mut m = model([9, 9], [1, 9], DropNewest);
    let mut held = m.enter("z");
    let crowd = [m.enter("a"), m.enter("a"), m.enter("a")];
    let single = m.enter("b");
    assert_eq!(m.ring_now(), ["a", "b"]);
    for next in [crowd[0], single, crowd[1], crowd[2]] {
        m.release(held);
        assert_eq!(m.collect(next), Poll::Ready(Ok(())));
        m.check_invariants();
        held = next;
    }
}

#[test]
fn a_user_at_his_limit_is_not_in_the_ring_and_joins_at_its_end() {
    let mut m = model([1, 9], [2, 9], DropNewest);
    let a = m.enter("a");
    let z = m.enter("z");
    let [a_next, b, c] = [m.enter("a"), m.enter("b"), m.enter("c")];
    assert_eq!(m.ring_now(), ["b", "c"]);
    m.release(a);
    // His own slot came free, but the global one goes to those who were ready before him.
    assert!(m.is_granted(b));
    assert_eq!(m.ring_now(), ["c", "a"]);
    m.release(z);
    assert!(m.is_granted(c) && m.waits(a_next));
}

#[test]
fn a_user_alone_in_the_ring_hands_his_slot_to_himself() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    let held = m.enter("a");
    let next = m.enter("a");
    m.release(held);
    assert!(m.is_granted(next));
}

#[test]
fn a_user_who_stopped_being_ready_comes_back_at_the_end() {
    let mut m = model([1, 9], [1, 9], DropNewest);
    m.enter("z");
    let gives_up = m.enter("a");
    m.enter("b");
    assert_eq!(m.ring_now(), ["a", "b"]);
    m.abandon(gives_up);
    assert_eq!(m.ring_now(), ["b"]);
    m.enter("a");
    assert_eq!(m.ring_now(), ["b", "a"]);
}

#[test]
fn a_user_who_replaces_his_only_waiter_keeps_his_turn() {
    let mut m = model([1, 1], [1, 9], DropOldest);
    m.enter("z");
    m.enter("a");
    m.enter("b");
    m.enter("a");
    assert_eq!(m.ring_now(), ["a", "b"]);
}

#[test]
fn a_user_whose_only_waiter_is_evicted_by_another_leaves_the_ring() {
    let mut m = model([1, 9], [1, 1], DropOldest);
    m.enter("z");
    m.enter("a");
    m.enter("b");
    assert_eq!(m.ring_now(), ["b"]);
}

#[test]
fn giving_up_from_the_middle_moves_those_behind_up() {
    let mut m = model([1, 9], [9, 9], DropNewest);
    m.enter("a");
    let ids = [m.enter("a"), m.enter("a"), m.enter("a")];
    m.abandon(ids[1]);
    assert_eq!(m.positions(&ids), [Some(0), None, Some(1)]);
    assert_eq!(m.status(ids[1]), Status::Gone);
}

#[test]
fn a_slot_at_one_users_limit_does_not_hold_up_the_others() {
    let mut m = model([1, 9], [2, 9], DropNewest);
    m.enter("a");
    let stuck = m.enter("a");
    let other = m.enter("b");
    assert!(m.is_granted(other) && m.waits(stuck));
}
