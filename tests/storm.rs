//! Everything at once, watched by an observer that trusts nothing of the limiter.
//!
//! Eight threads mix all operations. The observer counts permits by itself: one more after a permit is had, one less
//! before it is given up. So it never counts more than the limiter holds, and what it counts may never be above the
//! largest limit that was in force between the call and the permit.
//!
//! Each storm lasts two seconds; `ADMIT_STORM_SECONDS=60` lets each last longer. `ADMIT_STORM_SEED=7` starts the
//! threads differently.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test may wait for another thread"
)]

mod tool;

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Barrier};
use std::task::Poll;
use std::thread;
use std::time::{Duration, Instant};

use admit::{
    Acquire, LimitConfig, Limiter, OverloadError, OverloadPolicy, Permit, Reason, Stats, Ticket,
    Totals, UserLimits, UserRule,
};
use tool::watchdog::{OverAtTheEnd, Watchdog};
use tool::{Rng, poll_once, seconds};

const THREADS: usize = 8;
const USERS: u64 = 12;
/// Has no slots.
const BLOCKED: u64 = 0;
/// Has limits of his own, by name.
const NAMED: u64 = 1;
/// The most that a level can hold.
const MAX: u32 = 1_048_575;

type Config = LimitConfig<u64>;

/// Numbered configs, of which one after the other is put in force, and the numbers between which they change.
struct Plan {
    config: fn(u64) -> Config,
    /// The last config whose reload has begun.
    begun: AtomicU64,
    /// The last config whose reload has ended.
    ended: AtomicU64,
}

impl Plan {
    fn new(config: fn(u64) -> Config) -> Self {
        Self {
            config,
            begun: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    /// The largest limits in force, globally and for `user`, from `since` until now.
    fn most(&self, since: u64, user: u64) -> (u32, u32) {
        let until = self.begun.load(Ordering::SeqCst);
        if until - since > 200 {
            return (MAX, MAX);
        }
        (since..=until)
            .map(|number| limits(&(self.config)(number), user))
            .fold((0, 0), |most, now| (most.0.max(now.0), most.1.max(now.1)))
    }
}

/// What a config allows, globally and to `user`.
fn limits(config: &Config, user: u64) -> (u32, u32) {
    if config.enabled {
        let own = config.limits_of(&user).max_concurrent;
        (config.max_concurrent_global, own)
    } else {
        (MAX, MAX)
    }
}

/// Counts who runs.
struct Observer {
    global: AtomicU32,
    users: [AtomicU32; USERS as usize],
    plan: Plan,
}

impl Observer {
    fn new(config: fn(u64) -> Config) -> Self {
        Self {
            global: AtomicU32::new(0),
            users: std::array::from_fn(|_| AtomicU32::new(0)),
            plan: Plan::new(config),
        }
    }
}

/// A permit that the observer counts.
struct Seen<'a> {
    observer: &'a Observer,
    user: u64,
    permit: Option<Permit<u64>>,
}

impl<'a> Seen<'a> {
    fn new(observer: &'a Observer, since: u64, permit: Permit<u64>) -> Self {
        let user = *permit.user();
        let global = observer.global.fetch_add(1, Ordering::SeqCst) + 1;
        let own = observer.users[user as usize].fetch_add(1, Ordering::SeqCst) + 1;
        let most = observer.plan.most(since, user);
        assert!(
            global <= most.0 && own <= most.1,
            "{global} run, {own} for user {user}; {most:?} is the most"
        );
        Self {
            observer,
            user,
            permit: Some(permit),
        }
    }

    /// The permit, which the observer does not count any more.
    fn unseen(mut self) -> Option<Permit<u64>> {
        self.permit.take()
    }
}

impl Drop for Seen<'_> {
    fn drop(&mut self) {
        self.observer.users[self.user as usize].fetch_sub(1, Ordering::SeqCst);
        self.observer.global.fetch_sub(1, Ordering::SeqCst);
        drop(self.permit.take());
    }
}

