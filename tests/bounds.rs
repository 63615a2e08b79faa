//! Bounds hold between the check and the act: at every instant, whoever races for the last place.
//!
//! The races last a second each; `ADMIT_STORM_SECONDS=60` lets them last longer. The bound of a million and what
//! follows is counted out in release builds and with `ADMIT_SCALE=full`.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may wait for another thread"
)]

mod tool;

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use admit::{LimitConfig, Limiter, OverloadPolicy, Permit, Reason, Ticket};
use tool::watchdog::{OverAtTheEnd, Watchdog};
use tool::{Rng, is_full_scale, seconds};

type Fallible = Result<(), Box<dyn std::error::Error>>;

const MAX: u32 = 1_048_575;
const THREADS: usize = 6;

fn config(policy: OverloadPolicy) -> LimitConfig<u64> {
    LimitConfig {
        max_concurrent_per_user: 2,
        max_queue_size_per_user: 4,
        max_concurrent_global: 3,
        max_queue_size_global: 10,
        overload_policy: policy,
        queue_timeout: Duration::from_secs(3600),
        ..LimitConfig::default()
    }
}

/// Looks at the counts until it is over, and says how often.
fn watch_bounds(limiter: &Limiter<u64>, is_over: &AtomicBool) -> u64 {
    let mut looks = 0;
    while !is_over.load(Ordering::Relaxed) {
        let stats = limiter.stats();
        let config = &stats.config;
        assert!(
            stats.global_concurrent <= config.max_concurrent_global,
            "{stats:?}"
        );
        assert!(
            stats.global_queue_size <= config.max_queue_size_global,
            "{stats:?}"
        );
        for user in &stats.users {
            assert!(
                user.concurrent <= config.max_concurrent_per_user,
                "{stats:?}"
            );
            assert!(user.queued <= config.max_queue_size_per_user, "{stats:?}");
        }
        if config.overload_policy != OverloadPolicy::Block {
            // Who waits outside the bound is shown as blocked: so the bound itself is looked at here.
            assert_eq!(stats.global_blocked, 0, "{stats:?}");
            assert!(
                stats.users.iter().all(|user| user.blocked == 0),
                "{stats:?}"
            );
        }
        looks += 1;
    }
    looks
}

/// Races checks of a few users against the bounds; tickets are kept or let go at random.
fn race(policy: OverloadPolicy) -> Fallible {
    let limiter = Limiter::keyed(config(policy))?;
    let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 1.0);
    let is_over = AtomicBool::new(false);
    let watched = limiter.clone();
    let watchdog = Watchdog::new(THREADS, move || format!("{:?}", watched.stats()));
    thread::scope(|scope| {
        let looker = scope.spawn(|| watch_bounds(&limiter, &is_over));
        let over = OverAtTheEnd(&is_over);
        let racers: Vec<_> = (0..THREADS)
            .map(|number| {
                let (limiter, watchdog) = (&limiter, &watchdog);
                scope.spawn(move || {
                    let mut rng = Rng::new(number as u64 + 1);
                    let mut tickets: Vec<Ticket<u64>> = Vec::new();
                    while Instant::now() < end {
                        match limiter.check_limits(&rng.below(4)) {
                            Ok(ticket) => tickets.push(ticket),
                            Err(error) => assert!(policy != OverloadPolicy::Block, "{error}"),
                        }
                        if tickets.len() > 8 || rng.one_in(3) {
                            let at = rng.below(tickets.len().max(1) as u64) as usize;
                            if at < tickets.len() {
                                drop(tickets.swap_remove(at));
                            }
                        }
                        watchdog.step(number);
                    }
                    watchdog.finish(number);
                })
            })
            .collect();
        for racer in racers {
            racer.join().expect("a racer failed");
        }
        drop(over);
        assert!(looker.join().expect("a bound was passed") > 0);
    });
    let stats = limiter.stats();
    assert_eq!(
        (stats.global_concurrent, stats.global_queue_size),
        (0, 0),
        "{stats:?}"
    );
    Ok(())
}

#[test]
fn no_bound_is_passed_under_drop_newest() -> Fallible {
    race(OverloadPolicy::DropNewest)
}

#[test]
fn no_bound_is_passed_under_drop_oldest() -> Fallible {
    race(OverloadPolicy::DropOldest)
}

#[test]
fn no_limit_is_passed_and_nobody_refused_under_block() -> Fallible {
    race(OverloadPolicy::Block)
}

