//! `[scopes.<name>]`: what a scope means at the target.

use std::collections::BTreeMap;

use super::provider::{check_column, check_partition, check_placeholder};
use super::role::Parts;
use super::target::is_vault_path;
use crate::config::aws::{MAX_MANAGED_POLICIES, MAX_POLICY_CHARACTERS, policy_characters};
use crate::config::reader::{Field, Reader};
use crate::config::template::placeholders;
use crate::config::{AwsScope, ScopeSpec, TargetKind, VaultScope, aws};
use crate::domain::ScopeName;

/// From here on a session policy is worth a warning.
const WARN_AT_CHARACTERS: usize = MAX_POLICY_CHARACTERS / 5 * 4;

/// Reads one scope as the target's kind has it.
pub(super) fn scope(field: &Field<'_>, parts: &Parts<'_>) -> Option<ScopeSpec> {
    let read = |r: &mut Reader<'_>| match parts.target.as_ref().map(|target| &target.kind) {
        Some(TargetKind::Aws(_)) => Some(aws_scope(r, parts)),
        Some(TargetKind::Vault(_)) => Some(vault_scope(r)),
        Some(TargetKind::Jwt(_)) => Some(ScopeSpec::Jwt),
        None => {
            r.ignore_the_rest();
            None
        }
    };
    field.table(read).flatten()
}

fn aws_scope(r: &mut Reader<'_>, parts: &Parts<'_>) -> ScopeSpec {
    let actions = checked(r, "actions", "a list, such as [\"s3:GetObject\"]", |_, text| aws::action(text));
    let resources = checked(r, "resources", "a list of ARNs, or [\"*\"]", |item, text| {
        let refuse = |code: &'static str, message: &str, fix: &str| item.refuse(code, message, fix);
        if let Some(column) = parts.whole_column(text) {
            check_column(refuse, column, parts, aws::resource);
            return Ok(());
        }
        if let Some(partition) = aws::resource(text)? {
            check_partition(refuse, partition, parts);
        }
        for name in placeholders(text) {
            check_placeholder(refuse, name, parts);
        }
        Ok::<(), aws::InvalidAws>(())
    });
    let managed = checked(r, "managed", "a list of ARNs of managed policies", |item, text| {
        let refuse = |code: &'static str, message: &str, fix: &str| item.refuse(code, message, fix);
        aws::managed_policy(text).map(|partition| check_partition(refuse, partition, parts))
    });
    if actions.is_empty() != resources.is_empty() {
        let message = "a statement needs both actions and resources";
        r.refuse("", "half_statement", message, "write the one that is missing; [\"*\"] names all resources");
    } else if actions.is_empty() && managed.is_empty() {
        // A session without any policy has all that the role has.
        let message = "the scope narrows nothing: the session would have all rights of the AWS role";
        r.refuse("", "empty_scope", message, "write actions and resources, or managed policies");
    }
    ScopeSpec::Aws(AwsScope { actions, resources, managed })
}

fn vault_scope(r: &mut Reader<'_>) -> ScopeSpec {
    let expected = "a list of Vault policies, such as [\"app-read\"]";
    r.need("policies", expected);
    let policies = checked(r, "policies", expected, |_, text| match text {
        "root" => Err("the policy `root` may do anything, and a child token cannot have it"),
        "default" => Err("the policy `default` is not a scope; a token without it can do nothing unasked"),
        _ if is_vault_path(text) && text == text.to_ascii_lowercase() => Ok(()),
        _ => Err("a policy's name has lower-case letters, digits and _.-/ only"),
    });
    if policies.is_empty() && r.has("policies") {
        r.refuse("policies", "empty_list", "the scope gives nothing", &format!("write {expected}"));
    }
    ScopeSpec::Vault(VaultScope { policies })
}

/// A list of texts, each of which `check` accepts.
fn checked<E: std::fmt::Display>(
    r: &mut Reader<'_>,
    key: &'static str,
    expected: &'static str,
    check: impl Fn(&Field<'_>, &str) -> Result<(), E>,
) -> Vec<String> {
    let items = r.get(key, expected).and_then(|field| field.items()).unwrap_or_default();
    let mut texts = Vec::with_capacity(items.len());
    for item in &items {
        let Some(text) = item.text() else { continue };
        if let Err(error) = check(item, text) {
            item.refuse("bad_value", &error.to_string(), &format!("write {expected}"));
        }
        texts.push(text.to_owned());
    }
    texts
}

/// Looks at all scopes together: what a caller who asks for everything would need.
pub(super) fn check_all(r: &Reader<'_>, scopes: &BTreeMap<ScopeName, Option<ScopeSpec>>) {
    let aws: Vec<_> = scopes
        .iter()
        .filter_map(|(name, scope)| match scope {
            Some(ScopeSpec::Aws(scope)) => Some((name, scope)),
            Some(ScopeSpec::Vault(_) | ScopeSpec::Jwt) | None => None,
        })
        .collect();
    let managed: std::collections::BTreeSet<_> = aws.iter().flat_map(|(_, scope)| &scope.managed).collect();
    if managed.len() > MAX_MANAGED_POLICIES {
        let message = format!(
            "all scopes together name {} managed policies; a session takes {MAX_MANAGED_POLICIES}",
            managed.len()
        );
        r.warn(
            "scopes",
            "many_managed_policies",
            &message,
            "a request for all scopes would fail: merge policies, or split the role",
        );
    }
    if aws.is_empty() {
        return;
    }
    let size = policy_characters(aws);
    if size >= WARN_AT_CHARACTERS {
        let message = format!(
            "the session policy of all scopes has about {size} of the {MAX_POLICY_CHARACTERS} characters that AWS takes"
        );
        r.warn(
            "scopes",
            "session_policy_size",
            &message,
            "use managed policies or wildcards, or split the role",
        );
    }
}
