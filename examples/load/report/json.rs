//! The report as JSON.

use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};

use super::{PERCENTILES, Report, share};
use crate::tally::End;

impl Report {
    /// The report as one object; times in milliseconds.
    pub(crate) fn json(&self) -> Value {
        let requests = self.tally.requests();
        let outcomes: Map<_, _> = End::ALL
            .iter()
            .map(|&end| {
                let value = json!({
                    "count": self.tally.of(end),
                    "share": share(self.tally.of(end), requests),
                    "ms": percentiles(self.tally.times(end)),
                });
                (end.key().to_owned(), value)
            })
            .collect();
        let users: Vec<_> = self
            .tally
            .users
            .iter()
            .enumerate()
            .map(|(number, user)| {
                json!({
                    "user_id": format!("user-{number}"),
                    "requests": user.requests,
                    "admitted": user.admitted,
                    "refused": user.refused,
                    "share_of_admitted": share(user.admitted, self.tally.admitted()),
                    "wait_ms": percentiles(&user.wait),
                })
            })
            .collect();
        let bounds: Vec<_> = self
            .bounds()
            .iter()
            .map(|(what, seen, peak, bound)| {
                json!({ "what": what, "most_seen": seen, "peak": peak, "bound": bound })
            })
            .collect();
        let server: Map<_, _> = self
            .totals
            .iter()
            .map(|&(name, count)| (name.to_owned(), count.into()))
            .collect();
        json!({
            "run": self.heading,
            "requests": requests,
            "seconds": self.took.as_secs_f64(),
            "requests_per_second": self.rate(),
            "outcomes": outcomes,
            "server_totals": server,
            "users": users,
            "looks": self.watch.looks,
            "bounds": bounds,
            "ok": self.is_ok(),
            "faults": self.faults,
            "verdict": self.verdict(),
        })
    }
}

fn percentiles(micros: &Histogram<u64>) -> Value {
    if micros.is_empty() {
        return Value::Null;
    }
    let values: Map<_, _> = PERCENTILES
        .iter()
        .map(|&(name, percentile)| {
            let millis = micros.value_at_percentile(percentile) as f64 / 1e3;
            (name.to_owned(), millis.into())
        })
        .collect();
    Value::Object(values)
}
