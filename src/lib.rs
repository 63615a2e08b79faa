//! Admission control inside a server: who may run now, who waits, who is turned away.
//!
//! A [`Limiter`] bounds how many requests run at once and how many wait, for each user and for the whole process. A
//! request gets a slot now, or a place in a bounded queue, or at once a refusal that says what to tell the client. It
//! works on threads and on any executor, and needs no runtime.
//!
//! ```
//! use admit::{LimitConfig, Limiter};
//!
//! let limiter = Limiter::new(LimitConfig::default())?;
//! let answer = match limiter.acquire_blocking("ada") {
//!     Ok(_permit) => "the work goes here, with a slot held".to_owned(),
//!     Err(refusal) => refusal.body(),
//! };
//! # assert!(answer.starts_with("the work"));
//! # Ok::<(), admit::ConfigError>(())
//! ```
//!
//! # Words
//! | word | what it means | type |
//! | --- | --- | --- |
//! | user | whom a request is charged to: any [`UserKey`], a `String` unless said otherwise | `K` |
//! | slot | the right to run; counts at the user and in the whole process | [`Permit`] |
//! | place | a spot in the queue; bounded at the user and in the whole process | |
//! | permit | owns a slot, and gives it back when dropped | [`Permit`] |
//! | ticket | owns a slot, or a place that becomes one | [`Ticket`] |
//! | refusal | why there is neither, and when to come back | [`OverloadError`] |
//!
//! # Asking
//! | call | gets a slot | gets a place | waits |
//! | --- | --- | --- | --- |
//! | [`try_acquire`](Limiter::try_acquire) | if one is free | never | never |
//! | [`check_limits`](Limiter::check_limits) | if one is free | else | when its ticket is waited for |
//! | [`acquire`](Limiter::acquire) | | | on an executor |
//! | [`acquire_blocking`](Limiter::acquire_blocking) | | | by parking the thread |
//! | [`limit`](Limiter::limit), [`limit_async`](Limiter::limit_async) | | | as the two above, then runs the work |
//!
//! All stand in the same lines, whether they wait on a thread or on an executor. [`Limiter::user`] gives a handle that
//! spares the look-up by name, [`Limiter::request`] a request with a session, a name or a timeout of its own. What
//! happens at the bounds is the [`OverloadPolicy`]; the settings are in [`LimitConfig`], and can be
//! [replaced](Limiter::reload) while requests run and wait.
//!
//! # Order
//! Within a user, first come is first served. Between users who wait, slots go in turn: a user with a full queue does
//! not hold up one with a single request. A newcomer overtakes nobody who could have had the slot. Whenever no call is
//! under way, no slot is free while somebody waits who may take it.
//!
//! # Cancel safety
//! Everything that waits is cancelled by dropping it: [`Acquire`], [`Ticket`], [`Drained`] and the future of
//! [`Limiter::limit_async`]. A waiter that is dropped gives up its place; if it has been granted a slot in that instant,
//! the slot goes to the next in line. Nothing is lost and nobody loses his turn through it. An [`Acquire`] that was
//! never polled has not arrived: it waits for nothing and is in no total.
//!
//! In `tokio::select!`, poll one future by reference rather than making a new one in each round: a new one goes to the
//! end of the line.
//!
//! A slot is given back when its permit is dropped: on return, on `?`, while a panic unwinds, when a task is aborted. A
//! value that is never dropped (`std::mem::forget`, a cycle of `Arc`s) keeps its slot for ever.
//!
//! # Memory ordering
//! What a thread did before it gave a slot back happens before whatever the next holder of that slot does: with one
//! slot, a limiter orders memory as a mutex does. [`Limiter::stats`] is for people to look at, and nothing to order memory
//! by.
//!
//! # Deadlines
//! The queue timeout runs from arrival, whether or not anybody polls or waits. A waiter who is granted a slot has to
//! collect it before the same deadline; otherwise the slot goes to the next in line, so that a future its owner forgot
//! starves nobody. A slot that was there from the start has no deadline.
//!
//! On the real clock a thread of the process named `admit-timer` looks after the deadlines of all limiters. It is
//! started when somebody first waits, sleeps until the earliest deadline, and is woken early only for one that is
//! earlier still. If the system has no thread to give, requests are admitted all the same, and what is due is ended
//! when the next request finds a queue full; the next waiter tries to start the thread again. A process in which nobody
//! ever waits has no such thread. On a [`FakeClock`] there is none: [`FakeClock::advance`] ends what is due before it
//! returns.
//!
//! # Panics
//! No call panics by itself, but for [`get_limiter`] if the environment makes no config, and a future that is polled again
//! after it was ready. A panic of the caller's own code (the work, a waker, a rule, `Hash` or `Eq` of a key) goes on to
//! whoever's call ran it; on the thread of the deadlines it ends there. It loses no slot and no place.
//!
//! # Features
//! None is needed, and none changes what is here. `spec` shows the sequential model that the tests compare this crate
//! with; it is no part of what stays stable.
//!
//! # Performance
//! An admission that finds a slot free is a look-up by name and one atomic step at each level; a release is one at each
//! level. Neither allocates or reads a clock, and [`try_acquire`](Limiter::try_acquire),
//! [`acquire_blocking`](Limiter::acquire_blocking) and [`limit`](Limiter::limit) touch no reference count either;
//! [`acquire`](Limiter::acquire) and [`check_limits`](Limiter::check_limits) count the user's. A wait allocates a few small
//! pieces: the waiter, its deadline, now and then a stretch of a line.
//!
//! - The look-up hashes the name with a keyed hash, since names come from strangers. Who asks for the same user again
//!   and again keeps a [`UserHandle`], which needs no look-up.
//! - All admissions meet in one word, that of the whole process. It bounds how fast one limiter can go on many cores;
//!   limiters for separate routes do not share it.
//! - [`Limiter::stats`], [`Limiter::reload`], [`Limiter::cleanup`], [`Limiter::reset`] and [`Limiter::close`] visit every
//!   known user.
//! - [`Ticket::position`] visits those ahead.
//!
//! No lock is taken from arrival to release but the one in the map of users, for the time of a look-up; the README lists
//! every exception, and DESIGN.md, in the repository, tells how it works.

mod clock;
mod config;
mod core;
mod error;
mod facade;
mod policy;
#[cfg(any(test, feature = "spec"))]
pub mod spec;
mod sync;

/// For the fuzz targets; see there.
#[cfg(feature = "spec")]
#[doc(hidden)]
pub use crate::core::line::script::run as line_script;
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

/// Compiles and runs the programs of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
