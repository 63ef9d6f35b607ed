//! A credential as the environment variables that unmodified clients read.

use std::fmt::Write as _;

use secrecy::{ExposeSecret, SecretString};

use super::client::{CredentialAnswer, Granted};

/// Variables that would win over, or mix with, the ones that are set; a child does not inherit them.
pub(super) const CONFLICTING: &[&str] = &[
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SECURITY_TOKEN",
    // Of other keys: botocore would take ours for expired.
    "AWS_CREDENTIAL_EXPIRATION",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "VAULT_TOKEN",
    "VAULT_NAMESPACE",
    "BAO_TOKEN",
    // OpenBao's clients prefer these to the address and namespace that are set: the token would go to another server.
    "BAO_ADDR",
    "BAO_NAMESPACE",
    "TOLLGATE_ACCESS_TOKEN",
];

/// One variable.
pub(super) struct Variable {
    pub(super) name: &'static str,
    pub(super) value: SecretString,
}

/// The variables for one answer: what the target's own tools read, and the lease's ids.
pub(super) fn variables(granted: &Granted) -> Vec<Variable> {
    let secret = |name, value: &SecretString| Variable { name, value: value.clone() };
    let plain = |name, value: &str| Variable { name, value: value.to_owned().into() };
    let mut variables = match &granted.credential {
        CredentialAnswer::Aws { access_key_id, secret_access_key, session_token, region, endpoint } => {
            let mut aws = vec![
                plain("AWS_ACCESS_KEY_ID", access_key_id),
                secret("AWS_SECRET_ACCESS_KEY", secret_access_key),
                secret("AWS_SESSION_TOKEN", session_token),
                plain("AWS_REGION", region),
                plain("AWS_DEFAULT_REGION", region),
            ];
            aws.extend(endpoint.as_deref().map(|endpoint| plain("AWS_ENDPOINT_URL", endpoint)));
            aws
        }
        CredentialAnswer::Vault { address, namespace, token } => {
            let mut vault = vec![plain("VAULT_ADDR", address), secret("VAULT_TOKEN", token)];
            vault.extend(namespace.as_deref().map(|namespace| plain("VAULT_NAMESPACE", namespace)));
            vault
        }
        CredentialAnswer::Jwt { token } => vec![secret("TOLLGATE_ACCESS_TOKEN", token)],
    };
    variables.push(plain("TOLLGATE_DECISION", &granted.decision));
    variables.push(plain("TOLLGATE_LEASE", &granted.lease.id));
    variables
}

/// `export NAME='value'` lines for a shell (POSIX quoting), after an `unset` of what would mix with them.
pub(super) fn shell(variables: &[Variable]) -> SecretString {
    let unset: Vec<_> = CONFLICTING
        .iter()
        .copied()
        .filter(|name| variables.iter().all(|variable| variable.name != *name))
        .collect();
    let line = |variable: &Variable| {
        let quoted = variable.value.expose_secret().replace('\'', r"'\''");
        format!("export {}='{quoted}'\n", variable.name)
    };
    let exports = variables.iter().map(line).collect::<String>();
    format!("unset {}\n{exports}", unset.join(" ")).into()
}

/// `NAME=value` lines for an environment file. Values have no newline: the broker's grammar forbids it, and one that
/// came all the same would start a line of its own, so it is refused.
pub(super) fn dotenv(variables: &[Variable]) -> Result<SecretString, String> {
    let mut text = String::new();
    for variable in variables {
        let value = variable.value.expose_secret();
        if value.chars().any(char::is_control) {
            return Err(format!("{} holds a control character", variable.name));
        }
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{}={value}", variable.name);
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(value: &str) -> Vec<Variable> {
        vec![Variable { name: "VAULT_TOKEN", value: value.to_owned().into() }]
    }

    #[test]
    fn shell_quoting_keeps_a_quote_inside() {
        assert!(shell(&one("a'b$(c)")).expose_secret().ends_with("\nexport VAULT_TOKEN='a'\\''b$(c)'\n"));
    }

    #[test]
    fn a_shell_forgets_what_would_mix_with_the_credential() {
        let text = shell(&one("a"));
        let unset = text.expose_secret().lines().next().unwrap().split(' ').collect::<Vec<_>>();
        assert!(unset.starts_with(&["unset"]) && unset.contains(&"AWS_PROFILE"));
        assert!(!unset.contains(&"VAULT_TOKEN"), "it is set in the next line");
    }

    #[test]
    fn an_environment_file_takes_no_second_line_from_a_value() {
        assert!(dotenv(&one("a\nPATH=/evil")).is_err());
        assert_eq!(dotenv(&one("a")).unwrap().expose_secret(), "VAULT_TOKEN=a\n");
    }
}
