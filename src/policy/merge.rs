//! Merges what the packages answered with what was asked and what the role offers. Pure: no clock, no engine.
//!
//! Every package must allow and none may deny; limits only ever shrink. Nothing that a policy answers can widen a
//! grant past the role, the request, or the target.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;

use super::decision::{PackageResult, Require};
use crate::config::{AwsAccess, DenialDetail, Role, TargetKind};
use crate::domain::{Code, Operation, PackageName, Reason, Refusal, RoleName, ScopeName, Ttl};

/// Longest lifetime of a token that nothing can end earlier: an hour bounds what a stolen one is good for.
const TOKEN_CEILING: Ttl = hours(1);
/// AWS limits a session of a role that was assumed by a role's session to one hour (IAM User Guide, "Role chaining").
const CHAINED_CEILING: Ttl = hours(1);

/// `count` hours, within what a lifetime can be.
const fn hours(count: u64) -> Ttl {
    match Ttl::from_secs(count * 3600) {
        Ok(ttl) => ttl,
        Err(_) => Ttl::MAX,
    }
}

/// The longest lifetime that the kind of target can, or should, give.
///
/// Vault revokes, and AWS refuses by itself what exceeds the assumed role's own maximum; both stop at [`Ttl::MAX`].
pub(super) const fn ceiling(target: &TargetKind) -> Ttl {
    match target {
        TargetKind::Jwt(_) => TOKEN_CEILING,
        TargetKind::Vault(_) => Ttl::MAX,
        TargetKind::Aws(aws) => match &aws.access {
            AwsAccess::Ambient { session_token: Some(_), .. } => CHAINED_CEILING,
            AwsAccess::Ambient { session_token: None, .. } | AwsAccess::Federation { .. } => Ttl::MAX,
        },
    }
}

/// What is asked for, and what bounds it beside the policies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked<'a> {
    /// The role.
    pub(super) role: &'a Role,
    /// The lifetime asked for.
    pub(super) ttl: Ttl,
    /// The scopes asked for.
    pub(super) scopes: &'a BTreeSet<ScopeName>,
    /// What the target permits.
    pub(super) ceiling: Ttl,
    /// How much of a denial the caller reads.
    pub(super) denials: DenialDetail,
}

/// What follows from the packages' answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Merged {
    /// All allow, and this is left of the request.
    Allow {
        /// The shortest of all limits.
        ttl: Ttl,
        /// The intersection, not empty.
        scopes: BTreeSet<ScopeName>,
        /// The union.
        tags: BTreeMap<String, String>,
    },
    /// All allow, once this is met.
    NeedsApproval(Require),
    /// No.
    Deny(Refusal),
}

/// Merges `results`.
pub(super) fn merge(asked: Asked<'_>, results: &[PackageResult]) -> Merged {
    match try_merge(asked, results) {
        Ok(merged) => merged,
        Err(refusal) => Merged::Deny(refusal),
    }
}

fn try_merge(asked: Asked<'_>, results: &[PackageResult]) -> Result<Merged, Refusal> {
    let role = &asked.role.name;
    failures(role, results)?;
    denials(role, asked.denials, results)?;
    allows(role, &asked.role.policies, results)?;
    let scopes = scopes(asked, results)?;
    let tags = tags(role, results)?;
    Ok(match require(role, results)? {
        Some(require) => Merged::NeedsApproval(require),
        None => Merged::Allow { ttl: ttl(asked, results), scopes, tags },
    })
}

/// Whether `results` of the packages that decide `operation` permit it.
pub(super) fn permits(
    operation: Operation,
    packages: &[PackageName],
    shown: DenialDetail,
    results: &[PackageResult],
) -> Result<(), Refusal> {
    failures(&operation, results)?;
    denials(&operation, shown, results)?;
    allows(&operation, packages, results)
}

fn failures(what: &impl Display, results: &[PackageResult]) -> Result<(), Refusal> {
    let failed: Vec<_> = results
        .iter()
        .filter_map(|result| result.error.as_ref().map(|error| format!("{}: {error}", result.package)))
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let message = format!("denied {what}: a policy could not be evaluated");
    Err(Refusal::new(Code::PolicyFailed, message).with_detail(failed.join("; ")))
}