/// Somebody who waits: the config that was in force when he came, his user, and what he waits with.
type Placed<T> = (u64, u64, T);

/// One thread of a storm, and what it has.
struct Client<'a> {
    limiter: &'a Limiter<u64>,
    observer: &'a Observer,
    rng: Rng,
    permits: Vec<Seen<'a>>,
    tickets: Vec<Placed<Ticket<u64>>>,
    futures: Vec<Placed<Acquire<u64>>>,
    /// Requests that arrived.
    arrived: u64,
    /// What was admitted and seen to be.
    admitted: u64,
    refused: Totals,
    /// The limits do not change, so that refusals have to name them.
    is_fixed: bool,
    /// May wait for as long as it takes.
    is_patient: bool,
}

impl<'a> Client<'a> {
    fn new(limiter: &'a Limiter<u64>, observer: &'a Observer, rng: Rng, is_fixed: bool) -> Self {
        Self {
            limiter,
            observer,
            rng,
            permits: Vec::new(),
            tickets: Vec::new(),
            futures: Vec::new(),
            arrived: 0,
            admitted: 0,
            refused: Totals::default(),
            is_fixed,
            is_patient: true,
        }
    }

    /// The config that was certainly in force before the next call. A hand-over that began under the one before may
    /// still be under way.
    fn since(&self) -> u64 {
        self.observer
            .plan
            .ended
            .load(Ordering::SeqCst)
            .saturating_sub(1)
    }

    fn seen(&mut self, since: u64, user: u64, result: Result<Permit<u64>, OverloadError>) {
        match result {
            Ok(permit) => {
                assert_eq!(*permit.user(), user);
                self.admitted += 1;
                self.permits.push(Seen::new(self.observer, since, permit));
            }
            Err(error) => self.refusal(user, &error),
        }
    }

    fn refusal(&mut self, user: u64, error: &OverloadError) {
        let config = self.limiter.config();
        let own = config.limits_of(&user);
        let totals = &mut self.refused;
        let (tally, shown, expected) = match error.reason() {
            Reason::UserLimit { limit, .. } => (&mut totals.user_limit, limit, own.max_concurrent),
            Reason::UserQueueFull { limit, .. } => {
                (&mut totals.user_queue_full, limit, own.max_queue_size)
            }
            Reason::GlobalLimit { limit, .. } => (
                &mut totals.global_limit,
                limit,
                config.max_concurrent_global,
            ),
            Reason::GlobalQueueFull { limit, .. } => (
                &mut totals.global_queue_full,
                limit,
                config.max_queue_size_global,
            ),
            Reason::Evicted { .. } => (&mut totals.evicted, 0, 0),
            Reason::QueueTimeout { .. } => (&mut totals.timed_out, 0, 0),
            Reason::Closed => (&mut totals.closed, 0, 0),
            Reason::Reset => (&mut totals.reset, 0, 0),
            other => panic!("an unknown reason: {other:?}"),
        };
        *tally += 1;
        if self.is_fixed {
            assert_eq!(shown, expected, "user {user}: {error}");
            if user == BLOCKED {
                assert!(matches!(error.reason(), Reason::UserLimit { .. }));
            }
        }
    }

