//! Who is served when: in order within one user, in turn between users, newcomers last.
//!
//! The threaded tests last a second; `ADMIT_STORM_SECONDS=60` lets each last longer.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may wait for another thread"
)]

mod tool;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use admit::{LimitConfig, Limiter, Permit, Reason, Ticket, UserLimits};
use tool::watchdog::{OverAtTheEnd, Watchdog};
use tool::{Rng, poll_once, seconds};

type Fallible = Result<(), Box<dyn std::error::Error>>;

/// The user with a full queue.
const HEAVY: u64 = 1;
/// Waiting requests of his.
const CROWD: usize = 200;
/// So many of his may go before another user's first request.
const TURNS: u64 = 6;

fn config(own: u32, global_slots: u32) -> LimitConfig<u64> {
    LimitConfig {
        max_concurrent_per_user: 3,
        max_queue_size_per_user: 10,
        max_concurrent_global: global_slots,
        max_queue_size_global: 1000,
        queue_timeout: Duration::from_secs(3600),
        users: [(HEAVY, UserLimits::new(own, 1000))].into(),
        ..LimitConfig::default()
    }
}

/// The permits of a user, and those who wait for one, collected in the order they came.
#[derive(Default)]
struct Crowd {
    running: VecDeque<Permit<u64>>,
    waiting: VecDeque<Ticket<u64>>,
}

impl Crowd {
    fn of(
        limiter: &Limiter<u64>,
        user: u64,
        waiting: usize,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut crowd = Self::default();
        while crowd.waiting.len() < waiting {
            let ticket = limiter.check_limits(&user)?;
            if ticket.is_admitted() {
                crowd.running.push_back(ticket.wait()?);
            } else {
                crowd.waiting.push_back(ticket);
            }
        }
        Ok(crowd)
    }

    /// Collects what was granted; returns how many.
    fn collect(&mut self) -> u64 {
        let mut collected = 0;
        while let Some(ticket) = self.waiting.front_mut() {
            match poll_once(ticket) {
                Poll::Ready(Ok(permit)) => {
                    self.running.push_back(permit);
                    self.waiting.pop_front();
                    collected += 1;
                }
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => break,
            }
        }
        assert!(
            self.waiting.iter().all(|ticket| !ticket.is_admitted()),
            "served out of order"
        );
        collected
    }
}

#[test]
fn a_user_with_a_full_queue_delays_another_by_a_few_of_his_at_most() -> Fallible {
    for own in [3, 100] {
        for global_slots in [1, 2, 3, 5, 10, 50] {
            if own < global_slots {
                // Slots are free for others then: no wait at all.
                let limiter = Limiter::keyed(config(own, global_slots))?;
                let crowd = Crowd::of(&limiter, HEAVY, CROWD)?;
                assert!(limiter.check_limits(&2)?.is_admitted());
                drop(crowd);
                continue;
            }
            first_request_of_another(own, global_slots)?;
        }
    }
    Ok(())
}

fn first_request_of_another(own: u32, global_slots: u32) -> Fallible {
    let limiter = Limiter::keyed(config(own, global_slots))?;
    let mut crowd = Crowd::of(&limiter, HEAVY, CROWD)?;
    assert_eq!(crowd.running.len(), global_slots as usize);
    for user in 2..20 {
        let ticket = limiter.check_limits(&user)?;
        let mut before = 0;
        while !ticket.is_admitted() {
            drop(
                crowd
                    .running
                    .pop_front()
                    .ok_or("nobody of the crowd runs")?,
            );
            before += crowd.collect();
        }
        println!("own limit {own}, {global_slots} slots: user {user} came after {before}");
        assert!(before <= TURNS, "{before} of the crowd went first");
        drop(ticket);
        crowd.collect();
        let more = limiter.check_limits(&HEAVY)?;
        crowd.waiting.push_back(more);
    }
    Ok(())
}

