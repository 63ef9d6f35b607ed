//! `[operations]`.

use std::collections::BTreeMap;

use crate::config::Operations;
use crate::config::reader::{Field, Reader, quoted};
use crate::domain::{Operation, PackageName};

const PACKAGES: &str = "a list of packages, such as [\"ops.security\"]";

/// Reads `[operations]`. Each operation is a key of its own, so that a misspelt one is an unknown key.
pub(super) fn operations(r: &mut Reader<'_>) -> Operations {
    let mut packages: BTreeMap<Operation, Vec<PackageName>> = BTreeMap::new();
    for operation in Operation::ALL.iter().filter(|operation| !operation.is_decided_by_role()) {
        let Some(items) = r.get(operation.as_str(), PACKAGES).and_then(|field| field.items()) else {
            continue;
        };
        if items.is_empty() {
            let message = "no package would decide, so nothing could allow";
            r.refuse(operation.as_str(), "empty_list", message, "name a package, or remove the line");
        }
        packages.insert(*operation, items.iter().filter_map(Field::parse).collect());
    }
    let all_tenants: Vec<Operation> =
        r.list("all_tenants", "a list of operations, such as [\"lease.list\"]").unwrap_or_default();
    for operation in all_tenants.iter().filter(|operation| !packages.contains_key(operation)) {
        let message = format!("{} is denied to everybody, in every tenant", quoted(operation.as_str()));
        r.refuse(
            "all_tenants",
            "operation_without_packages",
            &message,
            "give it packages, or remove it here",
        );
    }
    Operations { packages, all_tenants: all_tenants.into_iter().collect() }
}
