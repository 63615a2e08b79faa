//! The rules of the limiter, one test each, on one thread and a clock that stands still.

#![allow(
    clippy::disallowed_methods,
    reason = "the few tests of the real clock let real time pass"
)]

use std::time::Duration;

use admit::{FakeClock, Level, LimitConfig, Limiter, OverloadPolicy, Reason, Ticket, UserLimits};

type Fallible = Result<(), Box<dyn std::error::Error>>;

fn config(slots: u32, places: u32, global_slots: u32, global_places: u32) -> LimitConfig {
    LimitConfig {
        max_concurrent_per_user: slots,
        max_queue_size_per_user: places,
        max_concurrent_global: global_slots,
        max_queue_size_global: global_places,
        ..LimitConfig::default()
    }
}

fn reason(ticket: Ticket) -> Reason {
    ticket.wait().expect_err("the ticket has ended").reason()
}

/// Nothing is held, nobody waits, and no user is known any more.
fn nothing_is_left(limiter: &Limiter) {
    let stats = limiter.stats();
    assert_eq!(stats.global_concurrent, 0, "{stats:?}");
    assert_eq!(stats.global_queue_size, 0, "{stats:?}");
    assert_eq!(stats.global_blocked, 0, "{stats:?}");
    limiter.cleanup();
    assert_eq!(limiter.stats().total_users, 0, "{stats:?}");
}

