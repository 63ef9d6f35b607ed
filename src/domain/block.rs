//! What a block stops, and why.
//!
//! A subject is written as `kind:value`, such as `repository:70107786`, or as `everything`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{IssuerUrl, PrincipalKey, RoleName, TenantName, deceives};

/// Longest free value, in bytes: as long as a token's `sub` may be.
const MAX_VALUE_BYTES: usize = 1024;

/// Longest reason, in bytes.
const MAX_REASON_BYTES: usize = 256;

/// Why a text is no block subject or no reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBlock {
    /// No such kind.
    #[error(
        "write KIND:VALUE with a kind of identity, principal, tenant, repository, runner, issuer, role; or everything"
    )]
    Kind,
    /// The value does not fit its kind.
    #[error("the {kind} is refused: {problem}")]
    Value {
        /// The kind.
        kind: BlockKind,
        /// What is wrong.
        problem: String,
    },
    /// No length of time, or one out of range.
    #[error("write a whole number and a unit: 30m, 12h or 7d, at most 366d")]
    Time,
    /// The reason is empty, too long, or not printable.
    #[error("a reason has 1 to {MAX_REASON_BYTES} bytes of printable text")]
    Reason,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident $text:literal;)+) => {
        /// What a block can be about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum BlockKind {
            $($(#[$doc])* $variant,)+
        }

        impl BlockKind {
            /// Every kind, from the narrowest to the widest.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The kind as it is written.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

kinds! {
    /// One `sub` of one issuer.
    Identity "identity";
    /// One principal key.
    Principal "principal";
    /// One repository, by its id or its name.
    Repository "repository";
    /// One runner, by its SPIFFE ID, principal key or id, or its platform's number.
    Runner "runner";
    /// One role.
    Role "role";
    /// One issuer.
    Issuer "issuer";
    /// One tenant.
    Tenant "tenant";
    /// Everything.
    Everything "everything";
}

impl FromStr for BlockKind {
    type Err = InvalidBlock;
    fn from_str(text: &str) -> Result<Self, InvalidBlock> {
        Self::ALL.iter().copied().find(|kind| kind.as_str() == text).ok_or(InvalidBlock::Kind)
    }
}

impl fmt::Display for BlockKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A value that no grammar of ours describes: 1 to 1024 bytes without characters that deceive.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlockValue(String);

impl BlockValue {
    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for BlockValue {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > MAX_VALUE_BYTES || text.chars().any(deceives) {
            return Err("it has 1 to 1024 bytes of printable text");
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Debug for BlockValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// What a block stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum BlockSubject {
    /// One `sub` of one issuer, written `identity:ISSUER#SUB`: an issuer's URL has no fragment.
    Identity {
        /// The `iss` claim.
        issuer: IssuerUrl,
        /// The `sub` claim.
        subject: BlockValue,
    },
    /// One principal key.
    Principal(PrincipalKey),
    /// One repository, by the attribute `repository_id` or `repository`, whichever platform it is on: a kill switch
    /// stops too much rather than too little, and a principal says exactly which.
    Repository(BlockValue),
    /// One runner: by what it proved of itself, its SPIFFE ID, principal key or id; or by the attribute `runner_id` of the
    /// job's own token.
    Runner(BlockValue),
    /// One role.
    Role(RoleName),
    /// Every identity of one issuer, and every runner that it vouches for.
    Issuer(IssuerUrl),
    /// One tenant.
    Tenant(TenantName),
    /// Everything.
    Everything,
}

impl BlockSubject {
    /// Reads a value of `kind`.
    ///
    /// # Errors
    /// [`InvalidBlock::Value`]; [`InvalidBlock::Kind`] for a value of `everything`, which has none.
    pub fn of(kind: BlockKind, value: &str) -> Result<Self, InvalidBlock> {
        let problem = |problem: String| InvalidBlock::Value { kind, problem };
        match kind {
            BlockKind::Identity => {
                let apart = value.split_once('#');
                let (issuer, subject) =
                    apart.ok_or_else(|| problem("write ISSUER#SUB, with the issuer's URL".to_owned()))?;
                Ok(Self::Identity {
                    issuer: parse(issuer).map_err(problem)?,
                    subject: parse(subject).map_err(problem)?,
                })
            }
            BlockKind::Principal => parse(value).map(Self::Principal).map_err(problem),
            BlockKind::Repository => parse(value).map(Self::Repository).map_err(problem),
            BlockKind::Runner => parse(value).map(Self::Runner).map_err(problem),
            BlockKind::Role => parse(value).map(Self::Role).map_err(problem),
            BlockKind::Issuer => parse(value).map(Self::Issuer).map_err(problem),
            BlockKind::Tenant => parse(value).map(Self::Tenant).map_err(problem),
            BlockKind::Everything if value.is_empty() => Ok(Self::Everything),
            BlockKind::Everything => Err(InvalidBlock::Kind),
        }
    }

    /// What it is about.
    pub const fn kind(&self) -> BlockKind {
        match self {
            Self::Identity { .. } => BlockKind::Identity,
            Self::Principal(_) => BlockKind::Principal,
            Self::Repository(_) => BlockKind::Repository,
            Self::Runner(_) => BlockKind::Runner,
            Self::Role(_) => BlockKind::Role,
            Self::Issuer(_) => BlockKind::Issuer,
            Self::Tenant(_) => BlockKind::Tenant,
            Self::Everything => BlockKind::Everything,
        }
    }
}

fn parse<T: FromStr<Err: fmt::Display>>(value: &str) -> Result<T, String> {
    value.parse().map_err(|error: T::Err| error.to_string())
}

impl FromStr for BlockSubject {
    type Err = InvalidBlock;
    fn from_str(text: &str) -> Result<Self, InvalidBlock> {
        match text.split_once(':') {
            None if text == BlockKind::Everything.as_str() => Ok(Self::Everything),
            Some((kind, value)) if !value.is_empty() => Self::of(kind.parse()?, value),
            Some(_) | None => Err(InvalidBlock::Kind),
        }
    }
}

impl TryFrom<String> for BlockSubject {
    type Error = InvalidBlock;
    fn try_from(text: String) -> Result<Self, InvalidBlock> {
        text.parse()
    }
}

impl From<BlockSubject> for String {
    fn from(subject: BlockSubject) -> Self {
        subject.to_string()
    }
}

impl fmt::Display for BlockSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind();
        match self {
            Self::Identity { issuer, subject } => write!(f, "{kind}:{issuer}#{}", subject.as_str()),
            Self::Principal(key) => write!(f, "{kind}:{key}"),
            Self::Repository(value) | Self::Runner(value) => write!(f, "{kind}:{}", value.as_str()),
            Self::Role(name) => write!(f, "{kind}:{name}"),
            Self::Issuer(url) => write!(f, "{kind}:{url}"),
            Self::Tenant(name) => write!(f, "{kind}:{name}"),
            Self::Everything => f.write_str(kind.as_str()),
        }
    }
}

/// Why something is blocked, as the blocker wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlockReason(String);

impl BlockReason {
    /// The reason as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `text` cut to what a reason can hold, with a space for what it cannot: for text that a machine wrote.
    pub fn lossy(text: &str) -> Option<Self> {
        let mut kept = String::new();
        for c in text.trim().chars().map(|c| if deceives(c) { ' ' } else { c }) {
            if kept.len() + c.len_utf8() > MAX_REASON_BYTES {
                break;
            }
            kept.push(c);
        }
        kept.parse().ok()
    }
}

impl FromStr for BlockReason {
    type Err = InvalidBlock;
    fn from_str(text: &str) -> Result<Self, InvalidBlock> {
        let fits = !text.trim().is_empty() && text.len() <= MAX_REASON_BYTES && !text.chars().any(deceives);
        if fits { Ok(Self(text.to_owned())) } else { Err(InvalidBlock::Reason) }
    }
}

impl TryFrom<String> for BlockReason {
    type Error = InvalidBlock;
    fn try_from(text: String) -> Result<Self, InvalidBlock> {
        text.parse()
    }
}

impl From<BlockReason> for String {
    fn from(reason: BlockReason) -> Self {
        reason.0
    }
}

/// How long a block holds: written as `90s`, `30m`, `12h` or `7d`, from one second to 366 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BlockTime(Duration);

impl BlockTime {
    /// The longest time of a block that ends by itself.
    pub const MAX: Duration = Duration::from_hours(366 * 24);

    /// The time as a standard duration.
    pub const fn as_duration(self) -> Duration {
        self.0
    }
}

impl FromStr for BlockTime {
    type Err = InvalidBlock;
    fn from_str(text: &str) -> Result<Self, InvalidBlock> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at_checked(digits).ok_or(InvalidBlock::Time)?;
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 60 * 60,
            "d" => 24 * 60 * 60,
            _ => return Err(InvalidBlock::Time),
        };
        let number: u64 = number.parse().map_err(|_| InvalidBlock::Time)?;
        let time = number.checked_mul(seconds).map(Duration::from_secs);
        let fits = |time: &Duration| !time.is_zero() && *time <= Self::MAX;
        time.filter(fits).map(Self).ok_or(InvalidBlock::Time)
    }
}

impl TryFrom<String> for BlockTime {
    type Error = InvalidBlock;
    fn try_from(text: String) -> Result<Self, InvalidBlock> {
        text.parse()
    }
}

impl From<BlockTime> for String {
    fn from(time: BlockTime) -> Self {
        format!("{}s", time.0.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_round_trips() {
        for text in [
            "identity:https://issuer.example#repo:acme/shop:ref:refs/heads/main#x",
            "principal:github:repository:1234",
            "repository:70107786",
            "repository:acme/shop",
            "runner:spiffe://acme.example/runner/7",
            "role:deploy/production",
            "issuer:https://issuer.example",
            "tenant:acme",
            "everything",
        ] {
            let subject: BlockSubject = text.parse().unwrap();
            assert_eq!(subject.to_string(), text);
            assert!(text.starts_with(subject.kind().as_str()));
        }
    }

    #[test]
    fn refuses_what_names_nothing_or_deceives() {
        for text in [
            "",
            "all",
            "everything:",
            "everything:x",
            "principal:",
            "repository:a\nb",
            "repository:\u{202e}b",
            "role:../x",
            "issuer:not a url",
            "identity:https://issuer.example",
            "identity:#sub",
            "Principal:x",
        ] {
            assert!(text.parse::<BlockSubject>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn times_have_a_unit_and_an_end() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("12h", 43_200), ("7d", 604_800)] {
            let time: BlockTime = text.parse().unwrap();
            assert_eq!(time.as_duration().as_secs(), seconds);
            assert_eq!(String::from(time).parse(), Ok(time));
        }
        for bad in ["", "0s", "5", "-5m", "1.5h", "367d", "99999999999999999999h", "5 m"] {
            assert_eq!(bad.parse::<BlockTime>(), Err(InvalidBlock::Time), "{bad:?}");
        }
    }

    #[test]
    fn reasons_are_short_and_printable() {
        assert!("token found in a build log".parse::<BlockReason>().is_ok());
        for bad in ["", "  ", "a\nb", &"x".repeat(257)] {
            assert!(bad.parse::<BlockReason>().is_err(), "{bad:?}");
        }
        let cut = BlockReason::lossy(&format!("shell\nin container {}", "é".repeat(300))).unwrap();
        assert!(cut.as_str().starts_with("shell in container é") && cut.as_str().len() <= 256);
        assert_eq!(BlockReason::lossy("\n"), None);
    }
}
