//! The ARN of an IAM role, parsed once.

use std::fmt;

use crate::config::aws::is_account;

/// Longest role name (IAM User Guide, "IAM and AWS STS quotas").
const MAX_NAME: usize = 64;
/// Longest path, slashes included (same page).
const MAX_PATH: usize = 512;

/// `arn:<partition>:iam::<account>:role/<path><name>`, of the target's own partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RoleArn {
    text: String,
    partition: String,
    account: String,
    name: String,
}

/// A text that is not such an ARN.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InvalidRoleArn {
    /// Not the six fields of an IAM role's ARN, or of another partition.
    #[error("not arn:{partition}:iam::<account>:role/<name>")]
    Shape {
        /// The target's partition.
        partition: String,
    },
    /// The account is not 12 digits.
    #[error("an account is 12 digits")]
    Account,
    /// The path or name breaks its grammar.
    #[error(
        "a role's path and name are made of [A-Za-z0-9_+=,.@-], parted by single slashes, at most 512 and 64 long"
    )]
    Name,
}

impl RoleArn {
    /// Parses `text` as the ARN of a role in `partition`.
    pub(super) fn parse(text: &str, partition: &str) -> Result<Self, InvalidRoleArn> {
        let shape = || InvalidRoleArn::Shape { partition: partition.to_owned() };
        let fields: Vec<&str> = text.split(':').collect();
        let &["arn", of, "iam", "", account, resource] = fields.as_slice() else {
            return Err(shape());
        };
        let path = resource.strip_prefix("role/").filter(|_| of == partition).ok_or_else(shape)?;
        if !is_account(account) {
            return Err(InvalidRoleArn::Account);
        }
        let (before, name) = path.rsplit_once('/').unwrap_or(("", path));
        let fits = |part: &str| !matches!(part, "" | "." | "..") && part.bytes().all(is_word);
        if !path.split('/').all(fits) || name.len() > MAX_NAME || before.len() + 2 > MAX_PATH {
            return Err(InvalidRoleArn::Name);
        }
        Ok(Self {
            text: text.to_owned(),
            partition: partition.to_owned(),
            account: account.to_owned(),
            name: name.to_owned(),
        })
    }

    /// The ARN as text.
    pub(super) fn as_str(&self) -> &str {
        &self.text
    }

    /// The ARN of a session of this role, as STS answers it: without the role's path.
    pub(super) fn session(&self, name: &str) -> String {
        format!("arn:{}:sts::{}:assumed-role/{}/{name}", self.partition, self.account, self.name)
    }
}

impl fmt::Display for RoleArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// `[\w+=,.@-]`, as IAM writes the grammar of names.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_+=,.@-".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<RoleArn, InvalidRoleArn> {
        RoleArn::parse(text, "aws")
    }

    #[test]
    fn names_the_session_without_the_path() {
        let arn = parse("arn:aws:iam::123456789012:role/ci/eu/deploy").unwrap();
        assert_eq!(arn.session("tg-1"), "arn:aws:sts::123456789012:assumed-role/deploy/tg-1");
        assert_eq!(arn.to_string(), arn.as_str());
    }

    #[test]
    fn c_01_refuses_what_is_not_the_arn_of_a_role_of_this_partition() {
        let shape = InvalidRoleArn::Shape { partition: "aws".into() };
        for text in [
            "",
            "arn:aws-cn:iam::123456789012:role/x",
            "arn:aws:iam:eu-west-1:123456789012:role/x",
            "arn:aws:sts::123456789012:role/x",
            "arn:aws:iam::123456789012:user/x",
            "arn:aws:iam::123456789012:role/x:y",
        ] {
            assert_eq!(parse(text), Err(shape.clone()), "{text}");
        }
        for account in ["", "12345678901", "1234567890123", "12345678901a", "١٢٣٤٥٦"] {
            assert_eq!(parse(&format!("arn:aws:iam::{account}:role/x")), Err(InvalidRoleArn::Account));
        }
        for name in ["", "/x", "x/", "a//b", "../x", "a/./b", "a b", "a*", "a\n"] {
            let text = format!("arn:aws:iam::123456789012:role/{name}");
            assert_eq!(parse(&text), Err(InvalidRoleArn::Name), "{name:?}");
        }
        let long = format!("arn:aws:iam::123456789012:role/{}", "a".repeat(65));
        assert_eq!(parse(&long), Err(InvalidRoleArn::Name));
    }
}
