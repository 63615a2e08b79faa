//! What may be live: counted to the byte, by an allocator of its own.
//!
//! The short form takes a few seconds. `ADMIT_SCALE=full`, for a release build, counts five million waiters, three
//! million users who wait in vain and ten million users with one request each.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may wait for another thread"
)]

mod tool;

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use admit::{Acquire, FakeClock, LimitConfig, Limiter, OverloadPolicy, Permit, Ticket};
use tool::counting::{Counting, forget_peak, live, peak};
use tool::{Rng, is_full_scale, poll_once, seconds};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Fallible = Result<(), Box<dyn std::error::Error>>;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;
/// Nothing times out in these tests unless it is meant to.
const LONG: Duration = Duration::from_secs(300 * 24 * 3600);

/// The count is of the whole process: one test at a time.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `full`, or a part of it that a debug build counts in a second or two.
fn scaled(full: u64, short: u64) -> u64 {
    if is_full_scale() { full } else { short }
}

fn config<K>() -> LimitConfig<K> {
    LimitConfig {
        max_concurrent_per_user: 1,
        max_queue_size_per_user: 1_000_000,
        max_concurrent_global: 1_000_000,
        max_queue_size_global: 1_000_000,
        queue_timeout: LONG,
        ..LimitConfig::default()
    }
}

/// Has everything freed that waits for others to look away: what is retired, and gates that the timer has not looked
/// at since their last waiter left.
fn tidy_up() {
    let poke = Limiter::<u8>::keyed(LimitConfig {
        queue_timeout: Duration::from_millis(1),
        ..config()
    })
    .expect("a valid config");
    let running = poke.try_acquire(&1).expect("a free slot");
    assert!(poke.acquire_blocking(&1).is_err(), "timed out");
    drop((running, poke));
    for _ in 0..200 {
        crossbeam::epoch::pin().flush();
    }
}

