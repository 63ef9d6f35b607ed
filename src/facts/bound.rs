//! A role bound to its target, table and sources when the configuration is loaded.
//!
//! Nothing is looked up by a caller's text but the role's name; a row and a URL are chosen by verified attributes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::Value;

use super::SourceFailure;
use super::assemble::value_of;
use super::source::{InvalidSource, Placeholder, Source};
use crate::config::{Config, Role, Row, TableBinding, Target, TargetTable};
use crate::domain::{Ask, Code, FactKey, Refusal, RoleName, Scalar, TargetName};
use crate::identity::Caller;

/// A role with all that its name leads to.
#[derive(Debug)]
pub(super) struct Bound {
    pub(super) role: Arc<Role>,
    pub(super) target: Arc<Target>,
    table: Option<(Arc<TargetTable>, TableBinding)>,
    sources: Vec<Arc<Source>>,
}

/// A configuration that facts cannot be gathered by.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// A role's target.
    #[error("role {role}: there is no target `{target}`")]
    NoTarget {
        /// The role.
        role: RoleName,
        /// The target it names.
        target: TargetName,
    },
    /// A role's table.
    #[error("role {role}: there is no target table `{table}`")]
    NoTable {
        /// The role.
        role: RoleName,
        /// The table it names.
        table: String,
    },
    /// A role's source.
    #[error("role {role}: there is no fact source `{name}`")]
    NoSource {
        /// The role.
        role: RoleName,
        /// The source it names.
        name: String,
    },
    /// A source's settings.
    #[error("fact source {name} cannot be used")]
    Source {
        /// The source.
        name: String,
        /// What is wrong.
        #[source]
        source: InvalidSource,
    },
}

/// What the sources of a role gave.
#[derive(Default)]
pub(super) struct Sourced {
    /// Key, value, and the source's name.
    pub(super) facts: Vec<(FactKey, Value, String)>,
    /// Key path to failure.
    pub(super) failed: BTreeMap<String, SourceFailure>,
}

impl Bound {
    pub(super) fn new(
        config: &Config,
        sources: &HashMap<&str, Arc<Source>>,
        role: &Arc<Role>,
    ) -> Result<Self, SetupError> {
        let name = || role.name.clone();
        let target = config.targets.get(&role.target);
        let target =
            target.ok_or_else(|| SetupError::NoTarget { role: name(), target: role.target.clone() })?;
        let table = match &role.table {
            None => None,
            Some(binding) => match config.tables.get(&binding.table) {
                Some(table) => Some((Arc::clone(table), binding.clone())),
                None => return Err(SetupError::NoTable { role: name(), table: binding.table.clone() }),
            },
        };
        let source = |source: &String| match sources.get(source.as_str()) {
            Some(source) => Ok(Arc::clone(source)),
            None => Err(SetupError::NoSource { role: name(), name: source.clone() }),
        };
        Ok(Self {
            role: Arc::clone(role),
            target: Arc::clone(target),
            table,
            sources: role.sources.iter().map(source).collect::<Result<_, _>>()?,
        })
    }

    /// The name of the role's table.
    pub(super) fn table(&self) -> Option<&str> {
        self.table.as_ref().map(|(table, _)| table.name.as_str())
    }

    /// The target table's row for `caller`, if the role has a table.
    pub(super) fn row(&self, caller: &Caller) -> Result<Option<&Row>, Refusal> {
        let Some((table, TableBinding { attribute, .. })) = &self.table else { return Ok(None) };
        let unmapped = |why: &str| {
            let message =
                format!("the target table of role {} was asked by `{attribute}`: {why}", self.role.name);
            Refusal::new(Code::TargetNotMapped, message).with_detail(format!("table {}", table.name))
        };
        let key = verified(caller, attribute).ok_or_else(|| unmapped("this identity has none"))?;
        let row = table.row(&self.role.name, &key);
        row.map(Some).ok_or_else(|| unmapped(&format!("no row for `{}`", key.escape_debug())))
    }

    /// Asks all sources at once.
    pub(super) async fn ask_sources(&self, caller: &Caller, ask: &Ask) -> Sourced {
        let mut sourced = Sourced::default();
        if self.sources.is_empty() {
            return sourced;
        }
        let value = |placeholder: &Placeholder| match placeholder {
            Placeholder::Attribute(name) => verified(caller, name.as_str()),
            Placeholder::Declared(key) => ask.declared.get(key).map(text),
        };
        let answers = join_all(self.sources.iter().map(|source| source.ask(caller.issuer(), value))).await;
        for (source, answer) in self.sources.iter().zip(answers) {
            match answer {
                Ok(facts) => sourced.facts.extend(
                    facts.iter().map(|(key, fact)| (key.clone(), value_of(fact), source.name().to_owned())),
                ),
                Err(error) => {
                    let detail = error.detail();
                    tracing::warn!(source = source.name(), detail, "a fact source gave nothing");
                    let failure = SourceFailure { source: source.name().to_owned(), detail };
                    let failed = source.keys().map(|key| (format!("context.{key}"), failure.clone()));
                    sourced.failed.extend(failed);
                }
            }
        }
        sourced
    }
}

/// A verified attribute as the text that tables and URLs are asked by; never anything that the caller declared.
fn verified(caller: &Caller, name: &str) -> Option<String> {
    match name {
        "issuer" => Some(caller.issuer_url().as_str().to_owned()),
        "kind" => Some(caller.kind().to_owned()),
        "subject" => Some(caller.subject().to_owned()),
        "principal" => Some(caller.principal().as_str().to_owned()),
        "tenant" => Some(caller.tenant().as_str().to_owned()),
        _ => match caller.attributes().get(name)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => number.as_i64().map(|number| number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        },
    }
}

fn text(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Integer(value) => value.to_string(),
        Scalar::Text(value) => value.clone(),
    }
}
