//! The rules of loading, each with the mistake that it catches.

mod issuers;
mod roles;
mod runners;
mod settings;
mod shipped;
mod signing;
mod sinks;
mod spiffe;
mod tables;
mod targets;
mod telemetry;
mod ten;
mod workload;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::config::problem::{Problem, Severity};
use crate::config::{Config, Files, Problems};

/// 32 zero bytes in base64; not a key that anything real uses.
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

const BASE: [(&str, &str); 9] = [
    (
        "tollgate.toml",
        r#"
[server]
url = "https://tollgate.example"
[store]
sqlite = "/state/tollgate.sqlite"
key_encryption_key = { env = "KEK" }
[sources.commits]
url = "https://git.example/{commit}"
facts = { commit_signed = "/signed" }
"#,
    ),
    (
        "issuers/ci.toml",
        r#"
issuer = "https://token.actions.githubusercontent.com"
audience = "https://tollgate.example"
profile = "github"
require = { repository_owner_id = "1" }
"#,
    ),
    ("targets/api.toml", "provider = \"jwt\"\naudience = \"https://api.example\"\n"),
    ("targets/aws.toml", "provider = \"aws\"\nregion = \"eu-central-1\"\n"),
    (
        "targets/vault.toml",
        "provider = \"vault\"\naddress = \"https://vault.example\"\naudience = \"https://vault.example\"\n",
    ),
    ("targets/repos.csv", "role,key,account\naws,1,123456789012\n"),
    (
        "roles/api.toml",
        r#"
description = "api"
target = "api"
ttl = { max = "1h" }
policies = ["ci.deploy"]
[scopes.read]
"#,
    ),
    (
        "roles/aws.toml",
        r#"
description = "aws"
target = "aws"
ttl = { max = "1h" }
policies = ["ci.deploy"]
table = { name = "repos", attribute = "repository_id" }
[aws]
role_arn = "arn:aws:iam::{account}:role/deploy"
[scopes.read]
actions = ["s3:GetObject"]
resources = ["arn:aws:s3:::bucket/{repository_id}/*"]
"#,
    ),
    (
        "roles/vault.toml",
        r#"
description = "vault"
target = "vault"
ttl = { max = "1h" }
policies = ["ci.deploy"]
[vault]
login_role = "app"
[scopes.read]
policies = ["app-read"]
"#,
    ),
];

/// A small configuration without a problem, to be broken in one place.
struct Tree {
    files: BTreeMap<PathBuf, Vec<u8>>,
    environment: BTreeMap<String, String>,
}

fn tree() -> Tree {
    Tree {
        files: BASE.iter().map(|(path, text)| (path.into(), text.as_bytes().to_vec())).collect(),
        environment: BTreeMap::from([("KEK".into(), KEY.into())]),
    }
}

impl Tree {
    fn file(mut self, path: &str, text: &str) -> Self {
        self.files.insert(path.into(), text.as_bytes().to_vec());
        self
    }

    /// Replaces `from`, which must be there, in the file at `path`.
    fn edit(mut self, path: &str, from: &str, to: &str) -> Self {
        let text = String::from_utf8(self.files[Path::new(path)].clone()).unwrap();
        assert!(text.contains(from), "{path} has no {from:?}");
        self.files.insert(path.into(), text.replacen(from, to, 1).into_bytes());
        self
    }

    /// Puts `line` at the beginning of the file at `path`, before any table.
    fn add(self, path: &str, line: &str) -> Self {
        let text = String::from_utf8(self.files[Path::new(path)].clone()).unwrap();
        self.file(path, &format!("{line}\n{text}"))
    }

    fn without(mut self, path: &str) -> Self {
        self.files.remove(Path::new(path)).unwrap();
        self
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }

    fn load(&self) -> Result<(Config, Problems), Problems> {
        let mut problems = Problems::default();
        let files = Files::from_pairs(self.files.clone(), &mut problems);
        assert!(problems.is_empty());
        Config::from_files(&files, Path::new("/etc/tollgate"), self.environment.clone())
    }