/// All slots taken for good, the queue full: newcomers evict, and the count stays where it is.
fn evict_at_a_full_queue(users: u64, per_user: u32) -> Fallible {
    let limiter = Limiter::keyed(LimitConfig {
        max_concurrent_per_user: 1,
        max_queue_size_per_user: per_user,
        max_concurrent_global: 1000,
        max_queue_size_global: 10,
        ..config(OverloadPolicy::DropOldest)
    })?;
    let full = 10.min(per_user * users as u32);
    let running: Vec<Permit<u64>> = (0..users)
        .map(|user| limiter.try_acquire(&user))
        .collect::<Result<_, _>>()?;
    let mut first = Vec::new();
    let mut user = 0;
    while limiter.stats().global_queue_size < full {
        first.push(limiter.check_limits(&(user % users))?);
        user += 1;
    }
    let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 1.0) / 2;
    let is_over = AtomicBool::new(false);
    let refused = AtomicU32::new(0);
    let kept = thread::scope(|scope| {
        let looker = scope.spawn(|| {
            let mut looks = 0;
            while !is_over.load(Ordering::Relaxed) {
                let stats = limiter.stats();
                assert_eq!(stats.global_queue_size, full, "{stats:?}");
                assert_eq!(stats.global_blocked, 0, "{stats:?}");
                looks += 1;
            }
            looks
        });
        let over = OverAtTheEnd(&is_over);
        let racers: Vec<_> = (0..THREADS)
            .map(|number| {
                let (limiter, refused) = (&limiter, &refused);
                scope.spawn(move || {
                    let mut rng = Rng::new(number as u64 + 1);
                    let mut kept = Vec::new();
                    while Instant::now() < end {
                        match limiter.check_limits(&rng.below(users)) {
                            Ok(ticket) => kept.push(ticket),
                            // Everybody who waited was being told something at that instant.
                            Err(error) => {
                                assert!(
                                    matches!(
                                        error.reason(),
                                        Reason::UserQueueFull { .. }
                                            | Reason::GlobalQueueFull { .. }
                                            | Reason::Evicted { .. }
                                    ),
                                    "{error}"
                                );
                                refused.fetch_add(1, Ordering::Relaxed);
                            }
                        }
                        // Only those who have been evicted are let go.
                        if kept.len() > 200 {
                            kept.retain(|ticket| ticket.position().is_some());
                        }
                    }
                    kept
                })
            })
            .collect();
        let kept: Vec<Ticket<u64>> = racers
            .into_iter()
            .flat_map(|racer| racer.join().expect("a racer failed"))
            .collect();
        drop(over);
        assert!(looker.join().expect("the count moved") > 0);
        kept
    });
    let waiting = kept
        .iter()
        .chain(&first)
        .filter(|ticket| ticket.position().is_some())
        .count();
    assert_eq!(waiting, full as usize, "as many wait as are counted");
    let totals = limiter.stats().totals;
    println!(
        "{} evicted, {} refused, {:?}",
        totals.evicted,
        refused.into_inner(),
        totals
    );
    assert!(totals.evicted > 0);
    drop((running, first, kept));
    Ok(())
}

#[test]
fn an_eviction_at_the_users_bound_keeps_the_count_exact() -> Fallible {
    evict_at_a_full_queue(1, 5)
}

#[test]
fn an_eviction_at_the_global_bound_keeps_the_count_exact() -> Fallible {
    evict_at_a_full_queue(4, 1000)
}

#[test]
fn evictions_at_both_bounds_keep_the_count_exact() -> Fallible {
    evict_at_a_full_queue(4, 3)
}