    fn step(&mut self) {
        let user = self.rng.below(USERS);
        let since = self.since();
        let timeout = Duration::from_micros(self.rng.below(3000));
        match self.rng.below(100) {
            0..10 => {
                self.arrived += 1;
                let result = self.limiter.try_acquire(&user);
                self.seen(since, user, result);
            }
            10..16 => {
                self.arrived += 1;
                let result = self
                    .limiter
                    .request(&user)
                    .timeout(timeout)
                    .acquire_blocking();
                self.seen(since, user, result);
            }
            16..26 => {
                self.arrived += 1;
                match self.limiter.check_limits(&user) {
                    Ok(ticket) => self.tickets.push((since, user, ticket)),
                    Err(error) => self.refusal(user, &error),
                }
            }
            26..34 => {
                let future = if self.rng.one_in(2) {
                    self.limiter.acquire(&user)
                } else {
                    self.limiter
                        .request(&user)
                        .session_id("s")
                        .request_id("r")
                        .timeout(timeout)
                        .acquire()
                };
                self.start(since, user, future);
            }
            34..52 => self.poll_a_future(),
            52..62 => self.poll_a_ticket(),
            62..68 => {
                drop(self.take_ticket());
            }
            68..72 => {
                drop(self.take_future());
            }
            72..76 => self.limit(user),
            76..82 => {
                let handle = self.limiter.user(&user);
                self.arrived += 1;
                let result = if self.rng.one_in(2) {
                    handle.try_acquire()
                } else {
                    handle.request().timeout(timeout).acquire_blocking()
                };
                self.seen(since, user, result);
            }
            82..84 => {
                self.limiter.cleanup();
            }
            84 => {
                let stats = self.limiter.stats();
                self.sane(&stats);
            }
            85 if self.is_patient => self.wait_patiently(user),
            86 if self.is_patient => {
                if let Some((since, user, ticket)) = self.take_ticket() {
                    let _ = ticket.position();
                    let result = ticket.wait();
                    self.seen(since, user, result);
                }
            }
            _ => {
                if !self.permits.is_empty() {
                    let at = self.rng.below(self.permits.len() as u64) as usize;
                    self.permits.swap_remove(at);
                }
            }
        }
        while self.permits.len() > 6 {
            self.permits.swap_remove(0);
        }
        while self.tickets.len() > 12 {
            drop(self.tickets.swap_remove(0));
        }
        while self.futures.len() > 12 {
            drop(self.futures.swap_remove(0));
        }
    }

    fn sane(&self, stats: &Stats<u64>) {
        if self.is_fixed {
            let config = &stats.config;
            assert!(
                stats.global_concurrent <= config.max_concurrent_global,
                "{stats:?}"
            );
            if config.overload_policy != OverloadPolicy::Block {
                assert_eq!(stats.global_blocked, 0, "{stats:?}");
            }
            for user in &stats.users {
                let own = config.limits_of(&user.user_id);
                assert!(user.concurrent <= own.max_concurrent, "{stats:?}");
                assert!(
                    config.overload_policy == OverloadPolicy::Block || user.blocked == 0,
                    "{stats:?}"
                );
            }
        }
    }

    /// A future arrives, or is dropped before it does.
    fn start(&mut self, since: u64, user: u64, future: Acquire<u64>) {
        if self.rng.one_in(10) {
            return;
        }
        self.arrived += 1;
        self.poll(since, user, future);
    }

    fn poll(&mut self, since: u64, user: u64, mut future: Acquire<u64>) {
        match poll_once(&mut future) {
            Poll::Ready(result) => self.seen(since, user, result),
            Poll::Pending => self.futures.push((since, user, future)),
        }
    }

    fn poll_a_future(&mut self) {
        if let Some((since, user, future)) = self.take_future() {
            self.poll(since, user, future);
        }
    }

    fn poll_a_ticket(&mut self) {
        if let Some((since, user, mut ticket)) = self.take_ticket() {
            match poll_once(&mut ticket) {
                Poll::Ready(result) => self.seen(since, user, result),
                Poll::Pending => self.tickets.push((since, user, ticket)),
            }
        }
    }

    fn take_ticket(&mut self) -> Option<Placed<Ticket<u64>>> {
        let count = self.tickets.len() as u64;
        (count > 0).then(|| self.tickets.swap_remove(self.rng.below(count) as usize))
    }

    fn take_future(&mut self) -> Option<Placed<Acquire<u64>>> {
        let count = self.futures.len() as u64;
        (count > 0).then(|| self.futures.swap_remove(self.rng.below(count) as usize))
    }

