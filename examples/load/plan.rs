//! Who asks when, and who hangs up: drawn from the seed, the same in each run.

use std::time::Duration;

use crate::options::Options;

/// Impatient clients hang up within this time.
const PATIENCE: Duration = Duration::from_millis(60);

/// Knows every request of a run by its number.
#[derive(Debug)]
pub(crate) struct Plan {
    seed: u64,
    users: u32,
    hog_share: f64,
    hangups: f64,
    pieces: u32,
    backoff: Duration,
}

/// One request to come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    pub(crate) user: u32,
    pub(crate) leave: Leave,
    /// Pause of the connection if it is refused.
    pub(crate) backoff: Duration,
}

/// When a client hangs up.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Leave {
    Never,
    /// This long after asking, wherever the request is by then.
    After(Duration),
    /// With so many pieces of the answer read.
    AtPiece(u32),
}

impl Plan {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            seed: options.seed,
            users: options.users,
            hog_share: options.hog_share,
            hangups: options.hangups,
            pieces: options.pieces,
            backoff: Duration::from_millis(options.backoff_ms.into()),
        }
    }

    pub(crate) fn request(&self, number: u64) -> Request {
        let mut dice = Dice::new(self.seed, number);
        let user = if self.users == 1 || dice.fraction() < self.hog_share {
            0
        } else {
            1 + dice.below(self.users - 1)
        };
        let leave = if dice.fraction() >= self.hangups {
            Leave::Never
        } else if self.pieces == 1 || dice.fraction() < 0.5 {
            Leave::After(PATIENCE.mul_f64(dice.fraction()))
        } else {
            Leave::AtPiece(1 + dice.below(self.pieces - 1))
        };
        Request {
            user,
            leave,
            backoff: self.backoff.mul_f64(0.5 + dice.fraction()),
        }
    }
}

/// SplitMix64: enough to spread requests, and no dependency.
struct Dice(u64);

impl Dice {
    fn new(seed: u64, number: u64) -> Self {
        let mut dice = Self(seed);
        Self(dice.next() ^ number.wrapping_mul(0xA076_1D64_78BD_642F))
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 up to, but not including, 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// From 0 up to, but not including, `bound`.
    fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(bound) * (self.next() >> 32)) >> 32) as u32
    }
}
