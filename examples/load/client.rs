//! One HTTP/1.1 connection and what becomes of a request on it.

use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{HOST, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::options::Options;
use crate::page::Page;
use crate::plan::{self, Leave};
use crate::tally::End;
use crate::target::Target;

/// What each answer should look like.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pieces: u32,
    delay_ms: u32,
}

impl From<&Options> for Shape {
    fn from(options: &Options) -> Self {
        Self {
            pieces: options.pieces,
            delay_ms: options.delay_ms,
        }
    }
}

/// How a request ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) user: u32,
    pub(crate) end: End,
    /// From asking to the head of the answer, if there was one and it was a 200.
    pub(crate) wait: Option<Duration>,
    /// From asking to the end.
    pub(crate) took: Duration,
    /// What went wrong, of a failed one.
    pub(crate) fault: Option<String>,
}

impl Ending {
    pub(crate) fn failed(user: u32, fault: String) -> Self {
        Self {
            user,
            end: End::Failed,
            wait: None,
            took: Duration::ZERO,
            fault: Some(fault),
        }
    }
}

/// An open connection; dropping it hangs up.
#[derive(Debug)]
pub(crate) struct Connection {
    host: String,
    sender: SendRequest<Empty<Bytes>>,
    task: JoinHandle<()>,
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> Result<Self, String> {
        let stream = TcpStream::connect(target.addresses())
            .await
            .map_err(|error| format!("cannot connect: {error}"))?;
        let _ = stream.set_nodelay(true);
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(told)?;
        let task = tokio::spawn(async {
            // How it ends is seen by whoever waits for an answer on it.
            let _ = connection.await;
        });
        Ok(Self {
            host: target.host().to_owned(),
            sender,
            task,
        })
    }

    /// Whether it can take another request.
    pub(crate) async fn is_open(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    /// The server's page `/limits`.
    pub(crate) async fn page(&mut self) -> Result<Page, String> {
        let request = self.request(Method::GET, "/limits", None)?;
        let response = self.sender.send_request(request).await.map_err(told)?;
        if response.status() != StatusCode::OK {
            return Err(format!("/limits is answered with {}", response.status()));
        }
        let body = response.into_body().collect().await.map_err(told)?;
        serde_json::from_slice(&body.to_bytes())
            .map_err(|error| format!("/limits is not the page expected: {error}"))
    }

    /// Asks, reads the answer and checks it, or hangs up if the plan says so.
    ///
    /// After a failure or a hang-up the connection is of no further use.
    pub(crate) async fn ask(&mut self, plan: &plan::Request, shape: Shape) -> Ending {
        let started = Instant::now();
        let mut wait = None;
        let exchange = self.exchange(plan, shape, started, &mut wait);
        let result = match plan.leave {
            Leave::After(patience) => timeout(patience, exchange).await.ok(),
            Leave::Never | Leave::AtPiece(_) => Some(exchange.await),
        };
        let (end, fault) = match result {
            Some(Ok(end)) => (end, None),
            Some(Err(fault)) => (End::Failed, Some(fault)),
            None if wait.is_some() => (End::LeftStreaming, None),
            None => (End::LeftWaiting, None),
        };
        Ending {
            user: plan.user,
            end,
            wait,
            took: started.elapsed(),
            fault,
        }
    }

    async fn exchange(
        &mut self,
        plan: &plan::Request,
        shape: Shape,
        started: Instant,
        wait: &mut Option<Duration>,
    ) -> Result<End, String> {
        let path = format!(
            "/api/chat?pieces={}&delay_ms={}",
            shape.pieces, shape.delay_ms
        );
        let user = format!("user-{}", plan.user);
        let request = self.request(Method::POST, &path, Some(&user))?;
        let response = self.sender.send_request(request).await.map_err(told)?;
        let end = match response.status() {
            StatusCode::OK => {
                *wait = Some(started.elapsed());
                return listen(response, plan.leave, shape.pieces).await;
            }
            StatusCode::TOO_MANY_REQUESTS => End::Refused429,
            StatusCode::REQUEST_TIMEOUT => End::Refused408,
            StatusCode::SERVICE_UNAVAILABLE => End::Refused503,
            other => return Err(format!("answered with {other}")),
        };
        check_refusal(response).await?;
        Ok(end)
    }

    fn request(
        &self,
        method: Method,
        path: &str,
        user: Option<&str>,
    ) -> Result<Request<Empty<Bytes>>, String> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, &self.host);
        if let Some(user) = user {
            request = request.header("x-user-id", user);
        }
        request
            .body(Empty::new())
            .map_err(|error| error.to_string())
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads a streamed answer to its end and counts its words, one in each piece.
async fn listen(response: Response<Incoming>, leave: Leave, pieces: u32) -> Result<End, String> {
    let mut body = response.into_body();
    let mut words = 0;
    let mut in_word = false;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| format!("the answer broke off: {}", told(error)))?;
        for byte in frame.data_ref().into_iter().flatten() {
            let is_space = byte.is_ascii_whitespace();
            words += u32::from(in_word && is_space);
            in_word = !is_space;
        }
        if matches!(leave, Leave::AtPiece(piece) if words >= piece && words < pieces) {
            return Ok(End::LeftStreaming);
        }
    }
    if words == pieces {
        Ok(End::Answered)
    } else {
        Err(format!("the answer has {words} pieces of {pieces}"))
    }
}

/// A refusal has to tell a client, in its head and in its body, when to come back.
async fn check_refusal(response: Response<Incoming>) -> Result<(), String> {
    let status = response.status();
    let seconds = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    if seconds == 0 {
        return Err(format!("{status} without a usable Retry-After"));
    }
    let body = response.into_body().collect().await.map_err(told)?;
    let body: Value = serde_json::from_slice(&body.to_bytes())
        .map_err(|error| format!("the body of a {status} is not JSON: {error}"))?;
    if body["status"] == status.as_u16() && body["retry_after"] == seconds {
        Ok(())
    } else {
        Err(format!("the body of a {status} says {body}"))
    }
}

/// An error with its causes.
fn told(error: hyper::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(&error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
