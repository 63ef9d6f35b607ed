//! A configuration folder, and a Tollgate that runs on it in this process.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::TempDir;
use tollgate::app::{App, Source};
use tollgate::clock::Clock;

use super::{Api, Issuer};

/// A Monday, 10:00 UTC: working hours, for the shipped policies.
pub(crate) const NOW: &str = "2026-03-02T10:00:00Z";

/// A port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A configuration folder with one issuer `ci`, one `jwt` target `api`, and whatever a test adds.
pub(crate) struct Site {
    pub(crate) folder: TempDir,
    pub(crate) url: String,
    pub(crate) issuer: Issuer,
    pub(crate) clock: Clock,
}

impl Site {
    /// The base: role `deploy` with the scopes `read` and `write`, decided by the package `ci.test` which allows
    /// every trusted job; `extra` files are laid over it.
    pub(crate) async fn new(extra: &[(&str, &str)]) -> Self {
        let issuer = Issuer::start().await;
        let folder = tempfile::tempdir().unwrap();
        let url = format!("http://127.0.0.1:{}", free_port());
        let site = Self { folder, url, issuer, clock: Clock::manual(NOW.parse().unwrap()) };
        site.write("config/tollgate.toml", &site.settings(""));
        site.write("config/issuers/ci.toml", &site.issuer_file("replay = \"once\""));
        site.write("config/targets/api.toml", "provider = \"jwt\"\naudience = \"https://api.example\"\n");
        site.write("config/roles/deploy.toml", DEPLOY);
        site.write("policies/ci/test.rego", ALLOW_TRUSTED);
        for (path, text) in extra {
            site.write(path, text);
        }
        site
    }

    /// `tollgate.toml` with `more` at its end.
    pub(crate) fn settings(&self, more: &str) -> String {
        let listen = self.url.trim_start_matches("http://");
        format!(
            "policies = \"../policies\"\n\n[server]\nurl = \"{}\"\nlisten = \"{listen}\"\n\n[store]\n\
             sqlite = \"../ledger.db\"\n\
             key_encryption_key = {{ value = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\" }}\n\n{more}\n",
            self.url
        )
    }

    /// The issuer's file with `more` at its end.
    pub(crate) fn issuer_file(&self, more: &str) -> String {
        format!(
            "issuer = \"{}\"\nprofile = \"github\"\naudience = \"{}\"\nalgorithms = [\"ES256\"]\ntenant = \"default\"\n\
             insecure_loopback = true\nrequire = {{ repository_owner_id = \"65\" }}\n{more}\n",
            self.issuer.url(),
            self.url
        )
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("config")
    }

    pub(crate) fn source(&self) -> Source {
        Source { directory: self.config(), environment: Vec::new() }
    }

    /// Starts Tollgate on the folder, in this process, on this site's clock.
    pub(crate) async fn start(&self) -> App {
        match App::start(self.source(), self.clock.clone(), None).await {
            Ok(app) => app,
            Err(tollgate::app::StartError::Config(problems)) => {
                let text: Vec<_> = problems.iter().map(ToString::to_string).collect();
                panic!("the test's configuration has problems:\n{}", text.join("\n"))
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    pub(crate) fn api(&self) -> Api {
        Api::new(&self.url)
    }

    /// The same on the machine's clock, for a Tollgate in a process of its own.
    pub(crate) async fn of_process(extra: &[(&str, &str)]) -> Self {
        Self { clock: Clock::system(), ..Self::new(extra).await }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// A fresh token of a trusted job on `main`.
    pub(crate) fn token(&self) -> String {
        self.issuer.sign(&self.issuer.github(&self.url, self.now().as_second()))
    }

    /// A fresh token with some claims set, or removed by `null`.
    pub(crate) fn token_with(&self, changes: &serde_json::Value) -> String {
        let mut claims = self.issuer.github(&self.url, self.now().as_second());
        for (name, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        self.issuer.sign(&claims)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("ledger.db")
    }
}

/// The base role.
pub(crate) const DEPLOY: &str = r#"
description = "for tests"
environment = "production"
target = "api"
ttl = { default = "15m", max = "1h" }
policies = ["ci.test"]

[jwt]
claims = ["repository", "branch"]

[scopes.read]
[scopes.write]
"#;

/// The base policy.
pub(crate) const ALLOW_TRUSTED: &str = r#"package ci.test

default allow := false

allow if {
	input.operation == "mint"
	input.identity.trust == "trusted"
	input.context.branch == "main"
}
"#;

/// True if `path` holds `needle` anywhere.
pub(crate) fn file_holds(path: &Path, needle: &str) -> bool {
    let bytes = std::fs::read(path).unwrap();
    bytes.windows(needle.len()).any(|window| window == needle.as_bytes())
}
