//! What policy sees of an operation that no role decides: who asks, whose things, when. No source is asked, and
//! nothing that a caller declares has a place in it.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::assemble;
use super::gather::Gatherer;
use super::{IdentityInput, Origin, Origins, Ungathered};
use crate::domain::{Code, DecisionId, Operation, OperationAsk, Refusal, Tenants};
use crate::identity::Caller;

/// `input` of an operation that no role decides.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OperationInput {
    /// What is being decided.
    pub operation: Operation,
    /// Who asks, verified.
    pub identity: IdentityInput,
    /// What it is asked about.
    pub resource: OperationResource,
    /// When, and from where.
    pub context: OperationContext,
}

/// `input.resource` of an operation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OperationResource {
    /// The tenant whose things are meant; absent if all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub tenant: Option<String>,
    /// True if the things of every tenant are meant.
    pub all_tenants: bool,
    /// What else was said about the things meant, such as `role`, `principal` or `lease`, as it was asked.
    pub filter: BTreeMap<&'static str, String>,
}

/// `input.context` of an operation.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OperationContext {
    /// `HH:MM` in the configured zone.
    pub time: String,
    /// RFC 3339, UTC.
    pub timestamp: String,
    /// `monday` to `sunday` in the configured zone.
    pub weekday: String,
    /// The peer's address; absent if unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    pub source_ip: Option<String>,
}

/// All that the decision about an operation rests on. Only this module can make one.
#[derive(Debug)]
pub struct OperationFacts {
    pub(super) decision: DecisionId,
    pub(super) now: Timestamp,
    pub(super) caller: Caller,
    pub(super) operation: Operation,
    pub(super) tenants: Tenants,
    pub(super) input_json: String,
    pub(super) origins: Origins,
}

impl OperationFacts {
    /// The decision that these facts are gathered for.
    pub const fn decision(&self) -> DecisionId {
        self.decision
    }
    /// The decision's time.
    pub const fn now(&self) -> Timestamp {
        self.now
    }
    /// Who asks.
    pub const fn caller(&self) -> &Caller {
        &self.caller
    }
    /// What is asked.
    pub const fn operation(&self) -> Operation {
        self.operation
    }
    /// Whose things are meant; never more than the caller may reach.
    pub const fn tenants(&self) -> &Tenants {
        &self.tenants
    }
    /// What policy sees, as JSON text: policy reads this very text and the record keeps it.
    pub fn input_json(&self) -> &str {
        &self.input_json
    }
    /// Where each key of the input came from.
    pub const fn origins(&self) -> &Origins {
        &self.origins
    }
}

impl Gatherer {
    /// Lays out what policy sees of `ask`, bounded by the tenants that `caller` may reach in this operation.
    ///
    /// # Errors
    /// `not_allowed`, for a tenant out of reach, whether it exists or not.
    pub fn gather_operation(
        &self,
        caller: Caller,
        ask: &OperationAsk,
        decision: DecisionId,
    ) -> Result<OperationFacts, Ungathered> {
        let tenants = match self.tenants(&caller, ask) {
            Ok(tenants) => tenants,
            Err(refusal) => return Err(Ungathered { refusal, caller: Box::new(caller) }),
        };
        let now = self.clock.now();
        let (input, origins) = self.lay_out(&caller, ask, &tenants, now);
        // An input of ours is always JSON; an empty text would deny, for policy cannot read it.
        let input_json = serde_json::to_string(&input).unwrap_or_default();
        let operation = ask.operation;
        Ok(OperationFacts { decision, now, caller, operation, tenants, input_json, origins })
    }

    /// The caller's own tenant; only an identity of the server's own reaches others, where the settings say so.
    fn tenants(&self, caller: &Caller, ask: &OperationAsk) -> Result<Tenants, Refusal> {
        let reaches_all = *caller.tenant() == self.operator && self.all_tenants.contains(&ask.operation);
        match &ask.tenant {
            None if reaches_all => Ok(Tenants::All),
            None => Ok(Tenants::One(caller.tenant().clone())),
            Some(tenant) if reaches_all || tenant == caller.tenant() => Ok(Tenants::One(tenant.clone())),
            Some(_) => {
                let operation = ask.operation;
                let message =
                    format!("denied {operation}: this identity reaches the tenant {} alone", caller.tenant());
                Err(Refusal::new(Code::NotAllowed, message))
            }
        }
    }

    fn lay_out(
        &self,
        caller: &Caller,
        ask: &OperationAsk,
        tenants: &Tenants,
        now: Timestamp,
    ) -> (OperationInput, Origins) {
        let mut origins = Origins::new();
        let identity = assemble::identity(caller, now, &mut origins);
        let (time, weekday) = assemble::clock_face(&self.zone, now);
        let source_ip = ask.source_ip.map(|address| address.to_canonical().to_string());
        let present = [
            ("", Some("operation")),
            ("resource", tenants.one().map(|_| "tenant")),
            ("resource", Some("all_tenants")),
            ("context", Some("time")),
            ("context", Some("timestamp")),
            ("context", Some("weekday")),
            ("context", source_ip.as_ref().map(|_| "source_ip")),
        ];
        for (part, key) in present {
            if let Some(key) = key {
                origins.add(part, key, &Origin::Server);
            }
        }
        for key in ask.filter.keys() {
            origins.add("resource.filter", key, &Origin::Declared);
        }
        let input = OperationInput {
            operation: ask.operation,
            identity,
            resource: OperationResource {
                tenant: tenants.one().map(ToString::to_string),
                all_tenants: *tenants == Tenants::All,
                filter: ask.filter.clone(),
            },
            context: OperationContext { time, timestamp: now.to_string(), weekday, source_ip },
        };
        (input, origins)
    }
}