    /// Work that panics now and then.
    fn limit(&mut self, user: u64) {
        let since = self.since();
        let observer = self.observer;
        let panics = self.rng.one_in(3);
        self.arrived += 1;
        let ended = catch_unwind(AssertUnwindSafe(|| {
            self.limiter.limit(&user, || {
                let global = observer.global.fetch_add(1, Ordering::SeqCst) + 1;
                let most = observer.plan.most(since, user);
                observer.global.fetch_sub(1, Ordering::SeqCst);
                assert!(global <= most.0, "{global} run; {most:?} is the most");
                if panics {
                    resume_unwind(Box::new("the work panics"));
                }
            })
        }));
        match ended {
            Ok(Err(error)) => self.refusal(user, &error),
            Ok(Ok(())) => self.admitted += 1,
            Err(payload) if payload.is::<&'static str>() && panics => self.admitted += 1,
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Waits for as long as it takes, with nothing in hand that others could wait for.
    fn wait_patiently(&mut self, user: u64) {
        self.let_go();
        let since = self.since();
        self.arrived += 1;
        let result = self
            .limiter
            .request(&user)
            .timeout(Duration::from_secs(3600))
            .acquire_blocking();
        if let Err(error) = &result {
            assert!(
                !matches!(error.reason(), Reason::QueueTimeout { .. }),
                "{error}"
            );
        }
        self.seen(since, user, result);
    }

    fn let_go(&mut self) {
        self.permits.clear();
        self.tickets.clear();
        self.futures.clear();
    }
}

/// Every arrival has one outcome, and what was seen was counted.
fn totals_add_up(stats: &Stats<u64>, outcome: &Outcome) {
    let t = stats.totals;
    let refused = &outcome.refused;
    let ended = t.admitted
        + t.user_limit
        + t.user_queue_full
        + t.global_limit
        + t.global_queue_full
        + t.evicted
        + t.timed_out
        + t.closed
        + t.reset
        + t.abandoned;
    assert_eq!(ended, outcome.arrived, "{t:?}");
    // What a ticket became that was dropped without a look is not seen.
    assert!(outcome.admitted <= t.admitted);
    let sum = |of: fn(&Totals) -> u64| refused.iter().map(of).sum::<u64>();
    assert_eq!(sum(|t| t.user_queue_full), t.user_queue_full);
    assert_eq!(sum(|t| t.global_limit), t.global_limit);
    assert_eq!(sum(|t| t.global_queue_full), t.global_queue_full);
    assert!(sum(|t| t.user_limit) <= t.user_limit);
    assert!(sum(|t| t.evicted) <= t.evicted);
    assert!(sum(|t| t.timed_out) <= t.timed_out);
    assert!(sum(|t| t.closed) <= t.closed);
    assert!(sum(|t| t.reset) <= t.reset);
}

/// Nothing held, nobody waiting, nobody known.
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
            return;
        }
        // The timer may have somebody in hand at this moment.
        assert!(start.elapsed() < Duration::from_secs(2), "{stats:?}");
        thread::yield_now();
    }
}

/// All slots can be had, and not one more.
fn every_slot_is_free(limiter: &Limiter<u64>) {
    let most = u64::from(limiter.config().max_concurrent_global);
    let all: Vec<_> = (0..most)
        .map(|user| limiter.try_acquire(&(1_000_001 + user * 2)))
        .collect::<Result<_, _>>()
        .expect("every slot is free");
    assert!(limiter.try_acquire(&1_000_000).is_err());
    drop(all);
}

