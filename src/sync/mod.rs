//! The only place that names an atomic, a queue, a map or a swap cell.
//!
//! Everything above goes through this module, so that one build flag (`--cfg admit_loom`) turns every primitive of
//! the core into the model checker's. The containers that loom cannot look into (the sharded map, the ordered map,
//! the queue, the swap cell, epoch reclamation) become ideal ones there: each call is one indivisible step.
//!
//! | name | real | model |
//! | --- | --- | --- |
//! | `AtomicU64`, `AtomicUsize`, `AtomicPtr`, `AtomicBool`, `fence` | `std::sync::atomic` | `loom::sync::atomic` |
//! | `UnsafeCell` | `std::cell::UnsafeCell` | `loom::cell::UnsafeCell` |
//! | `Map` | `dashmap::DashMap` | one lock around a `HashMap` |
//! | `Ordered` | `crossbeam_skiplist::SkipMap` | one lock around a `BTreeMap` |
//! | `Queue` | `crossbeam::queue::SegQueue` | one lock around a `VecDeque` |
//! | `Swap` | `arc_swap::ArcSwap` | one lock around an `Arc` |
//! | `pin`, `Guard` | `crossbeam::epoch` | a clock that proves that nothing retired is reached |

#[cfg(admit_loom)]
mod model;
#[cfg(not(admit_loom))]
mod real;

#[cfg(admit_loom)]
pub(crate) use model::*;
#[cfg(not(admit_loom))]
pub(crate) use real::*;

mod stripes;
pub(crate) use stripes::{STRIPES, stripe};
