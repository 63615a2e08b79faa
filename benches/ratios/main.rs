//! How an admission compares, in one process and one run: `cargo bench --bench ratios`.
//!
//! Nanoseconds by themselves mean little on a machine that others use too. So all contenders run in turn, one
//! millisecond each, round after round; what is printed are medians over the rounds, and medians of the ratios
//! *within* a round. A slice in which a thread did not have its core to itself is thrown away and measured again.
//!
//! One step is one admission and one release. Each thread is pinned and goes through users of its own, out of 1,024,
//! in an order fixed beforehand and the same for all contenders. With `--check` the exit code says whether the targets
//! are met; `--rounds N` measures for longer or shorter.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "what is compared locks, and threads start together"
)]

#[path = "../common/mod.rs"]
mod common;
mod contenders;
mod quiet;
mod report;

use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use contenders::{CONTENDERS, Worker, World};
use report::Table;

/// How long one contender runs in one round.
const SLICE: Duration = Duration::from_millis(1);

/// How often a disturbed slice is tried again before its round is given up.
const TRIES: usize = 100;

/// Rounds for each number of threads.
const ROUNDS: usize = 800;

/// How often everything is made anew meanwhile: what lies beside what in memory is luck, and decides much between
/// threads.
const WORLDS: usize = 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let has = |name: &str| arguments.iter().any(|argument| argument == name);
    if !has("--bench") {
        // `cargo test --benches`, which only wants to see that it runs.
        let mut table = Table::new(1);
        measure(1, &mut table);
        println!("{table}");
        return ExitCode::SUCCESS;
    }
    let rounds = arguments
        .iter()
        .position(|argument| argument == "--rounds")
        .and_then(|at| arguments.get(at + 1)?.parse().ok())
        .unwrap_or(ROUNDS);

    let mut meets_all = true;
    for threads in [1, 2] {
        if threads > quiet::cores() {
            println!("{threads} threads: not measured, there are not so many cores.");
            meets_all = false;
            continue;
        }
        let mut table = Table::new(threads);
        for _ in 0..WORLDS {
            measure(rounds.div_ceil(WORLDS), &mut table);
        }
        println!("{table}");
        meets_all &= table.meets_targets();
    }
    if has("--check") && !meets_all {
        println!("A target is missed.");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// What one thread did in one slice.
#[derive(Clone, Copy, Debug)]
struct Run {
    steps: u64,
    start: Instant,
    wall: Duration,
    /// Time on a core.
    busy: Duration,
}

fn measure(rounds: usize, table: &mut Table) {
    /// No contender: the other threads end.
    const END: usize = usize::MAX;

    let threads = table.threads();
    let world = World::new();
    let next = AtomicUsize::new(END);
    let barrier = Barrier::new(threads);
    let runs = Mutex::new(Vec::new());
    let here = AtomicUsize::new(0);
    let slice = |worker: &Worker<'_>| {
        barrier.wait();
        let contender = next.load(Ordering::Relaxed);
        if contender == END {
            return false;
        }
        // The barrier may put a thread to sleep; whoever is awake first waits for the others on his feet.
        let turn = here.fetch_add(1, Ordering::Relaxed) / threads;
        while here.load(Ordering::Relaxed) < (turn + 1) * threads {
            std::hint::spin_loop();
        }
        let run = run(worker, contender);
        runs.lock().expect("nobody panics here").push(run);
        barrier.wait();
        true
    };
    thread::scope(|scope| {
        for number in 1..threads {
            let (world, slice) = (&world, &slice);
            scope.spawn(move || {
                quiet::pin_to(number);
                let worker = Worker::new(world, number, threads);
                while slice(&worker) {}
            });
        }
        // Not the main thread: what it is pinned to, the threads of the next measurement would be.
        scope.spawn(|| {
            quiet::pin_to(0);
            let worker = Worker::new(&world, 0, threads);
            for round in 0..rounds {
                let stolen = quiet::stolen();
                let nanos: Option<Vec<f64>> = (0..CONTENDERS.len())
                    // Nobody always runs on the same neighbour's caches.
                    .map(|turn| (turn + round) % CONTENDERS.len())
                    .map(|contender| {
                        (0..TRIES).find_map(|_| {
                            next.store(contender, Ordering::Relaxed);
                            slice(&worker);
                            undisturbed(&std::mem::take(&mut *runs.lock().expect("as above")))
                        })
                    })
                    .collect();
                match nanos {
                    Some(mut nanos) if quiet::stolen() == stolen => {
                        nanos.rotate_right(round % CONTENDERS.len());
                        table.add(nanos);
                    }
                    _ => table.discard(),
                }
            }
            next.store(END, Ordering::Relaxed);
            slice(&worker);
        });
    });
}

fn run(worker: &Worker<'_>, contender: usize) -> Run {
    let busy = quiet::busy();
    let start = Instant::now();
    let mut steps = 0;
    while start.elapsed() < SLICE {
        steps += worker.pass(contender);
    }
    let wall = start.elapsed();
    Run {
        steps,
        start,
        wall,
        busy: quiet::busy().saturating_sub(busy),
    }
}

/// Nanoseconds for one step of one thread; none if somebody else had a core meanwhile, or the threads did not run at the
/// same time.
fn undisturbed(runs: &[Run]) -> Option<f64> {
    let first = runs.iter().map(|run| run.start).min()?;
    let is_quiet = |run: &Run| {
        run.busy.as_secs_f64() > 0.99 * run.wall.as_secs_f64()
            && run.start.duration_since(first) < SLICE / 50
    };
    runs.iter().all(is_quiet).then(|| {
        let steps: f64 = runs
            .iter()
            .map(|run| run.steps as f64 / run.wall.as_secs_f64())
            .sum();
        1e9 * runs.len() as f64 / steps
    })
}
