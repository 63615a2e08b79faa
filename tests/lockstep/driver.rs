//! The limiter and the models that agree with it so far, taken through a script step by step.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use admit::spec::{Id, Model, Status};
use admit::{FakeClock, LimitConfig, Limiter, Permit, Ticket};

/// A step of a script. A number picks one of those who hold a permit or a ticket.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    TryAcquire(u8),
    Check { user: u8, timeout: Option<u64> },
    Collect(u16),
    Drop(u16),
    Advance(u64),
    Reload(LimitConfig<u8>),
    Cleanup,
    Reset,
    Close,
}

pub(crate) const USERS: Range<u8> = 0..4;

enum Mine {
    Permit(Permit<u8>),
    Ticket(Ticket<u8>),
}

/// The limiter, what it has given out, and every model that agrees with all that was seen so far: there is more than
/// one only after a reload that made several users ready, whose order is not promised.
pub(crate) struct Both {
    clock: FakeClock,
    limiter: Limiter<u8>,
    models: Vec<Model<u8>>,
    given: BTreeMap<Id, Mine>,
}

impl Both {
    pub(crate) fn new(config: LimitConfig<u8>) -> Self {
        let clock = FakeClock::new();
        Self {
            limiter: Limiter::with_clock(config.clone(), clock.clone()).expect("in range"),
            models: vec![Model::new(config)],
            clock,
            given: BTreeMap::new(),
        }
    }

    /// Takes the step on both sides. `Err` says what is different after it.
    pub(crate) fn step(&mut self, step: &Step) -> Result<(), String> {
        self.take(step);
        self.look()
            .map_err(|difference| format!("after {step:?}: {difference}"))
    }

    fn says_when_to_retry(&self, refused: Option<&admit::OverloadError>) {
        if let Some(error) = refused {
            assert_eq!(error.retry_after(), self.limiter.config().retry_after);
        }
    }

    fn pick(&self, number: u16) -> Option<Id> {
        let number = usize::from(number).checked_rem(self.given.len())?;
        self.given.keys().nth(number).copied()
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::TryAcquire(user) => {
                let real = self.limiter.try_acquire(user);
                self.says_when_to_retry(real.as_ref().err());
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
                self.says_when_to_retry(real.as_ref().err());
                let told = real.as_ref().map(|_| ()).map_err(|error| error.reason());
                let id = self.models(|model| {
                    let modelled = model.check(*user, timeout);
                    (modelled.map(|_| ()) == told).then_some(modelled)
                });
                if let (Ok(ticket), Some(Ok(id))) = (real, id) {
                    self.given.insert(id, Mine::Ticket(ticket));
                }
            }
            Step::Collect(number) => {
                let Some(id) = self.pick(*number) else { return };
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
            Step::Drop(number) => {
                let Some(id) = self.pick(*number) else { return };
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
    fn look(&mut self) -> Result<(), String> {
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
        if self.models.is_empty() {
            Err(difference)
        } else {
            Ok(())
        }
    }

    fn compare(&self, model: &Model<u8>) -> Result<(), String> {
        let stats = self.limiter.stats();
        let global = model.global();
        same(
            || "global held, queued, blocked".to_owned(),
            (
                stats.global_concurrent,
                stats.global_queue_size,
                stats.global_blocked,
            ),
            (global.held, global.queued, global.blocked),
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
                || format!("user {user} held, queued, blocked"),
                real,
                (counts.held, counts.queued, counts.blocked),
            )?;
        }
        for (id, given) in &self.given {
            let Mine::Ticket(ticket) = given else {
                continue;
            };
            let status = model.status(*id);
            let position = match status {
                Status::Waiting { position } => Some(position),
                _ => None,
            };
            same(
                || format!("ticket {id}: position, is_admitted"),
                (ticket.position(), ticket.is_admitted()),
                (position, matches!(status, Status::Granted | Status::Held)),
            )?;
        }
        let (real, modelled) = (stats.totals, model.totals());
        same(
            || "totals".to_owned(),
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
            ],
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
            ],
        )?;
        same(
            || "peaks".to_owned(),
            (stats.peak_concurrent, stats.peak_queue_size),
            (model.peaks().held, model.peaks().queued),
        )?;
        same(
            || "known users".to_owned(),
            stats.total_users,
            model.total_users(),
        )
    }
}

fn same<T: PartialEq + Debug>(
    what: impl FnOnce() -> String,
    real: T,
    model: T,
) -> Result<(), String> {
    if real == model {
        return Ok(());
    }
    let what = what();
    Err(format!("{what}: limiter {real:?}, model {model:?}"))
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
