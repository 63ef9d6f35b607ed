//! From files to a [`Config`]: each file by itself, in an order in which what a file refers to is read before it.
//!
//! A file that is broken still counts as being there, so that one mistake is told once and not again by every file
//! that refers to it.

mod audience;
mod bundle;
mod declared;
mod endpoint;
mod environment;
mod events;
mod issuer;
mod known;
mod layout;
mod life;
mod operations;
mod provider;
mod role;
mod rule;
mod runner;
mod scope;
mod secret;
mod server;
mod settings;
mod sharing;
mod signing;
mod sink;
mod source;
mod spiffe;
mod store;
mod table;
mod target;
mod telemetry;
mod webhook;
mod workload;

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

pub(super) use layout::wanted;

use self::issuer::Taken;
use self::known::Known;
use self::layout::Entry;
use super::files::Files;
use super::problem::{Problem, Problems};
use super::reader::{Overlay, Reader, read_file};
use super::{Config, Role};
use crate::domain::RoleName;

/// Most roles. Loading, and what holds one engine per package set, is planned and measured up to here.
const MAX_ROLES: usize = 20_000;

/// What every file may need while it is read.
pub(super) struct Around<'a> {
    /// Relative paths start here.
    pub(super) directory: &'a Path,
    /// Holds secrets: never printed.
    pub(super) environment: &'a BTreeMap<String, String>,
    /// All files.
    pub(super) files: &'a Files,
    /// Whether secrets are read.
    pub(super) secrets: Secrets,
}

/// What is done about secrets that lie outside the configuration's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Secrets {
    /// They are read, and must be there.
    Read,
    /// They are named and not looked at: whoever reviews a configuration does not have them.
    PassedOver,
}

/// Reads everything.
pub(super) fn load(around: &Around<'_>, problems: &mut Problems) -> Option<Config> {
    layout::check(around.files, problems);
    let draft = settings(around, problems);
    let mut known = Known::new(&draft);

    let targets = named(around.files, "targets", "toml", problems, |name, entry, problems| {
        entry.read(problems, |r| target::target(name, r, around, &known)).map(Arc::new)
    });
    target::check_audiences(&targets, problems);
    known.targets = targets;

    let mut taken = Taken::default();
    let issuers = named(around.files, "issuers", "toml", problems, |name, entry, problems| {
        entry.read(problems, |r| issuer::issuer(name, r, around, &known, &mut taken)).map(Arc::new)
    });
    known.learn_attributes(&issuers);

    known.roles = layout::role_names(around.files);
    known.tables =
        named(around.files, "targets", "csv", problems, |name: &known::TableName, entry, problems| {
            table::table(name.as_str(), entry, &known, problems).map(Arc::new)
        });

    let roles = roles(around.files, &known, problems);
    let (targets, tables, names) = (known.targets, known.tables, known.roles);
    let settings = draft.finish();
    let whole = settings.is_some()
        && roles.len() == names.len()
        && issuers.values().all(Option::is_some)
        && targets.values().all(Option::is_some)
        && tables.values().all(Option::is_some);
    if !whole && !problems.stop_the_load() {
        // A configuration must not shrink in silence, not even through a mistake in this module.
        let message = "a file was left out although nothing is known to be wrong with it";
        problems.push(Problem::error(
            Path::new(""),
            "not_loaded",
            message,
            "report this as a defect of Tollgate",
        ));
    }
    Some(Config {
        settings: settings?,
        issuers: present(issuers),
        roles,
        targets: present(targets),
        tables: present(tables).into_iter().map(|(name, table)| (name.into(), table)).collect(),
        revision: around.files.revision(),
    })
}

fn settings(around: &Around<'_>, problems: &mut Problems) -> settings::Draft {
    let path = Path::new("tollgate.toml");
    let overlay = environment::overlay(around.environment, problems);
    let Some(bytes) = around.files.get(path) else {
        let fix = "write it; `[server]` needs `url`, `[store]` needs `sqlite` or `postgres`, and `key_encryption_key`";
        problems.push(Problem::error(path, "missing_file", "there is no tollgate.toml", fix));
        return settings::Draft::default();
    };
    read_file(path, bytes, &overlay, problems, |r| Some(settings::settings(r, around))).unwrap_or_default()
}

fn roles(files: &Files, known: &Known<'_>, problems: &mut Problems) -> BTreeMap<RoleName, Arc<Role>> {
    let mut login_roles = provider::LoginRoles::default();
    let all = layout::entries(files, "roles", "toml").collect::<Vec<_>>();
    if all.len() > MAX_ROLES {
        let message = format!("{} roles are more than the {MAX_ROLES} that one Tollgate serves", all.len());
        let fix = "let one role serve many repositories through a target table";
        problems.push(Problem::error(Path::new("roles"), "too_many_roles", &message, fix));
        return BTreeMap::new();
    }
    let mut roles = BTreeMap::new();
    for entry in all {
        let Some(name) = entry.name::<RoleName>(problems) else { continue };
        let role = entry.read(problems, |r| role::role(&name, r, known, &mut login_roles));
        roles.extend(role.map(|role| (name, Arc::new(role))));
    }
    roles
}

/// Reads each file of a folder under the name that its path gives; a broken one keeps its name.
fn named<N: FromStr<Err: Display> + Ord, T>(
    files: &Files,
    folder: &str,
    ending: &str,
    problems: &mut Problems,
    mut read: impl FnMut(&N, &Entry<'_>, &mut Problems) -> Option<T>,
) -> BTreeMap<N, Option<T>> {
    let mut found = BTreeMap::new();
    for entry in layout::entries(files, folder, ending) {
        if let Some(name) = entry.name::<N>(problems) {
            let value = read(&name, &entry, problems);
            found.insert(name, value);
        }
    }
    found
}

fn present<N: Ord, T>(all: BTreeMap<N, Option<T>>) -> BTreeMap<N, T> {
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

impl Entry<'_> {
    /// Reads the file as TOML.
    fn read<T>(&self, problems: &mut Problems, read: impl FnOnce(&mut Reader<'_>) -> Option<T>) -> Option<T> {
        read_file(self.path, self.bytes, &Overlay::default(), problems, read)
    }
}

#[cfg(test)]
mod tests;
