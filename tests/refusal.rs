//! What a refusal tells the client.

use std::error::Error;
use std::time::Duration;

use admit::{Level, OverloadBody, OverloadError, Reason, create_429_response};
use proptest::prelude::*;
use serde_json::{Value, json};

fn refusal(reason: Reason) -> OverloadError {
    OverloadError::new(reason, Duration::from_secs(5))
}

fn every_reason(count: u32, limit: u32, timeout: Duration) -> [(Reason, u16); 9] {
    [
        (Reason::UserLimit { count, limit }, 429),
        (Reason::UserQueueFull { count, limit }, 429),
        (Reason::GlobalLimit { count, limit }, 503),
        (Reason::GlobalQueueFull { count, limit }, 503),
        (
            Reason::Evicted {
                level: Level::User,
                count,
                limit,
            },
            429,
        ),
        (
            Reason::Evicted {
                level: Level::Global,
                count,
                limit,
            },
            503,
        ),
        (Reason::QueueTimeout { timeout }, 408),
        (Reason::Closed, 503),
        (Reason::Reset, 503),
    ]
}

fn word(status: u16) -> &'static str {
    match status {
        429 => "too_many_requests",
        408 => "request_timeout",
        503 => "service_unavailable",
        _ => panic!("no refusal has status {status}"),
    }
}

fn parsed(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error} in {body}"))
}

#[test]
fn a_full_user_queue_reads_like_this() {
    let refusal = refusal(Reason::UserQueueFull {
        count: 10,
        limit: 10,
    });
    let message = "User queue full (10/10). Too many concurrent requests.";
    assert_eq!(refusal.message(), message);
    assert_eq!(refusal.to_string(), message);
    assert_eq!(
        parsed(&refusal.body()),
        json!({
            "status": 429,
            "error": "too_many_requests",
            "message": message,
            "retry_after": 5,
        })
    );
}

#[test]
fn every_reason_has_a_status_a_word_and_a_body() {
    for (reason, status) in every_reason(7, 7, Duration::from_secs(30)) {
        let refusal = refusal(reason);
        assert_eq!(refusal.reason(), reason);
        assert_eq!(reason.status(), status, "{reason:?}");
        assert_eq!(refusal.status(), status, "{reason:?}");
        assert_eq!(
            parsed(&refusal.body()),
            json!({
                "status": status,
                "error": word(status),
                "message": refusal.message(),
                "retry_after": 5,
            })
        );
    }
}

#[test]
fn no_two_reasons_read_alike() {
    let mut messages: Vec<_> = every_reason(7, 7, Duration::from_secs(30))
        .map(|(reason, _)| refusal(reason).message())
        .to_vec();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), 9, "{messages:#?}");
}

#[test]
fn a_message_gives_the_numbers() {
    for (reason, _) in every_reason(7, 7, Duration::from_millis(1_500)) {
        let message = refusal(reason).message();
        match reason {
            Reason::QueueTimeout { .. } => assert!(message.contains("(1.5s)"), "{message}"),
            Reason::Closed | Reason::Reset => {}
            _ => assert!(message.contains("(7/7)"), "{message}"),
        }
    }
}

#[test]
fn the_body_as_a_value_is_the_body_as_text() {
    let refusal = refusal(Reason::Closed);
    let body = create_429_response(&refusal);
    assert_eq!(body.to_string(), refusal.body());
    assert_eq!(
        body,
        OverloadBody {
            status: 503,
            error: "service_unavailable",
            message: refusal.message(),
            retry_after: 5,
        }
    );
}

#[test]
fn a_refusal_is_an_error_with_nothing_behind_it() {
    let boxed: Box<dyn Error + Send + Sync> = Box::new(refusal(Reason::Reset));
    assert!(boxed.source().is_none());
    assert!(boxed.downcast_ref::<OverloadError>().is_some());
}

proptest! {
    #[test]
    fn a_body_always_parses(
        count in any::<u32>(),
        limit in any::<u32>(),
        timeout in any::<Duration>(),
        retry_after in any::<Duration>(),
    ) {
        for (reason, status) in every_reason(count, limit, timeout) {
            let refusal = OverloadError::new(reason, retry_after);
            let body = parsed(&refusal.body());
            prop_assert_eq!(&body["status"], &json!(status));
            prop_assert_eq!(&body["message"], &json!(refusal.message()));
            let told = body["retry_after"].as_u64().unwrap_or(0);
            prop_assert!(told >= 1);
            prop_assert!(Duration::from_secs(told) >= retry_after || told == u64::MAX);
            prop_assert!(told == 1 || Duration::from_secs(told - 1) < retry_after);
        }
    }

    #[test]
    fn a_reworded_body_always_parses(message in any::<String>()) {
        let body = OverloadBody {
            message: message.clone(),
            ..create_429_response(&refusal(Reason::Closed))
        };
        prop_assert_eq!(&parsed(&body.to_string())["message"], &json!(message));
    }
}