fn seed() -> u64 {
    std::env::var("ADMIT_STORM_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(1)
}

/// What the clients of a storm did.
#[derive(Default)]
struct Outcome {
    arrived: u64,
    admitted: u64,
    refused: Vec<Totals>,
    reloads: u64,
}

impl Outcome {
    fn add(&mut self, client: &Client<'_>) {
        self.arrived += client.arrived;
        self.admitted += client.admitted;
        self.refused.push(client.refused);
    }
}

/// Eight threads, and one that reloads if the limits are not fixed.
fn storm(limiter: &Limiter<u64>, observer: &Observer, time: Duration, is_fixed: bool) -> Outcome {
    let end = Instant::now() + time;
    let is_over = AtomicBool::new(false);
    let watched = limiter.clone();
    let watchdog = Watchdog::new(THREADS, move || format!("{:?}", watched.stats()));
    thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|number| {
                let watchdog = &watchdog;
                let rng = Rng::new(seed() * 1000 + number as u64 + 1);
                scope.spawn(move || {
                    let mut client = Client::new(limiter, observer, rng, is_fixed);
                    while Instant::now() < end {
                        for _ in 0..16 {
                            client.step();
                            watchdog.step(number);
                        }
                    }
                    client.let_go();
                    watchdog.finish(number);
                    client
                })
            })
            .collect();
        let is_over = &is_over;
        let reloader = scope.spawn(move || reload_on(limiter, observer, is_fixed, is_over));
        let over = OverAtTheEnd(is_over);
        let mut outcome = Outcome::default();
        for client in clients {
            outcome.add(&client.join().expect("a client failed"));
        }
        drop(over);
        outcome.reloads = reloader.join().expect("the reloader failed");
        outcome
    })
}

/// Puts one config after the other in force.
fn reload_on(
    limiter: &Limiter<u64>,
    observer: &Observer,
    is_fixed: bool,
    is_over: &AtomicBool,
) -> u64 {
    let plan = &observer.plan;
    let mut reloads = 0;
    while !is_fixed && !is_over.load(Ordering::Relaxed) {
        let number = plan.begun.load(Ordering::SeqCst) + 1;
        plan.begun.store(number, Ordering::SeqCst);
        let config = (plan.config)(number);
        if number % 2 == 0 {
            limiter.reload(config).expect("a valid config");
        } else {
            limiter
                .update(|running| *running = config.clone())
                .expect("a valid config");
        }
        plan.ended.store(number, Ordering::SeqCst);
        reloads += 1;
        thread::sleep(Duration::from_micros(number * 37 % 700));
    }
    reloads
}

fn fixed(policy: OverloadPolicy) -> Config {
    LimitConfig {
        max_concurrent_per_user: 3,
        max_queue_size_per_user: 4,
        max_concurrent_global: 7,
        max_queue_size_global: 20,
        queue_timeout: Duration::from_millis(2),
        overload_policy: policy,
        max_idle_users: 4,
        idle_timeout: Duration::from_millis(1),
        users: [
            (BLOCKED, UserLimits::new(0, 5)),
            (NAMED, UserLimits::new(1, 1)),
        ]
        .into(),
        users_by: Some(UserRule::new(|user: &u64| {
            (*user < USERS && user % 3 == 2).then(|| UserLimits::new(2, 6))
        })),
        ..LimitConfig::default()
    }
}

fn weather_a_fixed_storm(config: fn(u64) -> Config) {
    let limiter = Limiter::keyed(config(0)).expect("a valid config");
    let observer = Observer::new(config);
    let outcome = storm(
        &limiter,
        &observer,
        seconds("ADMIT_STORM_SECONDS", 2.0),
        true,
    );
    assert!(outcome.admitted > 0);
    nothing_is_left(&limiter);
    let stats = limiter.stats();
    totals_add_up(&stats, &outcome);
    assert!(stats.peak_concurrent <= 7, "{stats:?}");
    every_slot_is_free(&limiter);
    println!("{} arrivals: {:?}", outcome.arrived, stats.totals);
}

#[test]
fn no_limit_is_ever_exceeded_under_drop_newest() {
    weather_a_fixed_storm(|_| fixed(OverloadPolicy::DropNewest));
}

