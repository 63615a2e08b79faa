//! A chat-like HTTP server that admits its requests through `admit`.
//!
//! ```text
//! cargo run --release --example server
//! curl -N -X POST -H 'x-user-id: ann' 'http://127.0.0.1:8080/api/chat?pieces=40&delay_ms=50'
//! curl http://127.0.0.1:8080/limits
//! ```
//!
//! `POST /api/chat` waits in the limiter's queue for a slot and keeps it until the last piece of the
//! streamed answer is out or the client is gone. What cannot be admitted gets the limiter's own answer:
//! 429, 408 or 503, with `Retry-After` and a JSON body. `GET /limits` shows who runs and who waits,
//! `GET /healthz` that the process is up.
//!
//! The environment sets it up: the `LIMITS_*` variables of the crate, `HOST` (an IP address, 127.0.0.1),
//! `PORT` (8080; 0 takes any free one) and `DRAIN_SECONDS` (30).
//!
//! Ctrl-C and SIGTERM stop the intake: newcomers and waiters get 503, running answers finish. A second
//! signal, or `DRAIN_SECONDS` without an end, cuts off what still runs.
//!
//! Exit codes: 0 closed with every answer finished, 1 answers were cut off, 2 could not start.

mod app;
mod settings;
mod signals;

use std::io::{self, Write};
use std::process::ExitCode;

use admit::Limiter;
use tokio::net::TcpListener;
use tokio::time::sleep;

use crate::app::Service;
use crate::settings::Settings;
use crate::signals::Signals;

#[tokio::main]
async fn main() -> ExitCode {
    let (settings, limiter, listener, mut signals) = match prepare().await {
        Ok(ready) => ready,
        Err(message) => {
            eprintln!("error: the server cannot start\n{message}");
            return ExitCode::from(2);
        }
    };
    match listener.local_addr() {
        Ok(address) => say(&format!("listening on http://{address}")),
        Err(error) => {
            eprintln!("error: the server cannot start\n  its own address is unknown: {error}");
            return ExitCode::from(2);
        }
    }

    let service = Service::start(listener, limiter.clone());
    signals.next().await;
    let running = limiter.stats().global_concurrent;
    say(&format!("closing: no newcomers, {running} still running"));

    let finished = tokio::select! {
        () = service.drain() => true,
        () = sleep(settings.drain) => false,
        () = signals.next() => false,
    };
    let stats = limiter.stats();
    if finished || stats.global_concurrent == 0 {
        say(&format!(
            "closed: every answer is finished, {} admitted since start",
            stats.totals.admitted
        ));
        ExitCode::SUCCESS
    } else {
        say(&format!(
            "closed: answers cut off: {}",
            stats.global_concurrent
        ));
        ExitCode::FAILURE
    }
}

/// Everything that can go wrong before the first request.
async fn prepare() -> Result<(Settings, Limiter, TcpListener, Signals), String> {
    let settings = Settings::from_env()?;
    let limiter = Limiter::new(settings.limits.clone()).map_err(|error| error.to_string())?;
    let listener = TcpListener::bind(settings.address)
        .await
        .map_err(|error| format!("  cannot listen on {}: {error}", settings.address))?;
    let signals = Signals::new().map_err(|error| format!("  cannot watch for signals: {error}"))?;
    Ok((settings, limiter, listener, signals))
}

/// Prints a line, at once and also when nobody reads it any more: a closed pipe must not end a server.
fn say(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
}