fn denials(what: &impl Display, shown: DenialDetail, results: &[PackageResult]) -> Result<(), Refusal> {
    let reasons: Vec<Reason> = results.iter().flat_map(|result| result.deny.iter().cloned()).collect();
    if reasons.is_empty() {
        return Ok(());
    }
    let message = match shown {
        DenialDetail::None => format!("denied {what} by policy"),
        DenialDetail::Reasons | DenialDetail::Full => {
            let texts: BTreeSet<_> = reasons.iter().map(|reason| reason.message.as_str()).collect();
            format!("denied {what}: {}", texts.into_iter().collect::<Vec<_>>().join("; "))
        }
    };
    Err(Refusal { reasons, ..Refusal::new(Code::PolicyDenied, message) })
}

/// Every package that decides must have answered with an allow: an answer that is not there is none.
fn allows(what: &impl Display, packages: &[PackageName], results: &[PackageResult]) -> Result<(), Refusal> {
    let allows = |name: &PackageName| results.iter().any(|r| r.package == *name && r.allow == Some(true));
    let silent: Vec<_> = packages.iter().filter(|name| !allows(name)).map(PackageName::as_str).collect();
    if silent.is_empty() && !packages.is_empty() {
        return Ok(());
    }
    let message = format!("denied {what}: its policies do not allow this");
    Err(Refusal::new(Code::NotAllowed, message).with_detail(format!("not allowed by {}", silent.join(", "))))
}

fn ttl(asked: Asked<'_>, results: &[PackageResult]) -> Ttl {
    let limits = results.iter().filter_map(|result| result.max_ttl);
    limits.fold(asked.ttl.min(asked.role.ttl.max).min(asked.ceiling), Ttl::min)
}

fn scopes(asked: Asked<'_>, results: &[PackageResult]) -> Result<BTreeSet<ScopeName>, Refusal> {
    let limits: Vec<_> = results.iter().filter_map(|result| result.scopes.as_ref()).collect();
    let left: BTreeSet<_> = asked
        .scopes
        .iter()
        .filter(|scope| asked.role.scopes.contains_key(*scope))
        .filter(|scope| limits.iter().all(|limit| limit.contains(*scope)))
        .cloned()
        .collect();
    if left.is_empty() {
        let message = format!("denied {}: nothing is left of the requested scopes", asked.role.name);
        return Err(Refusal::new(Code::ScopesEmpty, message));
    }
    Ok(left)
}

fn tags(role: &RoleName, results: &[PackageResult]) -> Result<BTreeMap<String, String>, Refusal> {
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for result in results {
        for (key, value) in &result.tags {
            let set = tags.entry(key.clone()).or_insert_with(|| value.clone());
            if set != value {
                let message = format!("denied {role}: its policies contradict each other");
                let detail = format!("tag {key}: {set}, and by {} {value}", result.package);
                return Err(Refusal::new(Code::TagConflict, message).with_detail(detail));
            }
        }
    }
    Ok(tags)
}

/// The strictest of all requirements: most approvals, youngest second factor, and approvers whom every package that
/// names groups would accept. Two packages without a common group cannot both be satisfied, which denies.
fn require(role: &RoleName, results: &[PackageResult]) -> Result<Option<Require>, Refusal> {
    let mut strictest: Option<Require> = None;
    for require in results.iter().filter_map(|result| result.require.as_ref()) {
        let Some(so_far) = &mut strictest else {
            strictest = Some(require.clone());
            continue;
        };
        so_far.approvals = so_far.approvals.max(require.approvals);
        so_far.mfa_max_age = match (so_far.mfa_max_age, require.mfa_max_age) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        if so_far.from.is_empty() {
            so_far.from.clone_from(&require.from);
        } else if !require.from.is_empty() {
            so_far.from.retain(|group| require.from.contains(group));
            if so_far.from.is_empty() {
                let message = format!("denied {role}: its policies contradict each other");
                let detail = "two packages require approvals, and no group satisfies both";
                return Err(Refusal::new(Code::PolicyFailed, message).with_detail(detail));
            }
        }
    }
    Ok(strictest)
}

#[cfg(test)]
mod tests;
