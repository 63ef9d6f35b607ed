//! `[aws]`, `[vault]` and `[jwt]` of a role: the section of its target's kind, and no other.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;

use super::role::Parts;
use super::target::is_vault_path;
use crate::config::attributes::RESERVED_CLAIMS;
use crate::config::reader::{Field, Reader};
use crate::config::template::placeholders;
use crate::config::{AwsAccess, AwsRole, JwtRole, ProviderRole, TargetKind, VaultRole, aws};
use crate::domain::{AttributeName, RoleName, TargetName};

/// Vault login roles in use, by target.
pub(super) type LoginRoles = BTreeMap<(TargetName, String), RoleName>;

/// Most session tags: AWS takes 50, some of which are Tollgate's own (STS API reference, `AssumeRole`).
const MAX_TAGS: usize = 40;

const SECTIONS: [&str; 3] = ["aws", "vault", "jwt"];

/// Reads the section that the target's kind needs.
pub(super) fn provider(
    r: &mut Reader<'_>,
    parts: &Parts<'_>,
    login_roles: &mut LoginRoles,
) -> Option<ProviderRole> {
    let Some(target) = &parts.target else {
        // What belongs here depends on a target that is broken; its own problem is told there.
        for section in SECTIONS {
            r.get(section, "a table");
        }
        return None;
    };
    let (wanted, role) = match &target.kind {
        TargetKind::Aws(_) => ("aws", r.section("aws", "a table", |r| aws_role(r, parts)).flatten()),
        TargetKind::Vault(_) => {
            ("vault", r.section("vault", "a table", |r| vault_role(r, parts, login_roles)).flatten())
        }
        TargetKind::Jwt(_) => ("jwt", r.section("jwt", "a table", |r| jwt_role(r, parts))),
    };
    for section in SECTIONS.into_iter().filter(|section| *section != wanted) {
        if r.get(section, "a table").is_some() {
            let message = format!("the target `{}` is of the kind {wanted}", target.name);
            r.refuse(section, "wrong_section", &message, &format!("write [{wanted}] instead"));
        }
    }
    role
}

fn aws_role(r: &mut Reader<'_>, parts: &Parts<'_>) -> Option<ProviderRole> {
    let expected = "an ARN, such as \"arn:aws:iam::{account}:role/deploy\"";
    let role_arn: Option<String> = r.required("role_arn", expected);
    let external_id: Option<String> = r.optional("external_id", "the ExternalId of the role's trust policy");
    let tags =
        r.map("tags", "{ repository = \"repository_id\" }", |key: &String, field| tag(key, &field, parts));
    if tags.len() > MAX_TAGS {
        let message =
            format!("{} tags are more than the {MAX_TAGS} that leave room for Tollgate's own", tags.len());
        r.refuse("tags", "too_many", &message, "remove some");
    }
    if let Some(arn) = &role_arn {
        check_role_arn(r, arn, parts);
    }
    let target = parts.target.as_ref().map(|target| &target.kind);
    let federation =
        matches!(target, Some(TargetKind::Aws(aws)) if matches!(aws.access, AwsAccess::Federation { .. }));
    if let Some(id) = &external_id {
        if let Err(error) = aws::external_id(id) {
            r.refuse("external_id", "bad_value", &error.to_string(), "write it as the trust policy has it");
        }
        if federation {
            let message =
                "AssumeRoleWithWebIdentity takes no external id; this target's access is \"federation\"";
            r.refuse(
                "external_id",
                "external_id_unused",
                message,
                "remove it, and let the trust policy check the token's subject",
            );
        }
    }
    Some(ProviderRole::Aws(AwsRole { role_arn: role_arn?, external_id, tags }))
}

fn tag(key: &str, field: &Field<'_>, parts: &Parts<'_>) -> Option<String> {
    if let Err(error) = aws::tag_key(key) {
        field.refuse("bad_name", &error.to_string(), "rename the tag");
    }
    let name: AttributeName = field.parse()?;
    check_placeholder(|code, message, fix| field.refuse(code, message, fix), name.as_str(), parts);
    Some(name.to_string())
}

fn check_role_arn(r: &Reader<'_>, arn: &str, parts: &Parts<'_>) {
    let refuse = |code: &'static str, message: &str, fix: &str| r.refuse("role_arn", code, message, fix);
    if let Some(column) = parts.whole_column(arn) {
        return check_column(refuse, column, parts, |cell| aws::role_arn(cell).map(Some));
    }
    match aws::role_arn(arn) {
        Ok(partition) => check_partition(refuse, partition, parts),
        Err(error) => {
            let fix = "write an ARN, such as arn:aws:iam::{account}:role/deploy, or {column} for a whole one";
            return refuse("bad_arn", &error.to_string(), fix);
        }
    }
    for name in placeholders(arn) {
        check_placeholder(refuse, name, parts);
    }
    if let Some(account) = arn.split(':').nth(4).and_then(|part| placeholders(part).first().copied()) {
        let check = |cell: &str| if aws::is_account(cell) { Ok(None) } else { Err(aws::InvalidAws::Account) };
        check_column(refuse, account, parts, check);
    }
}

