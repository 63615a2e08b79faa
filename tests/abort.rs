//! Who goes in the middle, panics or misbehaves costs nobody a slot or a place.
//!
//! The storms last a second; `ADMIT_STORM_SECONDS=60` lets each last longer.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may wait for another thread"
)]

mod tool;

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc;
use std::task::{Context, Poll, RawWaker, RawWakerVTable, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use admit::{FakeClock, LimitConfig, Limiter, OverloadPolicy, Reason, Ticket, UserLimits};
use tokio::runtime::Builder;
use tool::watchdog::Watchdog;
use tool::{Rng, poll_once, seconds};

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

/// Nothing is held, nobody waits, nobody is known, and all slots can be had.
fn nothing_is_left(limiter: &Limiter<u64>) {
    let start = Instant::now();
    loop {
        limiter.cleanup();
        let stats = limiter.stats();
        let left = (
            stats.global_concurrent,
            stats.global_queue_size,
            stats.global_blocked,
            stats.total_users,
        );
        if left == (0, 0, 0, 0) {
            break;
        }
        // The timer may have somebody in hand at this moment.
        assert!(start.elapsed() < Duration::from_secs(2), "{stats:?}");
        thread::yield_now();
    }
    let most = limiter.config().max_concurrent_global;
    let all: Vec<_> = (0..u64::from(most))
        .map(|user| limiter.try_acquire(&(1_000_000 + user)))
        .collect::<Result<_, _>>()
        .expect("every slot is free");
    drop(all);
    limiter.cleanup();
}

/// A waker that panics when it is called.
struct Panics(AtomicU32);

impl Wake for Panics {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        resume_unwind(Box::new("the waker panics"));
    }
}

/// Polls once with `waker`; the ticket waits.
fn waits(ticket: &mut Ticket<u64>, waker: &Waker) {
    assert!(
        Pin::new(ticket)
            .poll(&mut Context::from_waker(waker))
            .is_pending()
    );
}

fn panics() -> (Arc<Panics>, Waker) {
    let panics = Arc::new(Panics(AtomicU32::new(0)));
    (panics.clone(), Waker::from(panics))
}

/// What `f` returns, or that it panicked.
fn caught<T>(f: impl FnOnce() -> T) -> Option<T> {
    catch_unwind(AssertUnwindSafe(f)).ok()
}

