//! A configuration folder on a real file system, and tokens of the issuer that it trusts.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tempfile::TempDir;
use tollgate::app::{App, Source};
use tollgate::clock::Clock;

use crate::Fallible;
use crate::process::free_address;
use crate::signer::Signer;

/// Whose tokens GitHub's are shaped like: inline keys, so that nothing is fetched.
const ISSUER: &str = "https://token.actions.githubusercontent.com";

/// Repositories that ask in turn; each is a principal of its own.
const REPOSITORIES: usize = 100;

/// The least that a role's own policy can be; the global guard-rail is asked beside it.
const PLAIN: &str = "package ci.plain\n\ndefault allow := false\n\nallow if {\n\tinput.operation == \"mint\"\n\
                     \tinput.identity.trust == \"trusted\"\n\tinput.context.branch == \"main\"\n}\n";

/// The same for identities that know no branches.
const OPEN: &str = "package ci.open\n\ndefault allow := false\n\nallow if {\n\tinput.operation == \"mint\"\n\
                    \tinput.identity.trust == \"trusted\"\n}\n";

/// Where the ledger is unless told otherwise.
const FILE: &str = "sqlite = \"../ledger.db\"";

/// A folder with `config/`, the shipped policies and a store.
pub(crate) struct Site {
    folder: TempDir,
    url: String,
}

impl Site {
    /// `roles` roles beside `plain`, of which `preview` is the shipped one; `packages` have a policy of their own.
    pub(crate) fn new(roles: usize, packages: usize) -> Fallible<Self> {
        let folder = tempfile::Builder::new().prefix("bench-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
        let site = Self { folder, url: format!("http://{}", free_address()?) };
        site.put("config/tollgate.toml", &site.settings(FILE, ""))?;
        site.put("config/targets/api.toml", "provider = \"jwt\"\naudience = \"https://api.example\"\n")?;
        site.put("policies/ci/preview.rego", include_str!("../../policies/ci/preview.rego"))?;
        site.put("policies/ci/tenant.rego", include_str!("../../policies/ci/tenant.rego"))?;
        site.put("policies/global/guard_rail.rego", include_str!("../../policies/global/guard_rail.rego"))?;
        site.put("policies/ci/plain.rego", PLAIN)?;
        site.put("config/roles/preview.toml", &role("\"ci.preview\", \"ci.tenant\""))?;
        site.put("config/roles/plain.toml", &role("\"ci.plain\""))?;
        for nth in 1..roles {
            let packages = if nth <= packages { format!("\"own.r{nth}\"") } else { "\"ci.preview\"".into() };
            site.put(&format!("config/roles/r{nth}.toml"), &role(&packages))?;
        }
        for nth in 1..=packages.min(roles.saturating_sub(1)) {
            site.put(&format!("policies/own/r{nth}.rego"), &policy(nth))?;
        }
        Ok(site)
    }

    /// Adds the shipped role once more, its leases with a heartbeat.
    pub(crate) fn watched_role(&self, name: &str) -> Fallible<()> {
        let role = role("\"ci.preview\", \"ci.tenant\"");
        self.put(&format!("config/roles/{name}.toml"), &format!("heartbeat = \"30m\"\n{role}"))
    }

    /// Adds a role at a Vault that is said to be at `address`, where at most `cap` exchanges may wait.
    pub(crate) fn dead_target(&self, name: &str, address: SocketAddr, cap: usize) -> Fallible<()> {
        let target = format!(
            "provider = \"vault\"\naddress = \"http://{address}\"\nmount = \"jwt\"\naudience = \"vault\"\n\
             concurrency = {cap}\ninsecure_loopback = true\n"
        );
        self.put(&format!("config/targets/{name}.toml"), &target)?;
        let role = format!(
            "description = \"for measuring\"\nenvironment = \"preview\"\ntarget = \"{name}\"\n\
             ttl = {{ default = \"15m\", max = \"30m\" }}\npolicies = [\"ci.plain\"]\n\
             default_scopes = [\"read\"]\n\n[vault]\nlogin_role = \"any\"\n\n\
             [scopes.read]\npolicies = [\"read\"]\n"
        );
        self.put(&format!("config/roles/{name}.toml"), &role)
    }

    /// Adds a role that any trusted identity may have, of whatever kind.
    pub(crate) fn open_role(&self, name: &str) -> Fallible<()> {
        self.put("policies/ci/open.rego", OPEN)?;
        let role = "description = \"for measuring\"\nenvironment = \"preview\"\ntarget = \"api\"\n\
                    ttl = { default = \"15m\", max = \"30m\" }\npolicies = [\"ci.open\"]\n\
                    default_scopes = [\"read\"]\n\n[jwt]\n\n[scopes.read]\n";
        self.put(&format!("config/roles/{name}.toml"), role)
    }

    /// Ends TLS itself, with `more` sections of settings.
    pub(crate) fn end_tls(&self, certificate: &str, key: &str, more: &str) -> Fallible<()> {
        let tls = format!("tls = {{ certificate = \"../{certificate}\", key = \"../{key}\" }}\n\n[store]");
        self.put("config/tollgate.toml", &self.settings(FILE, more).replace("[store]", &tls))
    }

    /// Trusts what `signer` signs.
    pub(crate) fn trust(&self, signer: &Signer) -> Fallible<()> {
        let issuer = format!(
            "issuer = \"{ISSUER}\"\nprofile = \"github\"\naudience = \"{}\"\nalgorithms = [\"{}\"]\n\
             require = {{ repository_owner_id = \"65\" }}\nreplay = \"once\"\nmax_age = \"2h\"\njwks = '{}'\n",
            self.url,
            signer.algorithm(),
            json!({ "keys": [signer.jwk()?] }),
        );
        self.put("config/issuers/github.toml", &issuer)
    }

    /// Keeps the ledger in the database at `url`.
    pub(crate) fn keep_in(&self, url: &str) -> Fallible<()> {
        let store = format!("postgres = {{ url = \"{url}\" }}");
        self.put("config/tollgate.toml", &self.settings(&store, ""))
    }

    /// Sends copies of the audit chain as `sink`, a section of the settings, says.
    pub(crate) fn feed(&self, sink: &str) -> Fallible<()> {
        self.put("config/tollgate.toml", &self.settings(FILE, sink))
    }

    fn settings(&self, store: &str, more: &str) -> String {
        let listen = self.url.trim_start_matches("http://");
        format!(
            "policies = \"../policies\"\n\n[server]\nurl = \"{}\"\nlisten = \"{listen}\"\n\
             admin_socket = \"../admin.sock\"\n\n[store]\n{store}\n\
             key_encryption_key = {{ value = \"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\" }}\n\n\
             [limits]\nexchanges_per_minute = 10000000\ntenant_exchanges_per_minute = 10000000\n\
             role_exchanges_per_minute = 10000000\nlookups_per_minute = 10000000\n\
             peer_lookups_per_minute = 10000000\n\n{more}",
            self.url
        )
    }

    /// Writes a file of the configuration, such as `config/targets/api.toml`.
    pub(crate) fn put(&self, path: &str, text: &str) -> Fallible<()> {
        let path = self.folder.path().join(path);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        Ok(std::fs::write(path, text)?)
    }

    /// Where the configuration is.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    /// A file beside it.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Bytes of the store, its write-ahead log included.
    pub(crate) fn store_bytes(&self) -> u64 {
        let length = |name| std::fs::metadata(self.path(name)).map_or(0, |file| file.len());
        length("ledger.db") + length("ledger.db-wal")
    }

    /// Its URL.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// `count` tokens that nobody has used.
    pub(crate) fn tokens(&self, signer: &Signer, count: usize) -> Fallible<Vec<String>> {
        tokens(&self.url, signer, count)
    }
}

/// `count` tokens for `audience` that nobody has used.
pub(crate) fn tokens(audience: &str, signer: &Signer, count: usize) -> Fallible<Vec<String>> {
    static USED: AtomicUsize = AtomicUsize::new(0);
    let now = Clock::system().now().as_second();
    let first = USED.fetch_add(count, Ordering::Relaxed);
    let (half, end) = (first + count / 2, first + count);
    let sign = |range: Range<usize>| -> Fallible<Vec<String>> {
        range.map(|nth| signer.sign(&claims(audience, now, nth))).collect()
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(move || sign(half..end));
        let mut tokens = sign(first..half)?;
        tokens.extend(other.join().map_err(|_| "a signing thread ended")??);
        Ok(tokens)
    })
}

