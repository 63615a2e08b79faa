//! The JSON that goes to the client, written by hand: four fields do not earn a dependency.

use std::fmt::{self, Write as _};

use super::OverloadError;

/// The answer to a refused request, as a value.
///
/// `Display` writes it as a JSON object with these four fields in this order, on one line, every
/// text escaped. All fields are public, so that an answer can be reworded before it is sent.
///
/// # Examples
///
/// ```
/// use admit::{OverloadError, Reason, create_429_response};
/// use std::time::Duration;
///
/// let refusal = OverloadError::new(Reason::Closed, Duration::from_secs(5));
/// let mut body = create_429_response(&refusal);
/// body.message = "Back in a \"minute\".".to_string();
/// body.retry_after = 60;
/// assert_eq!(
///     body.to_string(),
///     r#"{"status":503,"error":"service_unavailable","message":"Back in a \"minute\".","retry_after":60}"#,
/// );
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverloadBody {
    /// The HTTP status: 429, 503 or 408.
    pub status: u16,
    /// The status as a word: `too_many_requests`, `service_unavailable` or `request_timeout`.
    pub error: &'static str,
    /// What happened, for a person to read.
    pub message: String,
    /// When to try again, in whole seconds from now, at least 1.
    pub retry_after: u64,
}

/// Builds the answer to a refused request.
///
/// In spite of its name it serves every refusal; `status` tells them apart.
///
/// # Examples
///
/// ```
/// use admit::{OverloadError, Reason, create_429_response};
/// use std::time::Duration;
///
/// let refusal = OverloadError::new(
///     Reason::UserQueueFull { count: 10, limit: 10 },
///     Duration::from_secs(5),
/// );
/// let body = create_429_response(&refusal);
/// assert_eq!(body.status, 429);
/// assert_eq!(body.error, "too_many_requests");
/// assert_eq!(body.message, refusal.message());
/// assert_eq!(body.retry_after, 5);
/// ```
#[must_use]
pub fn create_429_response(error: &OverloadError) -> OverloadBody {
    let status = error.status();
    OverloadBody {
        status,
        error: match status {
            429 => "too_many_requests",
            408 => "request_timeout",
            _ => "service_unavailable",
        },
        message: error.message(),
        retry_after: error.retry_after_secs(),
    }
}

impl fmt::Display for OverloadBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            r#"{{"status":{},"error":{},"message":{},"retry_after":{}}}"#,
            self.status,
            Json(self.error),
            Json(&self.message),
            self.retry_after,
        )
    }
}

/// A text as a JSON string, quotes included.
struct Json<'a>(&'a str);

impl fmt::Display for Json<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // JSON forbids these raw; everything above is allowed as it is.
                '\0'..='\u{1f}' => write!(f, "\\u{:04x}", u32::from(c))?,
                _ => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_survives_json(text in any::<String>()) {
            let json = Json(&text).to_string();
            let back: String = serde_json::from_str(&json).expect("a JSON string");
            prop_assert_eq!(back, text);
        }
    }

    #[test]
    fn every_control_character_survives_json() {
        let text: String = ('\0'..='\u{a0}').chain(['"', '\\', '\u{2028}']).collect();
        let back: String = serde_json::from_str(&Json(&text).to_string()).expect("a JSON string");
        assert_eq!(back, text);
    }
}
