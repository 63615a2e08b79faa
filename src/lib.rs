//! Admission control inside a server: who may run now, who waits, who is turned away.

mod policy;

pub use policy::{OverloadPolicy, ParsePolicyError};
