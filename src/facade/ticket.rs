//! A slot, or a place that becomes one.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::ptr::NonNull;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::permit::{Permit, Tags, request_id, session_id};
use crate::UserKey;
use crate::core::arrival::{Admission, Ask, Refused, arrive, refusal};
use crate::core::dispatch::{Wakes, Work};
use crate::core::totals::Tally;
use crate::core::user::User;
use crate::core::users::Core;
use crate::core::waiter::{State, Waiter};
use crate::error::{OverloadError, Reason};

/// What a check hands out: a slot already, or a place in the queue that becomes one.
///
/// Wait for the slot with [`wait`](Self::wait) on a thread, or by `.await`: a ticket is a future, on any executor.
/// Dropping a ticket gives up the slot or the place.
///
/// The queue timeout runs from the check, whether or not anybody waits. A place that is granted a slot has to be
/// collected (polled to ready, or waited for) before its deadline; else the slot goes to the next in line and the
/// ticket ends with [`Reason::QueueTimeout`]. A ticket that was a slot from the start never expires.
///
/// A ticket that is leaked (`std::mem::forget`) loses its place at its deadline; one that was a slot from the start
/// keeps it for ever.
///
/// # Cancel safety
/// Dropping the ticket, or the future that polls it, at any moment holds nothing and loses nothing: a slot granted in
/// that instant goes to the next in line.
///
/// # Panics
/// If polled again after it was ready.
///
/// # Examples
/// ```
/// let config = admit::LimitConfig::builder().max_concurrent_per_user(1).build()?;
/// let limiter = admit::Limiter::new(config)?;
/// let first = limiter.check_limits("ada")?;
/// let second = limiter.check_limits("ada")?;
/// assert!(first.is_admitted());
/// assert_eq!(second.position(), Some(0));
/// drop(first);
/// assert!(second.is_admitted());
/// let permit = second.wait()?;
/// # drop(permit);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a ticket that is dropped at once gives its slot or place back at once"]
pub struct Ticket<K: UserKey = String>(Stage<K>);

enum Stage<K: UserKey> {
    Slot(Permit<K>),
    Place(Arc<Waiter<K>>, Tags),
    Done,
}

/// One arrival. Others are woken when the ticket is made: if one of their wakers panics, it goes like any other.
pub(crate) fn ask<K: UserKey>(
    user: &Arc<User<K>>,
    ask: Ask,
    tags: Tags,
) -> Result<Ticket<K>, OverloadError> {
    let mut wakes = Wakes::default();
    let ticket = ask_until_known(user, ask, tags, &mut wakes);
    wakes.wake();
    ticket
}

/// The entry is looked up afresh as often as it was forgotten in between.
fn ask_until_known<K: UserKey>(
    user: &Arc<User<K>>,
    ask: Ask,
    tags: Tags,
    wakes: &mut Wakes,
) -> Result<Ticket<K>, OverloadError> {
    let mut current = user;
    let mut renewed;
    loop {
        match arrive(current, ask, wakes) {
            Ok(Admission::Slot(slot, waited)) => {
                // SAFETY: `arrive` hands over the slot.
                let permit = unsafe { Permit::new(slot, waited, tags) };
                return Ok(Ticket(Stage::Slot(permit)));
            }
            Ok(Admission::Waiting(waiter)) => return Ok(Ticket(Stage::Place(waiter, tags))),
            Err(Refused::Because(reason)) => return Err(refusal(current, reason)),
            Err(Refused::Stale) => match Core::renew(current, wakes) {
                Some(user) => {
                    renewed = user;
                    current = &renewed;
                }
                None => {
                    current.gate.shared().tallies.count(Tally::Closed);
                    return Err(refusal(current, Reason::Closed));
                }
            },
        }
    }
}

impl<K: UserKey> Ticket<K> {
    pub(crate) fn admitted(permit: Permit<K>) -> Self {
        Self(Stage::Slot(permit))
    }

