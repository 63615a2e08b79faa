//! Medians, spread, ratios and targets.

use std::fmt;

use crate::contenders::{BARE, CONTENDERS, HANDLE, NAME, SEMAPHORES};

/// A promise about a ratio.
struct Target {
    threads: usize,
    who: usize,
    over: usize,
    at_most: f64,
}

const TARGETS: [Target; 3] = [
    Target {
        threads: 1,
        who: HANDLE,
        over: BARE,
        at_most: 1.6,
    },
    Target {
        threads: 1,
        who: NAME,
        over: SEMAPHORES,
        at_most: 0.6,
    },
    Target {
        threads: 2,
        who: NAME,
        over: SEMAPHORES,
        at_most: 0.6,
    },
];

/// Rounds without which nothing is said.
const ENOUGH: usize = 30;

/// What was measured with one number of threads.
pub(crate) struct Table {
    threads: usize,
    /// Nanoseconds for a step: a row for each round, a column for each contender.
    rounds: Vec<Vec<f64>>,
    discarded: usize,
}

impl Table {
    pub(crate) fn new(threads: usize) -> Self {
        Self {
            threads,
            rounds: Vec::new(),
            discarded: 0,
        }
    }

    pub(crate) fn threads(&self) -> usize {
        self.threads
    }

    pub(crate) fn add(&mut self, nanos: Vec<f64>) {
        self.rounds.push(nanos);
    }

    pub(crate) fn discard(&mut self) {
        self.discarded += 1;
    }

    pub(crate) fn meets_targets(&self) -> bool {
        self.rounds.len() >= ENOUGH
            && self
                .targets()
                .all(|target| self.ratio(target.who, target.over).median <= target.at_most)
    }

    fn targets(&self) -> impl Iterator<Item = &'static Target> + use<'_> {
        TARGETS
            .iter()
            .filter(|target| target.threads == self.threads)
    }

    fn time(&self, who: usize) -> Quartiles {
        Quartiles::of(self.rounds.iter().map(|round| round[who]))
    }

    fn ratio(&self, who: usize, over: usize) -> Quartiles {
        Quartiles::of(self.rounds.iter().map(|round| round[who] / round[over]))
    }
}

/// The middle, and the range of the middle half.
struct Quartiles {
    median: f64,
    low: f64,
    high: f64,
}

impl Quartiles {
    fn of(values: impl Iterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = values.collect();
        sorted.sort_by(f64::total_cmp);
        let at = |part: f64| {
            let place = part * sorted.len().saturating_sub(1) as f64;
            sorted
                .get(place.round() as usize)
                .copied()
                .unwrap_or(f64::NAN)
        };
        Self {
            median: at(0.5),
            low: at(0.25),
            high: at(0.75),
        }
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let threads = match self.threads {
            1 => String::from("1 thread"),
            many => format!("{many} threads"),
        };
        writeln!(
            f,
            "{threads}, {} rounds, {} more thrown away",
            self.rounds.len(),
            self.discarded
        )?;
        writeln!(
            f,
            "| admission and release | ns, median | middle half | / bare | / semaphores |"
        )?;
        writeln!(f, "| --- | ---: | ---: | ---: | ---: |")?;
        for (number, name) in CONTENDERS.iter().enumerate() {
            let time = self.time(number);
            writeln!(
                f,
                "| {name} | {:.1} | {:.1} - {:.1} | {:.2} | {:.2} |",
                time.median,
                time.low,
                time.high,
                self.ratio(number, BARE).median,
                self.ratio(number, SEMAPHORES).median,
            )?;
        }
        for target in self.targets() {
            let ratio = self.ratio(target.who, target.over);
            writeln!(
                f,
                "{} / {}: {:.2} (middle half {:.2} - {:.2}), at most {:.1} wanted: {}",
                CONTENDERS[target.who],
                CONTENDERS[target.over],
                ratio.median,
                ratio.low,
                ratio.high,
                target.at_most,
                if self.rounds.len() < ENOUGH {
                    "not enough quiet rounds to say"
                } else if ratio.median <= target.at_most {
                    "met"
                } else {
                    "MISSED"
                }
            )?;
        }
        Ok(())
    }
}
