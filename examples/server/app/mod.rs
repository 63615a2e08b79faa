//! The service itself: routes, and a life from the first request to the last byte of the last answer.
//!
//! The load example runs the same service in its own process.

mod answer;
mod chat;
mod limits;

use std::time::Duration;

use admit::Limiter;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A chat request is small; a body above this many bytes is refused unread.
const MAX_BODY_BYTES: usize = 16 * 1024;

/// How long connections may take to send what they still buffer after the last slot is free.
const LAST_BYTES: Duration = Duration::from_secs(2);

/// A server that answers until it is drained.
#[derive(Debug)]
pub(crate) struct Service {
    limiter: Limiter,
    finish: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Service {
    /// Answers whoever connects to `listener`.
    pub(crate) fn start(listener: TcpListener, limiter: Limiter) -> Self {
        // A piece has to leave when it is written, not when a full packet has come together.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let (finish, finished) = oneshot::channel::<()>();
        let server = axum::serve(listener, routes(limiter.clone())).with_graceful_shutdown(async {
            let _ = finished.await;
        });
        let task = tokio::spawn(async move {
            let _ = server.await;
        });
        Self {
            limiter,
            finish,
            task,
        }
    }

    /// Closes the limiter and waits until every answer is out; bound it with a timeout.
    ///
    /// Connections are accepted to the end, so that newcomers are told 503 and when to come back, where a
    /// closed port would leave them guessing.
    pub(crate) async fn drain(self) {
        self.limiter.close();
        self.limiter.drained().await;
        let _ = self.finish.send(());
        let _ = timeout(LAST_BYTES, self.task).await;
    }
}

fn routes(limiter: Limiter) -> Router {
    Router::new()
        .route("/api/chat", post(chat::chat))
        .route("/limits", get(limits::limits))
        .route("/healthz", get(async || "ok\n"))
        .fallback(async || refuse(StatusCode::NOT_FOUND, "not_found", "There is no such page."))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(limiter)
}

/// An error answer in the form of the limiter's own: JSON with a status, a word for it, and a reason.
fn refuse(status: StatusCode, error: &str, message: &str) -> Response {
    let body = serde_json::json!({
        "status": status.as_u16(),
        "error": error,
        "message": message,
    });
    let headers = [(CONTENT_TYPE, "application/json")];
    (status, headers, body.to_string()).into_response()
}