/// Refuses cells that cannot stand where the column's placeholder stands; told once, with the first line.
///
/// `check` also gives the partition, if the cell has one. A column that is not in the role's table has no cells.
pub(super) fn check_column<'t>(
    refuse: impl Fn(&'static str, &str, &str),
    column: &str,
    parts: &'t Parts<'_>,
    check: impl Fn(&'t str) -> Result<Option<&'t str>, aws::InvalidAws>,
) {
    let rows = parts.table.as_ref().and_then(|table| table.rows.get(parts.name));
    let cells = rows
        .into_iter()
        .flat_map(|rows| rows.values())
        .filter_map(|row| Some((row.line, row.values.get(column)?)));
    let wrong = cells.filter_map(|(line, cell)| {
        let why = match check(cell) {
            // A cell is data: braces in it would be filled in a second time, or not at all.
            _ if cell.contains(['{', '}']) => "a cell holds no placeholder".to_owned(),
            Ok(None) => return None,
            Ok(Some(partition)) if parts.partition().is_none_or(|wanted| wanted == partition) => return None,
            Ok(Some(partition)) => format!("the target is not in the partition {partition}"),
            Err(error) => error.to_string(),
        };
        Some((line, why))
    });
    if let Some((line, why)) = wrong.min() {
        let message = format!("line {line} of the role's table has an unfit `{column}`: {why}");
        refuse("bad_cell", &message, "correct that row of the table");
    }
}

/// Refuses an ARN of another partition than the target's.
pub(super) fn check_partition(refuse: impl Fn(&'static str, &str, &str), partition: &str, parts: &Parts<'_>) {
    if let Some(wanted) = parts.partition().filter(|wanted| *wanted != partition) {
        let message = format!("the ARN's partition is {partition}, the target's {wanted}");
        refuse("wrong_partition", &message, &format!("write arn:{wanted}:…"));
    }
}

/// Refuses a placeholder that neither the role's table nor any issuer can fill.
pub(super) fn check_placeholder(refuse: impl Fn(&'static str, &str, &str), name: &str, parts: &Parts<'_>) {
    if !parts.has_value(name) {
        let message = format!(
            "nothing gives {{{name}}} a value: no column of the role's table, no attribute of an issuer"
        );
        let fix = format!("add a column `{name}` to the table, or {}", parts.known.attribute_fix(name));
        refuse("unknown_placeholder", &message, &fix);
    }
}

fn vault_role(r: &mut Reader<'_>, parts: &Parts<'_>, login_roles: &mut LoginRoles) -> Option<ProviderRole> {
    let login_role: Option<String> =
        r.required("login_role", "the Vault role of the JWT auth method, one for this role alone");
    let uses = r.integer("uses", "a whole number", &(1..=1_000_000));
    let cidrs: Vec<IpNet> = r.list("cidrs", "networks, such as [\"10.0.0.0/8\"]").unwrap_or_default();
    let login_role = login_role?;
    if !is_vault_path(&login_role) || login_role.contains('/') {
        let message = "a Vault role's name has letters, digits and _.- only";
        r.refuse("login_role", "bad_value", message, "write the name as Vault has it");
    }
    let target = parts.target.as_ref().map(|target| target.name.clone())?;
    let owner = login_roles.entry((target, login_role.clone())).or_insert_with(|| parts.name.clone());
    if owner != parts.name {
        // One Vault role for several would hold the superset, and a token for one could log in as the other.
        let message = format!("the role `{owner}` logs in with the same Vault role");
        r.refuse(
            "login_role",
            "login_role_shared",
            &message,
            "create one Vault role per Tollgate role, bound to its subject",
        );
    }
    Some(ProviderRole::Vault(VaultRole { login_role, uses, cidrs }))
}

fn jwt_role(r: &mut Reader<'_>, parts: &Parts<'_>) -> ProviderRole {
    let mut claims = BTreeSet::new();
    let items =
        r.get("claims", "a list of attributes, such as [\"repository_id\"]").and_then(|field| field.items());
    for item in items.unwrap_or_default() {
        let Some(name) = item.parse::<AttributeName>() else { continue };
        if RESERVED_CLAIMS.contains(&name.as_str()) {
            let message =
                format!("the claim `{name}` has a meaning of its own, which an attribute may not take");
            item.refuse("own_claim", &message, "remove it, or give the issuer's attribute another name");
        } else if !parts.known.may_have_attribute(name.as_str()) {
            let message = format!("no issuer gives the attribute `{name}`");
            item.refuse("unknown_attribute", &message, &parts.known.attribute_fix(name.as_str()));
        }
        claims.insert(name.to_string());
    }
    ProviderRole::Jwt(JwtRole { claims })
}
