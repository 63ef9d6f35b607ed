//! Secrets: by value, from a file, or from the environment, and never from two of them.
//!
//! Nothing here puts a secret, or a part of one, into a message.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::{Around, Secrets};
use crate::config::files::read_capped;
use crate::config::reader::{Field, Reader};

/// Largest secret, in bytes.
const MAX_SECRET_BYTES: usize = 64 << 10;

/// What stands in for a secret that is not looked at: it passes every check on a secret's form, and opens nothing, as no
/// configuration that holds it can be served.
const STAND_IN: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// How to write a secret.
pub(super) const EXPECTED: &str = r#"{ env = "VARIABLE" } or { file = "path" }"#;

/// Reads the secret in `field`.
pub(super) fn secret(field: &Field<'_>, around: &Around<'_>) -> Option<SecretString> {
    let read = |r: &mut Reader<'_>| {
        let value = r.get("value", "the secret").and_then(|field| Some(field.text()?.to_owned()));
        let file = r.optional::<PathBuf>("file", "a path, such as ../secrets/key");
        let variable = r.optional::<String>("env", "the name of an environment variable");
        let written = ["value", "file", "env"].iter().filter(|key| r.has(key)).count();
        if written != 1 {
            let message = "a secret comes from exactly one place";
            r.refuse("", "secret_places", message, &format!("write {EXPECTED}"));
            return None;
        }
        if value.is_some() {
            let message = "the secret itself is in this file: whoever reads the configuration has it";
            r.warn("value", "secret_in_file", message, &format!("write {EXPECTED}"));
        }
        let found = match (value, file, variable) {
            (Some(value), _, _) => value,
            (None, file, variable) if around.secrets == Secrets::PassedOver => {
                return Some(passed_over(r, file, variable));
            }
            (_, Some(file), _) => from_file(r, &around.directory.join(file))?,
            (_, _, Some(name)) => from_environment(r, &name, around)?,
            (None, None, None) => return None,
        };
        if found.is_empty() {
            r.refuse("", "secret_empty", "the secret is empty", "provide it before Tollgate starts");
            return None;
        }
        Some(SecretString::from(found))
    };
    field.table(read).flatten()
}

/// Says where the secret would come from, and gives what stands in for it.
fn passed_over(r: &Reader<'_>, file: Option<PathBuf>, variable: Option<String>) -> SecretString {
    let place = match (file, variable) {
        (Some(file), _) => format!("the file {}", file.display()),
        (None, Some(name)) => shown(&name).to_owned(),
        (None, None) => "its place".to_owned(),
    };
    let message = format!("the secret in {place} was not looked at");
    r.pass_over(
        "",
        "secret_not_checked",
        &message,
        "run the check without --without-secrets where Tollgate runs",
    );
    STAND_IN.into()
}

/// The variable's name, unless it does not look like one: a secret pasted here by mistake must not reach a log.
fn shown(name: &str) -> &str {
    let fits = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
    if name.bytes().all(fits) { name } else { "this variable" }
}

fn from_file(r: &Reader<'_>, path: &Path) -> Option<String> {
    let content = match read_capped(path, MAX_SECRET_BYTES) {
        Ok(content) => content,
        Err(error) => {
            let message = format!("{} cannot be read: {error}", path.display());
            r.refuse(
                "file",
                "secret_unreadable",
                &message,
                "create it, readable for Tollgate alone (mode 0600)",
            );
            return None;
        }
    };
    let fits = content.len() <= MAX_SECRET_BYTES;
    let Some(text) = String::from_utf8(content).ok().filter(|_| fits) else {
        let message = format!("{} is not text of at most {MAX_SECRET_BYTES} bytes", path.display());
        r.refuse("file", "secret_unreadable", &message, "put only the secret into it");
        return None;
    };
    // Editors and `echo` end a file with a newline that is not part of the secret.
    let text = text.strip_suffix('\n').unwrap_or(&text);
    Some(text.strip_suffix('\r').unwrap_or(text).to_owned())
}

fn from_environment(r: &Reader<'_>, name: &str, around: &Around<'_>) -> Option<String> {
    let found = around.environment.get(name);
    if found.is_none() {
        let message = format!("{} is not set in Tollgate's environment", shown(name));
        r.refuse("env", "secret_unset", &message, "set it, or write { file = \"path\" }");
    }
    found.cloned()
}
