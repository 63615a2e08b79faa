//! What a variable accepts.

use super::*;

#[test]
fn a_value_that_no_setting_can_take_is_a_fault_of_each() {
    let never = [
        "",
        " ",
        "\t\r\n",
        "-1",
        "-0.5",
        "+5",
        "NaN",
        "nan",
        "inf",
        "-inf",
        "Infinity",
        "1e3",
        "0x10",
        "99999999999999999999999",
        "5s",
        "1,5",
        "1_000",
        "1 2",
        "\"1\"",
        "null",
        "٣",
        "\u{fffd}",
        "1\0",
    ];
    for name in NAMES {
        for value in never {
            let fault = fault(name, value);
            assert_eq!(fault.name(), name);
            assert_eq!(fault.value(), value);
            assert!(!fault.accepts().is_empty());
            assert_eq!(fault.suggestion(), None);
            let said = fault.to_string();
            assert!(said.contains(name), "{said}");
            assert!(said.contains(&format!("{value:?}")), "{said}");
            assert!(said.contains(fault.accepts()), "{said}");
        }
    }
}

#[test]
fn a_count_is_whole_and_in_its_range() {
    for (name, least, most) in COUNTS {
        for value in [least, least + 1, 7, most - 1, most] {
            assert_eq!(count_of(&accepted(name, &value.to_string()), name), value);
        }
        for value in ["3.5", "3.0", "3.", "true", "drop_newest", "4294967296"] {
            fault(name, value);
        }
        fault(name, &(most + 1).to_string());
        if least > 0 {
            fault(name, "0");
        }
        assert_eq!(
            fault(name, "x").accepts(),
            format!("a whole number from {least} to {most}")
        );
    }
}

#[test]
fn a_wait_may_be_a_fraction_and_is_exact() {
    for (name, zero) in WAITS {
        for (value, nanos) in [
            ("30", 30_000_000_000),
            ("30.0", 30_000_000_000),
            ("0.25", 250_000_000),
            ("0.1", 100_000_000),
            ("0.000000001", 1),
            ("31536000", MAX_WAIT.as_nanos()),
        ] {
            assert_eq!(wait_of(&accepted(name, value), name).as_nanos(), nanos);
        }
        for value in ["31536000.000000001", "31536001", "true", "block"] {
            fault(name, value);
        }
        for value in ["0", "0.0"] {
            if zero {
                assert_eq!(wait_of(&accepted(name, value), name), Duration::ZERO);
            } else {
                fault(name, value);
            }
        }
        let least = if zero { "from 0" } else { "above 0" };
        assert_eq!(
            fault(name, "x").accepts(),
            format!("a plain number such as 30 or 0.25, {least} up to 31536000 seconds (a year)")
        );
    }
}

#[test]
fn a_switch_has_four_words_each_way_in_any_case() {
    for (value, enabled) in [
        ("true", true),
        ("TRUE", true),
        ("1", true),
        ("yes", true),
        ("Yes", true),
        ("on", true),
        ("oN", true),
        ("false", false),
        ("False", false),
        ("0", false),
        ("no", false),
        ("NO", false),
        ("off", false),
        ("Off", false),
    ] {
        assert_eq!(
            accepted("LIMITS_ENABLED", value).enabled,
            enabled,
            "{value}"
        );
    }
    for value in ["2", "00", "1.0", "t", "y", "n", "enabled", "tru", "truee"] {
        fault("LIMITS_ENABLED", value);
    }
}

#[test]
fn a_policy_is_one_of_three_names() {
    for (value, policy) in [
        ("drop_newest", OverloadPolicy::DropNewest),
        ("drop_oldest", OverloadPolicy::DropOldest),
        ("block", OverloadPolicy::Block),
    ] {
        let config = accepted("LIMITS_OVERLOAD_POLICY", value);
        assert_eq!(config.overload_policy, policy);
    }
    for value in [
        "DROP_NEWEST",
        "drop-newest",
        "newest",
        "blocking",
        "1",
        "true",
    ] {
        fault("LIMITS_OVERLOAD_POLICY", value);
    }
}

#[test]
fn space_around_a_value_does_not_count() {
    assert!(!accepted("LIMITS_ENABLED", " no\n").enabled);
    let config = accepted("LIMITS_OVERLOAD_POLICY", "\tblock ");
    assert_eq!(config.overload_policy, OverloadPolicy::Block);
    for (name, ..) in COUNTS {
        assert_eq!(count_of(&accepted(name, "  7\r\n"), name), 7);
    }
    for (name, _) in WAITS {
        let wait = wait_of(&accepted(name, " 1.5 "), name);
        assert_eq!(wait, Duration::from_millis(1_500));
    }
}

mod anything {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_pair_makes_a_load_panic(name in any::<String>(), value in any::<String>()) {
            let _ = LimitConfig::from_vars([(name.as_str(), value.as_str())]);
            let ours = format!("LIMITS_{name}");
            let error = LimitConfig::from_vars([(&ours, &value)]);
            prop_assert!(error.is_err());
        }

        #[test]
        fn what_loads_is_valid(at in 0..NAMES.len(), value in "[0-9]{1,9}|[0-9]{0,9}[.][0-9]{0,12}") {
            if let Ok(config) = LimitConfig::from_vars([(NAMES[at], value)]) {
                prop_assert!(config.validate().is_ok());
            }
        }
    }
}