    /// The configuration, which must load without a warning.
    #[track_caller]
    fn clean(&self) -> Config {
        let (config, problems) = self.load().unwrap_or_else(|problems| panic!("{problems}"));
        assert!(problems.is_empty(), "{problems}");
        config
    }

    /// The one problem there is.
    #[track_caller]
    fn one(&self) -> Problem {
        let problems = match self.load() {
            Ok((_, problems)) | Err(problems) => problems,
        };
        let all: Vec<_> = problems.iter().collect();
        assert_eq!(all.len(), 1, "{problems}");
        assert!(!all[0].message.is_empty() && !all[0].fix.is_empty());
        all[0].clone()
    }

    /// Asserts that the load stops with exactly this problem.
    #[track_caller]
    fn stops(&self, code: &str, place: &str) {
        self.says(Severity::Error, code, place);
        assert!(self.load().is_err());
    }

    /// Asserts that all loads, with exactly this warning.
    #[track_caller]
    fn warns(&self, code: &str, place: &str) {
        self.says(Severity::Warning, code, place);
        assert!(self.load().is_ok());
    }

    #[track_caller]
    fn says(&self, severity: Severity, code: &str, place: &str) {
        let problem = self.one();
        let line = problem.line.map_or(String::new(), |line| format!(":{line}"));
        let found = format!("{}{line} {}", problem.file.display(), problem.key);
        assert_eq!((severity, code, place), (problem.severity, problem.code, found.trim()), "{problem}");
    }
}

#[test]
fn the_base_of_these_tests_is_clean() {
    let config = tree().clean();
    assert_eq!(config.roles.len(), 3);
    assert_eq!(config.targets.len(), 3);
}

#[test]
fn s_10_revision_follows_every_file() {
    let base = tree().clean().revision;
    assert_eq!(base, tree().clean().revision);
    assert_ne!(base, tree().edit("roles/api.toml", "1h", "30m").clean().revision);
    assert_ne!(base, tree().edit("targets/repos.csv", "123456789012", "123456789013").clean().revision);
}

#[test]
fn loads_a_folder_like_the_same_files_in_memory() {
    let folder = tempfile::tempdir().unwrap();
    let tree = tree();
    for (path, content) in &tree.files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    std::fs::write(folder.path().join("unrelated.txt"), "x").unwrap();
    let (config, _) = Config::load(folder.path(), tree.environment.clone()).unwrap();
    assert_eq!(config.revision, tree.clean().revision);

    std::fs::create_dir(folder.path().join("role")).unwrap();
    let problems = Config::load(folder.path(), tree.environment.clone()).unwrap_err();
    let codes: Vec<_> = problems.iter().map(|problem| (problem.code, problem.file.clone())).collect();
    assert_eq!(codes, [("misnamed", "role".into())]);
}

#[test]
fn a_folder_that_is_not_there_is_a_problem() {
    let problems = Config::load(Path::new("/nowhere/at/all"), []).unwrap_err();
    assert!(problems.iter().any(|problem| problem.code == "unreadable"));
}

#[test]
fn refuses_files_where_nothing_reads_them() {
    tree().file("roles/deploy.tml", "").stops("unexpected_file", "roles/deploy.tml");
    tree().file("issuers/old/x.toml", "").stops("unexpected_file", "issuers/old/x.toml");
    tree().file("roles/README.md", "").clean();
}

#[test]
fn refuses_names_that_break_their_grammar() {
    tree().file("roles/Deploy.toml", "").stops("bad_name", "roles/Deploy.toml");
    tree().file("targets/a b.csv", "role,key\n").stops("bad_name", "targets/a b.csv");
}

#[test]
fn refuses_more_roles_than_it_is_made_for() {
    let mut tree = tree();
    for number in 0..super::MAX_ROLES {
        tree.files.insert(format!("roles/r{number}.toml").into(), Vec::new());
    }
    tree.stops("too_many_roles", "roles");
}