#[test]
fn a_user_who_fills_up_again_and_again_does_not_starve_another_thread() -> Fallible {
    for own in [3, 100] {
        let limiter = Limiter::keyed(config(own, 1))?;
        let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 1.0) / 2;
        let is_over = AtomicBool::new(false);
        let served = AtomicU64::new(0);
        let watched = limiter.clone();
        let watchdog = Watchdog::new(1, move || format!("{:?}", watched.stats()));
        let rounds = thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| keep_full(&limiter, &served, &is_over));
            }
            let over = OverAtTheEnd(&is_over);
            let mut rounds = 0u64;
            while Instant::now() < end {
                while limiter.stats().global_queue_size < CROWD as u32 / 2 {
                    thread::yield_now();
                }
                let ticket = limiter.check_limits(&2).expect("a place");
                // One slot in all: while ours is granted nobody of the crowd is, so the count is exact.
                let since = served.load(Ordering::SeqCst);
                let permit = ticket.wait().expect("a slot");
                let before = served.load(Ordering::SeqCst) - since;
                drop(permit);
                assert!(before <= TURNS, "{before} of the crowd went first");
                rounds += 1;
                watchdog.step(0);
            }
            drop(over);
            rounds
        });
        watchdog.finish(0);
        assert!(rounds > 0);
    }
    Ok(())
}

/// Keeps a crowd of one user waiting; counts each while it has the slot.
fn keep_full(limiter: &Limiter<u64>, served: &AtomicU64, is_over: &AtomicBool) {
    let mut waiting: VecDeque<Ticket<u64>> = VecDeque::new();
    while !is_over.load(Ordering::Relaxed) {
        while waiting.len() < CROWD / 3 {
            waiting.push_back(limiter.check_limits(&HEAVY).expect("a place"));
        }
        let mut still = VecDeque::new();
        for mut ticket in waiting.drain(..) {
            match poll_once(&mut ticket) {
                Poll::Ready(Ok(permit)) => {
                    served.fetch_add(1, Ordering::SeqCst);
                    drop(permit);
                }
                Poll::Ready(Err(error)) => panic!("{error}"),
                Poll::Pending => still.push_back(ticket),
            }
        }
        waiting = still;
    }
}

#[test]
fn users_who_wait_take_turns_whatever_their_limits_and_queues() -> Fallible {
    let limiter = Limiter::keyed(LimitConfig {
        users: [
            (1, UserLimits::new(100, 1000)),
            (2, UserLimits::new(1, 1000)),
            (3, UserLimits::new(5, 1000)),
        ]
        .into(),
        ..config(1, 1)
    })?;
    let running = limiter.try_acquire(&9)?;
    let mut crowds: Vec<Crowd> = [1, 2, 3]
        .into_iter()
        .map(|user| Crowd::of(&limiter, user, 50))
        .collect::<Result<_, _>>()?;
    drop(running);
    let mut order = Vec::new();
    for _ in 0..30 {
        for (number, crowd) in crowds.iter_mut().enumerate() {
            if crowd.collect() > 0 {
                order.push(number);
                crowd.running.clear();
                break;
            }
        }
    }
    assert_eq!(order.len(), 30);
    for turn in order.chunks(3) {
        let mut turn = turn.to_vec();
        turn.sort_unstable();
        assert_eq!(turn, [0, 1, 2], "{order:?}");
    }
    Ok(())
}

