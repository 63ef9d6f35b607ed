//! The shipped configuration and policies, built into the program, and what the demo changes about them.

use std::io;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::DemoError;
use crate::clock::random_bytes;

macro_rules! embedded {
    ($($path:literal),+ $(,)?) => {
        &[$(($path, include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)))),+]
    };
}

/// Files as the repository has them, by path.
pub(super) const FILES: &[(&str, &str)] = embedded![
    "config/tollgate.toml",
    "config/issuers/github.toml",
    "config/issuers/gitlab.toml",
    "config/issuers/kubernetes.toml",
    "config/issuers/mesh.toml",
    "config/issuers/people.toml",
    "config/issuers/runners.toml",
    "config/roles/admin/rotate-keys.toml",
    "config/roles/critical/payments.toml",
    "config/roles/debug/on-call.toml",
    "config/roles/deploy/preview.toml",
    "config/roles/deploy/production.toml",
    "config/roles/mesh/reports.toml",
    "config/roles/vault/app-secrets.toml",
    "config/targets/api.toml",
    "config/targets/aws-production.toml",
    "config/targets/repositories.csv",
    "config/targets/vault-main.toml",
    "policies/ci/attested.rego",
    "policies/ci/critical.rego",
    "policies/ci/debug.rego",
    "policies/ci/deploy.rego",
    "policies/ci/high_risk.rego",
    "policies/ci/preview.rego",
    "policies/ci/runner.rego",
    "policies/ci/tenant.rego",
    "policies/global/guard_rail.rego",
    "policies/mesh/workload.rego",
    "policies/ops/incident.rego",
    "policies/ops/security.rego",
    "policies/vault/app.rego",
];

/// Writes the shipped files below `folder`, with the demo's own issuers and server section.
///
/// # Errors
/// The folder cannot be written, or there is no randomness.
pub(super) fn write(folder: &Path, url: &str, issuer: &str) -> Result<(), DemoError> {
    for (path, text) in FILES {
        if !path.starts_with("config/issuers/") && *path != "config/tollgate.toml" {
            put(folder, path, text)?;
        }
    }
    put(folder, "config/tollgate.toml", &settings(url)?)?;
    for (profile, require) in [
        ("github", "require = { repository_owner_id = \"65\" }"),
        ("gitlab", "require = { namespace_id = \"72\" }"),
        ("kubernetes", ""),
    ] {
        // The three imitated platforms share one issuer, so each has an audience of its own but the first.
        let audience = if profile == "github" { url.to_owned() } else { format!("{url}/{profile}") };
        let text = format!(
            "issuer = \"{issuer}\"\nprofile = \"{profile}\"\naudience = \"{audience}\"\ntenant = \"default\"\n\
             insecure_loopback = true\n{require}\n"
        );
        put(folder, &format!("config/issuers/{profile}.toml"), &text)?;
    }
    put(folder, "config/issuers/runners.toml", &runners(url, issuer))?;
    Ok(())
}

/// The same issuer's entry for runners: pods of the imitated cluster, all of one pool.
fn runners(url: &str, issuer: &str) -> String {
    format!(
        "issuer = \"{issuer}\"\nprofile = \"kubernetes\"\naudience = \"{url}/runner\"\ntenant = \"default\"\n\
         insecure_loopback = true\n\n[attributes]\nregion = \"eu-central-1\"\npool = \"deploy\"\n\n\
         [runner]\nattributes = {{ id = \"pod_uid\", pool = \"pool\", region = \"region\" }}\n"
    )
}

/// The demo's `tollgate.toml`: a fresh key-encryption key, a store in the folder, and the shipped `[sources]`.
fn settings(url: &str) -> Result<String, DemoError> {
    let listen = url.trim_start_matches("http://");
    let key = STANDARD.encode(random_bytes::<32>()?);
    let shipped = FILES.iter().find(|(path, _)| *path == "config/tollgate.toml").map_or("", |(_, text)| text);
    let sources = shipped.find("[sources").and_then(|at| shipped.get(at..)).unwrap_or_default();
    Ok(format!(
        "policies = \"../policies\"\n\n[server]\nurl = \"{url}\"\nlisten = \"{listen}\"\n\n[store]\n\
         sqlite = \"../ledger.db\"\nkey_encryption_key = {{ value = \"{key}\" }}\n\n[denials]\ndetail = \"full\"\n\n\
         {sources}"
    ))
}

fn put(folder: &Path, path: &str, text: &str) -> io::Result<()> {
    let path = folder.join(path);
    if let Some(parent) = path.parent() {
        std::fs::create_dir_all(parent)?;
    }
    std::fs::write(path, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn found(folder: &Path, root: &Path, all: &mut BTreeSet<String>) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() {
                found(&path, root, all);
            } else if !name.ends_with("_test.rego") {
                all.insert(name);
            }
        }
    }

    #[test]
    fn every_shipped_file_is_built_in() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut shipped = BTreeSet::new();
        for folder in ["config", "policies"] {
            found(&root.join(folder), root, &mut shipped);
        }
        let built_in: BTreeSet<_> = FILES.iter().map(|(path, _)| (*path).to_owned()).collect();
        assert_eq!(built_in, shipped);
    }
}
