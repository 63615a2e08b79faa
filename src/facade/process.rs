//! One limiter for the whole process.

use std::sync::OnceLock;

use super::limiter::Limiter;
use crate::config::{ConfigError, LimitConfig};

static LIMITER: OnceLock<Limiter> = OnceLock::new();

/// The limiter of the process, made from the `LIMITS_*` variables at the first call.
///
/// # Panics
/// If the variables do not make a config, with the text of the [`ConfigError`]; [`try_get_limiter`] returns it instead.
///
/// # Examples
/// ```
/// let permit = admit::get_limiter().try_acquire("ada")?;
/// # drop(permit);
/// # Ok::<(), admit::OverloadError>(())
/// ```
pub fn get_limiter() -> &'static Limiter {
    match try_get_limiter() {
        Ok(limiter) => limiter,
        Err(error) => panic!("{error}"),
    }
}

/// As [`get_limiter`], with the error as a value. The first success is kept for good; after an error the next call
/// reads the variables again.
///
/// # Errors
/// If the variables do not make a config; every fault is named.
///
/// # Examples
/// ```
/// let limiter = admit::try_get_limiter()?;
/// assert!(!limiter.is_closed());
/// # Ok::<(), admit::ConfigError>(())
/// ```
pub fn try_get_limiter() -> Result<&'static Limiter, ConfigError> {
    if let Some(limiter) = LIMITER.get() {
        return Ok(limiter);
    }
    let limiter = Limiter::new(LimitConfig::from_env()?)?;
    Ok(LIMITER.get_or_init(|| limiter))
}
