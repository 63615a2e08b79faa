//! What a run has shown, and the verdict on it.

mod json;
mod tables;

use std::time::Duration;

use crate::options::Options;
use crate::page::{Page, Watch};
use crate::tally::{End, Tally};
use crate::target::Target;

/// The percentiles shown.
const PERCENTILES: [(&str, f64); 5] = [
    ("p50", 50.0),
    ("p90", 90.0),
    ("p99", 99.0),
    ("p99.9", 99.9),
    ("max", 100.0),
];

/// How requests end in the limiter's books; whoever asks is counted under one of them.
const OUTCOMES: [&str; 10] = [
    "admitted",
    "user_limit",
    "user_queue_full",
    "global_limit",
    "global_queue_full",
    "evicted",
    "timed_out",
    "closed",
    "reset",
    "abandoned",
];

/// All there is to say about a run.
#[derive(Debug)]
pub(crate) struct Report {
    heading: [String; 3],
    tally: Tally,
    watch: Watch,
    /// The server's totals over the run.
    totals: Vec<(&'static str, u64)>,
    last: Page,
    took: Duration,
    faults: Vec<String>,
}

/// What is known when a run has ended.
#[derive(Debug)]
pub(crate) struct Run<'a> {
    pub(crate) options: &'a Options,
    pub(crate) target: &'a Target,
    /// The server is this process's own, so nobody else used it.
    pub(crate) own_server: bool,
    pub(crate) tally: Tally,
    pub(crate) watch: Watch,
    pub(crate) before: Page,
    /// The last page, or why there is none.
    pub(crate) after: Result<Page, String>,
    pub(crate) took: Duration,
    /// All requests ended before the time was over.
    pub(crate) in_time: bool,
    /// The own server closed.
    pub(crate) drained: bool,
}

impl Report {
    pub(crate) fn new(run: Run<'_>) -> Self {
        let mut faults = Vec::new();
        let last = run.after.clone().unwrap_or_else(|error| {
            faults.push(format!("the server is gone: {error}"));
            run.before.clone()
        });
        let totals: Vec<_> = ["queued"]
            .into_iter()
            .chain(OUTCOMES)
            .map(|name| {
                (
                    name,
                    last.total(name).saturating_sub(run.before.total(name)),
                )
            })
            .collect();
        find_faults(&run, &last, &totals, &mut faults);
        Self {
            heading: heading(&run),
            tally: run.tally,
            watch: run.watch,
            totals,
            last,
            took: run.took,
            faults,
        }
    }

    pub(crate) fn is_ok(&self) -> bool {
        self.faults.is_empty()
    }

    fn verdict(&self) -> String {
        if self.is_ok() {
            "OK: no slot and no place is left, no bound was passed.".to_owned()
        } else {
            format!("FAILED: {}.", self.faults.join("; "))
        }
    }

    fn rate(&self) -> f64 {
        self.tally.requests() as f64 / self.took.as_secs_f64().max(1e-9)
    }

    /// What, most seen by looking, most the server knows of, bound.
    fn bounds(&self) -> [(&'static str, u64, Option<u64>, u64); 4] {
        let (watch, page) = (&self.watch, &self.last);
        let config = &page.config;
        [
            (
                "slots, all users",
                watch.held,
                Some(page.peak_concurrent),
                config.max_concurrent_global,
            ),
            (
                "places, all users",
                watch.queued,
                Some(page.peak_queue_size),
                config.max_queue_size_global,
            ),
            (
                "slots, one user",
                watch.user_held,
                None,
                config.max_concurrent_per_user,
            ),
            (
                "places, one user",
                watch.user_queued,
                None,
                config.max_queue_size_per_user,
            ),
        ]
    }
}

fn heading(run: &Run<'_>) -> [String; 3] {
    let options = run.options;
    let config = &run.before.config;
    let own = if run.own_server {
        ", in this process"
    } else {
        ""
    };
    let off = if config.enabled {
        ""
    } else {
        " (not enforced: LIMITS_ENABLED is off)"
    };
    [
        format!(
            "load    {} requests on {} connections for {} users, {:.0}% of them for user-0; \
             {:.0}% hang up; {} pieces, {} ms each; seed {}",
            options.requests,
            options.connections,
            options.users,
            options.hog_share * 100.0,
            options.hangups * 100.0,
            options.pieces,
            options.delay_ms,
            options.seed
        ),
        format!("server  {}{own}", run.target),
        format!(
            "limits  {} slots and {} places for a user, {} and {} in all; {} s in the queue; {}{off}",
            config.max_concurrent_per_user,
            config.max_queue_size_per_user,
            config.max_concurrent_global,
            config.max_queue_size_global,
            config.queue_timeout_seconds,
            config.overload_policy
        ),
    ]
}

/// All that is not as it should be.
fn find_faults(
    run: &Run<'_>,
    last: &Page,
    totals: &[(&'static str, u64)],
    faults: &mut Vec<String>,
) {
    for (what, seen) in &run.watch.passed {
        faults.push(format!("a bound was passed: {what}: {seen}"));
    }
    if run.after.is_ok() && !last.is_quiet() {
        faults.push(format!(
            "{} slots and {} places are left",
            last.global_concurrent,
            last.global_queue_size + last.global_blocked
        ));
    }
    if !run.drained {
        faults.push("the server does not close".to_owned());
    }
    if !run.in_time {
        faults.push(format!(
            "time is over with {} of {} requests ended",
            run.tally.requests(),
            run.options.requests
        ));
    }
    let failed = run.tally.of(End::Failed);
    if failed > 0 {
        let examples = run.tally.faults.join(", ");
        faults.push(format!("{failed} requests failed ({examples})"));
    }
    if run.own_server && run.after.is_ok() && run.in_time {
        compare_books(&run.tally, totals, faults);
    }
}

/// Nobody else used the server, so its books have to agree with the clients'. Only how the requests ended
/// whose clients did not stay to hear it, the server alone knows.
fn compare_books(tally: &Tally, totals: &[(&'static str, u64)], faults: &mut Vec<String>) {
    let sum = |names: &[&str]| -> u64 {
        totals
            .iter()
            .filter(|(name, _)| names.contains(name))
            .map(|(_, count)| count)
            .sum()
    };
    let unheard = tally.of(End::LeftWaiting) + tally.of(End::Failed);
    let mut compare = |what: &str, server: u64, clients: u64| {
        if !(clients..=clients + unheard).contains(&server) {
            faults.push(format!(
                "the books differ on {what}: {server} by the server's, {clients} by the clients' with {unheard} unheard"
            ));
        }
    };
    compare("admitted", sum(&["admitted"]), tally.admitted());
    compare("429", sum(&["user_queue_full"]), tally.of(End::Refused429));
    compare("408", sum(&["timed_out"]), tally.of(End::Refused408));
    compare(
        "503",
        sum(&["global_queue_full"]),
        tally.of(End::Refused503),
    );
    compare("all requests", sum(&OUTCOMES), tally.requests() - unheard);
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        part as f64 / whole as f64
    }
}
