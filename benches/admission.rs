//! What each path costs, by itself: `cargo bench --bench admission`.
//!
//! For comparisons see `ratios`, which measures in turn what is compared.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what is compared locks, and threads start together"
)]

#[path = "common/mod.rs"]
mod common;

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use admit::{Limiter, Permit, UserHandle};
use criterion::{Criterion, criterion_group, criterion_main};

use common::{GLOBAL, PER_USER, Padded, TwoSemaphores};

/// Users in the measured order, again and again.
struct Turns {
    order: Vec<usize>,
    at: usize,
}

impl Turns {
    fn new() -> Self {
        Self {
            order: common::order(0, 1),
            at: 0,
        }
    }

    #[inline]
    fn next(&mut self) -> usize {
        self.at = (self.at + 1) % self.order.len();
        self.order[self.at]
    }
}

fn handles(limiter: &Limiter, names: &[String]) -> Vec<UserHandle> {
    names
        .iter()
        .map(|name| limiter.user(name.as_str()))
        .collect()
}

/// Admission and release while there is room.
fn admission(criterion: &mut Criterion) {
    let names = common::names();
    let limiter = common::limiter(&names, PER_USER, GLOBAL);
    let handles = handles(&limiter, &names);
    let semaphores = TwoSemaphores::new(&names);
    let words: [Padded; 4] = Default::default();
    let mut group = criterion.benchmark_group("admission and release");
    let mut turns = Turns::new();
    group.bench_function("by name", |bench| {
        bench.iter(|| limiter.try_acquire(names[turns.next()].as_str()));
    });
    group.bench_function("by handle", |bench| {
        bench.iter(|| handles[turns.next()].try_acquire());
    });
    group.bench_function("by name, as a future", |bench| {
        bench.iter(|| at_once(limiter.acquire(names[turns.next()].as_str())));
    });
    group.bench_function("by handle, as a future", |bench| {
        bench.iter(|| at_once(handles[turns.next()].acquire()));
    });
    group.bench_function("four bare load + compare-exchange", |bench| {
        bench.iter(|| {
            black_box(turns.next());
            words.iter().for_each(Padded::step);
        });
    });
    group.bench_function("DashMap + 2 tokio semaphores", |bench| {
        bench.iter(|| semaphores.try_acquire(names[turns.next()].as_str()));
    });
    group.finish();
}

/// A refusal, when it is wanted most.
fn refusal(criterion: &mut Criterion) {
    let names = common::names();
    let mut group = criterion.benchmark_group("refusal");
    let mut turns = Turns::new();

    let limiter = common::limiter(&names, 1, GLOBAL);
    let known = handles(&limiter, &names);
    let held: Vec<Permit> = known
        .iter()
        .filter_map(|user| user.try_acquire().ok())
        .collect();
    group.bench_function("user limit, by name", |bench| {
        bench.iter(|| limiter.try_acquire(names[turns.next()].as_str()));
    });
    group.bench_function("user limit, by handle", |bench| {
        bench.iter(|| known[turns.next()].try_acquire());
    });
    drop(held);

    let limiter = common::limiter(&names, PER_USER, 1);
    let known = handles(&limiter, &names);
    let held = limiter.try_acquire("somebody else");
    group.bench_function("global limit, by name", |bench| {
        bench.iter(|| limiter.try_acquire(names[turns.next()].as_str()));
    });
    group.bench_function("global limit, by handle", |bench| {
        bench.iter(|| known[turns.next()].try_acquire());
    });
    drop(held);
    group.finish();
}

/// Waiting: for the next slot, and in vain.
fn waiting(criterion: &mut Criterion) {
    let names = common::names();
    let mut group = criterion.benchmark_group("waiting");
    let mut turns = Turns::new();

    let limiter = common::limiter(&names, 1, GLOBAL);
    let known = handles(&limiter, &names);
    let mut held: Vec<Option<Permit>> = known.iter().map(|user| user.try_acquire().ok()).collect();
    group.bench_function(
        "hand-over: one waits, one releases, it is granted",
        |bench| {
            bench.iter(|| {
                let turn = turns.next();
                let ticket = known[turn].check_limits().expect("a place is free");
                held[turn] = None;
                held[turn] = ticket.wait().ok();
            });
        },
    );
    group.bench_function("cancel: one waits and gives up", |bench| {
        bench.iter(|| {
            let ticket = known[turns.next()].check_limits().expect("a place is free");
            drop(ticket);
        });
    });
    drop(held);

    let limiter = common::limiter(&names, PER_USER, 1);
    let known = handles(&limiter, &names);
    let mut held = known[0].try_acquire().ok();
    group.bench_function("hand-over to another user", |bench| {
        bench.iter(|| {
            let ticket = known[turns.next()].check_limits().expect("a place is free");
            held = None;
            held = ticket.wait().ok();
        });
    });
    drop(held);
    group.finish();
}

/// Polls a future that is ready.
#[inline]
fn at_once<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("a slot is free"),
    }
}

criterion_group!(benches, admission, refusal, waiting);
criterion_main!(benches);
