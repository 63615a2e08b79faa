//! Which variables there are, and what is said about the others.

use super::*;

#[test]
fn every_variable_sets_its_own_field() {
    let config = load(&[
        ("LIMITS_ENABLED", "off"),
        ("LIMITS_MAX_CONCURRENT_PER_USER", "11"),
        ("LIMITS_MAX_QUEUE_SIZE_PER_USER", "12"),
        ("LIMITS_MAX_CONCURRENT_GLOBAL", "13"),
        ("LIMITS_MAX_QUEUE_SIZE_GLOBAL", "14"),
        ("LIMITS_RETRY_AFTER_SECONDS", "15.5"),
        ("LIMITS_QUEUE_TIMEOUT_SECONDS", "16.5"),
        ("LIMITS_OVERLOAD_POLICY", "block"),
        ("LIMITS_IDLE_TIMEOUT_SECONDS", "17.5"),
        ("LIMITS_MAX_IDLE_USERS", "18"),
    ])
    .expect("all in range");
    assert!(!config.enabled);
    assert_eq!(config.max_concurrent_per_user, 11);
    assert_eq!(config.max_queue_size_per_user, 12);
    assert_eq!(config.max_concurrent_global, 13);
    assert_eq!(config.max_queue_size_global, 14);
    assert_eq!(config.retry_after, Duration::from_millis(15_500));
    assert_eq!(config.queue_timeout, Duration::from_millis(16_500));
    assert_eq!(config.overload_policy, OverloadPolicy::Block);
    assert_eq!(config.idle_timeout, Duration::from_millis(17_500));
    assert_eq!(config.max_idle_users, 18);
}

#[test]
fn a_name_that_comes_twice_is_a_fault_even_with_the_same_value() {
    for name in NAMES {
        let value = if name == "LIMITS_OVERLOAD_POLICY" {
            "block"
        } else {
            "1"
        };
        let error = load(&[(name, value), (name, value)]).expect_err("twice");
        assert_eq!(error.faults().len(), 1, "{error}");
        assert_eq!(error.faults()[0].name(), name);
        assert!(error.to_string().contains("more than once"), "{error}");
        // Twice, and wrong each time: three things to put right.
        let error = load(&[(name, "?"), (name, "?")]).expect_err("twice");
        assert_eq!(error.faults().len(), 3, "{error}");
    }
}

#[test]
fn a_misspelt_name_is_a_fault_with_the_name_that_was_meant() {
    for (name, meant) in [
        ("LIMITS_ENABELD", "LIMITS_ENABLED"),
        ("LIMITS_ENABLE", "LIMITS_ENABLED"),
        ("LIMITS_enabled", "LIMITS_ENABLED"),
        ("LIMITS_ENABLED ", "LIMITS_ENABLED"),
        (
            "LIMITS_MAX_CONCURENT_PER_USER",
            "LIMITS_MAX_CONCURRENT_PER_USER",
        ),
        (
            "LIMITS_MAX_CONCURRENT_PER_USERS",
            "LIMITS_MAX_CONCURRENT_PER_USER",
        ),
        (
            "LIMITS_MAX_QUEUE_PER_USER",
            "LIMITS_MAX_QUEUE_SIZE_PER_USER",
        ),
        (
            "LIMITS_MAX_CONCURRENT_GLOBALLY",
            "LIMITS_MAX_CONCURRENT_GLOBAL",
        ),
        ("LIMITS_MAX_QUEUE_GLOBAL", "LIMITS_MAX_QUEUE_SIZE_GLOBAL"),
        ("LIMITS_RETRY_AFTER", "LIMITS_RETRY_AFTER_SECONDS"),
        ("LIMITS_QUEUE_TIMEOUT", "LIMITS_QUEUE_TIMEOUT_SECONDS"),
        ("LIMITS_QUEUE_TIMEOUT_SECS", "LIMITS_QUEUE_TIMEOUT_SECONDS"),
        ("LIMITS_OVERLOAD_POLICE", "LIMITS_OVERLOAD_POLICY"),
        ("LIMITS_IDLE_TIMEOUT", "LIMITS_IDLE_TIMEOUT_SECONDS"),
        ("LIMITS_MAX_IDLE_USER", "LIMITS_MAX_IDLE_USERS"),
    ] {
        let fault = fault(name, "1");
        assert_eq!(fault.name(), name);
        assert_eq!(fault.value(), "1");
        assert_eq!(fault.suggestion(), Some(meant), "{name}");
        let said = fault.to_string();
        assert!(said.ends_with(&format!("did you mean {meant}?")), "{said}");
    }
}

#[test]
fn any_one_letter_wrong_leads_back_to_the_name() {
    for name in NAMES {
        for at in "LIMITS_".len()..name.len() {
            let mut left_out = name.to_string();
            left_out.remove(at);
            let mut doubled = name.to_string();
            doubled.insert(at, 'X');
            for wrong in [left_out, doubled] {
                assert_eq!(fault(&wrong, "1").suggestion(), Some(name), "{wrong}");
            }
        }
    }
}

#[test]
fn a_name_like_no_other_is_a_fault_that_lists_the_names() {
    let long = format!("LIMITS_{}", "X".repeat(100_000));
    for name in [
        "LIMITS_",
        "LIMITS_X",
        "LIMITS_MAX",
        "LIMITS_COLOUR",
        "LIMITS_é",
        &long,
    ] {
        let fault = fault(name, "1");
        assert_eq!(fault.suggestion(), None, "{name}");
        let said = fault.to_string();
        for known in NAMES {
            assert!(said.contains(known), "{said}");
        }
    }
}

#[test]
fn names_of_others_are_ignored() {
    let config = load(&[
        ("", ""),
        ("HOME", "/root"),
        ("limits_enabled", "maybe"),
        ("LIMITS", "x"),
        ("LIMIT_ENABLED", "x"),
        ("MY_LIMITS_ENABLED", "x"),
        (" LIMITS_ENABLED", "x"),
        ("HOME", "/twice"),
    ]);
    assert_defaults(&config.expect("nothing of ours"));
}

#[test]
fn all_faults_of_one_load_are_told_together() {
    let pairs: Vec<_> = NAMES.iter().map(|name| (*name, "-1")).collect();
    let error = load(&pairs).expect_err("ten faults");
    assert_eq!(error.faults().len(), 10);
    let said = error.to_string();
    assert_eq!(said.lines().count(), 11, "{said}");
    for (fault, name) in error.faults().iter().zip(NAMES) {
        assert_eq!(fault.name(), name);
        assert!(said.contains(&fault.to_string()));
    }

    let error = load(&[
        ("LIMITS_MAX_CONCURRENT_GLOBAL", "0"),
        ("LIMITS_ENABLED", "yes"),
        ("LIMITS_MAX_CONCURRENT", "7"),
    ])
    .expect_err("two faults");
    let names: Vec<_> = error.faults().iter().map(ConfigFault::name).collect();
    assert_eq!(
        names,
        ["LIMITS_MAX_CONCURRENT_GLOBAL", "LIMITS_MAX_CONCURRENT"]
    );
}

#[test]
fn pairs_may_be_owned_or_borrowed() {
    let map = HashMap::from([("LIMITS_ENABLED".to_string(), "no".to_string())]);
    assert!(!LimitConfig::from_vars(&map).expect("borrowed").enabled);
    assert!(!LimitConfig::from_vars(map).expect("owned").enabled);
}
