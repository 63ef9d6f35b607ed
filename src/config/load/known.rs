//! What has been read so far, for files that refer to it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::settings::Draft;
use crate::config::{AttributeRule, FactSource, Issuer, Target, TargetTable};
use crate::domain::{IssuerName, IssuerUrl, RoleName, Scalar, TargetName, TenantName, nearest};

/// What has been read so far. A value that is `None` belongs to a broken file: it exists, and nothing is said of it.
pub(super) struct Known<'a> {
    /// `server.url`.
    pub(super) url: Option<&'a IssuerUrl>,
    /// The default tenant.
    pub(super) tenant: Option<TenantName>,
    /// True if something says where the Workload API is.
    pub(super) workload_api: bool,
    /// Fact sources.
    pub(super) sources: &'a BTreeMap<SourceName, Option<FactSource>>,
    /// Targets.
    pub(super) targets: BTreeMap<TargetName, Option<Arc<Target>>>,
    /// Target tables.
    pub(super) tables: BTreeMap<TableName, Option<Arc<TargetTable>>>,
    /// Names of all roles.
    pub(super) roles: BTreeSet<RoleName>,
    /// True if some issuer vouches for runners, or is broken and might.
    pub(super) proves_runners: bool,
    attributes: BTreeSet<String>,
    all_attributes: bool,
    /// Attribute that a platform numbers, and who gives it.
    numbered: BTreeMap<&'static str, BTreeSet<Numbering>>,
}

/// One space of numbers: a platform's server, with the tenant of its identities if it is always the same.
type Numbering = (String, Option<String>);

impl<'a> Known<'a> {
    /// What `tollgate.toml` says.
    pub(super) fn new(draft: &'a Draft) -> Self {
        Self {
            url: draft.server.as_ref().map(|server| &server.url),
            tenant: draft.tenant(),
            workload_api: draft.agent.is_written(),
            sources: &draft.sources,
            targets: BTreeMap::new(),
            tables: BTreeMap::new(),
            roles: BTreeSet::new(),
            proves_runners: false,
            attributes: BTreeSet::new(),
            all_attributes: false,
            numbered: BTreeMap::new(),
        }
    }

    /// Collects the attributes that identities can have.
    pub(super) fn learn_attributes(&mut self, issuers: &BTreeMap<IssuerName, Option<Arc<Issuer>>>) {
        self.all_attributes = issuers.values().all(Option::is_some);
        self.proves_runners =
            issuers.values().any(|issuer| issuer.as_ref().is_none_or(|issuer| issuer.runner.is_some()));
        for issuer in issuers.values().flatten().filter(|issuer| issuer.vouches_for_identities()) {
            let extra = issuer.own_attributes().map(ToString::to_string);
            let profile = issuer.profile.attributes().iter().map(|name| (*name).to_owned());
            self.attributes.extend(profile.chain(extra));
            // A SPIFFE ID names its domain.
            let numbered = |name: &&&str| name.ends_with("_id") && **name != "spiffe_id";
            for name in issuer.profile.attributes().iter().filter(numbered) {
                self.numbered.entry(name).or_default().insert(numbering(issuer));
            }
        }
    }

    /// True if several platforms number the attribute `name` for identities of `tenant`, each from one.
    pub(super) fn is_numbered_twice(&self, name: &str, tenant: Option<&TenantName>) -> bool {
        let of_tenant =
            |of: &Option<String>| of.as_deref().is_none_or(|of| tenant.is_none_or(|t| t.as_str() == of));
        let servers = self.numbered.get(name).into_iter().flatten();
        servers.filter(|(_, of)| of_tenant(of)).map(|(server, _)| server).collect::<BTreeSet<_>>().len() > 1
    }

    /// True if some identity can have the attribute `name`; also if a broken issuer might give it.
    pub(super) fn may_have_attribute(&self, name: &str) -> bool {
        !self.all_attributes || self.attributes.contains(name)
    }

    /// True if the attribute `name` exists for certain.
    pub(super) fn has_attribute(&self, name: &str) -> bool {
        self.attributes.contains(name)
    }

    /// What to do about an attribute that does not exist.
    pub(super) fn attribute_fix(&self, name: &str) -> String {
        fix(name, self.attributes.iter().map(String::as_str), "an attribute of a configured issuer")
    }
}

/// Whose numbers the identities of `issuer` carry: all of one profile at one host are of one space.
fn numbering(issuer: &Issuer) -> Numbering {
    let host = url::Url::parse(issuer.url.as_str()).ok().and_then(|url| Some(url.host_str()?.to_owned()));
    let profile = std::mem::discriminant(&issuer.profile);
    let tenant = match &issuer.tenant {
        AttributeRule::Constant(Scalar::Text(name)) => Some(name.clone()),
        AttributeRule::Constant(_) | AttributeRule::Claim(_) | AttributeRule::Table { .. } => None,
    };
    (format!("{profile:?} {}", host.unwrap_or_default()), tenant)
}

/// Says which of `words` was probably meant, or else that one must be chosen.
pub(super) fn fix<'w>(text: &str, words: impl Iterator<Item = &'w str> + Clone, what: &str) -> String {
    if let Some(near) = nearest(text, words.clone()) {
        return format!("did you mean `{near}`?");
    }
    let list: Vec<_> = words.take(20).collect();
    let list = if list.is_empty() { "none is configured".to_owned() } else { list.join(", ") };
    format!("name {what}: {list}")
}

macro_rules! stems {
    ($($(#[$doc:meta])* $name:ident: $what:literal;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub(super) struct $name(String);

        impl $name {
            /// The name as text.
            pub(super) fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidStem;
            fn from_str(text: &str) -> Result<Self, InvalidStem> {
                let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
                let fits = (1..=60).contains(&text.len()) && text.bytes().all(fits);
                if fits { Ok(Self(text.to_owned())) } else { Err(InvalidStem($what)) }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }
    )+};
}

stems! {
    /// The name of a fact source.
    SourceName: "a source's name";
    /// The name of a sink of events.
    SinkName: "a sink's name";
    /// The name of a webhook.
    WebhookName: "a webhook's name";
    /// The name of a target table.
    TableName: "a table's name";
}

/// A name that breaks its grammar.
#[derive(Debug)]
pub(super) struct InvalidStem(&'static str);

impl fmt::Display for InvalidStem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} has 1 to 60 of [a-z0-9_-]", self.0)
    }
}
