//! The session policy: what of the role's permissions the granted scopes leave.
//!
//! A session may do what its role may *and* its session policies allow; inline and managed session policies add up to
//! one allowance (IAM User Guide, "Session policies"). A session without any has all of the role's permissions, so a
//! grant that comes to none is refused.
//!
//! STS issues no session under 15 minutes. A shorter window is an inline policy that denies everything from the
//! window's end on: an explicit Deny wins over every Allow, in session, identity and resource policies alike, while an
//! Allow with a time condition would be defeated by any other Allow beside it. The Deny also covers the STS calls that
//! turn this session into credentials of their own lifetime, for those would outlive the window. Beside managed
//! policies alone the inline policy holds nothing but these Denies: the managed ones allow, it takes away.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::Serialize;

use crate::config::AwsScope;
use crate::config::aws::{MAX_MANAGED_POLICIES, MAX_POLICY_CHARACTERS, managed_policy};
use crate::domain::{Code, Refusal, ScopeName};
use crate::provider::template::{Place, Values};
use crate::provider::upstream::{internal, unfit};

/// What a session is narrowed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SessionPolicy {
    /// `Policy`: a JSON document.
    pub(super) inline: Option<String>,
    /// `PolicyArns`.
    pub(super) managed: BTreeSet<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Document<'a> {
    version: &'static str,
    statement: Vec<Statement<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Statement<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<&'a str>,
    effect: &'static str,
    action: Vec<&'a str>,
    resource: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Condition>,
}

/// `DateGreaterThanEquals`: nothing works from the window's end on, that second included.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Condition {
    date_greater_than_equals: CurrentTime,
}

#[derive(Serialize)]
struct CurrentTime {
    #[serde(rename = "aws:CurrentTime")]
    current_time: String,
}

/// Builds the session policy of the granted `scopes`, with values put in as data.
///
/// # Errors
/// `target_value_refused` or `session_policy_too_large`.
pub(super) fn build<'a>(
    scopes: impl IntoIterator<Item = (&'a ScopeName, &'a AwsScope)>,
    values: &Values<'_>,
    partition: &str,
    window_ends: Option<Timestamp>,
) -> Result<SessionPolicy, Refusal> {
    let mut statement = Vec::new();
    let mut managed = BTreeSet::new();
    for (name, scope) in scopes {
        if scope.actions.is_empty() != scope.resources.is_empty() {
            return Err(unfit(format!(
                "scope {name} has actions without resources, or resources without actions"
            )));
        }
        if !scope.actions.is_empty() {
            statement.push(allow(name, scope, values)?);
        }
        managed.extend(scope.managed.iter().cloned());
    }
    if statement.is_empty() && managed.is_empty() {
        return Err(unfit(
            "the granted scopes come to no statement and no managed policy: that would be the whole role",
        ));
    }
    if let Some(arn) = managed.iter().find(|arn| managed_policy(arn) != Ok(partition)) {
        return Err(unfit(format!("{arn:?} is not the ARN of a managed policy in partition {partition}")));
    }
    statement.extend(window_ends.map(denials).into_iter().flatten());
    let document = Document { version: "2012-10-17", statement };
    let inline = if document.statement.is_empty() {
        None
    } else {
        Some(serde_json::to_string(&document).map_err(|error| internal(error.to_string()))?)
    };
    let policy = SessionPolicy { inline, managed };
    policy.check_size()?;
    Ok(policy)
}

fn allow<'a>(
    name: &'a ScopeName,
    scope: &'a AwsScope,
    values: &Values<'_>,
) -> Result<Statement<'a>, Refusal> {
    let resource = scope
        .resources
        .iter()
        .map(|text| values.fill(text, Place::Resource).map_err(|why| unfit(format!("scope {name}: {why}"))))
        .collect::<Result<_, _>>()?;
    Ok(Statement {
        // A Sid is alphanumeric and only a label: a scope that does not fit goes without one.
        sid: name.as_str().bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(name.as_str()),
        effect: "Allow",
        action: scope.actions.iter().map(String::as_str).collect(),
        resource,
        condition: None,
    })
}

