//! The command line.

use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use crate::target::Target;

/// Sends requests of many users to the server example over HTTP/1.1, some of whom hang up early and one of
/// whom asks for far more than his share; prints who was admitted, who waited, who was refused and how long
/// all that took, and checks that no bound was passed and that no slot and no place is left behind.
///
/// Exit codes: 0 as it should be, 1 a bound was passed, something is left or went wrong, 2 bad arguments or
/// no server.
#[derive(Debug, Parser)]
#[command(name = "load", max_term_width = 100)]
pub(crate) struct Options {
    /// A running server to aim at, such as http://127.0.0.1:8080; only loopback addresses are taken.
    /// Without it a server with small limits is started in this process
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<Target>,

    /// Connections that send requests at the same time, 1 to 400
    #[arg(long, value_name = "COUNT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=400))]
    pub(crate) connections: u32,

    /// Users that the requests are charged to, 1 to 1,000; the first one is the hog
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) users: u32,

    /// Requests in all, 1 to 1,000,000
    #[arg(long, value_name = "COUNT", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) requests: u64,

    /// Share of the requests that the hog sends, 0 to 1; the other users share the rest evenly
    #[arg(long, value_name = "FRACTION", default_value_t = 0.5, value_parser = fraction)]
    pub(crate) hog_share: f64,

    /// Share of the requests whose client hangs up early, 0 to 1: half of them after up to 60 ms, mostly
    /// while they wait, the others in the middle of the answer
    #[arg(long, value_name = "FRACTION", default_value_t = 0.06, value_parser = fraction)]
    pub(crate) hangups: f64,

    /// Pieces of each answer, 1 to 1,000
    #[arg(long, value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) pieces: u32,

    /// Pause before each piece, 0 to 1,000 milliseconds; an answer takes at most 60 seconds
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2, value_parser = clap::value_parser!(u32).range(0..=1_000))]
    pub(crate) delay_ms: u32,

    /// Pause of a connection after a refusal, 0 to 10,000 milliseconds, half as much to half as much again.
    /// Well-behaved clients would wait as long as Retry-After says; these here are impatient
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub(crate) backoff_ms: u32,

    /// Same seed, same requests
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Time that the run may take, 1 to 3,600 seconds; then everybody hangs up and it counts as failed
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    timeout: u32,

    /// Print one JSON object instead of tables
    #[arg(long)]
    pub(crate) json: bool,
}

impl Options {
    /// Reads the command line; ends the process with code 2 and a message if it makes no sense.
    pub(crate) fn read() -> Self {
        let options = Self::parse();
        if u64::from(options.pieces) * u64::from(options.delay_ms) > 60_000 {
            let message = format!(
                "{} pieces of {} ms make an answer of more than 60 seconds",
                options.pieces, options.delay_ms
            );
            Self::command()
                .error(ErrorKind::ValueValidation, message)
                .exit();
        }
        options
    }

    pub(crate) fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("want a number from 0 to 1".to_owned()),
    }
}
