//! Single values, read from text.
//!
//! Reading is strict: a text means exactly one thing or is not read at all. The caller has taken
//! the space around it away.

use std::time::Duration;

use super::range::{CountRange, MAX_WAIT, WaitRange};

pub(super) fn switch(text: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_one_of(["true", "1", "yes", "on"]) {
        Some(true)
    } else if is_one_of(["false", "0", "no", "off"]) {
        Some(false)
    } else {
        None
    }
}

pub(super) fn count(text: &str, range: CountRange) -> Option<u32> {
    // `u32::from_str` would also take a plus sign.
    let value = is_digits(text).then(|| text.parse().ok())??;
    range.holds(value).then_some(value)
}

/// Reads seconds without going through `f64`, which has no 0.1 and would take `inf` and `1e3`.
pub(super) fn wait(text: &str, range: WaitRange) -> Option<Duration> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    // `.5` and `5.` are numbers; a lone point is none.
    if !is_digits(&format!("{whole}{decimals}")) {
        return None;
    }
    let seconds: u64 = match whole {
        "" => 0,
        _ => whole.parse().ok()?,
    };
    let (kept, finer) = decimals.split_at(decimals.len().min(9));
    let mut nanos: u64 = format!("{kept:0<9}").parse().ok()?;
    let is_finer = finer.bytes().any(|digit| digit != b'0');
    let vanishes = is_finer && seconds == 0 && nanos == 0;
    if vanishes || finer.as_bytes().first().is_some_and(|&digit| digit >= b'5') {
        nanos += 1;
    }
    // Whole nanoseconds above a year show in the value; a part of one was rounded off it.
    let is_past_a_year = is_finer && seconds == MAX_WAIT.as_secs();
    let value = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos))?;
    (range.holds(value) && !is_past_a_year).then_some(value)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seconds(text: &str) -> Option<Duration> {
        wait(text, WaitRange::FROM_ZERO)
    }

    #[test]
    fn seconds_are_exact_to_the_nanosecond() {
        for (text, secs, nanos) in [
            ("0", 0, 0),
            ("0.000", 0, 0),
            ("30", 30, 0),
            ("30.0", 30, 0),
            ("0.25", 0, 250_000_000),
            ("0.1", 0, 100_000_000),
            (".5", 0, 500_000_000),
            ("5.", 5, 0),
            ("007.070", 7, 70_000_000),
            ("0.000000001", 0, 1),
            ("0.999999999", 0, 999_999_999),
            ("16777217.000000001", 16_777_217, 1),
            ("31535999.999999999", 31_535_999, 999_999_999),
            ("31536000", 31_536_000, 0),
            ("31536000.00000000000", 31_536_000, 0),
        ] {
            assert_eq!(seconds(text), Some(Duration::new(secs, nanos)), "{text}");
        }
    }

    #[test]
    fn seconds_finer_than_a_nanosecond_are_rounded_to_it() {
        for (text, secs, nanos) in [
            ("0.30000000000000004", 0, 300_000_000),
            ("0.0000000014", 0, 1),
            ("0.0000000015", 0, 2),
            ("0.9999999999", 1, 0),
            ("31535999.9999999999", 31_536_000, 0),
            ("0.0000000001", 0, 1),
            ("0.00000000000000000000001", 0, 1),
        ] {
            assert_eq!(seconds(text), Some(Duration::new(secs, nanos)), "{text}");
        }
    }

    #[test]
    fn seconds_over_a_year_are_refused_however_little_over() {
        for text in [
            "31536000.000000001",
            "31536000.0000000001",
            "31536001",
            "18446744073709551615.9999999999",
            "18446744073709551616",
            "99999999999999999999999999999999",
        ] {
            assert_eq!(seconds(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_number_is_refused() {
        for text in [
            "", ".", "..", "1.2.3", "-1", "-0", "+5", "1e3", "1E3", "1.5e1", "0x10", "NaN", "nan",
            "inf", "-inf", "infinity", "5s", "1,5", "1_000", "1 000", " 5", "5 ", "٣", "५", "five",
            "5.-1", "5.+1", "\u{fffd}", "null", "½",
        ] {
            assert_eq!(seconds(text), None, "{text:?}");
            assert_eq!(count(text, CountRange::PLACES), None, "{text:?}");
        }
        for text in ["0.5", "3.0", "3.", ".3", "4294967296", "1048576"] {
            assert_eq!(count(text, CountRange::PLACES), None, "{text:?}");
        }
    }

    #[test]
    fn a_count_may_have_leading_zeros() {
        assert_eq!(count("0003", CountRange::SLOTS), Some(3));
        assert_eq!(count("00000000000000", CountRange::PLACES), Some(0));
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in any::<String>()) {
            let _ = switch(&text);
            let _ = count(&text, CountRange::IDLE_USERS);
            let _ = wait(&text, WaitRange::ABOVE_ZERO);
        }

        #[test]
        fn nothing_that_looks_like_a_number_makes_a_parser_panic(text in "[0-9.+eE-]{0,40}") {
            let _ = count(&text, CountRange::SLOTS);
            let _ = wait(&text, WaitRange::FROM_ZERO);
        }

        #[test]
        fn every_duration_up_to_a_year_reads_back(secs in 0..31_536_000_u64, nanos in 0..1_000_000_000_u32) {
            let text = format!("{secs}.{nanos:09}");
            prop_assert_eq!(seconds(&text), Some(Duration::new(secs, nanos)));
        }

        #[test]
        fn every_count_in_range_reads_back_and_no_other(value in any::<u32>()) {
            let expected = (1..=1_048_575).contains(&value).then_some(value);
            prop_assert_eq!(count(&value.to_string(), CountRange::SLOTS), expected);
            let small = value % 1_048_576;
            prop_assert_eq!(count(&small.to_string(), CountRange::PLACES), Some(small));
        }
    }
}
