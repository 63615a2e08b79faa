//! Any environment: no panic, and what is said of it is true.
//!
//! The bytes are an environment as a system lays it out: `NAME=value`, a zero after each. What is not Unicode is
//! replaced.

use std::collections::BTreeMap;
use std::time::Duration;

use admit::{ConfigError, LimitConfig, MAX_COUNT, MAX_IDLE_USERS, MAX_WAIT, OverloadPolicy};

pub(crate) fn run(environment: &[u8]) {
    let text = String::from_utf8_lossy(environment);
    let pairs: Vec<(&str, &str)> = text
        .split('\0')
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .collect();
    let read = LimitConfig::from_vars(pairs.iter().copied());
    let mut faults: Vec<(&str, &str)> = Vec::new();
    let mut seen = BTreeMap::new();
    for &(name, value) in &pairs {
        // A setting that comes again is a fault by itself, whatever its value is.
        if seen.insert(name, value).is_some() && is_setting(name) {
            faults.push((name, value));
        }
        match LimitConfig::from_vars([(name, value)]) {
            Ok(config) => check_value(name, value, &config),
            Err(error) => {
                assert_eq!(error.faults().len(), 1, "one pair has one fault");
                faults.push((name, value));
            }
        }
    }
    match read {
        Ok(config) => {
            assert_eq!(faults, [], "a fault for itself is a fault among others");
            check_config(&config);
            // What one pair says alone, it says among others; what none says has its default.
            let mut expected = values(&LimitConfig::default());
            for (&name, &value) in seen.iter().filter(|(name, _)| is_setting(name)) {
                let alone = LimitConfig::from_vars([(name, value)]).expect("read before");
                expected.extend(values(&alone).remove_entry(name));
            }
            assert_eq!(values(&config), expected);
        }
        Err(error) => check_error(&error, &faults),
    }
}

/// Every setting by the name of its variable, written as a value.
fn values(config: &LimitConfig) -> BTreeMap<&'static str, String> {
    let seconds = |wait: Duration| format!("{}.{:09}", wait.as_secs(), wait.subsec_nanos());
    BTreeMap::from([
        ("LIMITS_ENABLED", config.enabled.to_string()),
        (
            "LIMITS_MAX_CONCURRENT_PER_USER",
            config.max_concurrent_per_user.to_string(),
        ),
        (
            "LIMITS_MAX_QUEUE_SIZE_PER_USER",
            config.max_queue_size_per_user.to_string(),
        ),
        (
            "LIMITS_MAX_CONCURRENT_GLOBAL",
            config.max_concurrent_global.to_string(),
        ),
        (
            "LIMITS_MAX_QUEUE_SIZE_GLOBAL",
            config.max_queue_size_global.to_string(),
        ),
        ("LIMITS_RETRY_AFTER_SECONDS", seconds(config.retry_after)),
        (
            "LIMITS_QUEUE_TIMEOUT_SECONDS",
            seconds(config.queue_timeout),
        ),
        ("LIMITS_OVERLOAD_POLICY", config.overload_policy.to_string()),
        ("LIMITS_IDLE_TIMEOUT_SECONDS", seconds(config.idle_timeout)),
        ("LIMITS_MAX_IDLE_USERS", config.max_idle_users.to_string()),
    ])
}

fn is_setting(name: &str) -> bool {
    name.starts_with("LIMITS_") && values(&LimitConfig::default()).contains_key(name)
}

/// A value that was read is what anybody would read there.
fn check_value(name: &str, value: &str, config: &LimitConfig) {
    if !name.starts_with("LIMITS_") {
        return;
    }
    let read = &values(config)[name];
    let value = value.trim();
    if name.ends_with("_SECONDS") {
        let expected: f64 = value.parse().expect("a number of seconds");
        let read: f64 = read.parse().expect("written by us");
        assert!((read - expected).abs() <= 1e-8, "{name}: {value} is {read}");
        let is_zero = value.bytes().all(|byte| matches!(byte, b'0' | b'.'));
        assert_eq!(read == 0.0, is_zero, "{value} does not vanish");
        let (whole, decimals) = value.split_once('.').unwrap_or((value, ""));
        let is_a_year = whole.trim_start_matches('0') == MAX_WAIT.as_secs().to_string();
        let is_more = decimals.bytes().any(|digit| digit != b'0');
        assert!(!(is_a_year && is_more), "{value} is more than a year");
    } else if name == "LIMITS_ENABLED" {
        let is_on = ["true", "1", "yes", "on"].contains(&&*value.to_ascii_lowercase());
        assert_eq!(*read, is_on.to_string());
    } else if name == "LIMITS_OVERLOAD_POLICY" {
        assert_eq!(value.parse().ok(), Some(config.overload_policy));
    } else {
        let expected: u128 = value.trim_start_matches('0').parse().unwrap_or(0);
        assert_eq!(*read, expected.to_string());
    }
}

/// A config that was read is valid, in range, and reads back as it is.
fn check_config(config: &LimitConfig) {
    assert_eq!(config.validate(), Ok(()));
    let places = 0..=MAX_COUNT;
    for slots in [config.max_concurrent_per_user, config.max_concurrent_global] {
        assert!((1..=MAX_COUNT).contains(&slots));
    }
    assert!(places.contains(&config.max_queue_size_per_user));
    assert!(places.contains(&config.max_queue_size_global));
    assert!(config.max_idle_users <= MAX_IDLE_USERS);
    assert!(config.retry_after <= MAX_WAIT);
    for wait in [config.queue_timeout, config.idle_timeout] {
        assert!(wait > Duration::ZERO && wait <= MAX_WAIT);
    }
    assert!(config.users.is_empty() && config.users_by.is_none());
    let written = values(config);
    let again = LimitConfig::from_vars(&written);
    assert_eq!(values(&again.expect("written by us")), written);
    let policy: OverloadPolicy = written["LIMITS_OVERLOAD_POLICY"].parse().expect("its name");
    assert_eq!(policy, config.overload_policy);
}

/// The faults are those of the pairs, each in a line of its own, in words.
fn check_error(error: &ConfigError, expected: &[(&str, &str)]) {
    let faults = error.faults();
    let told: Vec<(&str, &str)> = faults
        .iter()
        .map(|fault| (fault.name(), fault.value()))
        .collect();
    assert_eq!(told, expected);
    assert!(!faults.is_empty());
    assert_eq!(error.to_string().lines().count(), 1 + faults.len());
    for fault in faults {
        let text = fault.to_string();
        assert!(text.starts_with("LIMITS_") && text.len() > fault.name().len());
        assert!(!text.contains(|c: char| c.is_control()), "{text:?}");
        assert!(!fault.accepts().is_empty());
        if let Some(meant) = fault.suggestion() {
            assert!(is_setting(meant) && !is_setting(fault.name()));
            assert!(text.contains(meant));
        }
    }
}
