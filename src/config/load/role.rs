//! `roles/**/*.toml`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::declared;
use super::known::{self, Known, SourceName, TableName};
use super::life;
use super::provider::{self, LoginRoles};
use super::runner;
use super::scope;
use super::settings::MOST;
use crate::config::reader::{Field, Reader};
use crate::config::template::{self, Part};
use crate::config::{Role, RoleBudget, ScopeSpec, TableBinding, Target, TargetKind, TargetTable, TtlLimits};
use crate::domain::{PackageName, RoleName, ScopeName, TargetName, TenantName, Ttl};

/// Lifetime of a credential whose role and caller name none.
const DEFAULT_TTL_SECS: u64 = 15 * 60;

/// Lifetimes above this are warned about: longer than most jobs run.
const LONG_TTL_SECS: u32 = 3600;

/// Most scopes of one role.
const MAX_SCOPES: usize = 64;

/// What a role's parts need to know of each other while they are read.
pub(super) struct Parts<'a> {
    /// The role's name.
    pub(super) name: &'a RoleName,
    /// What else is configured.
    pub(super) known: &'a Known<'a>,
    /// The role's target, if it names one that loads.
    pub(super) target: Option<Arc<Target>>,
    /// The role's table, if it names one that loads.
    pub(super) table: Option<Arc<TargetTable>>,
    /// True if the role names a table that is broken or does not exist.
    pub(super) table_broken: bool,
}

impl Parts<'_> {
    /// The partition of an AWS target.
    pub(super) fn partition(&self) -> Option<&str> {
        match &self.target.as_ref()?.kind {
            TargetKind::Aws(aws) => Some(&aws.partition),
            TargetKind::Vault(_) | TargetKind::Jwt(_) => None,
        }
    }

    /// The column whose placeholder is all of `text`. Only a reviewed table may bring a whole ARN, never a claim.
    pub(super) fn whole_column<'t>(&self, text: &'t str) -> Option<&'t str> {
        match template::parts(text).ok()?[..] {
            [Part::Placeholder(name)] if self.table.as_ref()?.columns.iter().any(|column| column == name) => {
                Some(name)
            }
            _ => None,
        }
    }

    /// True if a placeholder `{name}` can get a value: a column, an attribute, the principal or the tenant.
    pub(super) fn has_value(&self, name: &str) -> bool {
        let column =
            self.table.as_ref().is_some_and(|table| table.columns.iter().any(|column| column == name));
        column
            || self.table_broken
            || matches!(name, "principal" | "tenant")
            || self.known.may_have_attribute(name)
    }
}

/// Reads one role.
pub(super) fn role(
    name: &RoleName,
    r: &mut Reader<'_>,
    known: &Known<'_>,
    login_roles: &mut LoginRoles,
) -> Option<Role> {
    let description: Option<String> = r.required("description", "one line for people");
    let tenant: Option<TenantName> = r.optional("tenant", "a tenant's name, such as \"acme\"");
    let environment: Option<String> = r.optional("environment", "a word, such as \"production\"");
    let labels = r.map("labels", "{ team = \"shop\" }", |_: &String, field| field.text().map(str::to_owned));
    let target: Option<TargetName> = r.required("target", "the name of a file in targets/, without .toml");
    let binding = r.get("table", "{ name = \"repositories\", attribute = \"repository_id\" }");
    let binding = binding.map(|field| field.table(|r| table(r, known, name, tenant.as_ref())).flatten());
    let parts = parts(name, r, known, target.as_ref(), binding.as_ref());

    let ttl = r.section("ttl", "{ default = \"15m\", max = \"1h\" }", ttl).flatten();
    let lease = life::terms(r, ttl.as_ref());
    let runner = runner::terms(r, known.proves_runners);
    let policies = policies(r);
    let declared = r.map("declared", "a table, such as [declared.ticket]", |key, field| {
        declared::key(key, &field, known)
    });
    let sources = sources(r, known, &declared);
    // A broken scope keeps its name.
    let scopes: BTreeMap<ScopeName, Option<ScopeSpec>> =
        r.map("scopes", "a table, such as [scopes.read]", |_, field| Some(scope::scope(&field, &parts)));
    let default_scopes = default_scopes(r, &scopes);
    let provider = provider::provider(r, &parts, login_roles);
    let budget = budget(r);
    let words = [("required", true), ("accepted", false)];
    let possession = r.choice("possession", "\"required\" or \"accepted\"", &words);
    let per_minute = r.section("limits", "{ per_minute = 30 }", per_minute).flatten();
    scope::check_all(r, &scopes);

    Some(Role {
        name: name.clone(),
        tenant: tenant.or_else(|| known.tenant.clone())?,
        description: description?,
        environment,
        labels,
        target: target?,
        table: match binding {
            Some(binding) => Some(binding?),
            None => None,
        },
        scopes: scopes.into_iter().map(|(name, scope)| Some((name, scope?))).collect::<Option<_>>()?,
        default_scopes,
        ttl: ttl?,
        lease,
        runner,
        policies,
        possession_required: possession.unwrap_or(false),
        declared,
        sources,
        provider: provider?,
        budget,
        per_minute,
    })
}

