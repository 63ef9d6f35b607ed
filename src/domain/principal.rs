//! Who a verified identity is, for good.

use std::fmt;
use std::str::FromStr;

use serde::Serialize;

/// Longest principal key, in bytes.
const MAX_PRINCIPAL_BYTES: usize = 512;

/// The immutable key of an identity, such as `github:repository:123456`.
///
/// Built from identifiers that a platform never hands out twice; a name can be deleted and registered again by
/// somebody else. Blocks, limits, history and replay hang on it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct PrincipalKey(String);

/// A principal key that is empty, too long, or holds anything but printable ASCII.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a principal key is 1 to {MAX_PRINCIPAL_BYTES} printable ASCII characters")]
pub struct InvalidPrincipal;

impl PrincipalKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PrincipalKey {
    type Err = InvalidPrincipal;
    fn from_str(text: &str) -> Result<Self, InvalidPrincipal> {
        let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
        if text.is_empty() || text.len() > MAX_PRINCIPAL_BYTES || !printable {
            return Err(InvalidPrincipal);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PrincipalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