    /// Whether the ticket is a slot at this moment.
    ///
    /// # Examples
    /// ```
    /// # let config = admit::LimitConfig::builder().max_concurrent_per_user(1).build()?;
    /// # let limiter = admit::Limiter::new(config)?;
    /// let first = limiter.check_limits("ada")?;
    /// let second = limiter.check_limits("ada")?;
    /// assert!(first.is_admitted());
    /// assert!(!second.is_admitted());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn is_admitted(&self) -> bool {
        match &self.0 {
            Stage::Slot(_) => true,
            Stage::Place(waiter, _) => waiter.state() == State::Granted,
            Stage::Done => false,
        }
    }

    /// How many of the same user are before this one: 0 is next. `None` if it is a slot already, or has ended. Others
    /// move meanwhile, so it is a hint; it takes a look at each of those ahead.
    ///
    /// # Examples
    /// ```
    /// # let config = admit::LimitConfig::builder().max_concurrent_per_user(1).build()?;
    /// # let limiter = admit::Limiter::new(config)?;
    /// let first = limiter.check_limits("ada")?;
    /// let second = limiter.check_limits("ada")?;
    /// let third = limiter.check_limits("ada")?;
    /// assert_eq!(first.position(), None);
    /// assert_eq!(third.position(), Some(1));
    /// drop(second);
    /// assert_eq!(third.position(), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn position(&self) -> Option<usize> {
        let Stage::Place(waiter, _) = &self.0 else {
            return None;
        };
        Work::position(waiter)
    }

    /// The session the request named, if it named one.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ticket = limiter.request("ada").session_id("s-1").check_limits()?;
    /// assert_eq!(ticket.session_id(), Some("s-1"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn session_id(&self) -> Option<&str> {
        match &self.0 {
            Stage::Slot(permit) => permit.session_id(),
            Stage::Place(_, tags) => session_id(tags),
            Stage::Done => None,
        }
    }

    /// The request's own name, if it has one.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ticket = limiter.request("ada").request_id("r-42").check_limits()?;
    /// assert_eq!(ticket.request_id(), Some("r-42"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn request_id(&self) -> Option<&str> {
        match &self.0 {
            Stage::Slot(permit) => permit.request_id(),
            Stage::Place(_, tags) => request_id(tags),
            Stage::Done => None,
        }
    }

    /// Parks the thread until the slot is there, or the ticket has ended otherwise.
    ///
    /// # Errors
    /// Why there is no slot: the deadline passed, the waiter was evicted, its user was blocked, the limiter was closed
    /// or reset.
    ///
    /// # Examples
    /// ```
    /// # let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
    /// let ticket = limiter.check_limits("ada")?;
    /// let permit = ticket.wait()?;
    /// # drop(permit);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn wait(mut self) -> Result<Permit<K>, OverloadError> {
        if let Stage::Slot(_) = self.0 {
            if let Stage::Slot(permit) = mem::replace(&mut self.0, Stage::Done) {
                return Ok(permit);
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(result) => return result,
                Poll::Pending => thread::park(),
            }
        }
    }

    /// What became of a waiter, if anything has.
    fn collect(waiter: &Arc<Waiter<K>>) -> Option<Result<(), OverloadError>> {
        loop {
            match waiter.state() {
                State::Pending => return None,
                State::Granted => {
                    if waiter.collect() {
                        Work::collected(waiter);
                        return Some(Ok(()));
                    }
                }
                State::Ended(outcome) => {
                    let reason = outcome.reason(waiter.timeout());
                    return Some(Err(refusal(&waiter.user, reason)));
                }
            }
        }
    }
}

impl<K: UserKey> Future for Ticket<K> {
    type Output = Result<Permit<K>, OverloadError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // The place stays in the ticket while the waker is cloned, which may panic.
        if let Stage::Place(waiter, _) = &self.0 {
            let mut ended = Self::collect(waiter);
            if ended.is_none() && !waiter.register(context.waker()) {
                ended = Self::collect(waiter);
            }
            match ended {
                None => return Poll::Pending,
                Some(Err(error)) => {
                    self.0 = Stage::Done;
                    return Poll::Ready(Err(error));
                }
                Some(Ok(())) => {}
            }
        }
        match mem::replace(&mut self.0, Stage::Done) {
            Stage::Slot(permit) => Poll::Ready(Ok(permit)),
            Stage::Place(waiter, tags) => {
                let user = NonNull::from(&*waiter.user);
                // SAFETY: `collect` took over the slot that was granted.
                let permit = unsafe { Permit::new(user, waiter.waited(), tags) };
                Poll::Ready(Ok(permit))
            }
            Stage::Done => panic!("a ticket was polled after it was ready"),
        }
    }
}

impl<K: UserKey> Drop for Ticket<K> {
    fn drop(&mut self) {
        if let Stage::Place(waiter, _) = &self.0 {
            if !matches!(waiter.state(), State::Ended(_)) {
                let mut work = Work::new(waiter.user.gate.clone());
                work.abandon(waiter);
                work.run();
            }
        }
    }
}

/// Wakes a parked thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

impl<K: UserKey + fmt::Debug> fmt::Debug for Ticket<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("is_admitted", &self.is_admitted())
            .field("position", &self.position())
            .finish()
    }
}
