//! Says what was loaded, for people: roles, packages, syntax, and the keys that decide.

use std::path::PathBuf;

use serde::Serialize;

use super::Policy;
use super::syntax::Syntax;
use crate::domain::{PackageName, RoleName};

/// A role and what decides about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleDescription {
    /// The role.
    pub role: RoleName,
    /// The packages that answer.
    pub packages: Vec<PackageDescription>,
    /// Keys that an evaluation may read, such as `input.identity.branch`.
    pub reads: Vec<String>,
}

/// A package of a role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PackageDescription {
    /// The package.
    pub package: PackageName,
    /// True if it applies to every role.
    pub global: bool,
    /// Its files, and which Rego each is written in.
    pub files: Vec<(PathBuf, Syntax)>,
}

pub(super) fn roles(policy: &Policy) -> Vec<RoleDescription> {
    let describe = |(role, set): (&RoleName, &std::sync::Arc<super::PackageSet>)| RoleDescription {
        role: role.clone(),
        packages: set
            .members()
            .map(|(name, global)| PackageDescription {
                package: name.clone(),
                global,
                files: policy
                    .packages
                    .files_of(name)
                    .map(|file| (file.path.to_path_buf(), file.syntax))
                    .collect(),
            })
            .collect(),
        reads: set.closure().inputs.iter().map(|path| format!("input.{}", path.join("."))).collect(),
    };
    policy.sets.iter().map(describe).collect()
}
