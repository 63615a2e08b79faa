//! What the environment says, with every fault of it in one message.

use std::env::{self, VarError};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use admit::LimitConfig;

/// A valid set-up.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) limits: LimitConfig,
    pub(crate) address: SocketAddr,
    /// How long running answers may take to finish once the server closes.
    pub(crate) drain: Duration,
}

impl Settings {
    /// Reads `LIMITS_*`, `HOST`, `PORT` and `DRAIN_SECONDS`; the error lists all faults, one a line.
    pub(crate) fn from_env() -> Result<Self, String> {
        let mut faults = Vec::new();
        let limits = LimitConfig::from_env().unwrap_or_else(|error| {
            faults.push(error.to_string());
            LimitConfig::default()
        });
        let host = read(
            "HOST",
            "an IP address, such as 127.0.0.1 or ::1",
            IpAddr::from(Ipv4Addr::LOCALHOST),
            |text| text.parse().ok(),
            &mut faults,
        );
        let port = read(
            "PORT",
            "a whole number from 0 (any free port) to 65535",
            8080,
            |text| text.parse().ok(),
            &mut faults,
        );
        let drain = read(
            "DRAIN_SECONDS",
            "seconds from 0 to 86400, also fractional",
            Duration::from_secs(30),
            seconds,
            &mut faults,
        );
        if faults.is_empty() {
            Ok(Self {
                limits,
                address: SocketAddr::new(host, port),
                drain,
            })
        } else {
            Err(indent(&faults.join("\n")))
        }
    }
}

/// The variable's value, or `default` if it is not set or, with a fault noted, not acceptable.
fn read<T>(
    name: &str,
    accepted: &str,
    default: T,
    parse: impl Fn(&str) -> Option<T>,
    faults: &mut Vec<String>,
) -> T {
    let text = match env::var(name) {
        Ok(text) => text,
        Err(VarError::NotPresent) => return default,
        Err(VarError::NotUnicode(raw)) => raw.to_string_lossy().into_owned(),
    };
    parse(text.trim()).unwrap_or_else(|| {
        faults.push(format!("{name}={text:?} is not accepted: want {accepted}"));
        default
    })
}

fn seconds(text: &str) -> Option<Duration> {
    let seconds: f64 = text.parse().ok()?;
    (0.0..=86_400.0)
        .contains(&seconds)
        .then(|| Duration::from_secs_f64(seconds))
}

fn indent(text: &str) -> String {
    let lines: Vec<_> = text.lines().map(|line| format!("  {line}")).collect();
    lines.join("\n")
}
