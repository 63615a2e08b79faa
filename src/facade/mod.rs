//! The public types: documentation, ownership of slots and places, no concurrency of their own.

mod acquire;
mod handle;
mod limiter;
mod permit;
mod process;
mod request;
mod stats;
mod ticket;

pub use acquire::Acquire;
pub use handle::UserHandle;
pub use limiter::{Drained, Limiter};
pub use permit::Permit;
pub use process::{get_limiter, try_get_limiter};
pub use request::Request;
pub use stats::{Stats, Totals, UserStats};
pub use ticket::Ticket;
