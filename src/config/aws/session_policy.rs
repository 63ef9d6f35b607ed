//! How large a session policy becomes, so that the limit is met here and not in the middle of a deployment.

use serde_json::{Value, json};

use crate::config::{AwsScope, template};

/// Most characters of an inline session policy (STS API reference, `AssumeRole`, `Policy`).
///
/// AWS also packs policies and tags into a binary form with a limit of its own that nobody can compute outside.
pub(super) const LIMIT: usize = 2048;

/// From here on it is worth a warning: four fifths of the limit.
pub(super) const WARN_AT: usize = LIMIT / 5 * 4;

/// A value of usual length in place of each placeholder: an account id, a repository id, a short name.
const SAMPLE: &str = "123456789012";

/// Characters of the policy that `scopes` make, with the statement that closes a window early.
pub(super) fn policy_size(scopes: &[&AwsScope]) -> usize {
    if scopes.iter().all(|scope| scope.actions.is_empty()) {
        return 0;
    }
    let mut statements: Vec<Value> = scopes
        .iter()
        .filter(|scope| !scope.actions.is_empty())
        .map(|scope| {
            let resources: Vec<_> =
                scope.resources.iter().map(|text| template::filled(text, SAMPLE)).collect();
            json!({"Effect": "Allow", "Action": scope.actions, "Resource": resources})
        })
        .collect();
    let window = json!({"DateGreaterThanEquals": {"aws:CurrentTime": "2030-01-01T00:00:00Z"}});
    statements.push(json!({"Effect": "Deny", "Action": ["*"], "Resource": ["*"], "Condition": window}));
    statements.push(json!({"Effect": "Deny", "Action": ["sts:Assume*", "sts:Get*Token"], "Resource": ["*"]}));
    json!({"Version": "2012-10-17", "Statement": statements}).to_string().len()
}
