//! Which files a configuration directory has, and what their paths name.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;

use crate::config::files::Files;
use crate::config::problem::{Problem, Problems};
use crate::domain::{IssuerName, RoleName, nearest};

/// The folders; whatever else lies beside them is not Tollgate's.
const FOLDERS: [&str; 3] = ["issuers", "roles", "targets"];

/// True for what belongs to a configuration; `misnamed` hears of neighbours whose name is nearly one of ours.
pub(in crate::config) fn wanted(path: &Path, misnamed: &mut Vec<Problem>) -> bool {
    let Some(first) = path.components().next().and_then(|part| part.as_os_str().to_str()) else {
        return false;
    };
    if FOLDERS.contains(&first) || path == Path::new("tollgate.toml") {
        return true;
    }
    // `role/` beside an absent `roles/` would load as no roles at all.
    if let Some(near) = nearest(first, FOLDERS.into_iter().chain(["tollgate.toml"])) {
        let message = "it is not read, and its name is nearly that of something that is";
        misnamed.push(Problem::error(
            path,
            "misnamed",
            message,
            &format!("rename it to `{near}`, or move it away"),
        ));
    }
    false
}

/// A file whose path gives a name.
pub(super) struct Entry<'a> {
    pub(super) path: &'a Path,
    pub(super) bytes: &'a [u8],
    name: &'a str,
}

impl Entry<'_> {
    /// The name that the path gives.
    pub(super) fn name<N: FromStr<Err: Display>>(&self, problems: &mut Problems) -> Option<N> {
        self.name
            .parse()
            .map_err(|error| {
                let message = format!("the path gives no valid name: {error}");
                problems.push(Problem::error(self.path, "bad_name", &message, "rename the file"));
            })
            .ok()
    }
}

/// The files with `ending` in `folder`; below it too, for roles.
pub(super) fn entries<'a>(
    files: &'a Files,
    folder: &'a str,
    ending: &'a str,
) -> impl Iterator<Item = Entry<'a>> {
    files.below(folder, folder == "roles").filter_map(move |(path, bytes)| {
        let name = path.strip_prefix(folder).ok()?.to_str()?.strip_suffix(ending)?.strip_suffix('.')?;
        Some(Entry { path, bytes, name })
    })
}

/// The names of all roles, whether they load or not.
pub(super) fn role_names(files: &Files) -> BTreeSet<RoleName> {
    entries(files, "roles", "toml").filter_map(|entry| entry.name.parse().ok()).collect()
}

/// The names of all issuers, whether they load or not.
pub(super) fn issuer_names(files: &Files) -> BTreeSet<IssuerName> {
    entries(files, "issuers", "toml").filter_map(|entry| entry.name.parse().ok()).collect()
}

/// Refuses files that lie where they would be overlooked.
pub(super) fn check(files: &Files, problems: &mut Problems) {
    for folder in FOLDERS {
        let endings: &[&str] = match folder {
            "issuers" => &["toml", "json", "md"],
            "targets" => &["toml", "csv", "md"],
            _ => &["toml", "md"],
        };
        for (path, _) in files.below(folder, true) {
            let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
            let nested = folder != "roles" && path.components().count() > 2;
            if nested || !endings.contains(&ending) {
                let message = "nothing reads this file here";
                let list = endings.join(", .");
                let fix = format!(
                    "move it away, or rename it; {folder}/ holds .{list}, and only roles/ has folders"
                );
                problems.push(Problem::error(path, "unexpected_file", message, &fix));
            }
        }
    }
}