/// Starts Tollgate on `config` in this process.
pub(crate) async fn start(config: &Path) -> Fallible<App> {
    let source = Source { directory: config.to_owned(), environment: Vec::new() };
    Ok(App::start(source, Clock::system(), None).await?)
}

fn role(packages: &str) -> String {
    format!(
        "description = \"for measuring\"\nenvironment = \"preview\"\ntarget = \"api\"\n\
         ttl = {{ default = \"15m\", max = \"30m\" }}\npolicies = [{packages}]\n\
         default_scopes = [\"preview:deploy\"]\n\n[jwt]\nclaims = [\"repository\", \"repository_id\", \"branch\"]\n\n\
         [scopes.\"preview:deploy\"]\n[scopes.\"preview:delete\"]\n"
    )
}

fn policy(nth: usize) -> String {
    format!(
        "package own.r{nth}\n\ndefault allow := false\n\nallow if {{\n\tinput.operation == \"mint\"\n\
         \tinput.identity.trust == \"trusted\"\n\tinput.identity.repository_id == \"{nth}\"\n}}\n"
    )
}

/// Claims of a GitHub job as its documentation shows them; what differs from job to job differs.
fn claims(audience: &str, now: i64, nth: usize) -> Value {
    let run = 9_000_000_000 + nth;
    let sha = format!("{run:010}{nth:030x}");
    let repository = format!("acme/service-{:02}", nth % REPOSITORIES);
    let workflow = format!("{repository}/.github/workflows/deploy.yml@refs/heads/main");
    json!({
        "jti": format!("{nth:08x}-{now:x}-4c1b-9d0e-1f2a3b4c5d6e"), "sub": format!("repo:{repository}:environment:preview"),
        "aud": audience, "ref": "refs/heads/main", "sha": sha, "repository": repository,
        "repository_owner": "acme", "repository_owner_id": "65", "run_id": run.to_string(),
        "run_number": nth.to_string(), "run_attempt": "1", "repository_visibility": "private",
        "repository_id": (704_591_000 + nth % REPOSITORIES).to_string(), "actor_id": "5832347", "actor": "robin",
        "workflow": "deploy", "head_ref": "", "base_ref": "", "event_name": "push", "ref_protected": "true",
        "ref_type": "branch", "workflow_ref": workflow, "workflow_sha": sha, "job_workflow_ref": workflow,
        "job_workflow_sha": sha, "runner_environment": "github-hosted", "environment": "preview",
        "iss": ISSUER, "nbf": now - 5, "exp": now + 7200, "iat": now,
    })
}
