//! The report as tables, the verdict as the last line.

use std::fmt;

use hdrhistogram::Histogram;

use super::{PERCENTILES, Report, share};
use crate::tally::End;

/// So many users are shown in the table; all of them in JSON.
const SHOWN_USERS: usize = 12;

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.heading {
            writeln!(f, "{line}")?;
        }
        writeln!(
            f,
            "took    {:.2} s, {:.0} requests a second",
            self.took.as_secs_f64(),
            self.rate()
        )?;
        self.write_outcomes(f)?;
        self.write_totals(f)?;
        self.write_users(f)?;
        self.write_bounds(f)?;
        writeln!(f, "\n{}", self.verdict())
    }
}

impl Report {
    fn write_outcomes(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\n{:<24}{:>8}{:>8}", "outcome, time in ms", "", "")?;
        for (name, _) in PERCENTILES {
            write!(f, "{name:>9}")?;
        }
        writeln!(f)?;
        for end in End::ALL {
            let count = self.tally.of(end);
            let part = share(count, self.tally.requests()) * 100.0;
            write!(f, "{:<24}{count:>8}{part:>7.1}%", end.label())?;
            write_percentiles(f, self.tally.times(end))?;
        }
        Ok(())
    }

    fn write_totals(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\nthe server counts")?;
        let mut comma = " ";
        for (name, count) in self.totals.iter().filter(|(_, count)| *count > 0) {
            write!(f, "{comma}{name} {count}")?;
            comma = ", ";
        }
        writeln!(f)
    }

    fn write_users(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\n{:<12}{:>10}{:>10}{:>10}{:>10}",
            "user", "requests", "refused", "admitted", "share"
        )?;
        writeln!(f, "{:>12}{:>9}", "wait p50", "p99")?;
        let admitted = self.tally.admitted();
        for (number, user) in self.tally.users.iter().enumerate().take(SHOWN_USERS) {
            let part = share(user.admitted, admitted) * 100.0;
            writeln!(
                f,
                "{:<12}{:>10}{:>10}{:>10}{part:>9.1}%{:>12}{:>9}",
                format!("user-{number}"),
                user.requests,
                user.refused,
                user.admitted,
                millis(&user.wait, 50.0),
                millis(&user.wait, 99.0),
            )?;
        }
        let rest = self.tally.users.len().saturating_sub(SHOWN_USERS);
        if rest > 0 {
            writeln!(f, "and {rest} more")?;
        }
        let shares = || {
            let others = self.tally.users.iter().skip(1);
            others.map(|user| share(user.admitted, admitted) * 100.0)
        };
        if self.tally.users.len() > 1 {
            let hog = &self.tally.users[0];
            writeln!(
                f,
                "user-0 asked for {:.1}% and got {:.1}% of the slots, the others {:.1}% to {:.1}% each",
                share(hog.requests, self.tally.requests()) * 100.0,
                share(hog.admitted, admitted) * 100.0,
                shares().fold(100.0, f64::min),
                shares().fold(0.0, f64::max),
            )?;
        }
        Ok(())
    }

    fn write_bounds(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let looks = format!("bounds, {} looks", self.watch.looks);
        writeln!(
            f,
            "\n{looks:<24}{:>10}{:>10}{:>10}",
            "most seen", "peak", "bound"
        )?;
        for (what, seen, peak, bound) in self.bounds() {
            let peak = peak.map_or("-".to_owned(), |peak| peak.to_string());
            writeln!(f, "{what:<24}{seen:>10}{peak:>10}{bound:>10}")?;
        }
        Ok(())
    }
}

/// A percentile in milliseconds, or a dash if there is nothing to take it of.
fn millis(micros: &Histogram<u64>, percentile: f64) -> String {
    if micros.is_empty() {
        return "-".to_owned();
    }
    let millis = micros.value_at_percentile(percentile) as f64 / 1e3;
    if millis < 10.0 {
        format!("{millis:.2}")
    } else {
        format!("{millis:.1}")
    }
}

fn write_percentiles(f: &mut fmt::Formatter<'_>, micros: &Histogram<u64>) -> fmt::Result {
    for (_, percentile) in PERCENTILES {
        write!(f, "{:>9}", millis(micros, percentile))?;
    }
    writeln!(f)
}