fn parts<'a>(
    name: &'a RoleName,
    r: &Reader<'_>,
    known: &'a Known<'a>,
    target: Option<&TargetName>,
    binding: Option<&Option<TableBinding>>,
) -> Parts<'a> {
    let found = target.and_then(|name| known.targets.get(name));
    if let (Some(name), None) = (target, found) {
        let message = format!("there is no target `{name}`");
        let fix = known::fix(name.as_str(), known.targets.keys().map(TargetName::as_str), "a target");
        r.refuse("target", "unknown_target", &message, &fix);
    }
    let table = binding
        .and_then(Option::as_ref)
        .and_then(|binding| known.tables.get(&binding.table.parse::<TableName>().ok()?))
        .cloned()
        .flatten();
    let table_broken = binding.is_some() && table.is_none();
    Parts { name, known, target: found.cloned().flatten(), table, table_broken }
}

fn table(
    r: &mut Reader<'_>,
    known: &Known<'_>,
    role: &RoleName,
    tenant: Option<&TenantName>,
) -> Option<TableBinding> {
    let name: Option<TableName> = r.required("name", "the name of a file in targets/, without .csv");
    let attribute: Option<String> =
        r.required("attribute", "an attribute that never changes, such as \"repository_id\"");
    if let Some(attribute) = &attribute {
        table_attribute(r, known, attribute, tenant.or(known.tenant.as_ref()));
    }
    let name = name?;
    match known.tables.get(&name) {
        None => {
            let message = format!("there is no table `{}`", name.as_str());
            let fix = known::fix(name.as_str(), known.tables.keys().map(TableName::as_str), "a table");
            r.refuse("name", "unknown_table", &message, &fix);
        }
        Some(Some(table)) if !table.rows.contains_key(role) => {
            let message =
                format!("the table `{}` has no row for this role, so nobody can get it", name.as_str());
            r.warn("name", "no_rows", &message, &format!("add a row that begins with {role}"));
        }
        Some(_) => {}
    }
    Some(TableBinding { table: name.into(), attribute: attribute? })
}

/// What chooses the row must never pass to somebody else. `principal` never does: it names the platform too.
fn table_attribute(r: &Reader<'_>, known: &Known<'_>, attribute: &str, tenant: Option<&TenantName>) {
    if attribute == "principal" {
        return;
    }
    let immutable = ["id", "uid"].map(|ending| format!("{attribute}_{ending}"));
    if !known.may_have_attribute(attribute) {
        let message = format!("no issuer gives the attribute `{attribute}`");
        r.refuse("attribute", "unknown_attribute", &message, &known.attribute_fix(attribute));
    } else if let Some(better) = immutable.iter().find(|name| known.has_attribute(name)) {
        let message = "a name can be given up and registered again by somebody else, who would get the row";
        let fix = format!("use `{better}`, and its values in the column `key`");
        r.warn("attribute", "mutable_name", message, &fix);
    } else if known.is_numbered_twice(attribute, tenant) {
        let message = "several platforms number it, each from one: another platform's project gets the row of its number";
        let fix = "use `principal`, and keys such as github:repository:1234, which `tollgate whoami` shows";
        r.warn("attribute", "number_of_several_platforms", message, fix);
    }
}

