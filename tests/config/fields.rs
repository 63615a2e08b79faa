//! A config made in code.

use super::*;

#[test]
fn everything_has_its_default() {
    struct Opaque;
    assert_defaults(&LimitConfig::<Opaque>::default());
    assert_defaults(&LimitConfig::<String>::default());
    assert_defaults(&LimitConfig::builder().build().expect("defaults"));
    assert_defaults(&LimitConfig::<u64>::keyed().build().expect("defaults"));
    assert_defaults(&load(&[]).expect("defaults"));
}

#[test]
fn a_config_is_a_plain_struct() {
    let config: LimitConfig = LimitConfig {
        enabled: false,
        ..Default::default()
    };
    assert!(!config.enabled);
    assert!(config.validate().is_ok());
    assert!(format!("{config:?}").contains("max_concurrent_global: 100"));
}

#[test]
fn every_builder_method_sets_its_own_field() {
    let config = LimitConfig::builder()
        .enabled(false)
        .max_concurrent_per_user(11)
        .max_queue_size_per_user(12)
        .max_concurrent_global(13)
        .max_queue_size_global(14)
        .retry_after(Duration::from_secs(15))
        .queue_timeout(Duration::from_secs(16))
        .overload_policy(OverloadPolicy::DropOldest)
        .idle_timeout(Duration::from_secs(17))
        .max_idle_users(18)
        .user("a", UserLimits::new(0, 0))
        .user("a", UserLimits::new(1, 2))
        .users_by(|_| None)
        .build()
        .expect("all in range");
    assert!(!config.enabled);
    assert_eq!(config.max_concurrent_per_user, 11);
    assert_eq!(config.max_queue_size_per_user, 12);
    assert_eq!(config.max_concurrent_global, 13);
    assert_eq!(config.max_queue_size_global, 14);
    assert_eq!(config.retry_after, Duration::from_secs(15));
    assert_eq!(config.queue_timeout, Duration::from_secs(16));
    assert_eq!(config.overload_policy, OverloadPolicy::DropOldest);
    assert_eq!(config.idle_timeout, Duration::from_secs(17));
    assert_eq!(config.max_idle_users, 18);
    assert_eq!(
        config.users,
        HashMap::from([("a".to_string(), UserLimits::new(1, 2))])
    );
    assert!(config.users_by.is_some());
}

#[test]
fn one_fault_is_told_in_words() {
    let error = load(&[("LIMITS_QUEUE_TIMEOUT_SECONDS", "30s")]).expect_err("a unit");
    assert_eq!(
        error.to_string(),
        "the limits have a fault:\n\
         LIMITS_QUEUE_TIMEOUT_SECONDS = \"30s\": must be a plain number such as 30 or 0.25, \
         above 0 up to 31536000 seconds (a year)"
    );
    let error = LimitConfig::builder()
        .queue_timeout(Duration::ZERO)
        .build()
        .expect_err("no wait");
    assert_eq!(
        error.to_string(),
        "the limits have a fault:\n\
         queue_timeout = 0ns: must be above 0 up to 31536000 seconds (a year)"
    );
}

#[test]
fn validation_names_every_field_that_is_out_of_range() {
    let over = MAX_WAIT + Duration::from_nanos(1);
    let config: LimitConfig = LimitConfig {
        max_concurrent_per_user: 0,
        max_queue_size_per_user: MAX_COUNT + 1,
        max_concurrent_global: u32::MAX,
        max_queue_size_global: u32::MAX,
        retry_after: over,
        queue_timeout: Duration::ZERO,
        idle_timeout: Duration::MAX,
        max_idle_users: MAX_IDLE_USERS + 1,
        users: HashMap::from([
            ("b".to_string(), UserLimits::new(0, u32::MAX)),
            (
                "a".to_string(),
                UserLimits::new(MAX_COUNT + 1, MAX_COUNT + 1),
            ),
            ("fine".to_string(), UserLimits::new(0, MAX_COUNT)),
        ]),
        ..Default::default()
    };
    let error = config.validate().expect_err("nearly all of it");
    let faults: Vec<_> = error
        .faults()
        .iter()
        .map(|fault| (fault.name(), fault.value()))
        .collect();
    assert_eq!(
        faults,
        [
            ("max_concurrent_per_user", "0"),
            ("max_queue_size_per_user", "1048576"),
            ("max_concurrent_global", "4294967295"),
            ("max_queue_size_global", "4294967295"),
            ("max_idle_users", "100000001"),
            ("retry_after", "31536000.000000001s"),
            ("queue_timeout", "0ns"),
            ("idle_timeout", "18446744073709551615.999999999s"),
            ("users[\"a\"].max_concurrent", "1048576"),
            ("users[\"a\"].max_queue_size", "1048576"),
            ("users[\"b\"].max_queue_size", "4294967295"),
        ]
    );
}

#[test]
fn validation_takes_both_ends_of_every_range() {
    let ends = [
        (1, 0, Duration::ZERO, Duration::from_nanos(1), 0),
        (MAX_COUNT, MAX_COUNT, MAX_WAIT, MAX_WAIT, MAX_IDLE_USERS),
    ];
    for (slots, places, retry_after, wait, idle) in ends {
        let config = LimitConfig::<u64>::keyed()
            .max_concurrent_per_user(slots)
            .max_concurrent_global(slots)
            .max_queue_size_per_user(places)
            .max_queue_size_global(places)
            .retry_after(retry_after)
            .queue_timeout(wait)
            .idle_timeout(wait)
            .max_idle_users(idle)
            .user(7_u64, UserLimits::new(places, places))
            .build();
        assert!(config.is_ok(), "{config:?}");
    }
}

#[test]
fn a_user_has_the_limits_of_his_name_then_of_the_rule_then_the_common_ones() {
    let config = LimitConfig::<u64>::keyed()
        .max_concurrent_per_user(4)
        .max_queue_size_per_user(5)
        .user(2_u64, UserLimits::new(0, 0))
        .users_by(|user| (user % 2 == 0).then(|| UserLimits::new(u32::MAX, 9)))
        .build()
        .expect("in range");
    assert_eq!(config.limits_of(&2), UserLimits::new(0, 0));
    assert_eq!(config.limits_of(&4), UserLimits::new(MAX_COUNT, 9));
    assert_eq!(config.limits_of(&5), UserLimits::new(4, 5));

    let copy = LimitConfig {
        users_by: Some(UserRule::new(|_: &u64| None)),
        ..config.clone()
    };
    assert_eq!(copy.limits_of(&4), UserLimits::new(4, 5));
}