#[test]
fn no_limit_is_ever_exceeded_under_drop_oldest() {
    weather_a_fixed_storm(|_| fixed(OverloadPolicy::DropOldest));
}

#[test]
fn no_limit_is_ever_exceeded_under_block() {
    weather_a_fixed_storm(|_| fixed(OverloadPolicy::Block));
}

/// Every setting differs from the last one's, in its own rhythm.
fn changing(number: u64) -> Config {
    let mut rng = Rng::new(number + 1);
    let policy = match rng.below(3) {
        0 => OverloadPolicy::DropNewest,
        1 => OverloadPolicy::DropOldest,
        _ => OverloadPolicy::Block,
    };
    let blocked = if rng.one_in(3) { 2 } else { 0 };
    let tier = UserLimits::new(1 + rng.below(3) as u32, rng.below(6) as u32);
    let mut config = LimitConfig {
        enabled: !rng.one_in(9),
        max_concurrent_per_user: 1 + rng.below(4) as u32,
        max_queue_size_per_user: rng.below(6) as u32,
        max_concurrent_global: 1 + rng.below(9) as u32,
        max_queue_size_global: rng.below(24) as u32,
        retry_after: Duration::from_millis(rng.below(9000)),
        queue_timeout: Duration::from_micros(1 + rng.below(5000)),
        overload_policy: policy,
        idle_timeout: Duration::from_micros(1 + rng.below(5000)),
        max_idle_users: rng.below(10) as u32,
        users: [(BLOCKED, UserLimits::new(blocked, 5))].into(),
        users_by: None,
    };
    if rng.one_in(2) {
        config
            .users
            .insert(NAMED, UserLimits::new(1 + rng.below(5) as u32, 3));
    }
    if rng.one_in(2) {
        config.users_by = Some(UserRule::new(move |user: &u64| {
            (user % 3 == 0).then_some(tier)
        }));
    }
    config
}

#[test]
fn no_limit_in_force_is_ever_exceeded_while_every_setting_changes() {
    let limiter = Limiter::keyed(changing(0)).expect("a valid config");
    let observer = Observer::new(changing);
    let outcome = storm(
        &limiter,
        &observer,
        seconds("ADMIT_STORM_SECONDS", 2.0),
        false,
    );
    assert!(outcome.admitted > 0 && outcome.reloads > 10);
    nothing_is_left(&limiter);
    let stats = limiter.stats();
    totals_add_up(&stats, &outcome);
    limiter
        .reload(fixed(OverloadPolicy::DropNewest))
        .expect("a valid config");
    every_slot_is_free(&limiter);
    println!(
        "{} arrivals, {} reloads: {:?}",
        outcome.arrived, outcome.reloads, stats.totals
    );
}

/// One thread of the rounds that a reset ends.
fn rounds_of_one(client: &mut Client<'_>, round: &Barrier, is_over: &AtomicBool, number: usize) {
    let mut inert: Vec<Permit<u64>> = Vec::new();
    let mut told: Vec<Placed<Ticket<u64>>> = Vec::new();
    loop {
        round.wait();
        if is_over.load(Ordering::SeqCst) {
            break;
        }
        for step in 0..200 {
            client.step();
            // What a reset has made inert is let go in the middle of the next round.
            if step == 50 {
                inert.clear();
            }
            if step % 20 == 0 {
                drop(told.pop());
            }
        }
        round.wait();
        if number == 0 {
            client.limiter.reset();
            let stats = client.limiter.stats();
            assert_eq!(
                (stats.global_concurrent, stats.global_queue_size),
                (0, 0),
                "{stats:?}"
            );
        }
        round.wait();
        inert.extend(client.permits.drain(..).filter_map(Seen::unseen));
        told.append(&mut client.tickets);
        client.futures.clear();
        if told.len() > 20 {
            told.clear();
        }
    }
    drop((inert, told));
    client.let_go();
}

