//! What several test binaries share.
#![allow(
    dead_code,
    reason = "each test binary is a crate of its own and uses a part"
)]

pub(crate) mod counting;
pub(crate) mod watchdog;

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// A small generator (xorshift64*): the same numbers for the same seed.
#[derive(Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 11) % bound
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// One poll, by somebody who does not want to be woken.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Whether the long form of a test is asked for: `ADMIT_SCALE=full`.
pub(crate) fn is_full_scale() -> bool {
    std::env::var("ADMIT_SCALE").is_ok_and(|scale| scale == "full")
}

/// The seconds that a variable asks for, or `short`.
pub(crate) fn seconds(variable: &str, short: f64) -> Duration {
    let asked = std::env::var(variable)
        .ok()
        .and_then(|value| value.parse().ok());
    Duration::from_secs_f64(asked.unwrap_or(short))
}
