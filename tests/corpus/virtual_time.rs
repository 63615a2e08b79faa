//! Any script of waiting and passing time, on two limiters that go by one pretended clock: whatever is due has ended at
//! its own instant, nobody is remembered who has been idle for too long, and in the end nothing is left.

use std::collections::{BTreeMap, HashSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use admit::{
    FakeClock, LimitConfig, Limiter, MAX_WAIT, OverloadPolicy, Permit, Reason, Stats, Ticket,
    UserStats,
};

use super::bytes::Bytes;

/// Longer scripts find no more, and take longer.
const STEPS: usize = 150;

/// Users that come again; newcomers have larger numbers.
const USERS: u8 = 5;

pub(crate) fn run(script: &[u8]) {
    let mut bytes = Bytes::new(script);
    if let Some(mut world) = World::new(&mut bytes) {
        for _ in 0..STEPS {
            if world.step(&mut bytes).is_none() {
                break;
            }
        }
        world.finish();
    }
}

struct World {
    clock: FakeClock,
    sides: [Side; 2],
}

/// A limiter, what it has given out, and what is known of it.
struct Side {
    limiter: Limiter<u32>,
    /// In the order of their arrival.
    requests: Vec<Request>,
    /// The users known, with the time when each was first seen, or last gave up a slot or a place.
    known: BTreeMap<u32, u64>,
    arrivals: u64,
    newcomers: u32,
    /// The most users that were ever to be remembered.
    most_remembered: usize,
    /// The most requests that there ever were at once.
    most_active: usize,
}

/// Somebody who has arrived and has not been done with.
struct Request {
    user: u32,
    arrived: u64,
    /// Of somebody who had to wait.
    wait: Option<Wait>,
    has: Has,
}

#[derive(Clone, Copy)]
struct Wait {
    timeout: Duration,
    deadline: u64,
}

enum Has {
    Permit(Permit<u32>),
    Ticket {
        ticket: Ticket<u32>,
        alarm: Option<Arc<Alarm>>,
        ended: Option<End>,
    },
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Overdue,
    Evicted,
}

/// Notes when it was woken.
struct Alarm {
    clock: FakeClock,
    woken: AtomicU64,
}

const NEVER: u64 = u64::MAX;

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        let before = self.woken.swap(nanos(self.clock.now()), Ordering::Relaxed);
        assert_eq!(before, NEVER, "woken once");
    }
}

