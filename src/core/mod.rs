//! The core: all the concurrency. Read in the order word, line, waiter, user, gate, dispatch, arrival, deadline, users.

pub(crate) mod arrival;
pub(crate) mod deadline;
pub(crate) mod dispatch;
pub(crate) mod gate;
pub(crate) mod line;
pub(crate) mod shared;
pub(crate) mod totals;
pub(crate) mod user;
pub(crate) mod users;
pub(crate) mod waiter;
pub(crate) mod word;

#[cfg(all(test, admit_loom))]
mod models;
