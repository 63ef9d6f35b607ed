//! The grammar of what configuration says to AWS: role ARNs, actions, resources, managed policies, tags.
//!
//! An ARN is taken apart and every part checked, never searched for a substring: `role/../admin`, a foreign partition
//! and a placeholder where an account id belongs all look right at a glance. Sources: IAM user guide, "IAM
//! identifiers"; IAM JSON policy grammar; STS API reference, `AssumeRole`.

mod session_policy;

use super::template::{self, Part};

pub(crate) use session_policy::policy_characters;
pub use session_policy::{MAX_MANAGED_POLICIES, MAX_POLICY_CHARACTERS};

/// Partitions that targets may name.
pub const PARTITIONS: [&str; 3] = ["aws", "aws-cn", "aws-us-gov"];

/// Longest role ARN that STS takes, in bytes.
const MAX_ARN_BYTES: usize = 2048;

/// Why a text is not what AWS would take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAws {
    /// Not `arn:PARTITION:iam::ACCOUNT:role/PATH`.
    #[error("a role ARN has the form arn:PARTITION:iam::ACCOUNT:role/NAME")]
    RoleArn,
    /// A partition that AWS does not have.
    #[error("the partition must be one of aws, aws-cn, aws-us-gov")]
    Partition,
    /// An account that is neither 12 digits nor exactly one placeholder.
    #[error("the account must be 12 digits, or one placeholder such as {{account}}")]
    Account,
    /// A path or name with a character that IAM does not take, an empty part, or `..`.
    #[error("a role's path and name have letters, digits and +=,.@_- only, and no empty part or `..`")]
    RolePath,
    /// Not `service:Action`.
    #[error("an action has the form service:Action, with * or ? only in the action's name")]
    Action,
    /// Neither `*` nor an ARN.
    #[error("a resource is * or an ARN of six parts, arn:PARTITION:SERVICE:REGION:ACCOUNT:RESOURCE")]
    Resource,
    /// A `$`: policy variables would be filled in by AWS, out of the reviewer's sight.
    #[error("`$` is refused: AWS would replace ${{…}} by a value that Tollgate has not verified")]
    Variable,
    /// Not the ARN of a managed policy.
    #[error(
        "a managed policy has the form arn:PARTITION:iam::ACCOUNT:policy/NAME, ACCOUNT being 12 digits or aws"
    )]
    Managed,
    /// Not the key of a session tag.
    #[error("a tag key has 1 to 128 letters, digits, spaces and _.:/=+-@, and does not begin with aws:")]
    TagKey,
    /// Not an external id.
    #[error("an external id has 2 to 1224 letters, digits and +=,.@:/-_")]
    ExternalId,
    /// Not a region.
    #[error("a region has the form eu-central-1")]
    Region,
    /// Braces that are not a placeholder.
    #[error(transparent)]
    Template(#[from] template::InvalidTemplate),
}

/// Checks the ARN of a role to assume and gives its partition.
///
/// # Errors
/// [`InvalidAws`] with the part that is wrong.
pub fn role_arn(text: &str) -> Result<&str, InvalidAws> {
    template::parts(text)?;
    let mut parts = text.splitn(6, ':');
    let mut part = || parts.next().ok_or(InvalidAws::RoleArn);
    let (arn, partition, service, region, account, resource) =
        (part()?, part()?, part()?, part()?, part()?, part()?);
    if text.len() > MAX_ARN_BYTES || arn != "arn" || service != "iam" || !region.is_empty() {
        return Err(InvalidAws::RoleArn);
    }
    if !PARTITIONS.contains(&partition) {
        return Err(InvalidAws::Partition);
    }
    if !is_account(account) && !matches!(template::parts(account)?[..], [Part::Placeholder(_)]) {
        return Err(InvalidAws::Account);
    }
    let path = resource.strip_prefix("role/").ok_or(InvalidAws::RoleArn)?;
    if !is_path(&template::filled(path, "x")) {
        return Err(InvalidAws::RolePath);
    }
    Ok(partition)
}