fn ttl(r: &mut Reader<'_>) -> Option<TtlLimits> {
    let default: Option<Ttl> = r.optional("default", "a lifetime, such as \"15m\"");
    let max: Ttl = r.required("max", "the longest lifetime, such as \"1h\", at most \"12h\"")?;
    if max.as_secs() > LONG_TTL_SECS {
        let message = "a credential may live longer than an hour: a leaked one is useful as long";
        r.warn("max", "long_ttl", message, "renew in shorter steps if the target allows");
    }
    let default = match default {
        Some(default) if default > max => {
            let message = format!("the default {default} is longer than the maximum {max}");
            r.refuse("default", "ttl_order", &message, &format!("write at most \"{max}\""));
            max
        }
        Some(default) => default,
        None => Ttl::from_secs(DEFAULT_TTL_SECS).map_or(max, |default| default.min(max)),
    };
    Some(TtlLimits { default, max })
}

fn budget(r: &mut Reader<'_>) -> RoleBudget {
    let words = [("ordinary", RoleBudget::Ordinary), ("on_call", RoleBudget::OnCall)];
    r.choice("budget", "\"on_call\"", &words).unwrap_or(RoleBudget::Ordinary)
}

fn per_minute(r: &mut Reader<'_>) -> Option<u32> {
    r.integer("per_minute", "a whole number", &(1..=MOST))
}

fn policies(r: &mut Reader<'_>) -> Vec<PackageName> {
    let expected = "a list of packages, such as [\"ci.deploy\"]";
    let Some(items) = r.need("policies", expected).and_then(|field| field.items()) else { return Vec::new() };
    if items.is_empty() {
        let message = "no package would decide, so nothing could allow";
        r.refuse("policies", "empty_list", message, &format!("write {expected}"));
    }
    items.iter().filter_map(Field::parse).collect()
}

fn sources(r: &mut Reader<'_>, known: &Known<'_>, declared: &declared::Declared) -> Vec<String> {
    let Some(items) =
        r.get("sources", "a list of sources, such as [\"commits\"]").and_then(|field| field.items())
    else {
        return Vec::new();
    };
    let mut names = Vec::new();
    let mut owners: BTreeMap<&str, String> = BTreeMap::new();
    for item in &items {
        let Some(name) = item.parse::<SourceName>() else { continue };
        let Some(source) = known.sources.get(&name) else {
            let message = format!("there is no source `{}`", name.as_str());
            let fix = known::fix(name.as_str(), known.sources.keys().map(SourceName::as_str), "a source");
            item.refuse("unknown_source", &message, &fix);
            continue;
        };
        if let Some(source) = source {
            for key in source.facts.keys() {
                let new = format!("the source `{}`", name.as_str());
                if let Some(owner) = owners.insert(key.as_str(), new.clone()) {
                    let message = format!(
                        "`{key}` would come from {owner} and from {new}; a fact has exactly one origin"
                    );
                    item.refuse("fact_origin", &message, "keep one of the two sources");
                }
            }
            declared::check_placeholders(item, &source.url, known, declared);
        }
        names.push(name.into());
    }
    names
}

fn default_scopes(
    r: &mut Reader<'_>,
    scopes: &BTreeMap<ScopeName, Option<ScopeSpec>>,
) -> BTreeSet<ScopeName> {
    if !r.has("scopes") {
        r.refuse(
            "scopes",
            "missing_key",
            "the role has no scope, so nothing can be asked for",
            "add one, such as [scopes.read]",
        );
    } else if scopes.len() > MAX_SCOPES {
        let message = format!("{} scopes are more than the {MAX_SCOPES} of one role", scopes.len());
        r.refuse("scopes", "too_many", &message, "split the role");
    }
    let written = r.get("default_scopes", "a list of the role's scopes, such as [\"read\"]");
    let Some(items) = written.and_then(|field| field.items()) else {
        return scopes.keys().cloned().collect();
    };
    if items.is_empty() {
        r.refuse(
            "default_scopes",
            "empty_list",
            "a request without scopes would get nothing",
            "remove the key to give all scopes",
        );
    }
    let mut chosen = BTreeSet::new();
    for item in &items {
        let Some(name) = item.parse::<ScopeName>() else { continue };
        if !scopes.contains_key(&name) {
            let message = format!("the role has no scope `{name}`");
            let fix = known::fix(name.as_str(), scopes.keys().map(ScopeName::as_str), "one of its scopes");
            item.refuse("unknown_scope", &message, &fix);
        }
        chosen.insert(name);
    }
    chosen
}
