//! Lengths of time as configuration writes them.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A length of time: a whole number and a unit, such as `500ms`, `30s`, `10m` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

/// A text that is not a length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("write a whole number and a unit: 500ms, 30s, 10m or 1h")]
pub(super) struct InvalidSpan;

impl FromStr for Span {
    type Err = InvalidSpan;
    fn from_str(text: &str) -> Result<Self, InvalidSpan> {
        let split = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(split).ok_or(InvalidSpan)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return Err(InvalidSpan),
        };
        let number: u64 = number.parse().map_err(|_| InvalidSpan)?;
        number.checked_mul(millis).map(|millis| Self(Duration::from_millis(millis))).ok_or(InvalidSpan)
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (unit, size) = [("h", 3_600_000), ("m", 60_000), ("s", 1_000)]
            .into_iter()
            .find(|(_, size)| millis > 0 && millis.is_multiple_of(*size))
            .unwrap_or(("ms", 1));
        write!(f, "{}{unit}", millis / size)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_whole_numbers_with_a_unit() {
        for text in ["500ms", "30s", "10m", "1h", "90s", "0ms"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        for bad in
            ["", "10", "m", "-5s", "1.5h", "10 m", "5d", "99999999999999999999s", "18446744073709551615h"]
        {
            assert_eq!(bad.parse::<Span>(), Err(InvalidSpan), "{bad:?}");
        }
    }
}