#[test]
fn a_bound_that_shrinks_and_grows_is_never_passed_by_newcomers() -> Fallible {
    // Nobody leaves: so the count may never be above the largest bound so far, and each success came at a moment when
    // the count was below the bound in force.
    for policy in [OverloadPolicy::DropNewest, OverloadPolicy::DropOldest] {
        for _ in 0..20 {
            let limiter = Limiter::keyed(LimitConfig {
                max_concurrent_per_user: 1,
                max_queue_size_per_user: 0,
                ..config(policy)
            })?;
            let running = limiter.try_acquire(&1)?;
            let largest = AtomicU32::new(0);
            let kept: Vec<Ticket<u64>> = thread::scope(|scope| {
                let racers: Vec<_> = (0..4)
                    .map(|_| {
                        let (limiter, largest) = (&limiter, &largest);
                        scope.spawn(move || {
                            let mut kept = Vec::new();
                            for _ in 0..50 {
                                if let Ok(ticket) = limiter.check_limits(&1) {
                                    let waiting = &limiter.stats().users[0];
                                    let count = waiting.queued + waiting.blocked;
                                    assert!(count <= largest.load(Ordering::SeqCst), "{waiting:?}");
                                    kept.push(ticket);
                                }
                            }
                            kept
                        })
                    })
                    .collect();
                let mut rng = Rng::new(3);
                for _ in 0..50 {
                    let bound = rng.below(8) as u32;
                    largest.fetch_max(bound, Ordering::SeqCst);
                    limiter
                        .update(|config| config.max_queue_size_per_user = bound)
                        .expect("a valid config");
                }
                racers
                    .into_iter()
                    .flat_map(|racer| racer.join().expect("a racer failed"))
                    .collect()
            });
            drop((running, kept));
        }
    }
    Ok(())
}

/// A million of something takes a while in a debug build.
fn counts_to_a_million() -> bool {
    is_full_scale() || !cfg!(debug_assertions)
}

#[test]
fn a_level_holds_1048575_when_nothing_is_limited_and_not_one_more() -> Fallible {
    if !counts_to_a_million() {
        return Ok(());
    }
    let limiter = Limiter::keyed(LimitConfig {
        enabled: false,
        ..config(OverloadPolicy::DropNewest)
    })?;
    let all: Vec<_> = (0..MAX)
        .map(|_| limiter.try_acquire(&1))
        .collect::<Result<_, _>>()?;
    let refused = limiter.try_acquire(&1).expect_err("one more");
    assert_eq!(
        refused.reason(),
        Reason::UserLimit {
            count: MAX,
            limit: MAX
        }
    );
    let refused = limiter.try_acquire(&2).expect_err("one more");
    assert_eq!(
        refused.reason(),
        Reason::GlobalLimit {
            count: MAX,
            limit: MAX
        }
    );
    let stats = limiter.stats();
    assert_eq!(stats.global_concurrent, MAX);
    assert_eq!(stats.peak_concurrent, MAX);
    // Switched on again, the count is still exact, and drains.
    limiter.update(|config| config.enabled = true)?;
    assert_eq!(limiter.stats().global_concurrent, MAX);
    assert!(limiter.try_acquire(&2).is_err());
    drop(all);
    assert_eq!(limiter.stats().global_concurrent, 0);
    drop(limiter.try_acquire(&1)?);
    Ok(())
}

#[test]
fn block_lets_1048575_wait_at_a_level_and_not_one_more() -> Fallible {
    if !counts_to_a_million() {
        return Ok(());
    }
    let limiter = Limiter::keyed(config(OverloadPolicy::Block))?;
    let running = [
        limiter.try_acquire(&1)?,
        limiter.try_acquire(&1)?,
        limiter.try_acquire(&2)?,
    ];
    let mut all: Vec<Ticket<u64>> = (0..MAX)
        .map(|_| limiter.check_limits(&1))
        .collect::<Result<_, _>>()?;
    let refused = limiter.check_limits(&1).expect_err("one more");
    assert_eq!(
        refused.reason(),
        Reason::UserQueueFull {
            count: MAX,
            limit: MAX
        }
    );
    let refused = limiter.check_limits(&2).expect_err("one more");
    assert_eq!(
        refused.reason(),
        Reason::GlobalQueueFull {
            count: MAX,
            limit: MAX
        }
    );
    let stats = limiter.stats();
    assert_eq!(stats.global_queue_size + stats.global_blocked, MAX);
    assert_eq!(stats.global_queue_size, 10);
    assert_eq!(stats.global_concurrent, 3);
    // One leaves from the middle, one comes.
    drop(all.swap_remove(500_000));
    all.push(limiter.check_limits(&2)?);
    assert!(limiter.check_limits(&2).is_err());
    drop(running);
    let stats = limiter.stats();
    assert_eq!(stats.global_concurrent, 3);
    assert_eq!(stats.global_queue_size + stats.global_blocked, MAX - 3);
    drop(all);
    let stats = limiter.stats();
    assert_eq!(
        (stats.global_concurrent, stats.global_queue_size),
        (0, 0),
        "{stats:?}"
    );
    assert_eq!(stats.global_blocked, 0);
    Ok(())
}
