//! The limiter and the sequential model, step by step: same outcomes, same reasons, same order, same counts.
//!
//! `PROPTEST_CASES=20000 cargo test --release --test lockstep` runs more scripts. A script that fails is shrunk and
//! printed as the list of its steps.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use admit::spec::{Id, Model, Status};
use admit::{
    FakeClock, LimitConfig, Limiter, OverloadPolicy, Permit, Ticket, UserLimits, UserRule,
};
use proptest::prelude::*;
use proptest::sample::Index;

/// A step of a script. An index picks one of those who hold a permit or a ticket.
#[derive(Clone, Debug)]
enum Step {
    TryAcquire(u8),
    Check { user: u8, timeout: Option<u64> },
    Collect(Index),
    Drop(Index),
    Advance(u64),
    Reload(LimitConfig<u8>),
    Cleanup,
    Reset,
    Close,
}

const USERS: std::ops::Range<u8> = 0..4;

fn config() -> impl Strategy<Value = LimitConfig<u8>> {
    let policy = prop::sample::select(vec![
        OverloadPolicy::DropNewest,
        OverloadPolicy::DropOldest,
        OverloadPolicy::Block,
    ]);
    let own = prop::collection::hash_map(USERS, (0..4u32, 0..4u32), 0..3);
    let rule = prop::option::weighted(0.2, (0..3u32, 0..3u32));
    let limits = (1..4u32, 0..4u32, 1..7u32, 0..7u32);
    let times = (5..15u64, 10..30u64);
    (limits, times, prop::bool::weighted(0.9), policy, own, rule).prop_map(
        |(limits, times, enabled, overload_policy, own, rule)| LimitConfig {
            enabled,
            max_concurrent_per_user: limits.0,
            max_queue_size_per_user: limits.1,
            max_concurrent_global: limits.2,
            max_queue_size_global: limits.3,
            queue_timeout: Duration::from_secs(times.0),
            idle_timeout: Duration::from_secs(times.1),
            overload_policy,
            users: own
                .into_iter()
                .map(|(user, (slots, places))| (user, UserLimits::new(slots, places)))
                .collect(),
            users_by: rule.map(|(slots, places)| {
                UserRule::new(move |user: &u8| {
                    (user % 2 == 0).then(|| UserLimits::new(slots, places))
                })
            }),
            ..LimitConfig::default()
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => USERS.prop_map(Step::TryAcquire),
        24 => (USERS, prop::option::weighted(0.3, 0..20u64))
            .prop_map(|(user, timeout)| Step::Check { user, timeout }),
        12 => any::<Index>().prop_map(Step::Collect),
        16 => any::<Index>().prop_map(Step::Drop),
        4 => (0..15u64).prop_map(Step::Advance),
        3 => config().prop_map(Step::Reload),
        1 => Just(Step::Cleanup),
        1 => Just(Step::Reset),
        1 => Just(Step::Close),
    ]
}

enum Mine {
    Permit(Permit<u8>),
    Ticket(Ticket<u8>),
}

/// The limiter, what it has given out, and every model that agrees with all that was seen so far: there is more than
/// one only after a reload that made several users ready, whose order is not promised.
struct Both {
    clock: FakeClock,
    limiter: Limiter<u8>,
    models: Vec<Model<u8>>,
    given: BTreeMap<Id, Mine>,
}

impl Both {
    fn pick(&self, index: &Index) -> Option<Id> {
        let len = self.given.len();
        (len > 0).then(|| self.given.keys().nth(index.index(len)).copied())?
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::TryAcquire(user) => {
                let real = self.limiter.try_acquire(user);
                let told = real.as_ref().map(|_| ()).map_err(|error| error.reason());
                let id = self.models(|model| {
                    let modelled = model.try_acquire(*user);
                    (modelled.map(|_| ()) == told).then_some(modelled)
                });
                if let (Ok(permit), Some(Ok(id))) = (real, id) {
                    self.given.insert(id, Mine::Permit(permit));
                }
            }
            Step::Check { user, timeout } => {
                let timeout = timeout.map(Duration::from_secs);
                let real = match timeout {
                    Some(timeout) => self.limiter.request(user).timeout(timeout).check_limits(),
                    None => self.limiter.check_limits(user),
                };
                let told = real.as_ref().map(|_| ()).map_err(|error| error.reason());
                let id = self.models(|model| {
                    let modelled = model.check(*user, timeout);
                    (modelled.map(|_| ()) == told).then_some(modelled)
                });
                if let (Ok(ticket), Some(Ok(id))) = (real, id) {
                    self.given.insert(id, Mine::Ticket(ticket));
                }
            }
            Step::Collect(index) => {
                let Some(id) = self.pick(index) else { return };
                let given = self.given.remove(&id);
                if let Some(Mine::Permit(permit)) = given {
                    self.given.insert(id, Mine::Permit(permit));
                } else if let Some(Mine::Ticket(mut ticket)) = given {
                    let mut context = Context::from_waker(Waker::noop());
                    let real = Pin::new(&mut ticket).poll(&mut context);
                    let told = match &real {
                        Poll::Pending => Poll::Pending,
                        Poll::Ready(Ok(_)) => Poll::Ready(Ok(())),
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error.reason())),
                    };
                    self.models(|model| (model.collect(id) == told).then_some(()));
                    match real {
                        Poll::Pending => drop(self.given.insert(id, Mine::Ticket(ticket))),
                        Poll::Ready(Ok(permit)) => {
                            drop(self.given.insert(id, Mine::Permit(permit)))
                        }
                        Poll::Ready(Err(_)) => {}
                    }
                }
            }
            Step::Drop(index) => {
                let Some(id) = self.pick(index) else { return };
                drop(self.given.remove(&id));
                self.models(|model| {
                    model.abandon(id);
                    Some(())
                });
            }
            Step::Advance(seconds) => {
                let by = Duration::from_secs(*seconds);
                self.clock.advance(by);
                self.models(|model| {
                    model.advance(by);
                    Some(())
                });
            }
            Step::Reload(config) => {
                self.limiter.reload(config.clone()).expect("in range");
                // The arrival of a new user may forget who is idle for too long by the new config; so may the clock.
                self.clock.advance(Duration::ZERO);
                self.models = std::mem::take(&mut self.models)
                    .into_iter()
                    .flat_map(|model| {
                        let users: Vec<u8> = model.users().copied().collect();
                        orders(&users).into_iter().map(move |order| {
                            let mut model = model.clone();
                            model.reload_in_order(config.clone(), &order);
                            model.advance(Duration::ZERO);
                            model
                        })
                    })
                    .collect();
            }
            Step::Cleanup => {
                let real = self.limiter.cleanup();
                self.models(|model| (model.cleanup() == real).then_some(()));
            }
            Step::Reset => {
                self.limiter.reset();
                self.models(|model| {
                    model.reset();
                    Some(())
                });
            }
            Step::Close => {
                self.limiter.close();
                self.models(|model| {
                    model.close();
                    Some(())
                });
            }
        }
    }

    /// Lets every model take the step, and keeps those that agree.
    fn models<T>(&mut self, mut step: impl FnMut(&mut Model<u8>) -> Option<T>) -> Option<T> {
        let mut answer = None;
        self.models.retain_mut(|model| {
            let agrees = step(model);
            let keep = agrees.is_some();
            answer = agrees.or(answer.take());
            keep
        });
        answer
    }

    /// Keeps the models that look like the limiter, one for each order of the ring.
    fn look(&mut self) -> Result<(), TestCaseError> {
        let mut difference = String::from("every outcome differs");
        let models = std::mem::take(&mut self.models);
        let mut rings: Vec<Vec<u8>> = Vec::new();
        for model in models {
            model.check_invariants();
            match self.compare(&model) {
                Ok(()) => {
                    let ring: Vec<u8> = model.ring().copied().collect();
                    if !rings.contains(&ring) {
                        rings.push(ring);
                        self.models.push(model);
                    }
                }
                Err(error) => difference = error,
            }
        }
        prop_assert!(!self.models.is_empty(), "{}", difference);
        Ok(())
    }

    fn compare(&self, model: &Model<u8>) -> Result<(), String> {
        let stats = self.limiter.stats();
        let same = |what: &str, real: String, model: String| {
            if real == model {
                Ok(())
            } else {
                Err(format!("{what}: limiter {real}, model {model}"))
            }
        };
        let global = model.global();
        same(
            "global held, queued, blocked",
            format!(
                "{:?}",
                (
                    stats.global_concurrent,
                    stats.global_queue_size,
                    stats.global_blocked
                )
            ),
            format!("{:?}", (global.held, global.queued, global.blocked)),
        )?;
        for user in USERS {
            let real = stats
                .users
                .iter()
                .find(|seen| seen.user_id == user)
                .map(|seen| (seen.concurrent, seen.queued, seen.blocked))
                .unwrap_or_default();
            let counts = model.user(&user);
            same(
                &format!("user {user} held, queued, blocked"),
                format!("{real:?}"),
                format!("{:?}", (counts.held, counts.queued, counts.blocked)),
            )?;
        }
        for (id, given) in &self.given {
            let Mine::Ticket(ticket) = given else {
                continue;
            };
            let position = match model.status(*id) {
                Status::Waiting { position } => Some(position),
                _ => None,
            };
            same(
                &format!("ticket {id}: position, is_admitted"),
                format!("{:?}", (ticket.position(), ticket.is_admitted())),
                format!(
                    "{:?}",
                    (
                        position,
                        matches!(model.status(*id), Status::Granted | Status::Held)
                    )
                ),
            )?;
        }
        let (real, modelled) = (stats.totals, model.totals());
        same(
            "totals",
            format!(
                "{:?}",
                [
                    real.admitted,
                    real.queued,
                    real.user_limit,
                    real.user_queue_full,
                    real.global_limit,
                    real.global_queue_full,
                    real.evicted,
                    real.timed_out,
                    real.closed,
                    real.reset,
                    real.abandoned,
                ]
            ),
            format!(
                "{:?}",
                [
                    modelled.admitted,
                    modelled.queued,
                    modelled.user_limit,
                    modelled.user_queue_full,
                    modelled.global_limit,
                    modelled.global_queue_full,
                    modelled.evicted,
                    modelled.timed_out,
                    modelled.closed,
                    modelled.reset,
                    modelled.abandoned,
                ]
            ),
        )?;
        same(
            "peaks",
            format!("{:?}", (stats.peak_concurrent, stats.peak_queue_size)),
            format!("{:?}", (model.peaks().held, model.peaks().queued)),
        )?;
        same(
            "known users",
            format!("{}", stats.total_users),
            format!("{}", model.total_users()),
        )
    }
}

/// All orders of a few users.
fn orders(users: &[u8]) -> Vec<Vec<u8>> {
    if users.len() < 2 {
        return vec![users.to_vec()];
    }
    let mut all = Vec::new();
    for first in users {
        let rest: Vec<u8> = users.iter().copied().filter(|user| user != first).collect();
        for mut order in orders(&rest) {
            order.insert(0, *first);
            all.push(order);
        }
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { max_shrink_iters: 20_000, ..ProptestConfig::default() })]

    #[test]
    fn the_limiter_does_what_the_model_does(
        config in config(),
        script in prop::collection::vec(step(), 1..60),
    ) {
        let clock = FakeClock::new();
        let mut both = Both {
            limiter: Limiter::with_clock(config.clone(), clock.clone()).expect("in range"),
            models: vec![Model::new(config)],
            clock,
            given: BTreeMap::new(),
        };
        for step in &script {
            both.step(step);
            both.look().map_err(|error| TestCaseError::fail(format!("after {step:?}: {error}")))?;
        }
    }
}
