//! What can be seen.

use std::fmt;
use std::sync::Arc;

use crate::UserKey;
use crate::config::{LimitConfig, UserLimits};
use crate::core::totals::{Tallies, Tally};
use crate::core::users::Core;

/// A look at a limiter: [`Limiter::stats`](crate::Limiter::stats).
///
/// Each number is exact at the moment it was read; they are read one after the other while requests go on, so sums
/// over users need not match the global counts of a busy limiter.
///
/// # Examples
/// ```
/// let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
/// let permit = limiter.try_acquire("ada")?;
/// let stats = limiter.stats();
/// assert_eq!(stats.global_concurrent, 1);
/// assert_eq!(stats.users[0].user_id, "ada");
/// assert_eq!(stats.totals.admitted, 1);
/// # drop(permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Stats<K: UserKey = String> {
    /// Requests that hold a slot.
    pub global_concurrent: u32,
    /// Requests that wait, within the bound of the global queue.
    pub global_queue_size: u32,
    /// Requests that wait outside that bound: under [`Block`](crate::OverloadPolicy::Block), or after it shrank.
    pub global_blocked: u32,
    /// The most slots that were ever held at once.
    pub peak_concurrent: u32,
    /// The most requests that ever waited at once within the bound of the global queue.
    pub peak_queue_size: u32,
    /// Users known: those who hold, those who wait, and those not yet forgotten.
    pub total_users: usize,
    /// Each of them, in no order.
    pub users: Vec<UserStats<K>>,
    /// Counts by outcome since the limiter was made.
    pub totals: Totals,
    /// The config in force.
    pub config: Arc<LimitConfig<K>>,
    /// Whether the limiter has been closed.
    pub is_closed: bool,
}

/// One user in [`Stats`].
///
/// # Examples
/// ```
/// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
/// let permit = limiter.try_acquire("ada")?;
/// let ada = &limiter.stats().users[0];
/// assert_eq!((ada.concurrent, ada.queued), (1, 0));
/// assert_eq!(ada.limits.max_concurrent, 3);
/// # drop(permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserStats<K = String> {
    /// The user.
    pub user_id: K,
    /// Slots held.
    pub concurrent: u32,
    /// Requests that wait, within the bound of the user's queue.
    pub queued: u32,
    /// Requests that wait outside that bound.
    pub blocked: u32,
    /// The limits in force for this user.
    pub limits: UserLimits,
}

/// Counts by outcome since the limiter was made. Every request that arrived ends in exactly one of them, except that
/// `queued` counts those who took a place on the way to another outcome.
///
/// # Examples
/// ```
/// # let config = admit::LimitConfig::builder().max_concurrent_per_user(1).build()?;
/// # let limiter = admit::Limiter::new(config)?;
/// let permit = limiter.try_acquire("ada")?;
/// assert!(limiter.try_acquire("ada").is_err());
/// let totals = limiter.stats().totals;
/// assert_eq!((totals.admitted, totals.user_limit), (1, 1));
/// # drop(permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Got a slot: at once, or collected it after waiting.
    pub admitted: u64,
    /// Took a place in the queue.
    pub queued: u64,
    /// Refused at the user's limit, or waited when it became 0.
    pub user_limit: u64,
    /// Refused because the user's queue was full.
    pub user_queue_full: u64,
    /// Refused at the global limit.
    pub global_limit: u64,
    /// Refused because the global queue was full.
    pub global_queue_full: u64,
    /// Evicted by a newcomer.
    pub evicted: u64,
    /// Timed out in the queue, or did not collect the slot in time.
    pub timed_out: u64,
    /// Refused, or ended while waiting, because the limiter was closed.
    pub closed: u64,
    /// Ended while waiting by a reset.
    pub reset: u64,
    /// Gave up while waiting.
    pub abandoned: u64,
}

impl Totals {
    fn of(tallies: &Tallies) -> Self {
        Self {
            admitted: tallies.sum(Tally::Admitted),
            queued: tallies.sum(Tally::Queued),
            user_limit: tallies.sum(Tally::UserLimit),
            user_queue_full: tallies.sum(Tally::UserQueueFull),
            global_limit: tallies.sum(Tally::GlobalLimit),
            global_queue_full: tallies.sum(Tally::GlobalQueueFull),
            evicted: tallies.sum(Tally::Evicted),
            timed_out: tallies.sum(Tally::TimedOut),
            closed: tallies.sum(Tally::Closed),
            reset: tallies.sum(Tally::Reset),
            abandoned: tallies.sum(Tally::Abandoned),
        }
    }
}

impl<K: UserKey> Stats<K> {
    pub(crate) fn of(core: &Core<K>) -> Self {
        let gate = core.gate();
        let word = gate.word.load();
        let places = gate.places().fill();
        let (peak_concurrent, peak_queue_size) = gate.peaks();
        let users = core
            .all()
            .into_iter()
            .map(|user| {
                let word = user.word.load();
                let places = user.places.fill();
                UserStats {
                    user_id: user.key.clone(),
                    concurrent: word.held(),
                    queued: places.queued(),
                    blocked: places.blocked(),
                    limits: UserLimits::new(word.limit(), places.bound),
                }
            })
            .collect();
        Self {
            global_concurrent: word.held(),
            global_queue_size: places.queued(),
            global_blocked: places.blocked(),
            peak_concurrent,
            peak_queue_size,
            total_users: core.known(),
            users,
            totals: Totals::of(&core.shared.tallies),
            config: core.shared.config.get(),
            is_closed: core.shared.is_closed(),
        }
    }
}

impl<K: UserKey + fmt::Debug> fmt::Debug for Stats<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stats")
            .field("global_concurrent", &self.global_concurrent)
            .field("global_queue_size", &self.global_queue_size)
            .field("global_blocked", &self.global_blocked)
            .field("peak_concurrent", &self.peak_concurrent)
            .field("peak_queue_size", &self.peak_queue_size)
            .field("total_users", &self.total_users)
            .field("users", &self.users)
            .field("totals", &self.totals)
            .field("config", &self.config)
            .field("is_closed", &self.is_closed)
            .finish()
    }
}