impl Alarm {
    fn woken(&self) -> u64 {
        self.woken.load(Ordering::Relaxed)
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

impl World {
    fn new(bytes: &mut Bytes<'_>) -> Option<Self> {
        let clock = FakeClock::new();
        Some(Self {
            sides: [Side::new(bytes, &clock)?, Side::new(bytes, &clock)?],
            clock,
        })
    }

    fn step(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let choice = bytes.next()?;
        let now = nanos(self.clock.now());
        let side = &mut self.sides[usize::from(choice >= 128)];
        match choice % 16 {
            0..=4 => {
                let user = bytes.below(USERS)?.into();
                let timeout = match bytes.one_in(2)? {
                    true => Some(span(bytes)?),
                    false => None,
                };
                side.check_limits(user, timeout, now);
            }
            5 => {
                let user = bytes.below(USERS)?.into();
                side.try_acquire(user, now);
            }
            6 | 7 => side.poll(bytes.next()?, &self.clock),
            8 | 9 => side.drop_one(bytes.next()?, now),
            10 => side.reload(bytes)?,
            11 => {
                for _ in 0..bytes.below(16)? {
                    side.newcomer(now);
                }
            }
            12 => {
                let users = side.limiter.stats().users;
                let idle = users.iter().filter(|user| is_idle(user));
                assert_eq!(side.limiter.cleanup(), idle.clone().count());
                for user in idle {
                    side.known.remove(&user.user_id);
                }
            }
            _ => {
                let by = span(bytes)?;
                self.advance(by);
                return Some(());
            }
        }
        side.see_ended(now, false);
        side.check(now);
        Some(())
    }

    fn advance(&mut self, by: Duration) {
        let then = nanos(self.clock.now()).saturating_add(nanos(by));
        self.clock.advance(by);
        assert_eq!(nanos(self.clock.now()), then);
        for side in &mut self.sides {
            side.see_ended(then, true);
            side.check_idle(then);
            side.check(then);
        }
    }

    /// Everybody goes; then everybody is forgotten.
    fn finish(mut self) {
        let now = nanos(self.clock.now());
        for side in &mut self.sides {
            while !side.requests.is_empty() {
                side.drop_one(0, now);
            }
            side.check(now);
        }
        self.advance(Duration::MAX);
        for side in &self.sides {
            let stats = side.limiter.stats();
            assert_eq!((stats.global_concurrent, stats.global_queue_size), (0, 0));
            let idle_time = nanos(stats.config.idle_timeout);
            if NEVER - now >= idle_time {
                assert_eq!(stats.total_users, 0, "nobody is remembered for ever");
                assert_eq!(side.limiter.cleanup(), 0);
            }
        }
    }
}

/// From nothing to more than a clock can count, most of them around the timeouts.
fn span(bytes: &mut Bytes<'_>) -> Option<Duration> {
    let number = u64::from(bytes.next()?);
    Some(match number % 8 {
        0 => Duration::ZERO,
        1 => Duration::from_nanos(number / 8),
        2..=5 => Duration::from_secs(number / 8),
        6 => Duration::from_millis(number * 100),
        _ => match bytes.below(4)? {
            0 => Duration::MAX,
            1 => Duration::from_nanos(u64::MAX - number),
            2 => Duration::from_secs(number << 24),
            _ => Duration::from_nanos(u64::from(bytes.next()?) << (number / 8)),
        },
    })
}

fn times<K>(bytes: &mut Bytes<'_>) -> Option<LimitConfig<K>> {
    Some(LimitConfig {
        queue_timeout: wait(bytes)?,
        idle_timeout: wait(bytes)?,
        max_idle_users: match bytes.one_in(2)? {
            true => bytes.below(16)?.into(),
            false => 50,
        },
        ..LimitConfig::default()
    })
}

/// A span that may be set in a config.
fn wait(bytes: &mut Bytes<'_>) -> Option<Duration> {
    Some(span(bytes)?.clamp(Duration::from_nanos(1), MAX_WAIT))
}

fn is_idle(user: &UserStats<u32>) -> bool {
    user.concurrent + user.queued + user.blocked == 0
}

impl Side {
    fn new(bytes: &mut Bytes<'_>, clock: &FakeClock) -> Option<Self> {
        let config = LimitConfig {
            overload_policy: match bytes.below(3)? {
                0 => OverloadPolicy::DropNewest,
                1 => OverloadPolicy::DropOldest,
                _ => OverloadPolicy::Block,
            },
            max_concurrent_per_user: 1 + u32::from(bytes.below(3)?),
            max_queue_size_per_user: bytes.below(8)?.into(),
            max_concurrent_global: 1 + u32::from(bytes.below(5)?),
            max_queue_size_global: bytes.below(16)?.into(),
            ..times(bytes)?
        };
        Some(Self {
            most_remembered: config.max_idle_users as usize,
            limiter: Limiter::with_clock(config, clock.clone()).expect("in range"),
            requests: Vec::new(),
            known: BTreeMap::new(),
            arrivals: 0,
            newcomers: USERS.into(),
            most_active: 0,
        })
    }

    fn reload(&mut self, bytes: &mut Bytes<'_>) -> Option<()> {
        let times = times::<u32>(bytes)?;
        self.most_remembered = self.most_remembered.max(times.max_idle_users as usize);
        let reloaded = self.limiter.update(|config| {
            config.queue_timeout = times.queue_timeout;
            config.idle_timeout = times.idle_timeout;
            config.max_idle_users = times.max_idle_users;
        });
        reloaded.expect("in range");
        Some(())
    }

    fn arrive(&mut self, user: u32, now: u64) {
        self.arrivals += 1;
        // Being refused makes a user known, and no less idle.
        self.known.entry(user).or_insert(now);
    }

    /// A user has something, or gives it up.
    fn is_active(&mut self, user: u32, at: u64) {
        let last = self.known.entry(user).or_default();
        *last = at.max(*last);
    }

    fn check_limits(&mut self, user: u32, timeout: Option<Duration>, now: u64) {
        self.arrive(user, now);
        let mut request = self.limiter.request(&user);
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        let Ok(ticket) = request.check_limits() else {
            return;
        };
        self.is_active(user, now);
        let timeout = timeout.unwrap_or(self.limiter.config().queue_timeout);
        let wait = Wait {
            timeout,
            deadline: now.saturating_add(nanos(timeout)),
        };
        self.requests.push(Request {
            user,
            arrived: now,
            wait: (!ticket.is_admitted()).then_some(wait),
            has: Has::Ticket {
                ticket,
                alarm: None,
                ended: None,
            },
        });
    }

    fn try_acquire(&mut self, user: u32, now: u64) {
        self.arrive(user, now);
        if let Ok(permit) = self.limiter.try_acquire(&user) {
            assert_eq!(permit.queue_time(), Duration::ZERO);
            self.is_active(user, now);
            self.requests.push(Request {
                user,
                arrived: now,
                wait: None,
                has: Has::Permit(permit),
            });
        }
    }

    /// Somebody comes once and never again.
    fn newcomer(&mut self, now: u64) {
        self.newcomers += 1;
        let user = self.newcomers;
        self.arrive(user, now);
        drop(self.limiter.try_acquire(&user));
    }

    fn pick(&mut self, number: u8) -> Option<(usize, Request)> {
        let at = usize::from(number).checked_rem(self.requests.len())?;
        Some((at, self.requests.remove(at)))
    }

    fn poll(&mut self, number: u8, clock: &FakeClock) {
        if let Some((at, request)) = self.pick(number) {
            if let Some(request) = request.poll(clock) {
                self.requests.insert(at, request);
            }
        }
    }

    fn drop_one(&mut self, number: u8, now: u64) {
        if let Some((_, request)) = self.pick(number) {
            if !matches!(request.has, Has::Ticket { ended: Some(_), .. }) {
                self.is_active(request.user, now);
            }
        }
    }

    /// Finds those who have ended since the last look: at `now`, or on the way there if time has passed.
    fn see_ended(&mut self, now: u64, has_passed: bool) {
        let mut active = Vec::new();
        for request in &mut self.requests {
            let is_due = request.wait.is_some_and(|wait| wait.deadline <= now);
            let Has::Ticket {
                ticket,
                alarm,
                ended: ended @ None,
            } = &mut request.has
            else {
                continue;
            };
            if ticket.is_admitted() || ticket.position().is_some() {
                assert!(!is_due, "overdue");
                continue;
            }
            let wait = request.wait.expect("a slot from the start never ends");
            assert!(is_due || !has_passed, "ended before its time");
            let (end, at) = match is_due {
                true => (End::Overdue, wait.deadline.max(request.arrived)),
                false => (End::Evicted, now),
            };
            *ended = Some(end);
            if let Some(alarm) = alarm {
                // By its end, or by a grant that it did not collect.
                assert!(alarm.woken() <= at, "woken when it ended");
            }
            active.push((request.user, at));
        }
        for (user, at) in active {
            self.is_active(user, at);
        }
    }

    /// After the clock was told to go on: nobody is known who has been idle for the idle time.
    fn check_idle(&mut self, now: u64) {
        let stats = self.limiter.stats();
        for user in stats.users.iter().filter(|user| is_idle(user)) {
            let idle = now - self.known[&user.user_id];
            assert!(idle < nanos(stats.config.idle_timeout), "forgotten in time");
        }
    }

    fn check(&mut self, now: u64) {
        let stats = self.limiter.stats();
        let mut seen: BTreeMap<u32, Seen> = BTreeMap::new();
        let mut undecided = 0;
        for request in &self.requests {
            let user = seen.entry(request.user).or_default();
            match &request.has {
                Has::Permit(permit) => {
                    assert_eq!(*permit.user(), request.user);
                    user.held += 1;
                }
                Has::Ticket { ended: Some(_), .. } => {}
                Has::Ticket { ticket, .. } => {
                    undecided += u64::from(request.wait.is_some());
                    if ticket.is_admitted() {
                        assert_eq!(user.waiting, 0, "first come, first served");
                        assert_eq!(ticket.position(), None);
                        user.held += 1;
                    } else {
                        assert_eq!(ticket.position(), Some(user.waiting as usize));
                        user.waiting += 1;
                    }
                }
            }
        }
        self.check_counts(&stats, &seen);
        let totals = stats.totals;
        let outcomes = [
            totals.admitted,
            totals.user_limit,
            totals.user_queue_full,
            totals.global_limit,
            totals.global_queue_full,
            totals.evicted,
            totals.timed_out,
            totals.abandoned,
        ];
        assert_eq!(outcomes.iter().sum::<u64>() + undecided, self.arrivals);
        self.check_known(&stats, now);
    }

    fn check_counts(&self, stats: &Stats<u32>, seen: &BTreeMap<u32, Seen>) {
        let config = &stats.config;
        let held = seen.values().map(|user| user.held).sum::<u32>();
        let waiting = seen.values().map(|user| user.waiting).sum::<u32>();
        let queued = waiting.min(config.max_queue_size_global);
        assert_eq!(stats.global_concurrent, held);
        assert_eq!(stats.global_queue_size, queued);
        assert_eq!(stats.global_blocked, waiting - queued);
        assert!(held <= config.max_concurrent_global);
        let mut found = 0;
        for user in &stats.users {
            let Seen { held, waiting } = seen.get(&user.user_id).copied().unwrap_or_default();
            let queued = waiting.min(config.max_queue_size_per_user);
            assert_eq!(user.concurrent, held);
            assert_eq!(user.queued, queued);
            assert_eq!(user.blocked, waiting - queued);
            assert!(held <= config.max_concurrent_per_user);
            let is_ready = waiting > 0 && held < config.max_concurrent_per_user;
            assert!(
                !is_ready || stats.global_concurrent == config.max_concurrent_global,
                "no slot is free while somebody waits who may take it"
            );
            found += usize::from(held + waiting > 0);
        }
        let active = seen.values().filter(|user| user.held + user.waiting > 0);
        assert_eq!(found, active.count(), "who has something is known");
    }

    /// Nobody was forgotten too early, but where there are too many.
    fn check_known(&mut self, stats: &Stats<u32>, now: u64) {
        assert_eq!(stats.total_users, stats.users.len());
        self.most_active = self.most_active.max(self.requests.len());
        assert!(
            stats.total_users <= 2 * (self.most_remembered + self.most_active) + 8,
            "those remembered are bounded"
        );
        let most = self.known.len();
        let known: HashSet<u32> = stats.users.iter().map(|user| user.user_id).collect();
        let idle_time = nanos(stats.config.idle_timeout);
        self.known.retain(|user, last| {
            let is_known = known.contains(user);
            assert!(
                is_known || most > stats.config.max_idle_users as usize || now - *last >= idle_time,
                "forgotten too early"
            );
            is_known
        });
        assert_eq!(self.known.len(), known.len(), "who is known has come");
    }
}

#[derive(Clone, Copy, Default)]
struct Seen {
    held: u32,
    waiting: u32,
}

impl Request {
    /// None if the request has been told why it ended.
    fn poll(self, clock: &FakeClock) -> Option<Self> {
        let Has::Ticket {
            mut ticket,
            alarm: before,
            ended,
        } = self.has
        else {
            return Some(self);
        };
        let alarm = Arc::new(Alarm {
            clock: clock.clone(),
            woken: AtomicU64::new(NEVER),
        });
        let waker = Waker::from(alarm.clone());
        let has = match Pin::new(&mut ticket).poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                assert!(ended.is_none(), "who has ended is told so");
                if let Some(before) = before {
                    assert_eq!(before.woken(), NEVER, "woken for nothing");
                }
                Has::Ticket {
                    ticket,
                    alarm: Some(alarm),
                    ended: None,
                }
            }
            Poll::Ready(Ok(permit)) => {
                assert!(ended.is_none(), "who has ended is told so");
                match (self.wait, before) {
                    (None, _) => assert_eq!(permit.queue_time(), Duration::ZERO),
                    (Some(_), Some(before)) => {
                        let waited = Duration::from_nanos(before.woken() - self.arrived);
                        assert_eq!(permit.queue_time(), waited, "from arrival to the grant");
                    }
                    (Some(wait), None) => assert!(permit.queue_time() <= wait.timeout),
                }
                Has::Permit(permit)
            }
            Poll::Ready(Err(error)) => {
                let is_due = match error.reason() {
                    Reason::QueueTimeout { timeout } => {
                        let wait = self.wait.expect("only who waits times out");
                        assert_eq!(nanos(timeout), wait.deadline - self.arrived);
                        true
                    }
                    Reason::Evicted { .. } => false,
                    other => panic!("nothing ends so here: {other:?}"),
                };
                assert_eq!(is_due, ended == Some(End::Overdue));
                return None;
            }
        };
        Some(Self { has, ..self })
    }
}
