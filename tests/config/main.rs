//! What a config accepts, what it refuses, and what it says then.

mod environment;
mod fields;
mod names;
mod values;

use std::collections::HashMap;
use std::process::Command;
use std::time::Duration;

use admit::{
    ConfigError, ConfigFault, LimitConfig, MAX_COUNT, MAX_IDLE_USERS, MAX_WAIT, OverloadPolicy,
    UserLimits, UserRule,
};

const NAMES: [&str; 10] = [
    "LIMITS_ENABLED",
    "LIMITS_MAX_CONCURRENT_PER_USER",
    "LIMITS_MAX_QUEUE_SIZE_PER_USER",
    "LIMITS_MAX_CONCURRENT_GLOBAL",
    "LIMITS_MAX_QUEUE_SIZE_GLOBAL",
    "LIMITS_RETRY_AFTER_SECONDS",
    "LIMITS_QUEUE_TIMEOUT_SECONDS",
    "LIMITS_OVERLOAD_POLICY",
    "LIMITS_IDLE_TIMEOUT_SECONDS",
    "LIMITS_MAX_IDLE_USERS",
];

const COUNTS: [(&str, u32, u32); 5] = [
    ("LIMITS_MAX_CONCURRENT_PER_USER", 1, 1_048_575),
    ("LIMITS_MAX_QUEUE_SIZE_PER_USER", 0, 1_048_575),
    ("LIMITS_MAX_CONCURRENT_GLOBAL", 1, 1_048_575),
    ("LIMITS_MAX_QUEUE_SIZE_GLOBAL", 0, 1_048_575),
    ("LIMITS_MAX_IDLE_USERS", 0, 100_000_000),
];

const WAITS: [(&str, bool); 3] = [
    ("LIMITS_RETRY_AFTER_SECONDS", true),
    ("LIMITS_QUEUE_TIMEOUT_SECONDS", false),
    ("LIMITS_IDLE_TIMEOUT_SECONDS", false),
];

fn load(vars: &[(&str, &str)]) -> Result<LimitConfig, ConfigError> {
    LimitConfig::from_vars(vars.iter().copied())
}

/// The only fault of the only pair.
fn fault(name: &str, value: &str) -> ConfigFault {
    match load(&[(name, value)]) {
        Ok(_) => panic!("{name} = {value:?} was accepted"),
        Err(error) => match error.faults() {
            [fault] => fault.clone(),
            _ => panic!("one fault expected: {error}"),
        },
    }
}

fn accepted(name: &str, value: &str) -> LimitConfig {
    load(&[(name, value)]).unwrap_or_else(|error| panic!("{error}"))
}

fn count_of(config: &LimitConfig, name: &str) -> u32 {
    match name {
        "LIMITS_MAX_CONCURRENT_PER_USER" => config.max_concurrent_per_user,
        "LIMITS_MAX_QUEUE_SIZE_PER_USER" => config.max_queue_size_per_user,
        "LIMITS_MAX_CONCURRENT_GLOBAL" => config.max_concurrent_global,
        "LIMITS_MAX_QUEUE_SIZE_GLOBAL" => config.max_queue_size_global,
        "LIMITS_MAX_IDLE_USERS" => config.max_idle_users,
        _ => panic!("{name} is no count"),
    }
}

fn wait_of(config: &LimitConfig, name: &str) -> Duration {
    match name {
        "LIMITS_RETRY_AFTER_SECONDS" => config.retry_after,
        "LIMITS_QUEUE_TIMEOUT_SECONDS" => config.queue_timeout,
        "LIMITS_IDLE_TIMEOUT_SECONDS" => config.idle_timeout,
        _ => panic!("{name} is no wait"),
    }
}

fn assert_defaults<K>(config: &LimitConfig<K>) {
    let LimitConfig {
        enabled,
        max_concurrent_per_user,
        max_queue_size_per_user,
        max_concurrent_global,
        max_queue_size_global,
        retry_after,
        queue_timeout,
        overload_policy,
        idle_timeout,
        max_idle_users,
        users,
        users_by,
    } = config;
    assert!(*enabled);
    assert_eq!(*max_concurrent_per_user, 3);
    assert_eq!(*max_queue_size_per_user, 10);
    assert_eq!(*max_concurrent_global, 100);
    assert_eq!(*max_queue_size_global, 500);
    assert_eq!(*retry_after, Duration::from_secs(5));
    assert_eq!(*queue_timeout, Duration::from_secs(30));
    assert_eq!(*overload_policy, OverloadPolicy::DropNewest);
    assert_eq!(*idle_timeout, Duration::from_secs(60));
    assert_eq!(*max_idle_users, 65_536);
    assert!(users.is_empty());
    assert!(users_by.is_none());
}
