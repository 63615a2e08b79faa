//! A test that hangs is a test that fails, and says what it saw.

use std::io::Write;
use std::process;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Nobody may stand still for longer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Watches the progress of some threads. Ends the process if one of them makes none.
pub(crate) struct Watchdog {
    steps: Arc<[AtomicU64]>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// A thread that has finished counts no more.
const FINISHED: u64 = u64::MAX;

impl Watchdog {
    /// Watches `threads` threads; `report` says what there is to know when one of them hangs.
    pub(crate) fn new(threads: usize, report: impl Fn() -> String + Send + 'static) -> Self {
        let steps: Arc<[AtomicU64]> = (0..threads).map(|_| AtomicU64::new(0)).collect();
        let is_over = Arc::new(AtomicBool::new(false));
        let watched = steps.clone();
        let over = is_over.clone();
        let thread = thread::spawn(move || watch(&watched, &over, &report));
        Self {
            steps,
            is_over,
            thread: Some(thread),
        }
    }

    /// Thread `number` got on.
    pub(crate) fn step(&self, number: usize) {
        self.steps[number].fetch_add(1, Ordering::Relaxed);
    }

    /// Thread `number` is done.
    pub(crate) fn finish(&self, number: usize) {
        self.steps[number].store(FINISHED, Ordering::Relaxed);
    }
}

fn watch(steps: &[AtomicU64], is_over: &AtomicBool, report: &dyn Fn() -> String) {
    let mut seen: Vec<(u64, Instant)> = steps.iter().map(|_| (0, Instant::now())).collect();
    while !is_over.load(Ordering::Relaxed) {
        thread::park_timeout(Duration::from_millis(200));
        for (number, (step, seen)) in steps.iter().zip(&mut seen).enumerate() {
            let now = step.load(Ordering::Relaxed);
            if now == FINISHED || now != seen.0 {
                *seen = (now, Instant::now());
            } else if seen.1.elapsed() > PATIENCE {
                // Straight to the stream: what is captured would be lost with the process.
                let _ = writeln!(
                    std::io::stderr(),
                    "thread {number} stands still at its step {now} (--nocapture shows whether it panicked)\n{}",
                    report()
                );
                process::exit(101);
            }
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// Says that it is over when it goes, also when it goes in a panic.
pub(crate) struct OverAtTheEnd<'a>(pub(crate) &'a AtomicBool);

impl Drop for OverAtTheEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
