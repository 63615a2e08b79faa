//! `POST /api/chat`: who asks, for what, and whether there is a slot for it.

use std::time::Duration;

use admit::{Limiter, OverloadError};
use axum::body::{Body, Bytes};
use axum::extract::rejection::{BytesRejection, QueryRejection};
use axum::extract::{Query, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::answer::Answer;
use super::refuse;

const USER_ID: HeaderName = HeaderName::from_static("x-user-id");
const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const QUEUE_TIME_MS: HeaderName = HeaderName::from_static("x-queue-time-ms");

/// Names come from strangers and are kept while their owner is known: they have to be short.
const MAX_NAME_BYTES: usize = 256;

const MAX_PIECES: u32 = 1_000;
const MAX_DELAY_MS: u64 = 1_000;
const MAX_ANSWER: Duration = Duration::from_secs(60);

/// Admits a request, or says why not, and streams the answer.
pub(super) async fn chat(
    State(limiter): State<Limiter>,
    headers: HeaderMap,
    query: Result<Query<Shape>, QueryRejection>,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let ask = match Ask::read(&headers, query, body) {
        Ok(ask) => ask,
        Err(fault) => return fault.into_response(),
    };
    let mut request = limiter.request(ask.user);
    if let Some(id) = ask.session_id {
        request = request.session_id(id);
    }
    if let Some(id) = ask.request_id {
        request = request.request_id(id);
    }

    // A client that hangs up here drops this future, and with it the place in the queue.
    let permit = match request.acquire().await {
        Ok(permit) => permit,
        Err(overload) => return turn_away(&overload),
    };

    let waited_ms = permit.queue_time().as_secs_f64() * 1e3;
    let echo = permit
        .request_id()
        .and_then(|id| HeaderValue::from_str(id).ok());
    let mut response = Response::new(Body::new(Answer::new(permit, ask.pieces, ask.delay)));
    let headers = response.headers_mut();
    headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("text/plain; charset=utf-8"),
    );
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(value) = HeaderValue::try_from(format!("{waited_ms:.3}")) {
        headers.insert(QUEUE_TIME_MS, value);
    }
    if let Some(value) = echo {
        headers.insert(REQUEST_ID, value);
    }
    response
}

/// The limiter's refusal as an HTTP answer.
fn turn_away(overload: &OverloadError) -> Response {
    let status = StatusCode::from_u16(overload.status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let headers = [
        (CONTENT_TYPE, "application/json".to_owned()),
        (RETRY_AFTER, overload.retry_after_secs().to_string()),
    ];
    (status, headers, overload.body()).into_response()
}

/// A request that makes sense.
struct Ask<'a> {
    user: &'a str,
    session_id: Option<&'a str>,
    request_id: Option<&'a str>,
    pieces: u32,
    delay: Duration,
}

impl<'a> Ask<'a> {
    /// Checks everything before the limiter is asked: nonsense must not take a slot or a place.
    fn read(
        headers: &'a HeaderMap,
        query: Result<Query<Shape>, QueryRejection>,
        body: Result<Bytes, BytesRejection>,
    ) -> Result<Self, Fault> {
        let user = name(headers, &USER_ID)?
            .ok_or_else(|| Fault::bad("The header x-user-id is missing: whom is this for?"))?;
        let Query(query) = query.map_err(|error| Fault::bad(error.body_text()))?;
        let body = body.map_err(|error| Fault {
            status: error.status(),
            message: error.body_text(),
        })?;
        let body = if body.is_empty() {
            Shape::default()
        } else {
            serde_json::from_slice(&body)
                .map_err(|error| Fault::bad(format!("The body is not as expected: {error}")))?
        };
        let (pieces, delay) = body.or(query).check()?;
        Ok(Self {
            user,
            session_id: name(headers, &SESSION_ID)?,
            request_id: name(headers, &REQUEST_ID)?,
            pieces,
            delay,
        })
    }
}

/// What the answer should look like; every part may be left out.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Shape {
    pieces: Option<u32>,
    delay_ms: Option<u64>,
}

impl Shape {
    fn or(self, other: Self) -> Self {
        Self {
            pieces: self.pieces.or(other.pieces),
            delay_ms: self.delay_ms.or(other.delay_ms),
        }
    }

    fn check(self) -> Result<(u32, Duration), Fault> {
        let pieces = self.pieces.unwrap_or(20);
        let delay_ms = self.delay_ms.unwrap_or(50);
        if !(1..=MAX_PIECES).contains(&pieces) {
            return Err(Fault::bad(format!(
                "pieces is {pieces}: want 1 to {MAX_PIECES}."
            )));
        }
        if delay_ms > MAX_DELAY_MS {
            return Err(Fault::bad(format!(
                "delay_ms is {delay_ms}: want 0 to {MAX_DELAY_MS}."
            )));
        }
        let delay = Duration::from_millis(delay_ms);
        if delay * pieces > MAX_ANSWER {
            return Err(Fault::bad(format!(
                "{pieces} pieces of {delay_ms} ms take longer than the {} seconds an answer may take.",
                MAX_ANSWER.as_secs()
            )));
        }
        Ok((pieces, delay))
    }
}

/// A header that names something: absent, or one short, non-empty UTF-8 text.
fn name<'a>(headers: &'a HeaderMap, header: &HeaderName) -> Result<Option<&'a str>, Fault> {
    let mut values = headers.get_all(header).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(Fault::bad(format!("The header {header} is there twice.")));
    }
    if value.len() > MAX_NAME_BYTES {
        return Err(Fault::bad(format!(
            "The header {header} has {} bytes: at most {MAX_NAME_BYTES} are taken.",
            value.len()
        )));
    }
    match std::str::from_utf8(value.as_bytes()) {
        Ok("") => Err(Fault::bad(format!("The header {header} is empty."))),
        Ok(name) => Ok(Some(name)),
        Err(_) => Err(Fault::bad(format!("The header {header} is not UTF-8."))),
    }
}

/// What is wrong with a request.
struct Fault {
    status: StatusCode,
    message: String,
}

impl Fault {
    fn bad(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            message: message.into(),
        }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let error = match self.status {
            StatusCode::PAYLOAD_TOO_LARGE => "payload_too_large",
            _ => "bad_request",
        };
        refuse(self.status, error, &self.message)
    }
}