/// Waits until no more than `target` bytes are live; says how many are if they stay.
fn falls_to(target: usize) -> Result<(), String> {
    let start = Instant::now();
    loop {
        tidy_up();
        let now = live();
        if now <= target {
            return Ok(());
        }
        if start.elapsed() > Duration::from_secs(5) {
            return Err(format!("{now} bytes are live, {} too many", now - target));
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// The most bytes above those of the start that were live while `f` ran.
fn growth(f: impl FnOnce() -> Fallible) -> Result<usize, Box<dyn std::error::Error>> {
    tidy_up();
    let start = live();
    forget_peak();
    f()?;
    Ok(peak() - start)
}

#[test]
fn waiters_who_gave_up_behind_a_stuck_head_are_gone() -> Fallible {
    let _alone = alone();
    let waiters = scaled(5_000_000, 200_000);
    let limiter = Limiter::keyed(config())?;
    let _running = limiter.try_acquire(&1)?;
    let head = limiter.check_limits(&1)?;
    for _ in 0..1000 {
        drop(limiter.check_limits(&1)?);
    }
    let grown = growth(|| {
        for _ in 0..waiters {
            drop(limiter.check_limits(&1)?);
        }
        Ok(())
    })?;
    println!("{waiters} waiters gave up one by one: at most {grown} bytes more");
    assert!(grown < 4 * MIB, "{grown} bytes");
    assert_eq!(head.position(), Some(0));
    let last = limiter.check_limits(&1)?;
    assert_eq!(last.position(), Some(1));
    Ok(())
}

#[test]
fn waiters_who_gave_up_in_any_order_are_gone() -> Fallible {
    let _alone = alone();
    let waiters = scaled(2_000_000, 100_000);
    let limiter = Limiter::keyed(config())?;
    let running = limiter.try_acquire(&1)?;
    let head = limiter.check_limits(&1)?;
    let mut rng = Rng::new(1);
    let mut crowd: Vec<Ticket<u64>> = Vec::new();
    let mut patient: VecDeque<Ticket<u64>> = VecDeque::new();
    let step =
        |crowd: &mut Vec<Ticket<u64>>, patient: &mut VecDeque<Ticket<u64>>, rng: &mut Rng| {
            let ticket = limiter.check_limits(&1)?;
            // A few stay for long, so that the row has islands.
            if rng.one_in(1000) {
                patient.push_back(ticket);
                if patient.len() > 100 {
                    patient.pop_front();
                }
            } else {
                crowd.push(ticket);
            }
            if crowd.len() >= 500 {
                let at = rng.below(crowd.len() as u64) as usize;
                drop(crowd.swap_remove(at));
            }
            Ok::<(), Box<dyn std::error::Error>>(())
        };
    for _ in 0..10_000 {
        step(&mut crowd, &mut patient, &mut rng)?;
    }
    let grown = growth(|| {
        for _ in 0..waiters {
            step(&mut crowd, &mut patient, &mut rng)?;
        }
        Ok(())
    })?;
    println!("{waiters} waiters gave up in any order: at most {grown} bytes more");
    assert!(grown < 4 * MIB, "{grown} bytes");
    assert_eq!(head.position(), Some(0));
    let waiting = limiter.stats().global_queue_size as usize;
    assert_eq!(waiting, 1 + crowd.len() + patient.len());
    drop(running);
    assert!(head.is_admitted());
    Ok(())
}

#[test]
fn users_who_waited_in_vain_at_a_full_global_level_are_gone() -> Fallible {
    let _alone = alone();
    let users = scaled(3_000_000, 100_000);
    for policy in [
        OverloadPolicy::DropNewest,
        OverloadPolicy::DropOldest,
        OverloadPolicy::Block,
    ] {
        let limiter = Limiter::<u64>::keyed(LimitConfig {
            max_concurrent_global: 1,
            max_idle_users: 100,
            overload_policy: policy,
            ..config()
        })?;
        let _running = limiter.try_acquire(&0)?;
        let stuck = limiter.check_limits(&1)?;
        let grown = growth(|| {
            for user in 0..users {
                let ticket = limiter.check_limits(&(2 + user))?;
                assert!(!ticket.is_admitted());
                drop(ticket);
            }
            Ok(())
        })?;
        let known = limiter.stats().total_users;
        println!("{policy}: {users} users in vain: at most {grown} bytes more, {known} known");
        assert!(grown < 4 * MIB, "{grown} bytes");
        assert!(known < 1000, "{known} users are known");
        assert_eq!(stuck.position(), Some(0));
    }
    Ok(())
}

#[test]
fn users_with_one_request_each_cost_a_fixed_amount() -> Fallible {
    let _alone = alone();
    let users = scaled(10_000_000, 300_000);
    let mut known = 0;
    let grown = growth(|| {
        let limiter = Limiter::new(LimitConfig::default())?;
        let mut name = String::new();
        for user in 0..users {
            use std::fmt::Write;
            name.clear();
            write!(name, "user-{user}@example.org")?;
            drop(limiter.try_acquire(name.as_str())?);
        }
        known = limiter.stats().total_users;
        Ok(())
    })?;
    println!(
        "{users} users with one request each: at most {:.1} MiB, {known} known at the end",
        grown as f64 / MIB as f64
    );
    assert!(grown < 96 * MIB, "{grown} bytes");
    Ok(())
}

#[test]
fn users_who_come_from_many_threads_cost_a_fixed_amount() -> Fallible {
    let _alone = alone();
    let users = scaled(4_000_000, 200_000);
    let limiter = Limiter::<u64>::keyed(LimitConfig {
        max_idle_users: 1000,
        ..LimitConfig::default()
    })?;
    let grown = growth(|| {
        thread::scope(|scope| {
            for thread in 0..4 {
                let limiter = &limiter;
                scope.spawn(move || {
                    for user in 0..users / 4 {
                        let user = thread * users + user;
                        drop(limiter.try_acquire(&user).expect("a free slot"));
                    }
                });
            }
        });
        Ok(())
    })?;
    let known = limiter.stats().total_users;
    println!("{users} users of four threads: at most {grown} bytes more, {known} known");
    assert!(grown < 4 * MIB, "{grown} bytes");
    Ok(())
}

#[test]
fn the_timers_of_those_who_gave_up_are_gone() -> Fallible {
    let _alone = alone();
    let waiters = scaled(500_000, 20_000);
    let limiter = Limiter::keyed(config())?;
    let _running = limiter.try_acquire(&1)?;
    let _head = limiter.check_limits(&1)?;
    let round = || -> Fallible {
        let crowd: Vec<_> = (0..waiters)
            .map(|n| {
                let timeout = Duration::from_secs(1_000_000 + n % 1000);
                limiter.request(&1).timeout(timeout).check_limits()
            })
            .collect::<Result<_, _>>()?;
        drop(crowd);
        Ok(())
    };
    round()?;
    tidy_up();
    let start = live();
    for _ in 0..3 {
        round()?;
    }
    falls_to(start + 64 * KIB)?;
    Ok(())
}

#[test]
fn a_pretended_clock_keeps_nothing_of_those_who_gave_up() -> Fallible {
    let _alone = alone();
    let clock = FakeClock::new();
    let limiter = Limiter::with_clock(config(), clock.clone())?;
    let _running = limiter.try_acquire(&1)?;
    let _head = limiter.check_limits(&1)?;
    let round = || -> Fallible {
        for _ in 0..1000 {
            drop(limiter.check_limits(&1)?);
        }
        clock.advance(Duration::from_secs(1));
        Ok(())
    };
    round()?;
    tidy_up();
    let start = live();
    for _ in 0..scaled(1000, 20) {
        round()?;
    }
    falls_to(start + 64 * KIB)?;
    Ok(())
}

/// Runs `scenario` a few times; afterwards nothing of it may be live.
fn leaves_nothing(scenario: impl Fn() -> Fallible) -> Fallible {
    for _ in 0..2 {
        scenario()?;
    }
    tidy_up();
    tidy_up();
    let start = live();
    for _ in 0..5 {
        scenario()?;
    }
    falls_to(start + 8 * KIB)?;
    Ok(())
}

/// A user who runs, some who wait, some who have not come yet, at two levels.
type Busy = (Vec<Permit>, Vec<Ticket>, Vec<Acquire>);

fn busy(limiter: &Limiter) -> Result<Busy, Box<dyn std::error::Error>> {
    let mut busy: Busy = Default::default();
    for number in 0..40 {
        let user = format!("user-{}", number % 7);
        if let Ok(permit) = limiter.try_acquire(user.as_str()) {
            busy.0.push(permit);
        }
        busy.1.push(limiter.check_limits(user.as_str())?);
        let mut future = limiter.acquire(user.as_str());
        if number % 2 == 0 {
            assert!(poll_once(&mut future).is_pending());
        }
        busy.2.push(future);
    }
    Ok(busy)
}

#[test]
fn nothing_is_left_of_a_limiter_that_goes_last() -> Fallible {
    let _alone = alone();
    leaves_nothing(|| {
        let limiter = Limiter::new(LimitConfig {
            max_concurrent_global: 5,
            ..config()
        })?;
        drop(busy(&limiter)?);
        let handle = limiter.user("ada");
        drop(limiter);
        drop(handle.try_acquire()?);
        Ok(())
    })
}

#[test]
fn nothing_is_left_when_permits_tickets_and_futures_outlive_their_limiter() -> Fallible {
    let _alone = alone();
    leaves_nothing(|| {
        for order in 0..6 {
            let limiter = Limiter::new(LimitConfig {
                max_concurrent_global: 5,
                ..config()
            })?;
            let (permits, tickets, futures) = busy(&limiter)?;
            drop(limiter);
            match order {
                0 => drop(((permits, tickets), futures)),
                1 => drop(((tickets, permits), futures)),
                2 => drop(((futures, tickets), permits)),
                3 => drop(((tickets, futures), permits)),
                4 => drop(((permits, futures), tickets)),
                _ => drop(((futures, permits), tickets)),
            }
        }
        Ok(())
    })
}

#[test]
fn nothing_is_left_after_thousands_of_resets_with_permits_outstanding() -> Fallible {
    let _alone = alone();
    let resets = scaled(20_000, 1000);
    leaves_nothing(|| {
        let limiter = Limiter::<u64>::keyed(config())?;
        let mut kept = Vec::new();
        for number in 0..resets {
            let user = number % 3;
            kept.push((limiter.try_acquire(&user)?, limiter.check_limits(&user)?));
            if kept.len() > 200 {
                drop(kept.swap_remove((number % 200) as usize));
            }
            limiter.reset();
        }
        drop(limiter);
        drop(kept);
        Ok(())
    })
}

#[test]
fn a_reset_keeps_nothing_while_its_limiter_lives() -> Fallible {
    let _alone = alone();
    let limiter = Limiter::<u64>::keyed(config())?;
    leaves_nothing(|| {
        for user in 0..100 {
            let running = limiter.try_acquire(&user)?;
            let waiting = limiter.check_limits(&user)?;
            limiter.reset();
            drop((running, waiting));
        }
        Ok(())
    })
}

#[test]
fn nothing_is_left_of_waiters_who_were_evicted_timed_out_or_closed() -> Fallible {
    let _alone = alone();
    leaves_nothing(|| {
        let limiter = Limiter::<u64>::keyed(LimitConfig {
            overload_policy: OverloadPolicy::DropOldest,
            max_queue_size_per_user: 5,
            max_queue_size_global: 20,
            queue_timeout: Duration::from_millis(2),
            ..config()
        })?;
        let mut kept = Vec::new();
        let mut running = Vec::new();
        for user in 0..10 {
            running.push(limiter.try_acquire(&user)?);
            for _ in 0..10 {
                kept.push(limiter.check_limits(&user)?);
            }
        }
        thread::sleep(Duration::from_millis(5));
        for user in 0..10 {
            kept.push(limiter.check_limits(&user)?);
        }
        limiter.close();
        drop((running, kept));
        Ok(())
    })
}

#[test]
fn nothing_is_left_of_a_storm() -> Fallible {
    let _alone = alone();
    let time = seconds("ADMIT_STORM_SECONDS", 0.7) / 7;
    leaves_nothing(|| {
        let limiter = Limiter::<u64>::keyed(LimitConfig {
            max_concurrent_per_user: 2,
            max_queue_size_per_user: 6,
            max_concurrent_global: 4,
            max_queue_size_global: 20,
            queue_timeout: Duration::from_millis(1),
            overload_policy: OverloadPolicy::DropOldest,
            max_idle_users: 5,
            ..config()
        })?;
        let end = Instant::now() + time;
        thread::scope(|scope| {
            for number in 0..6 {
                let limiter = &limiter;
                scope.spawn(move || {
                    let mut rng = Rng::new(number + 1);
                    let mut permits = Vec::new();
                    let mut tickets = Vec::new();
                    while Instant::now() < end {
                        let user = rng.below(20);
                        match rng.below(20) {
                            0 => limiter.reset(),
                            1 => drop(limiter.cleanup()),
                            2 => {
                                let _ = limiter.update(|config| {
                                    config.max_concurrent_global = 1 + user as u32;
                                });
                            }
                            3..8 => permits.extend(limiter.try_acquire(&user)),
                            8..14 => tickets.extend(limiter.check_limits(&user)),
                            14..17 => permits.truncate(rng.below(4) as usize),
                            _ => tickets.truncate(rng.below(6) as usize),
                        }
                    }
                });
            }
        });
        Ok(())
    })
}

#[test]
fn what_a_user_and_a_waiter_cost() -> Fallible {
    let _alone = alone();
    let count = scaled(400_000, 50_000);
    let each = |start: usize| (live() - start) / count as usize;
    tidy_up();

    let start = live();
    let limiter = Limiter::<u64>::keyed(LimitConfig {
        max_idle_users: 100_000_000,
        ..config()
    })?;
    let empty = live() - start;
    for user in 0..count {
        drop(limiter.try_acquire(&user)?);
    }
    let idle = each(start);
    drop(limiter);

    tidy_up();
    let start = live();
    let limiter = Limiter::<u64>::keyed(config())?;
    let mut permits = Vec::with_capacity(count as usize);
    for user in 0..count {
        permits.push(limiter.try_acquire(&user)?);
    }
    let holding = each(start);
    drop((permits, limiter));

    tidy_up();
    let limiter = Limiter::<u64>::keyed(config())?;
    let _running = limiter.try_acquire(&0)?;
    let start = live();
    let mut tickets = Vec::with_capacity(count as usize);
    for _ in 0..count {
        tickets.push(limiter.check_limits(&0)?);
    }
    let waiter = each(start);
    drop(tickets);

    let limiter = Limiter::<u64>::keyed(LimitConfig {
        max_concurrent_global: 1,
        ..config()
    })?;
    let _running = limiter.try_acquire(&0)?;
    tidy_up();
    let start = live();
    let mut tickets = Vec::with_capacity(count as usize);
    for user in 0..count {
        tickets.push(limiter.check_limits(&(1 + user))?);
    }
    let waiting_user = each(start);
    drop(tickets);

    println!(
        "bytes: {empty} a limiter, {idle} an idle user, {holding} one who holds (permit included), \
         {waiter} a waiter (ticket included), {waiting_user} a user with one waiter"
    );
    println!(
        "bytes: {} a permit, {} a ticket, {} a future",
        size_of::<Permit>(),
        size_of::<Ticket>(),
        size_of::<Acquire>()
    );
    assert!(idle < 1000 && holding < 1000 && waiter < 1000 && waiting_user < 2000);
    Ok(())
}
