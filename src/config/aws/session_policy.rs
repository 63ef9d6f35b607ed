//! How large a session policy becomes, so that the limit is met here and not in the middle of a deployment.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::config::{AwsScope, template};
use crate::domain::ScopeName;

/// Most characters of a session's inline policy and managed ARNs together (STS API reference, `AssumeRole`, `Policy`).
///
/// AWS also packs policies and tags into a binary form with a limit of its own that nobody can compute outside.
pub const MAX_POLICY_CHARACTERS: usize = 2048;

/// Most managed policies of one session (same page, `PolicyArns`).
pub const MAX_MANAGED_POLICIES: usize = 10;

/// A value of usual length in place of each placeholder: an account id, a repository id, a short name.
const SAMPLE: &str = "123456789012";

/// Characters of the session policy that `scopes` make together, with the statements that close a window early.
pub(crate) fn policy_characters<'a>(
    scopes: impl IntoIterator<Item = (&'a ScopeName, &'a AwsScope)>,
) -> usize {
    let mut statements: Vec<Value> = Vec::new();
    let mut managed = BTreeSet::new();
    for (name, scope) in scopes {
        managed.extend(&scope.managed);
        if !scope.actions.is_empty() {
            let filled = |text: &String| template::filled(text, SAMPLE);
            let resources: Vec<_> = scope.resources.iter().map(filled).collect();
            let (name, actions) = (name.as_str(), &scope.actions);
            statements
                .push(json!({"Sid": name, "Effect": "Allow", "Action": actions, "Resource": resources}));
        }
    }
    let window = json!({"DateGreaterThanEquals": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}});
    statements.push(json!({"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": window}));
    statements.push(json!({"Effect": "Deny", "Action": ["sts:Assume*", "sts:Get*Token"], "Resource": ["*"]}));
    let inline = json!({"Version": "2012-10-17", "Statement": statements}).to_string();
    inline.len() + managed.into_iter().map(String::len).sum::<usize>()
}
