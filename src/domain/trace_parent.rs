//! The place in somebody else's trace that a request claims.

use std::str::FromStr;

/// A parent span, as the header `traceparent` names it (W3C Trace Context, section 3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceParent {
    /// The trace; never zero.
    pub trace: u128,
    /// The span in it; never zero.
    pub span: u64,
    /// Whoever sent it records its trace.
    pub sampled: bool,
}

/// A text that names no parent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a traceparent is 00-<32 hex digits>-<16 hex digits>-<2 hex digits>, in lower case, without an id of zeros"
)]
pub struct InvalidTraceParent;

impl FromStr for TraceParent {
    type Err = InvalidTraceParent;

    /// Takes version 00 only: what a later one means is not known.
    fn from_str(text: &str) -> Result<Self, InvalidTraceParent> {
        let mut parts = text.split('-');
        let mut next = |digits: usize| {
            let part = parts.next().filter(|part| part.len() == digits)?;
            let fits = part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            u128::from_str_radix(part, 16).ok().filter(|_| fits)
        };
        let (version, trace, span, flags) = (next(2), next(32), next(16), next(2));
        match (version, trace, span.and_then(|span| u64::try_from(span).ok()), flags, parts.next()) {
            (Some(0), Some(trace), Some(span), Some(flags), None) if trace != 0 && span != 0 => {
                Ok(Self { trace, span, sampled: flags & 1 == 1 })
            }
            _ => Err(InvalidTraceParent),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_form_of_the_specification_and_no_other() {
        let parsed =
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".parse::<TraceParent>().unwrap();
        assert_eq!(parsed.trace, 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c);
        assert_eq!((parsed.span, parsed.sampled), (0xb7ad_6b71_6920_3331, true));
        let quiet = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-02".parse::<TraceParent>().unwrap();
        assert!(!quiet.sampled);
        for bad in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-cb7ad6b7169203331-01",
        ] {
            assert_eq!(bad.parse::<TraceParent>(), Err(InvalidTraceParent), "{bad}");
        }
    }
}