#[test]
fn one_slot_and_two_places_let_three_checks_pass_and_refuse_the_fourth() -> Fallible {
    let limiter = Limiter::new(config(1, 2, 100, 500))?;
    let one = limiter.check_limits("user1")?;
    let two = limiter.check_limits("user1")?;
    let three = limiter.check_limits("user1")?;
    let refused = limiter.check_limits("user1").expect_err("no place left");
    assert!(refused.message().contains("(2/2)"), "{refused}");
    assert_eq!(refused.status(), 429);
    assert!(one.is_admitted());
    assert_eq!((two.position(), three.position()), (Some(0), Some(1)));
    drop((one, two, three));
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_released_slot_goes_to_the_first_in_line() -> Fallible {
    let limiter = Limiter::new(config(1, 10, 100, 500))?;
    let one = limiter.try_acquire("ada")?;
    let two = limiter.check_limits("ada")?;
    let three = limiter.check_limits("ada")?;
    drop(one);
    assert!(two.is_admitted() && !three.is_admitted());
    assert!(matches!(
        limiter.try_acquire("ada").map_err(|e| e.reason()),
        Err(Reason::UserLimit { count: 1, limit: 1 })
    ));
    drop(two.wait()?);
    assert!(three.is_admitted());
    drop(three);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn users_who_wait_for_the_global_level_are_served_in_turn() -> Fallible {
    let limiter = Limiter::new(config(3, 10, 1, 500))?;
    let running = limiter.try_acquire("zoe")?;
    let a: Vec<_> = (0..3)
        .map(|_| limiter.check_limits("ada"))
        .collect::<Result<_, _>>()?;
    let b: Vec<_> = (0..3)
        .map(|_| limiter.check_limits("bob"))
        .collect::<Result<_, _>>()?;
    drop(running);
    let mut order = Vec::new();
    let mut waiting: Vec<(char, Ticket)> = Vec::new();
    waiting.extend(a.into_iter().map(|ticket| ('a', ticket)));
    waiting.extend(b.into_iter().map(|ticket| ('b', ticket)));
    while !waiting.is_empty() {
        let next = waiting
            .iter()
            .position(|(_, ticket)| ticket.is_admitted())
            .ok_or("a slot is free and nobody has it")?;
        let (name, ticket) = waiting.remove(next);
        order.push(name);
        drop(ticket.wait()?);
    }
    assert_eq!(order, ['a', 'b', 'a', 'b', 'a', 'b']);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn who_gives_up_in_the_middle_is_passed_over() -> Fallible {
    let limiter = Limiter::new(config(1, 10, 1, 500))?;
    let running = limiter.try_acquire("ada")?;
    let first = limiter.check_limits("ada")?;
    let second = limiter.check_limits("ada")?;
    let third = limiter.check_limits("ada")?;
    drop(second);
    assert_eq!(third.position(), Some(1));
    drop(first);
    drop(running);
    assert!(third.is_admitted());
    drop(third);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_user_whose_waiters_gave_up_leaves_the_ring() -> Fallible {
    let limiter = Limiter::new(config(3, 10, 1, 500))?;
    let running = limiter.try_acquire("zoe")?;
    let ada = limiter.check_limits("ada")?;
    let bob = limiter.check_limits("bob")?;
    drop(ada);
    assert_eq!(limiter.cleanup(), 1, "ada is idle again");
    drop(running);
    assert!(bob.is_admitted());
    drop(bob);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn drop_oldest_at_the_users_bound_evicts_his_oldest() -> Fallible {
    let limiter = Limiter::new(LimitConfig {
        overload_policy: OverloadPolicy::DropOldest,
        ..config(1, 2, 100, 500)
    })?;
    let running = limiter.try_acquire("ada")?;
    let one = limiter.check_limits("ada")?;
    let two = limiter.check_limits("ada")?;
    let three = limiter.check_limits("ada")?;
    assert_eq!(
        reason(one),
        Reason::Evicted {
            level: Level::User,
            count: 2,
            limit: 2
        }
    );
    assert_eq!((two.position(), three.position()), (Some(0), Some(1)));
    assert_eq!(limiter.stats().global_queue_size, 2);
    drop((two, three, running));
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn drop_oldest_at_the_global_bound_prefers_the_newcomers_own_user() -> Fallible {
    let limiter = Limiter::new(LimitConfig {
        overload_policy: OverloadPolicy::DropOldest,
        ..config(1, 5, 1, 2)
    })?;
    let running = limiter.try_acquire("zoe")?;
    let ada = limiter.check_limits("ada")?;
    let bob = limiter.check_limits("bob")?;
    let bob2 = limiter.check_limits("bob")?;
    assert_eq!(
        reason(bob),
        Reason::Evicted {
            level: Level::Global,
            count: 2,
            limit: 2
        }
    );
    let cyd = limiter.check_limits("cyd")?;
    assert_eq!(
        reason(ada),
        Reason::Evicted {
            level: Level::Global,
            count: 2,
            limit: 2
        }
    );
    assert_eq!(limiter.stats().global_queue_size, 2);
    drop(running);
    assert!(bob2.is_admitted());
    drop((bob2, cyd));
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn block_waits_outside_the_bound() -> Fallible {
    let limiter = Limiter::new(LimitConfig {
        overload_policy: OverloadPolicy::Block,
        ..config(1, 2, 100, 500)
    })?;
    let tickets: Vec<_> = (0..5)
        .map(|_| limiter.check_limits("ada"))
        .collect::<Result<_, _>>()?;
    let stats = limiter.stats();
    assert_eq!((stats.users[0].queued, stats.users[0].blocked), (2, 2));
    assert_eq!((stats.global_queue_size, stats.global_blocked), (4, 0));
    for ticket in tickets {
        drop(ticket.wait()?);
    }
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_deadline_ends_a_waiter_that_nobody_polls() -> Fallible {
    let clock = FakeClock::new();
    let limiter: Limiter = Limiter::with_clock(config(1, 1, 100, 500), clock.clone())?;
    let running = limiter.try_acquire("ada")?;
    let waiting = limiter.check_limits("ada")?;
    clock.advance(Duration::from_secs(29));
    assert_eq!(waiting.position(), Some(0));
    clock.advance(Duration::from_secs(1));
    let again = limiter.check_limits("ada")?;
    assert_eq!(
        reason(waiting),
        Reason::QueueTimeout {
            timeout: Duration::from_secs(30)
        }
    );
    drop((running, again));
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_grant_that_nobody_collects_goes_on() -> Fallible {
    let clock = FakeClock::new();
    let limiter: Limiter = Limiter::with_clock(config(1, 5, 100, 500), clock.clone())?;
    let running = limiter.try_acquire("ada")?;
    let forgotten = limiter.check_limits("ada")?;
    clock.advance(Duration::from_secs(10));
    let next = limiter.check_limits("ada")?;
    drop(running);
    assert!(forgotten.is_admitted());
    clock.advance(Duration::from_secs(20));
    assert!(next.is_admitted());
    assert!(matches!(reason(forgotten), Reason::QueueTimeout { .. }));
    drop(next.wait()?);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn deadlines_hold_on_the_real_clock() -> Fallible {
    let limiter = Limiter::new(LimitConfig {
        queue_timeout: Duration::from_millis(20),
        ..config(1, 5, 100, 500)
    })?;
    let running = limiter.try_acquire("ada")?;
    let start = std::time::Instant::now();
    assert_eq!(
        limiter
            .acquire_blocking("ada")
            .expect_err("timed out")
            .status(),
        408
    );
    assert!(start.elapsed() >= Duration::from_millis(20));
    let unpolled = limiter.check_limits("ada")?;
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(limiter.stats().global_queue_size, 0);
    assert!(matches!(reason(unpolled), Reason::QueueTimeout { .. }));
    drop(running);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn growing_admits_and_shrinking_drains() -> Fallible {
    let limiter = Limiter::new(config(1, 10, 2, 500))?;
    let one = limiter.try_acquire("ada")?;
    let waiting: Vec<_> = (0..3)
        .map(|_| limiter.check_limits("ada"))
        .collect::<Result<_, _>>()?;
    limiter.update(|config| config.max_concurrent_per_user = 3)?;
    let admitted = || waiting.iter().filter(|ticket| ticket.is_admitted()).count();
    assert_eq!(admitted(), 1, "the global limit is two");
    limiter.update(|config| config.max_concurrent_global = 10)?;
    assert_eq!(admitted(), 2, "the user's limit is three");
    limiter.update(|config| config.max_concurrent_per_user = 1)?;
    drop(one);
    assert_eq!(admitted(), 2);
    assert_eq!(limiter.stats().global_concurrent, 2);
    limiter.update(|config| config.enabled = false)?;
    assert_eq!(admitted(), 3, "switched off, it admits everyone");
    drop(waiting);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_user_with_no_slots_is_refused_and_his_waiters_end() -> Fallible {
    let limiter = Limiter::new(config(1, 10, 2, 500))?;
    let running = limiter.try_acquire("ada")?;
    let waiting = limiter.check_limits("ada")?;
    limiter.update(|config| {
        config.users.insert("ada".into(), UserLimits::new(0, 10));
    })?;
    assert_eq!(reason(waiting), Reason::UserLimit { count: 1, limit: 0 });
    let refused = limiter.check_limits("ada").expect_err("blocked");
    assert_eq!(refused.reason(), Reason::UserLimit { count: 1, limit: 0 });
    drop(running);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn close_refuses_newcomers_and_waiters_and_lets_permits_finish() -> Fallible {
    let limiter = Limiter::new(config(1, 10, 2, 500))?;
    let running = limiter.try_acquire("ada")?;
    let waiting = limiter.check_limits("ada")?;
    limiter.close();
    assert_eq!(reason(waiting), Reason::Closed);
    assert_eq!(
        limiter.try_acquire("bob").expect_err("closed").reason(),
        Reason::Closed
    );
    assert!(!limiter.drained_blocking(Duration::from_millis(1)));
    let other = limiter.clone();
    let waits = std::thread::spawn(move || other.drained_blocking(Duration::from_secs(10)));
    std::thread::sleep(Duration::from_millis(20));
    drop(running);
    assert!(waits.join().expect("no panic"));
    limiter.reset();
    assert_eq!(
        limiter.try_acquire("bob").expect_err("closed").reason(),
        Reason::Closed
    );
    Ok(())
}

#[test]
fn reset_makes_old_permits_inert_and_ends_waiters() -> Fallible {
    let limiter = Limiter::new(config(1, 10, 2, 500))?;
    let ada = limiter.user("ada");
    let mut old = Vec::new();
    for _ in 0..100 {
        old.push(ada.try_acquire()?);
        let waiting = limiter.check_limits("ada")?;
        limiter.reset();
        assert_eq!(reason(waiting), Reason::Reset);
        assert_eq!(limiter.stats().total_users, 0);
    }
    let new = limiter.try_acquire("ada")?;
    drop(old);
    assert_eq!(limiter.stats().global_concurrent, 1);
    drop(new);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn what_came_from_a_limiter_goes_on_without_it() -> Fallible {
    let limiter = Limiter::new(config(1, 10, 1, 500))?;
    let permit = limiter.try_acquire("ada")?;
    let ticket = limiter.check_limits("ada")?;
    let other = limiter.check_limits("bob")?;
    let future = limiter.acquire("ada");
    drop(limiter);
    assert!(!ticket.is_admitted());
    drop(permit);
    assert!(ticket.is_admitted() || other.is_admitted());
    drop(other);
    drop(ticket.wait()?);
    let runtime = tokio::runtime::Builder::new_current_thread().build()?;
    drop(runtime.block_on(future)?);
    Ok(())
}

#[test]
fn an_idle_user_is_forgotten_after_the_idle_time() -> Fallible {
    let clock = FakeClock::new();
    let limiter: Limiter = Limiter::with_clock(config(1, 5, 100, 500), clock.clone())?;
    drop(limiter.try_acquire("ada")?);
    clock.advance(Duration::from_secs(59));
    assert_eq!(limiter.stats().total_users, 1);
    drop(limiter.try_acquire("ada")?);
    clock.advance(Duration::from_secs(59));
    assert_eq!(limiter.stats().total_users, 1);
    clock.advance(Duration::from_secs(1));
    assert_eq!(limiter.stats().total_users, 0);
    Ok(())
}

#[test]
fn a_newcomer_gets_in_where_no_idle_user_may_be_remembered() -> Fallible {
    let unremembered = LimitConfig {
        max_idle_users: 0,
        ..config(1, 1, 2, 10)
    };
    let limiter = Limiter::with_clock(unremembered, FakeClock::new())?;
    let first = limiter.try_acquire("ada")?;
    let second = limiter.try_acquire("bob")?;
    let third = limiter.check_limits("eve")?;
    drop((first, second, third));
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_rule_that_panics_leaves_no_reload_half_done() -> Fallible {
    let limiter = Limiter::new(config(1, 0, 100, 500))?;
    let names: Vec<String> = (0..50).map(|number| format!("user-{number}")).collect();
    for name in &names {
        drop(limiter.try_acquire(name.as_str())?);
    }
    let panicky = LimitConfig {
        users_by: Some(admit::UserRule::new(|user: &String| {
            assert!(user != "user-7", "the rule does not like this one");
            None
        })),
        ..config(2, 0, 100, 500)
    };
    let reload = std::panic::AssertUnwindSafe(|| limiter.reload(panicky.clone()));
    assert!(std::panic::catch_unwind(reload).is_err());
    for name in &names {
        let both = (
            limiter.try_acquire(name.as_str())?,
            limiter.try_acquire(name.as_str())?,
        );
        drop(both);
    }
    assert_eq!(limiter.config().max_concurrent_per_user, 2);
    Ok(())
}