#[test]
fn a_reset_between_rounds_makes_what_is_outstanding_inert() {
    let config = |_| fixed(OverloadPolicy::DropOldest);
    let limiter = Limiter::keyed(config(0)).expect("a valid config");
    let observer = Observer::new(config);
    let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 2.0);
    let round = Barrier::new(THREADS + 1);
    let is_over = AtomicBool::new(false);
    let watched = limiter.clone();
    let watchdog = Watchdog::new(1, move || format!("{:?}", watched.stats()));
    let outcome = thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|number| {
                let (limiter, observer, round, is_over) = (&limiter, &observer, &round, &is_over);
                let rng = Rng::new(seed() * 2000 + number as u64 + 1);
                scope.spawn(move || {
                    let mut client = Client::new(limiter, observer, rng, true);
                    // Others keep their slots until the round is over.
                    client.is_patient = false;
                    rounds_of_one(&mut client, round, is_over, number);
                    client
                })
            })
            .collect();
        while Instant::now() < end {
            for _ in 0..3 {
                round.wait();
                watchdog.step(0);
            }
        }
        is_over.store(true, Ordering::SeqCst);
        round.wait();
        let mut outcome = Outcome::default();
        for client in clients {
            outcome.add(&client.join().expect("a client failed"));
        }
        outcome
    });
    nothing_is_left(&limiter);
    totals_add_up(&limiter.stats(), &outcome);
    every_slot_is_free(&limiter);
}

#[test]
fn resets_in_the_middle_of_a_storm_lose_nobody() {
    let config = |_| fixed(OverloadPolicy::DropNewest);
    let limiter = Limiter::keyed(config(0)).expect("a valid config");
    // After a reset old permits are still held while new ones are given out: nobody can count both.
    let observer = Observer::new(|_| LimitConfig {
        enabled: false,
        ..LimitConfig::default()
    });
    let is_over = AtomicBool::new(false);
    let outcome = thread::scope(|scope| {
        let resetter = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                limiter.reset();
                thread::sleep(Duration::from_micros(300));
            }
        });
        let over = OverAtTheEnd(&is_over);
        let outcome = storm(
            &limiter,
            &observer,
            seconds("ADMIT_STORM_SECONDS", 2.0),
            true,
        );
        drop(over);
        resetter.join().expect("no panic");
        outcome
    });
    nothing_is_left(&limiter);
    let stats = limiter.stats();
    totals_add_up(&stats, &outcome);
    every_slot_is_free(&limiter);
    println!("{} arrivals: {:?}", outcome.arrived, stats.totals);
}

#[test]
fn a_close_in_the_middle_ends_every_waiter_and_drains() {
    let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 2.0);
    let mut round = 0;
    while Instant::now() < end {
        round += 1;
        let config = |_| LimitConfig {
            queue_timeout: Duration::from_secs(3600),
            ..fixed(OverloadPolicy::Block)
        };
        let limiter = Limiter::keyed(config(0)).expect("a valid config");
        let observer = Observer::new(config);
        let watched = limiter.clone();
        let watchdog = Watchdog::new(THREADS, move || format!("{:?}", watched.stats()));
        let outcome = thread::scope(|scope| {
            let clients: Vec<_> = (0..THREADS)
                .map(|number| {
                    let rng = Rng::new(seed() + round * 100 + number as u64);
                    let (limiter, observer, watchdog) = (&limiter, &observer, &watchdog);
                    scope.spawn(move || {
                        let mut client = Client::new(limiter, observer, rng, false);
                        // Others keep their slots until the end.
                        client.is_patient = false;
                        let mut after = 0;
                        while after < 50 {
                            client.step();
                            watchdog.step(number);
                            after += u32::from(limiter.is_closed());
                        }
                        // Whoever waits is told, or has been, and nobody is admitted any more.
                        for (_, _, ticket) in client.tickets.drain(..) {
                            let ended = ticket.wait().map(drop);
                            if let Err(error) = ended {
                                assert_eq!(error.reason(), Reason::Closed);
                            }
                            watchdog.step(number);
                        }
                        let refused = limiter.try_acquire(&5).map(drop);
                        client.arrived += 1;
                        assert_eq!(refused.map_err(|e| e.reason()), Err(Reason::Closed));
                        client.let_go();
                        watchdog.finish(number);
                        client
                    })
                })
                .collect();
            thread::sleep(Duration::from_millis(20));
            limiter.close();
            assert!(limiter.drained_blocking(Duration::from_secs(20)));
            let mut outcome = Outcome::default();
            for client in clients {
                outcome.add(&client.join().expect("a client failed"));
            }
            outcome
        });
        nothing_is_left(&limiter);
        totals_add_up(&limiter.stats(), &outcome);
    }
}

