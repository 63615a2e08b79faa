//! Those who run, and the step that each of them takes.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use admit::{Limiter, UserHandle};

use crate::common::{self, GLOBAL, PER_USER, Padded, TwoSemaphores};

/// By number, as [`Worker::pass`] knows them.
pub(crate) const CONTENDERS: [&str; 7] = [
    "four bare load + compare-exchange",
    "the same, two on a line of each user",
    "admit, by handle",
    "admit, by one handle, again and again",
    "admit, by name",
    "admit, by name, as a future",
    "DashMap + 2 tokio semaphores",
];

pub(crate) const BARE: usize = 0;
pub(crate) const HANDLE: usize = 2;
pub(crate) const NAME: usize = 4;
pub(crate) const SEMAPHORES: usize = 6;

/// What all threads share.
pub(crate) struct World {
    names: Vec<String>,
    limiter: Limiter,
    semaphores: TwoSemaphores,
    /// One word for each user, and one for all.
    words: Vec<Padded>,
    shared: [Padded; 2],
}

impl World {
    pub(crate) fn new() -> Self {
        let names = common::names();
        Self {
            limiter: common::limiter(&names, PER_USER, GLOBAL),
            semaphores: TwoSemaphores::new(&names),
            words: names.iter().map(|_| Padded::default()).collect(),
            shared: Default::default(),
            names,
        }
    }
}

/// One thread and its users.
pub(crate) struct Worker<'a> {
    world: &'a World,
    order: Vec<usize>,
    handles: Vec<UserHandle>,
    own: [Padded; 2],
}

impl<'a> Worker<'a> {
    pub(crate) fn new(world: &'a World, number: usize, threads: usize) -> Self {
        Self {
            order: common::order(number, threads),
            handles: world
                .names
                .iter()
                .map(|name| world.limiter.user(name.as_str()))
                .collect(),
            own: Default::default(),
            world,
        }
    }

    /// One step for each user; returns how many.
    pub(crate) fn pass(&self, contender: usize) -> u64 {
        match contender {
            // What the user's level would cost if there were one user, beside the global level shared with the others.
            0 => self.each(|_| {
                self.own[0].step();
                self.world.shared[0].step();
                self.own[1].step();
                self.world.shared[1].step();
            }),
            // Nothing that counts at two levels can do less than this.
            1 => self.each(|user| {
                self.world.words[user].step();
                self.world.shared[0].step();
                self.world.words[user].step();
                self.world.shared[0].step();
            }),
            2 => self.each(|user| drop(black_box(self.handles[user].try_acquire()))),
            // What it costs when the handle and the entry are in the first-level cache already.
            3 => {
                let handle = &self.handles[self.order[0]];
                self.each(|_| drop(black_box(handle.try_acquire())))
            }
            4 => self.each(|user| {
                let name = self.world.names[user].as_str();
                drop(black_box(self.world.limiter.try_acquire(name)));
            }),
            5 => self.each(|user| {
                let name = self.world.names[user].as_str();
                let future = pin!(self.world.limiter.acquire(name));
                let mut context = Context::from_waker(Waker::noop());
                let Poll::Ready(permit) = future.poll(&mut context) else {
                    unreachable!("a slot is free");
                };
                drop(black_box(permit));
            }),
            _ => self.each(|user| {
                let name = self.world.names[user].as_str();
                drop(black_box(self.world.semaphores.try_acquire(name)));
            }),
        }
    }

    #[inline]
    fn each(&self, step: impl Fn(usize)) -> u64 {
        for &user in &self.order {
            step(black_box(user));
        }
        self.order.len() as u64
    }
}
