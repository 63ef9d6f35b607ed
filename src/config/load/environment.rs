//! `TOLLGATE_SERVER__…`: the environment sets where this server listens, and nothing that decides.
//!
//! An issuer, a role or a policy comes from reviewed files only. A variable that tries to change one is refused
//! loudly: its author believes that it works.

use std::collections::BTreeMap;
use std::path::Path;

use crate::config::problem::{Problem, Problems};
use crate::config::reader::{Overlay, VariableValue};
use crate::domain::nearest;

/// Variable, key path, and whether it is a list.
const VARIABLES: &[(&str, &[&str], bool)] = &[
    ("TOLLGATE_SERVER__URL", &["server", "url"], false),
    ("TOLLGATE_SERVER__LISTEN", &["server", "listen"], false),
    ("TOLLGATE_SERVER__OPERATIONS_LISTEN", &["server", "operations_listen"], false),
    ("TOLLGATE_SERVER__SPIFFE_LISTEN", &["server", "spiffe_listen"], false),
    ("TOLLGATE_SERVER__TLS__CERTIFICATE", &["server", "tls", "certificate"], false),
    ("TOLLGATE_SERVER__TLS__KEY", &["server", "tls", "key"], false),
    ("TOLLGATE_SERVER__TRUSTED_PROXIES", &["server", "trusted_proxies"], true),
    ("TOLLGATE_SERVER__TENANT", &["server", "tenant"], false),
    ("TOLLGATE_SERVER__ADMIN_SOCKET", &["server", "admin_socket"], false),
];

/// Reads the variables that name a key, which those with `__` after the prefix do; others belong to the command line.
pub(super) fn overlay(environment: &BTreeMap<String, String>, problems: &mut Problems) -> Overlay {
    let mut overlay = Overlay::default();
    for (name, value) in environment {
        let Some((section, _)) = name.strip_prefix("TOLLGATE_").and_then(|rest| rest.split_once("__")) else {
            continue;
        };
        match VARIABLES.iter().find(|(known, _, _)| known == name) {
            Some((_, path, true)) => {
                let texts = value.split(',').map(|text| text.trim().to_owned());
                let texts = texts.filter(|text| !text.is_empty()).collect();
                overlay.push(name, path, VariableValue::List(texts));
            }
            Some((_, path, false)) => overlay.push(name, path, VariableValue::Text(value.clone())),
            None if section == "SERVER" => {
                let known = VARIABLES.iter().map(|(known, _, _)| *known);
                let fix = match nearest(name, known.clone()) {
                    Some(near) => format!("did you mean {near}?"),
                    None => format!("unset it; known are {}", known.collect::<Vec<_>>().join(", ")),
                };
                let message = "no server setting has this variable";
                problems.push(Problem::error(Path::new(name), "unknown_variable", message, &fix));
            }
            None => {
                let message =
                    "the environment sets `[server]` only, never an issuer, a role, a policy or a limit";
                let fix = "unset it, and write the setting into its file, where it is reviewed";
                problems.push(Problem::error(Path::new(name), "variable_refused", message, fix));
            }
        }
    }
    overlay
}
