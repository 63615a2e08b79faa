//! Admission control inside a server: who may run now, who waits, who is turned away.

mod error;
mod policy;

pub use error::{Level, OverloadBody, OverloadError, Reason, create_429_response};
pub use policy::{OverloadPolicy, ParsePolicyError};
