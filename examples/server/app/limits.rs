//! `GET /limits`: the limiter's state as JSON.
//!
//! It names users, so a real server keeps it behind the operators' door.

use std::cmp::Reverse;

use admit::{LimitConfig, Limiter};
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Users come and go by the million; the page lists this many, the busiest first.
const LISTED_USERS: usize = 1_000;

pub(super) async fn limits(State(limiter): State<Limiter>) -> Response {
    let headers = [
        (CONTENT_TYPE, "application/json"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, format!("{:#}\n", page(&limiter))).into_response()
}

fn page(limiter: &Limiter) -> Value {
    let mut stats = limiter.stats();
    let totals = stats.totals;
    stats.users.sort_unstable_by(|a, b| {
        let busy = |user: &admit::UserStats| (user.concurrent, user.queued, user.blocked);
        Reverse(busy(a))
            .cmp(&Reverse(busy(b)))
            .then_with(|| a.user_id.cmp(&b.user_id))
    });
    let users: Vec<_> = stats
        .users
        .iter()
        .take(LISTED_USERS)
        .map(|user| {
            json!({
                "user_id": user.user_id,
                "concurrent": user.concurrent,
                "queued": user.queued,
                "blocked": user.blocked,
                "max_concurrent": user.limits.max_concurrent,
                "max_queue_size": user.limits.max_queue_size,
            })
        })
        .collect();
    json!({
        "closed": stats.is_closed,
        "global_concurrent": stats.global_concurrent,
        "global_queue_size": stats.global_queue_size,
        "global_blocked": stats.global_blocked,
        "peak_concurrent": stats.peak_concurrent,
        "peak_queue_size": stats.peak_queue_size,
        "total_users": stats.total_users,
        "users": users,
        "totals": {
            "admitted": totals.admitted,
            "queued": totals.queued,
            "user_limit": totals.user_limit,
            "user_queue_full": totals.user_queue_full,
            "global_limit": totals.global_limit,
            "global_queue_full": totals.global_queue_full,
            "evicted": totals.evicted,
            "timed_out": totals.timed_out,
            "closed": totals.closed,
            "reset": totals.reset,
            "abandoned": totals.abandoned,
        },
        "config": in_force(&stats.config),
    })
}

/// The settings, durations in seconds.
fn in_force(config: &LimitConfig) -> Value {
    json!({
        "enabled": config.enabled,
        "max_concurrent_per_user": config.max_concurrent_per_user,
        "max_queue_size_per_user": config.max_queue_size_per_user,
        "max_concurrent_global": config.max_concurrent_global,
        "max_queue_size_global": config.max_queue_size_global,
        "retry_after_seconds": config.retry_after.as_secs_f64(),
        "queue_timeout_seconds": config.queue_timeout.as_secs_f64(),
        "overload_policy": config.overload_policy.to_string(),
        "idle_timeout_seconds": config.idle_timeout.as_secs_f64(),
        "max_idle_users": config.max_idle_users,
    })
}