/// Checks an entry of a statement's `Action`.
///
/// # Errors
/// [`InvalidAws::Action`].
pub fn action(text: &str) -> Result<(), InvalidAws> {
    let (service, name) = text.split_once(':').ok_or(InvalidAws::Action)?;
    let service_fits = !service.is_empty()
        && service.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    let name_fits = !name.is_empty()
        && name.len() <= 128
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*?-".contains(&byte));
    if service_fits && name_fits { Ok(()) } else { Err(InvalidAws::Action) }
}

/// Checks an entry of a statement's `Resource`, which may hold placeholders, and gives its partition; `*` has none.
///
/// # Errors
/// [`InvalidAws`] with what is wrong.
pub fn resource(text: &str) -> Result<Option<&str>, InvalidAws> {
    if text.contains('$') {
        return Err(InvalidAws::Variable);
    }
    template::parts(text)?;
    let plain = text.len() <= MAX_ARN_BYTES && text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    let parts: Vec<_> = text.splitn(6, ':').collect();
    match parts[..] {
        ["*"] => Ok(None),
        ["arn", partition, service, _, _, resource]
            if plain && PARTITIONS.contains(&partition) && !service.is_empty() && !resource.is_empty() =>
        {
            Ok(Some(partition))
        }
        _ => Err(InvalidAws::Resource),
    }
}

/// Checks the ARN of a managed policy and gives its partition.
///
/// # Errors
/// [`InvalidAws::Managed`].
pub fn managed_policy(text: &str) -> Result<&str, InvalidAws> {
    let parts: Vec<_> = text.splitn(6, ':').collect();
    match parts[..] {
        ["arn", partition, "iam", "", account, resource]
            if PARTITIONS.contains(&partition)
                && (account == "aws" || is_account(account))
                && resource.strip_prefix("policy/").is_some_and(is_path) =>
        {
            Ok(partition)
        }
        _ => Err(InvalidAws::Managed),
    }
}

/// Checks the key of a session tag.
///
/// # Errors
/// [`InvalidAws::TagKey`].
pub fn tag_key(text: &str) -> Result<(), InvalidAws> {
    let fits = (1..=128).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" _.:/=+-@".contains(&byte))
        && !text.to_ascii_lowercase().starts_with("aws:");
    if fits { Ok(()) } else { Err(InvalidAws::TagKey) }
}

/// Checks an external id.
///
/// # Errors
/// [`InvalidAws::ExternalId`].
pub fn external_id(text: &str) -> Result<(), InvalidAws> {
    let fits = (2..=1224).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@:/-_".contains(&byte));
    if fits { Ok(()) } else { Err(InvalidAws::ExternalId) }
}

/// Checks a region's form and gives the partition that it lies in.
///
/// # Errors
/// [`InvalidAws::Region`].
pub fn partition_of_region(region: &str) -> Result<&'static str, InvalidAws> {
    let words: Vec<_> = region.split('-').collect();
    let fits = match &words[..] {
        [area, middle @ .., number] => {
            area.len() == 2
                && !middle.is_empty()
                && std::iter::once(area).chain(middle).all(|word| is_lower(word))
                && !number.is_empty()
                && number.bytes().all(|byte| byte.is_ascii_digit())
        }
        [_] | [] => false,
    };
    match (fits, words.get(..2)) {
        (false, _) => Err(InvalidAws::Region),
        (true, Some(["us", "gov"])) => Ok("aws-us-gov"),
        (true, Some(["cn", _])) => Ok("aws-cn"),
        (true, _) => Ok("aws"),
    }
}

fn is_lower(word: &str) -> bool {
    !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_lowercase())
}

/// True for the 12 digits of an account id.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// True for a path and name of an IAM entity: parts joined by `/`, none empty, none `.` or `..`.
fn is_path(text: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+=,.@_-".contains(&byte);
    text.len() <= 576
        && text
            .split('/')
            .all(|part| !part.is_empty() && part != "." && !part.contains("..") && part.bytes().all(fits))
}

#[cfg(test)]
mod tests;
