//! What can be asked of Tollgate, and whose things it is asked about.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::Serialize;

use super::TenantName;

/// A text that names no operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no such operation")]
pub struct UnknownOperation;

macro_rules! operations {
    ($($(#[$doc:meta])* $variant:ident $text:literal;)+) => {
        /// `input.operation`: what is being decided. A package for one operation never answers another.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, JsonSchema)]
        pub enum Operation {
            $($(#[$doc])* #[serde(rename = $text)] $variant,)+
        }

        impl Operation {
            /// Every operation, in documentation order.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The operation as policies, settings and records write it.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
    };
}

operations! {
    /// Issue a credential.
    Mint "mint";
    /// List leases, and authorisations without one.
    LeaseList "lease.list";
    /// Read somebody else's lease.
    LeaseRead "lease.read";
    /// End somebody else's lease.
    LeaseEnd "lease.end";
    /// Read somebody else's decision, with all that policy saw.
    DecisionRead "decision.read";
    /// List decisions.
    DecisionList "decision.list";
    /// Read the audit chain.
    AuditRead "audit.read";
    /// Stop issuing, and end what lives.
    Block "block";
    /// Change signing keys.
    Keys "keys";
}

impl Operation {
    /// True for the one that the packages of a role decide; the others are decided by the packages of `[operations]`.
    pub const fn is_decided_by_role(self) -> bool {
        matches!(self, Self::Mint)
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Operation {
    type Err = UnknownOperation;
    fn from_str(text: &str) -> Result<Self, UnknownOperation> {
        Self::ALL.iter().copied().find(|known| known.as_str() == text).ok_or(UnknownOperation)
    }
}

/// One request for an operation, after parsing and before any check of who asks.
#[derive(Debug, Clone)]
pub struct OperationAsk {
    /// What to do.
    pub operation: Operation,
    /// The tenant whose things are meant; none means all that the caller may see.
    pub tenant: Option<TenantName>,
    /// What else was said about the things meant, by name: `role`, `principal`, `lease`, … Policy sees it as it is.
    pub filter: BTreeMap<&'static str, String>,
    /// The peer's address, or the one a trusted proxy vouches for.
    pub source_ip: Option<IpAddr>,
}

/// Whose things an operation reaches.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tenants {
    /// Those of one tenant.
    One(TenantName),
    /// Everybody's, the server's own included.
    All,
}

impl Tenants {
    /// The one tenant, if there is one.
    pub const fn one(&self) -> Option<&TenantName> {
        match self {
            Self::One(tenant) => Some(tenant),
            Self::All => None,
        }
    }

    /// True if things of `tenant` are within reach.
    pub fn include(&self, tenant: &str) -> bool {
        self.one().is_none_or(|one| one.as_str() == tenant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_reads_back_from_its_text() {
        for operation in Operation::ALL {
            assert_eq!(operation.as_str().parse(), Ok(*operation));
            assert_eq!(serde_json::to_value(operation).unwrap(), operation.as_str());
        }
        assert_eq!("lease.lst".parse::<Operation>(), Err(UnknownOperation));
    }

    #[test]
    fn c_07_one_tenant_reaches_nothing_of_another() {
        let one = Tenants::One("shop".parse().unwrap());
        assert!(one.include("shop") && !one.include("bank") && !one.include(""));
        assert!(Tenants::All.include("bank") && Tenants::All.include(""));
    }
}
