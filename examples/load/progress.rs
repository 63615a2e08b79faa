//! What a run shows while it lasts: a bar on a terminal, a line a second elsewhere, on stderr.

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::page::Watch;
use crate::tally::{End, Tally};

pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines { requests: u64, next: Instant },
}

impl Progress {
    pub(crate) fn new(requests: u64) -> Self {
        if !io::stderr().is_terminal() {
            return Self::Lines {
                requests,
                next: Instant::now() + Duration::from_secs(1),
            };
        }
        let bar = ProgressBar::with_draw_target(Some(requests), ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(
            "{elapsed:>4} [{bar:30}] {pos}/{len} {percent}%  {wide_msg}",
        ) {
            bar.set_style(style.progress_chars("=> "));
        }
        Self::Bar(bar)
    }

    pub(crate) fn show(&mut self, tally: &Tally, watch: &Watch) {
        match self {
            Self::Bar(bar) => {
                bar.set_position(tally.requests());
                bar.set_message(summary(tally, watch));
            }
            Self::Lines { requests, next } => {
                if Instant::now() >= *next {
                    *next += Duration::from_secs(1);
                    let done = tally.requests();
                    eprintln!("{done}/{requests}  {}", summary(tally, watch));
                }
            }
        }
    }

    pub(crate) fn close(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

fn summary(tally: &Tally, watch: &Watch) -> String {
    let (held, queued) = watch.last;
    format!(
        "admitted {}, 429 {}, 408 {}, 503 {}, hung up {}; now {held} run, {queued} wait",
        tally.admitted(),
        tally.of(End::Refused429),
        tally.of(End::Refused408),
        tally.of(End::Refused503),
        tally.of(End::LeftWaiting) + tally.of(End::LeftStreaming),
    )
}