/// Unparks, as an executor of one task would.
struct Unpark(thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs a future on this thread.
fn block_on<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match std::pin::Pin::new(&mut future).poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

#[test]
fn threads_and_tasks_of_one_user_stand_in_one_line() -> Fallible {
    for global_slots in [1, 100] {
        let limiter = Limiter::keyed(LimitConfig {
            users: [(HEAVY, UserLimits::new(1, 1000))].into(),
            ..config(1, global_slots)
        })?;
        let order = Mutex::new(Vec::new());
        let running = limiter.try_acquire(&HEAVY)?;
        thread::scope(|scope| {
            for number in 0..30_usize {
                let (limiter, order) = (&limiter, &order);
                scope.spawn(move || {
                    let permit = match number % 3 {
                        0 => limiter.acquire_blocking(&HEAVY),
                        1 => block_on(limiter.acquire(&HEAVY)),
                        _ => limiter.check_limits(&HEAVY).and_then(Ticket::wait),
                    };
                    order.lock().expect("no panic").push(number);
                    drop(permit.expect("a slot"));
                });
                // He stands in line when whoever comes now stands behind him.
                while limiter
                    .check_limits(&HEAVY)
                    .expect("a place")
                    .position()
                    .is_none_or(|ahead| ahead <= number)
                {
                    thread::yield_now();
                }
            }
            drop(running);
        });
        let order = order.into_inner()?;
        assert_eq!(order, (0..30).collect::<Vec<_>>());
    }
    Ok(())
}

#[test]
fn no_newcomer_overtakes_one_who_waits_for_the_same_slot() -> Fallible {
    let limiter = Limiter::keyed(config(1, 1))?;
    let running = limiter.try_acquire(&HEAVY)?;
    let own = limiter.check_limits(&HEAVY)?;
    let other = limiter.check_limits(&2)?;
    drop(running);
    // The slot is granted and not collected yet: it is nobody else's.
    for user in [HEAVY, 2, 3] {
        assert!(limiter.try_acquire(&user).is_err());
    }
    assert!(own.is_admitted() != other.is_admitted());
    let third = limiter.check_limits(&3)?;
    drop((own, other));
    assert!(third.is_admitted());
    Ok(())
}

#[test]
fn no_newcomer_overtakes_under_a_race() -> Fallible {
    // One thread waits for its turn over and over; others take what is free without waiting. Whoever of them comes
    // after the first has its place may not be served before it.
    let limiter = Limiter::keyed(LimitConfig {
        max_concurrent_per_user: 10,
        ..config(10, 1)
    })?;
    let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 1.0);
    let is_over = AtomicBool::new(false);
    // Odd while the waiter has a place and no slot; another number each time.
    let waits = AtomicU64::new(0);
    let overtaken = AtomicU64::new(0);
    let watched = limiter.clone();
    let watchdog = Watchdog::new(1, move || format!("{:?}", watched.stats()));
    thread::scope(|scope| {
        for number in 0..3 {
            let (limiter, is_over, waits, overtaken) = (&limiter, &is_over, &waits, &overtaken);
            scope.spawn(move || {
                let mut rng = Rng::new(number + 1);
                while !is_over.load(Ordering::Relaxed) {
                    let user = 2 + rng.below(3);
                    let seen = waits.load(Ordering::SeqCst);
                    let came_later = seen % 2 == 1;
                    match limiter.try_acquire(&user) {
                        Ok(permit) => {
                            // One slot in all: if the waiter still has none while we run, he was overtaken.
                            if came_later && waits.load(Ordering::SeqCst) == seen {
                                overtaken.fetch_add(1, Ordering::SeqCst);
                            }
                            drop(permit);
                        }
                        Err(error) => assert!(matches!(
                            error.reason(),
                            Reason::GlobalLimit { .. } | Reason::UserLimit { .. }
                        )),
                    }
                }
            });
        }
        let over = OverAtTheEnd(&is_over);
        while Instant::now() < end {
            let ticket = limiter.check_limits(&HEAVY).expect("a place");
            if ticket.is_admitted() {
                continue;
            }
            waits.fetch_add(1, Ordering::SeqCst);
            let permit = ticket.wait().expect("a slot");
            // While we have it nobody else runs.
            waits.fetch_add(1, Ordering::SeqCst);
            drop(permit);
            watchdog.step(0);
        }
        drop(over);
    });
    watchdog.finish(0);
    assert_eq!(overtaken.load(Ordering::SeqCst), 0);
    Ok(())
}
