//! What must not ask for memory: admission and release of a known user, and refusals.

#![allow(
    clippy::drop_non_drop,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may wait for another thread"
)]

mod tool;

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use admit::{LimitConfig, Limiter, OverloadPolicy};
use tool::counting::{Counting, calls};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

type Fallible = Result<(), Box<dyn std::error::Error>>;

fn config<K>(slots: u32, places: u32, global_slots: u32, global_places: u32) -> LimitConfig<K> {
    LimitConfig {
        max_concurrent_per_user: slots,
        max_queue_size_per_user: places,
        max_concurrent_global: global_slots,
        max_queue_size_global: global_places,
        ..LimitConfig::default()
    }
}

/// Who is refused a place has looked for deadlines that have passed, and whoever looks tidies up after other threads now
/// and then: so many allocations of theirs in ten thousand looks are not ours.
const TIDYING: u64 = 100;

/// How often this thread asks for memory, over many rounds of `f` after a few.
fn allocations(mut f: impl FnMut()) -> u64 {
    for _ in 0..100 {
        f();
    }
    let before = calls();
    for _ in 0..10_000 {
        f();
    }
    calls() - before
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(Box::new(1))), 10_000);
}

#[test]
fn a_known_user_is_admitted_by_name_without_an_allocation() -> Fallible {
    let limiter = Limiter::new(config(3, 10, 100, 500))?;
    let count = allocations(|| drop(limiter.try_acquire("ada").expect("a free slot")));
    assert_eq!(count, 0, "try_acquire");
    let count = allocations(|| drop(limiter.acquire_blocking("ada").expect("a free slot")));
    assert_eq!(count, 0, "acquire_blocking");
    let count = allocations(|| drop(limiter.check_limits("ada").expect("a free slot")));
    assert_eq!(count, 0, "check_limits");
    let count = allocations(|| limiter.limit("ada", || ()).expect("a free slot"));
    assert_eq!(count, 0, "limit");
    let count = allocations(|| {
        drop(limiter.request("ada").try_acquire().expect("a free slot"));
    });
    assert_eq!(count, 0, "request");
    Ok(())
}

#[test]
fn a_known_user_is_admitted_by_handle_without_an_allocation() -> Fallible {
    let limiter = Limiter::new(config(3, 10, 100, 500))?;
    let ada = limiter.user("ada");
    let count = allocations(|| drop(ada.try_acquire().expect("a free slot")));
    assert_eq!(count, 0, "try_acquire");
    let count = allocations(|| drop(ada.acquire_blocking().expect("a free slot")));
    assert_eq!(count, 0, "acquire_blocking");
    let count = allocations(|| drop(limiter.user("ada")));
    assert_eq!(count, 0, "the handle itself");
    Ok(())
}

#[test]
fn a_future_for_a_known_user_allocates_nothing() -> Fallible {
    let limiter = Limiter::new(config(3, 10, 100, 500))?;
    let mut context = Context::from_waker(Waker::noop());
    let count = allocations(|| {
        let mut future = limiter.acquire("ada");
        match Pin::new(&mut future).poll(&mut context) {
            Poll::Ready(Ok(permit)) => drop(permit),
            other => panic!("a free slot, not {other:?}"),
        }
    });
    assert_eq!(count, 0);
    let ada = limiter.user("ada");
    let count = allocations(|| {
        let mut future = ada.acquire();
        assert!(Pin::new(&mut future).poll(&mut context).is_ready());
    });
    assert_eq!(count, 0, "by handle");
    let count = allocations(|| drop(limiter.acquire("ada")));
    assert_eq!(count, 0, "never polled");
    Ok(())
}

#[test]
fn a_refusal_at_the_users_limit_allocates_nothing() -> Fallible {
    let limiter = Limiter::new(config(1, 0, 100, 500))?;
    let ada = limiter.user("ada");
    let running = limiter.try_acquire("ada")?;
    let count = allocations(|| assert!(limiter.try_acquire("ada").is_err()));
    assert_eq!(count, 0, "by name");
    let count = allocations(|| assert!(ada.try_acquire().is_err()));
    assert_eq!(count, 0, "by handle");
    let count = allocations(|| assert!(limiter.check_limits("ada").is_err()));
    assert!(count <= TIDYING, "no place: {count}");
    drop(running);
    Ok(())
}

#[test]
fn a_refusal_at_the_global_limit_allocates_nothing() -> Fallible {
    let limiter = Limiter::new(config(2, 5, 1, 0))?;
    let bob = limiter.user("bob");
    let running = limiter.try_acquire("ada")?;
    let count = allocations(|| assert!(limiter.try_acquire("bob").is_err()));
    assert_eq!(count, 0, "by name");
    let count = allocations(|| assert!(bob.try_acquire().is_err()));
    assert_eq!(count, 0, "by handle");
    let count = allocations(|| assert!(limiter.check_limits("bob").is_err()));
    assert!(count <= TIDYING, "no place: {count}");
    drop(running);
    Ok(())
}

#[test]
fn a_refusal_of_a_closed_limiter_allocates_nothing() -> Fallible {
    let limiter = Limiter::new(config(2, 5, 1, 0))?;
    drop(limiter.try_acquire("ada")?);
    limiter.close();
    let count = allocations(|| assert!(limiter.try_acquire("ada").is_err()));
    assert_eq!(count, 0);
    Ok(())
}

#[test]
fn waiting_and_leaving_costs_a_few_allocations_whatever_has_gone_before() -> Fallible {
    // Not a rule of its own: it keeps the price of a waiter known.
    for policy in [OverloadPolicy::DropNewest, OverloadPolicy::DropOldest] {
        let limiter = Limiter::new(LimitConfig {
            overload_policy: policy,
            ..config(1, 10, 100, 500)
        })?;
        let _running = limiter.try_acquire("ada")?;
        let count = allocations(|| drop(limiter.check_limits("ada").expect("a place")));
        println!("{policy}: {} allocations per waiter", count as f64 / 1e4);
        assert!(count < 50_000, "{count} allocations for 10,000 waiters");
    }
    Ok(())
}