#[test]
fn a_waker_that_panics_on_a_grant_loses_no_slot() -> Fallible {
    let limiter = Limiter::keyed(config(1, 10, 10, 10))?;
    let (called, waker) = panics();
    let running = limiter.try_acquire(&1)?;
    let mut first = limiter.check_limits(&1)?;
    waits(&mut first, &waker);
    let second = limiter.check_limits(&1)?;
    let _ = caught(|| drop(running));
    assert_eq!(called.0.load(Ordering::Relaxed), 1);
    assert!(first.is_admitted());
    drop(first.wait()?);
    drop(second.wait()?);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_waker_that_panics_when_its_waiter_is_evicted_leaves_no_place_behind() -> Fallible {
    let limiter = Limiter::keyed(LimitConfig {
        overload_policy: OverloadPolicy::DropOldest,
        ..config(1, 1, 10, 10)
    })?;
    let (called, waker) = panics();
    let running = limiter.try_acquire(&1)?;
    let mut first = limiter.check_limits(&1)?;
    waits(&mut first, &waker);
    // Whether the newcomer gets his ticket or the panic, what he does not hold he does not occupy.
    let second = caught(|| limiter.check_limits(&1)).transpose()?;
    assert_eq!(called.0.load(Ordering::Relaxed), 1);
    let waiting = limiter.stats().global_queue_size;
    assert_eq!(
        waiting,
        u32::from(second.is_some()),
        "a place without a ticket"
    );
    drop((first, second, running));
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_waker_that_panics_during_a_reload_does_not_cut_it_short() -> Fallible {
    let limiter = Limiter::keyed(config(1, 10, 1000, 1000))?;
    let (called, waker) = panics();
    let mut running = Vec::new();
    let mut waiting = Vec::new();
    for user in 0..20 {
        running.push(limiter.try_acquire(&user)?);
        let mut ticket = limiter.check_limits(&user)?;
        waits(&mut ticket, &waker);
        waiting.push(ticket);
    }
    let _ = caught(|| limiter.update(|config| config.max_concurrent_per_user = 2));
    assert_eq!(limiter.config().max_concurrent_per_user, 2);
    assert!(called.0.load(Ordering::Relaxed) > 0);
    let admitted = waiting.iter().filter(|ticket| ticket.is_admitted()).count();
    assert_eq!(admitted, 20, "the new limit is in force for all");
    drop((running, waiting));
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_waker_that_panics_during_a_reset_does_not_cut_it_short() -> Fallible {
    let limiter = Limiter::keyed(config(1, 10, 1000, 1000))?;
    let (_, waker) = panics();
    let mut running = Vec::new();
    let mut waiting = Vec::new();
    for user in 0..20 {
        running.push(limiter.try_acquire(&user)?);
        let mut ticket = limiter.check_limits(&user)?;
        waits(&mut ticket, &waker);
        waiting.push(ticket);
    }
    let _ = caught(|| limiter.reset());
    assert_eq!(limiter.stats().total_users, 0);
    for mut ticket in waiting {
        let Poll::Ready(Err(error)) = poll_once(&mut ticket) else {
            panic!("a waiter was not told of the reset");
        };
        assert_eq!(error.reason(), Reason::Reset);
    }
    drop(running);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_waker_that_panics_during_a_close_does_not_cut_it_short() -> Fallible {
    let limiter = Limiter::keyed(config(1, 10, 1000, 1000))?;
    let (_, waker) = panics();
    let mut running = Vec::new();
    let mut waiting = Vec::new();
    for user in 0..20 {
        running.push(limiter.try_acquire(&user)?);
        let mut ticket = limiter.check_limits(&user)?;
        waits(&mut ticket, &waker);
        waiting.push(ticket);
    }
    let _ = caught(|| limiter.close());
    for mut ticket in waiting {
        let Poll::Ready(Err(error)) = poll_once(&mut ticket) else {
            panic!("a waiter was not told of the close");
        };
        assert_eq!(error.reason(), Reason::Closed);
    }
    drop(running);
    assert!(limiter.drained_blocking(Duration::from_secs(5)));
    Ok(())
}

#[test]
fn a_waker_that_panics_at_a_deadline_does_not_keep_others_waiting() -> Fallible {
    let limiter = Limiter::keyed(LimitConfig {
        queue_timeout: Duration::from_millis(30),
        ..config(1, 10, 10, 10)
    })?;
    let (called, waker) = panics();
    let running = limiter.try_acquire(&1)?;
    let mut first = limiter.check_limits(&1)?;
    waits(&mut first, &waker);
    let second = limiter.check_limits(&1)?;
    assert_eq!(second.wait().expect_err("timed out").status(), 408);
    // The timer goes on after the panic.
    let third = limiter.check_limits(&1)?;
    assert_eq!(third.wait().expect_err("timed out").status(), 408);
    assert_eq!(called.0.load(Ordering::Relaxed), 1);
    drop((first, running));
    nothing_is_left(&limiter);
    Ok(())
}

/// A waker whose clone panics.
fn panics_when_cloned() -> Waker {
    const TABLE: RawWakerVTable = RawWakerVTable::new(
        |_| resume_unwind(Box::new("the waker panics")),
        |_| {},
        |_| {},
        |_| {},
    );
    // SAFETY: the functions touch no data; a clone never returns.
    unsafe { Waker::from_raw(RawWaker::new(std::ptr::null(), &TABLE)) }
}

#[test]
fn a_waker_that_panics_when_cloned_leaves_the_ticket_as_it_was() -> Fallible {
    let limiter = Limiter::keyed(config(1, 10, 10, 10))?;
    let running = limiter.try_acquire(&1)?;
    let mut ticket = limiter.check_limits(&1)?;
    let waker = panics_when_cloned();
    let polled = caught(|| Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker)));
    assert!(polled.is_none(), "the panic goes on");
    drop(ticket);
    assert_eq!(limiter.stats().global_queue_size, 0, "nobody waits");
    let mut future = limiter.acquire(&1);
    let polled = caught(|| Pin::new(&mut future).poll(&mut Context::from_waker(&waker)));
    assert!(polled.is_none(), "the panic goes on");
    drop(future);
    assert_eq!(limiter.stats().global_queue_size, 0, "nobody waits");
    drop(running);
    nothing_is_left(&limiter);
    Ok(())
}

/// A waker that steers the limiter, as an executor does that polls a task right where it is woken.
struct Steers {
    limiter: Limiter<u64>,
    called: AtomicU32,
}

impl Wake for Steers {
    fn wake(self: Arc<Self>) {
        self.called.fetch_add(1, Ordering::Relaxed);
        let _ = self
            .limiter
            .update(|config| config.retry_after += Duration::from_secs(1));
        let _ = self.limiter.cleanup();
        let _ = self.limiter.stats();
    }
}

/// Runs `f` on a thread of its own and does not wait for it for ever.
fn ends(f: impl FnOnce() + Send + 'static) -> bool {
    let (done, is_done) = mpsc::channel();
    thread::spawn(move || {
        f();
        let _ = done.send(());
    });
    is_done.recv_timeout(Duration::from_secs(5)).is_ok()
}

/// A user who runs and whose next waits with a waker that steers.
fn steered() -> Result<(Limiter<u64>, Arc<Steers>, impl Send), Box<dyn std::error::Error>> {
    let limiter = Limiter::keyed(config(1, 10, 10, 10))?;
    let steers = Arc::new(Steers {
        limiter: limiter.clone(),
        called: AtomicU32::new(0),
    });
    let running = limiter.try_acquire(&1)?;
    let mut ticket = limiter.check_limits(&1)?;
    waits(&mut ticket, &Waker::from(steers.clone()));
    Ok((limiter, steers, (running, ticket)))
}

#[test]
fn a_waker_called_by_a_reload_may_reload() -> Fallible {
    let (limiter, steers, _kept) = steered()?;
    assert!(
        ends(move || {
            let _ = limiter.update(|config| config.max_concurrent_per_user = 2);
        }),
        "a waker runs while something is locked"
    );
    assert_eq!(steers.called.load(Ordering::Relaxed), 1);
    Ok(())
}

#[test]
fn a_waker_called_by_a_close_may_reload() -> Fallible {
    let (limiter, steers, _kept) = steered()?;
    assert!(
        ends(move || limiter.close()),
        "a waker runs while something is locked"
    );
    assert_eq!(steers.called.load(Ordering::Relaxed), 1);
    Ok(())
}

#[test]
fn a_waker_called_by_a_reset_may_reload() -> Fallible {
    let (limiter, steers, _kept) = steered()?;
    assert!(
        ends(move || limiter.reset()),
        "a waker runs while something is locked"
    );
    assert_eq!(steers.called.load(Ordering::Relaxed), 1);
    Ok(())
}

/// Counts how often it is woken.
#[derive(Default)]
struct Counts(AtomicU32);

impl Wake for Counts {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn the_waker_of_the_last_poll_is_the_one_that_is_called() -> Fallible {
    let limiter = Limiter::keyed(config(1, 10, 10, 10))?;
    let running = limiter.try_acquire(&1)?;
    let mut ticket = limiter.check_limits(&1)?;
    let wakers: Vec<Arc<Counts>> = (0..5).map(|_| Arc::default()).collect();
    for counts in &wakers {
        waits(&mut ticket, &Waker::from(counts.clone()));
    }
    for counts in &wakers[..4] {
        assert_eq!(Arc::strong_count(counts), 1, "replaced is dropped");
    }
    drop(running);
    let called: Vec<u32> = wakers
        .iter()
        .map(|counts| counts.0.load(Ordering::Relaxed))
        .collect();
    assert_eq!(called, [0, 0, 0, 0, 1]);
    drop(ticket.wait()?);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_waker_replaced_while_the_slot_is_granted_never_sleeps_through_it() -> Fallible {
    let limiter = Limiter::<u64>::keyed(config(1, 10, 10, 10))?;
    let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 1.0);
    let mut rounds = 0u32;
    while Instant::now() < end {
        rounds += 1;
        let running = limiter.try_acquire(&1)?;
        let mut ticket = limiter.check_limits(&1)?;
        let releaser = thread::spawn(move || drop(running));
        let mut latest = Arc::new(Counts::default());
        let permit = loop {
            let polled =
                Pin::new(&mut ticket).poll(&mut Context::from_waker(&Waker::from(latest.clone())));
            match polled {
                Poll::Ready(result) => break result?,
                Poll::Pending if rounds % 4 == 0 => {
                    // Nobody polls any more: the wake has to come.
                    let start = Instant::now();
                    while latest.0.load(Ordering::Relaxed) == 0 {
                        assert!(start.elapsed() < Duration::from_secs(10), "a lost wake");
                        thread::yield_now();
                    }
                }
                Poll::Pending => latest = Arc::new(Counts::default()),
            }
        };
        releaser.join().expect("no panic");
        drop(permit);
    }
    assert!(rounds > 10);
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn tasks_aborted_anywhere_give_everything_back() -> Fallible {
    let limiter = Limiter::<u64>::keyed(LimitConfig {
        queue_timeout: Duration::from_millis(3),
        ..config(2, 8, 5, 40)
    })?;
    let runtime = Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()?;
    let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 1.0);
    let running = Arc::new(AtomicU32::new(0));
    let ran = Arc::new(AtomicU64::new(0));
    let watched = limiter.clone();
    let watchdog = Watchdog::new(1, move || format!("{:?}", watched.stats()));
    runtime.block_on(async {
        let mut rng = Rng::new(11);
        while Instant::now() < end {
            let tasks: Vec<_> = (0..64)
                .map(|_| spawn_one(&limiter, &mut rng, &running, &ran))
                .collect();
            for _ in 0..rng.below(20) {
                tokio::task::yield_now().await;
            }
            for task in &tasks {
                if rng.one_in(2) {
                    task.abort();
                }
            }
            for task in tasks {
                let _ = task.await;
            }
            watchdog.step(0);
        }
    });
    drop(runtime);
    assert!(ran.load(Ordering::Relaxed) > 0);
    assert_eq!(running.load(Ordering::Relaxed), 0);
    nothing_is_left(&limiter);
    Ok(())
}

/// One above zero while it lives; never above the limit.
struct Running(Arc<AtomicU32>);

impl Running {
    fn start(count: &Arc<AtomicU32>, ran: &AtomicU64) -> Self {
        ran.fetch_add(1, Ordering::Relaxed);
        let now = count.fetch_add(1, Ordering::SeqCst) + 1;
        assert!(now <= 5, "{now} run at once");
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A task that acquires, holds, panics or sleeps somewhere.
fn spawn_one(
    limiter: &Limiter<u64>,
    rng: &mut Rng,
    running: &Arc<AtomicU32>,
    ran: &Arc<AtomicU64>,
) -> tokio::task::JoinHandle<()> {
    let user = rng.below(6);
    let kind = rng.below(5);
    let turns = rng.below(4);
    let running = running.clone();
    let ran = ran.clone();
    let work = async move {
        let _running = Running::start(&running, &ran);
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        match kind {
            0 => tokio::time::sleep(Duration::from_millis(1)).await,
            1 => resume_unwind(Box::new("the task panics")),
            _ => {}
        }
    };
    let limiter = limiter.clone();
    if kind < 3 {
        tokio::spawn(async move {
            let _ = limiter.limit_async(&user, work).await;
        })
    } else {
        tokio::spawn(async move {
            if let Ok(permit) = limiter.acquire(&user).await {
                work.await;
                drop(permit);
            }
        })
    }
}

#[test]
fn an_executor_dropped_with_tasks_pending_gives_everything_back() -> Fallible {
    let limiter = Limiter::<u64>::keyed(config(1, 100, 2, 500))?;
    for round in 0..20 {
        let runtime = Builder::new_multi_thread().worker_threads(2).build()?;
        for task in 0..50u64 {
            let limiter = limiter.clone();
            runtime.spawn(async move {
                let permit = limiter.acquire(&(task % 5)).await;
                if task % 3 == 0 {
                    std::future::pending::<()>().await;
                }
                drop(permit);
            });
        }
        if round % 2 == 0 {
            thread::yield_now();
        } else {
            let start = Instant::now();
            while limiter.stats().global_queue_size < 10 {
                assert!(start.elapsed() < Duration::from_secs(10));
                thread::yield_now();
            }
        }
        drop(runtime);
        nothing_is_left(&limiter);
    }
    Ok(())
}

#[test]
fn a_ticket_polled_on_one_thread_is_dropped_on_another() -> Fallible {
    let limiter = Limiter::<u64>::keyed(config(1, 100, 3, 500))?;
    let (give, take) = mpsc::channel::<Ticket<u64>>();
    let dropper = thread::spawn(move || {
        for ticket in take {
            drop(ticket);
        }
    });
    let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 1.0);
    let mut rng = Rng::new(7);
    while Instant::now() < end {
        let user = rng.below(4);
        if let Ok(mut ticket) = limiter.check_limits(&user) {
            if !ticket.is_admitted() {
                let _ = Pin::new(&mut ticket).poll(&mut Context::from_waker(&Waker::from(
                    Arc::new(Counts::default()),
                )));
            }
            give.send(ticket)?;
        }
    }
    drop(give);
    dropper.join().expect("no panic");
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_waiter_is_not_lost_when_somebody_leaves_while_his_user_is_being_forgotten() -> Fallible {
    // The first of two waiters gives up while it is granted; the second must be served, whatever forgets users
    // meanwhile.
    let limiter = Limiter::<u64>::keyed(config(1, 10, 100, 500))?;
    let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 1.0);
    let watched = limiter.clone();
    let watchdog = Arc::new(Watchdog::new(1, move || format!("{:?}", watched.stats())));
    let is_over = Arc::new(AtomicU32::new(0));
    let sweeper = {
        let limiter = limiter.clone();
        let is_over = is_over.clone();
        thread::spawn(move || {
            while is_over.load(Ordering::Relaxed) == 0 {
                limiter.cleanup();
            }
        })
    };
    let mut lost = None;
    while Instant::now() < end && lost.is_none() {
        let running = limiter.try_acquire(&1)?;
        let first = limiter.check_limits(&1)?;
        let second = limiter.check_limits(&1)?;
        let releaser = thread::spawn(move || drop(running));
        drop(first);
        lost = second.wait().map(drop).err();
        releaser.join().expect("no panic");
        watchdog.step(0);
    }
    is_over.store(1, Ordering::Relaxed);
    sweeper.join().expect("no panic");
    assert_eq!(lost, None, "a waiter was refused whose user has slots");
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_future_never_polled_has_not_arrived() -> Fallible {
    let limiter = Limiter::<u64>::keyed(LimitConfig {
        users: [(1, UserLimits::new(0, 0))].into(),
        ..config(1, 1, 1, 1)
    })?;
    for user in [1, 2] {
        drop(limiter.acquire(&user));
        drop(limiter.limit_async(&user, async {}));
    }
    assert_eq!(limiter.stats().totals, admit::Totals::default());
    nothing_is_left(&limiter);
    Ok(())
}

#[test]
fn a_pretended_clock_ends_waiters_whose_wakers_panic() -> Fallible {
    let clock = FakeClock::new();
    let limiter = Limiter::<u64>::with_clock(config(1, 10, 10, 10), clock.clone())?;
    let (called, waker) = panics();
    let running = limiter.try_acquire(&1)?;
    let mut tickets: Vec<_> = (0..3)
        .map(|_| limiter.check_limits(&1))
        .collect::<Result<_, _>>()?;
    for ticket in &mut tickets {
        waits(ticket, &waker);
    }
    let _ = caught(|| clock.advance(Duration::from_secs(30)));
    let _ = caught(|| clock.advance(Duration::from_secs(1)));
    assert_eq!(called.0.load(Ordering::Relaxed), 3);
    assert_eq!(limiter.stats().global_queue_size, 0);
    drop((tickets, running));
    nothing_is_left(&limiter);
    Ok(())
}
