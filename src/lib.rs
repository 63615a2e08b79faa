//! Admission control inside a server: who may run now, who waits, who is turned away.

mod clock;
mod config;
mod core;
mod error;
mod facade;
mod policy;
#[cfg(any(test, feature = "spec"))]
pub mod spec;
mod sync;

pub use clock::FakeClock;
pub use config::{
    ConfigError, ConfigFault, LimitConfig, LimitConfigBuilder, MAX_COUNT, MAX_IDLE_USERS, MAX_WAIT,
    UserLimits, UserRule,
};
pub use error::{Level, OverloadBody, OverloadError, Reason, create_429_response};
pub use facade::{
    Acquire, Drained, Limiter, Permit, Request, Stats, Ticket, Totals, UserHandle, UserStats,
    get_limiter, try_get_limiter,
};
pub use policy::{OverloadPolicy, ParsePolicyError};

/// What a type needs to name users: hashing, equality, cloning, and nothing borrowed.
///
/// Implemented for every such type; there is nothing to implement by hand.
///
/// # Examples
/// ```
/// fn takes_a_key<K: admit::UserKey>(_key: K) {}
/// takes_a_key(String::from("ada"));
/// takes_a_key(42u64);
/// takes_a_key((7u32, "tenant"));
/// ```
pub trait UserKey: std::hash::Hash + Eq + Clone + Send + Sync + 'static {}

impl<K: std::hash::Hash + Eq + Clone + Send + Sync + 'static> UserKey for K {}