#[test]
fn every_patient_waiter_is_served_whoever_gives_up_around_him() {
    // Half of the threads wait for as long as it takes, the other half give up at once, over few users, with users
    // forgotten and limits that shrink and grow meanwhile.
    let config = |number: u64| LimitConfig::<u64> {
        max_concurrent_per_user: 1 + (number % 2) as u32,
        max_queue_size_per_user: 1000,
        max_concurrent_global: 1 + (number % 3) as u32,
        max_queue_size_global: 1000,
        ..LimitConfig::default()
    };
    let limiter = Limiter::keyed(config(0)).expect("a valid config");
    let observer = Observer::new(config);
    let end = Instant::now() + seconds("ADMIT_STORM_SECONDS", 2.0);
    let is_over = AtomicBool::new(false);
    let watched = limiter.clone();
    let watchdog = Watchdog::new(THREADS, move || format!("{:?}", watched.stats()));
    let served: u64 = thread::scope(|scope| {
        let clients: Vec<_> = (0..THREADS)
            .map(|number| {
                let (limiter, observer, watchdog) = (&limiter, &observer, &watchdog);
                scope.spawn(move || {
                    let mut rng = Rng::new(seed() * 3000 + number as u64);
                    let mut served = 0;
                    while Instant::now() < end {
                        let user = rng.below(2);
                        if number % 2 == 0 {
                            let since = observer.plan.ended.load(Ordering::SeqCst);
                            let permit = limiter
                                .request(&user)
                                .timeout(Duration::from_secs(3600))
                                .acquire_blocking()
                                .expect("who waits long enough is served");
                            let seen = Seen::new(observer, since.saturating_sub(1), permit);
                            served += 1;
                            drop(seen);
                        } else {
                            let first = limiter.check_limits(&user);
                            let second = limiter.check_limits(&user);
                            if rng.one_in(3) {
                                limiter.cleanup();
                            }
                            drop((first, second));
                        }
                        watchdog.step(number);
                    }
                    watchdog.finish(number);
                    served
                })
            })
            .collect();
        let reloader = scope.spawn(|| reload_on(&limiter, &observer, false, &is_over));
        let over = OverAtTheEnd(&is_over);
        let served = clients
            .into_iter()
            .map(|client| client.join().expect("a client failed"))
            .sum();
        drop(over);
        reloader.join().expect("no panic");
        served
    });
    assert!(served > 0);
    nothing_is_left(&limiter);
}

#[test]
fn racing_updates_lose_no_change() {
    let limiter = Arc::new(Limiter::keyed(fixed(OverloadPolicy::Block)).expect("a valid config"));
    let start = limiter.config().max_concurrent_global;
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for _ in 0..200 {
                    limiter
                        .update(|config| config.max_concurrent_global += 1)
                        .expect("a valid config");
                }
            });
        }
    });
    assert_eq!(
        limiter.config().max_concurrent_global,
        start + 200 * THREADS as u32
    );
    every_slot_is_free(&limiter);
}
