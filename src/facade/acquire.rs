//! Waiting for a slot on an executor.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::permit::{Permit, Tags};
use super::ticket::{Ticket, ask};
use crate::UserKey;
use crate::core::arrival::{Ask, take_at_once};
use crate::core::user::User;
use crate::error::OverloadError;

/// The future of [`Limiter::acquire`](crate::Limiter::acquire): arrives at its first poll, then waits for the slot.
///
/// It borrows nothing, works on any executor, and keeps on working when the [`Limiter`](crate::Limiter) it came from is
/// gone.
///
/// # Cancel safety
/// Dropping it at any moment holds nothing and loses nothing: a slot granted in that instant goes to the next in line.
/// One that was never polled has not arrived.
///
/// # Panics
/// If polled again after it was ready.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let limiter = admit::Limiter::new(admit::LimitConfig::default())?;
/// let future: admit::Acquire = limiter.acquire("ada");
/// let permit = tokio::spawn(future).await??;
/// assert_eq!(permit.user(), "ada");
/// # Ok(())
/// # }
/// ```
#[must_use = "futures do nothing unless polled"]
pub struct Acquire<K: UserKey = String>(Stage<K>);

enum Stage<K: UserKey> {
    Before {
        user: Arc<User<K>>,
        timeout: Option<Duration>,
        tags: Tags,
    },
    Arrived(Ticket<K>),
    Done,
}

impl<K: UserKey> Acquire<K> {
    #[inline]
    pub(crate) fn new(user: Arc<User<K>>, timeout: Option<Duration>, tags: Tags) -> Self {
        Self(Stage::Before {
            user,
            timeout,
            tags,
        })
    }
}

impl<K: UserKey> Future for Acquire<K> {
    type Output = Result<Permit<K>, OverloadError>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Stage::Before { user, tags, .. } = &mut self.0 {
            if let Some(slot) = take_at_once(user) {
                // SAFETY: `take_at_once` hands over a slot of both levels.
                let permit = unsafe { Permit::new(slot, Duration::ZERO, tags.take()) };
                self.0 = Stage::Done;
                return Poll::Ready(Ok(permit));
            }
        }
        self.poll_at_length(context)
    }
}

impl<K: UserKey> Acquire<K> {
    fn poll_at_length(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Permit<K>, OverloadError>> {
        let mut ticket = match mem::replace(&mut self.0, Stage::Done) {
            Stage::Before {
                user,
                timeout,
                tags,
            } => ask(&user, Ask::Queue(timeout), tags)?,
            Stage::Arrived(ticket) => ticket,
            Stage::Done => panic!("an acquire future was polled after it was ready"),
        };
        let poll = Pin::new(&mut ticket).poll(context);
        if poll.is_pending() {
            self.0 = Stage::Arrived(ticket);
        }
        poll
    }
}

impl<K: UserKey> fmt::Debug for Acquire<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Stage::Before { .. } => "Acquire(not arrived)",
            Stage::Arrived(_) => "Acquire(waiting)",
            Stage::Done => "Acquire(done)",
        })
    }
}
