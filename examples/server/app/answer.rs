//! A streamed answer that owns the slot it runs in.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use admit::Permit;
use axum::body::{Bytes, HttpBody};
use hyper::body::Frame;
use tokio::time::{Instant, Sleep, sleep};

/// What the answer says, over and over.
const WORDS: [&str; 12] = [
    "a", "slot", "is", "kept", "until", "the", "last", "word", "of", "it", "is", "out",
];

/// The body of a chat answer: words, each after a pause.
///
/// The permit lives here and not in the handler, which is done when the response head is sent: the slot is
/// given back when the connection drops the body, at its end or when the client is gone.
pub(super) struct Answer {
    _permit: Permit,
    said: u32,
    pieces: u32,
    delay: Duration,
    pause: Pin<Box<Sleep>>,
}

impl Answer {
    pub(super) fn new(permit: Permit, pieces: u32, delay: Duration) -> Self {
        Self {
            _permit: permit,
            said: 0,
            pieces,
            delay,
            pause: Box::pin(sleep(delay)),
        }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.said == self.pieces {
            return Poll::Ready(None);
        }
        if !self.delay.is_zero() {
            ready!(self.pause.as_mut().poll(cx));
            let next = Instant::now() + self.delay;
            self.pause.as_mut().reset(next);
        }
        let word = WORDS[self.said as usize % WORDS.len()];
        self.said += 1;
        let end = if self.said == self.pieces { '\n' } else { ' ' };
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(format!("{word}{end}"))))))
    }
}
