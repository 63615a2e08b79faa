//! Admission control inside a server: who may run now, who waits, who is turned away.

mod config;
mod error;
mod policy;
#[cfg(any(test, feature = "spec"))]
pub mod spec;

pub use config::{
    ConfigError, ConfigFault, LimitConfig, LimitConfigBuilder, MAX_COUNT, MAX_IDLE_USERS, MAX_WAIT,
    UserLimits, UserRule,
};
pub use error::{Level, OverloadBody, OverloadError, Reason, create_429_response};
pub use policy::{OverloadPolicy, ParsePolicyError};