/// Closes the window, and the ways out of it: `AssumeRole*`, `AssumeRoot`, and every STS call that hands out a token.
fn denials(window_ends: Timestamp) -> [Statement<'static>; 2] {
    let deny = |action: Vec<&'static str>, condition| Statement {
        sid: None,
        effect: "Deny",
        action,
        resource: vec!["*".to_owned()],
        condition,
    };
    let current_time = window_ends.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let after = Condition { date_greater_than_equals: CurrentTime { current_time } };
    [deny(vec!["*"], Some(after)), deny(vec!["sts:Assume*", "sts:Get*Token"], None)]
}

impl SessionPolicy {
    /// Characters that count against AWS's limit in plain text.
    fn characters(&self) -> usize {
        let inline = self.inline.as_ref().map_or(0, |text| text.chars().count());
        inline + self.managed.iter().map(String::len).sum::<usize>()
    }

    fn check_size(&self) -> Result<(), Refusal> {
        let too_large = |detail: String| {
            let message = "the session policy of the granted scopes exceeds what AWS accepts";
            Err(Refusal::new(Code::SessionPolicyTooLarge, message).with_detail(detail))
        };
        if self.managed.len() > MAX_MANAGED_POLICIES {
            return too_large(format!(
                "{} managed policies of at most {MAX_MANAGED_POLICIES}",
                self.managed.len()
            ));
        }
        let characters = self.characters();
        if characters > MAX_POLICY_CHARACTERS {
            return too_large(format!(
                "{characters} of {MAX_POLICY_CHARACTERS} characters ({}%); AWS also limits the packed size, with tags, which only it knows",
                characters * 100 / MAX_POLICY_CHARACTERS
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::config::aws::policy_characters;
    use crate::provider::testing::{Identity, aws_scope, now};

    fn build_one(name: &str, scope: &AwsScope, window: Option<Timestamp>) -> Result<SessionPolicy, Refusal> {
        build_with("acme/shop", &[(name, scope)], window)
    }

    fn build_with(
        value: &str,
        scopes: &[(&str, &AwsScope)],
        window: Option<Timestamp>,
    ) -> Result<SessionPolicy, Refusal> {
        let identity = Identity::with("name", json!(value));
        let scopes: Vec<(ScopeName, &AwsScope)> =
            scopes.iter().map(|(n, s)| (n.parse().unwrap(), *s)).collect();
        let scopes = scopes.iter().map(|(name, scope)| (name, *scope));
        build(scopes, &identity.values(), "aws", window)
    }

    fn document(policy: &SessionPolicy) -> Value {
        serde_json::from_str(policy.inline.as_deref().unwrap()).unwrap()
    }

    #[test]
    fn one_allow_per_scope_with_values_put_in() {
        let read = aws_scope(&["s3:GetObject"], &["arn:aws:s3:::b/{name}/*"]);
        let write = aws_scope(&["s3:PutObject"], &["arn:aws:s3:::b/out"]);
        let policy = build_with("acme/shop", &[("read", &read), ("s3:write", &write)], None).unwrap();
        let expected = json!({"Version": "2012-10-17", "Statement": [
            {"Sid": "read", "Effect": "Allow", "Action": ["s3:GetObject"], "Resource": ["arn:aws:s3:::b/acme/shop/*"]},
            {"Effect": "Allow", "Action": ["s3:PutObject"], "Resource": ["arn:aws:s3:::b/out"]},
        ]});
        assert_eq!(document(&policy), expected);
    }

    #[test]
    fn c_02_a_value_cannot_widen_a_resource() {
        let read = aws_scope(&["s3:GetObject"], &["arn:aws:s3:::b/{name}"]);
        for bad in ["*", "x/?", "${aws:userid}", "x\",\"*"] {
            let refusal = build_with(bad, &[("read", &read)], None).unwrap_err();
            assert_eq!(refusal.code, Code::TargetValueRefused, "{bad}");
        }
    }

    #[test]
    fn c_14_a_window_closes_by_deny_and_leaves_no_way_out() {
        let read = aws_scope(&["s3:GetObject"], &["*"]);
        let document = document(&build_one("read", &read, Some(now())).unwrap());
        let expected = json!([
            {"Effect": "Deny", "Action": ["*"], "Resource": ["*"],
             "Condition": {"DateGreaterThanEquals": {"aws:CurrentTime": "2026-11-20T18:00:00Z"}}},
            {"Effect": "Deny", "Action": ["sts:Assume*", "sts:Get*Token"], "Resource": ["*"]},
        ]);
        assert_eq!(json!(document["Statement"].as_array().unwrap()[1..]), expected);
    }

    #[test]
    fn c_14_a_window_over_managed_policies_alone_still_closes() {
        let mut scope = aws_scope(&[], &[]);
        scope.managed = vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".into()];
        let policy = build_one("read", &scope, Some(now())).unwrap();
        let effects: Vec<Value> =
            document(&policy)["Statement"].as_array().unwrap().iter().map(|s| s["Effect"].clone()).collect();
        assert_eq!(effects, ["Deny", "Deny"]);
        assert_eq!(build_one("read", &scope, None).unwrap().inline, None);
    }

    #[test]
    fn refuses_scopes_that_would_leave_the_whole_role() {
        for scope in [aws_scope(&[], &[]), aws_scope(&["s3:*"], &[]), aws_scope(&[], &["*"])] {
            assert_eq!(build_one("read", &scope, None).unwrap_err().code, Code::TargetValueRefused);
            assert_eq!(build_one("read", &scope, Some(now())).unwrap_err().code, Code::TargetValueRefused);
        }
    }

    #[test]
    fn refuses_managed_policies_that_are_none_or_too_many() {
        let mut scope = aws_scope(&[], &[]);
        scope.managed = vec!["arn:aws:iam::aws:role/x".into()];
        assert_eq!(build_one("read", &scope, None).unwrap_err().code, Code::TargetValueRefused);
        scope.managed = (0..11).map(|n| format!("arn:aws:iam::aws:policy/p{n}")).collect();
        assert_eq!(build_one("read", &scope, None).unwrap_err().code, Code::SessionPolicyTooLarge);
        scope.managed.truncate(10);
        assert!(build_one("read", &scope, None).is_ok());
    }

    #[test]
    fn c_03_refuses_before_calling_and_says_by_how_much() {
        let long = format!("arn:aws:s3:::{}", "b".repeat(1900));
        let mut scope = aws_scope(&["s3:GetObject"], &[&long]);
        let fits = build_one("read", &scope, None).unwrap();
        assert!(fits.characters() <= MAX_POLICY_CHARACTERS);
        scope.resources.push("x".repeat(MAX_POLICY_CHARACTERS - fits.characters() - 2));
        let refusal = build_one("read", &scope, None).unwrap_err();
        assert_eq!(refusal.code, Code::SessionPolicyTooLarge);
        assert!(refusal.detail.unwrap().starts_with("2049 of 2048 characters (100%)"));
    }

    #[test]
    fn c_03_what_the_configuration_is_warned_by_is_the_size_that_is_built() {
        let mut scope = aws_scope(&["s3:GetObject"], &["arn:aws:s3:::b/{name}/*"]);
        scope.managed = vec!["arn:aws:iam::aws:policy/ReadOnlyAccess".into()];
        let built = build_with("123456789012", &[("read", &scope)], Some(now())).unwrap();
        assert_eq!(policy_characters([(&"read".parse().unwrap(), &scope)]), built.characters());
    }
}
