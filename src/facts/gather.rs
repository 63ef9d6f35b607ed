//! Checks what is asked for against the role, asks the role's sources, and puts the facts together.
//!
//! A role that the identity may not see is answered before anything else about the request is looked at.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::assemble::Pieces;
use super::bound::{Bound, SetupError, Sourced};
use super::source::Source;
use super::{Facts, Ungathered, declared, runner};
use crate::clock::Clock;
use crate::config::{Config, Role, Row};
use crate::domain::{Ask, Code, DecisionId, Operation, Refusal, RoleName, ScopeName, TenantName};
use crate::identity::{Caller, Runner};

/// Gathers facts for requests.
#[derive(Debug)]
pub struct Gatherer {
    pub(super) zone: TimeZone,
    pub(super) clock: Clock,
    /// The server's own tenant, and the operations in which its identities reach every other.
    pub(super) operator: TenantName,
    pub(super) all_tenants: BTreeSet<Operation>,
    roles: HashMap<RoleName, Bound>,
}

impl Gatherer {
    /// Sets up the sources of `config` and binds its roles to them.
    ///
    /// # Errors
    /// [`SetupError`]: a dangling name, or a source that cannot work. That each key has one origin, `config` has checked.
    pub fn new(config: &Config, clock: Clock) -> Result<Self, SetupError> {
        let mut sources = HashMap::new();
        for (name, settings) in &config.settings.sources {
            let source = Source::new(name, settings, clock.clone())
                .map_err(|source| SetupError::Source { name: name.clone(), source })?;
            sources.insert(name.as_str(), Arc::new(source));
        }
        let bind = |(name, role): (&RoleName, _)| Ok((name.clone(), Bound::new(config, &sources, role)?));
        let roles = config.roles.iter().map(bind).collect::<Result<_, SetupError>>()?;
        Ok(Self {
            zone: config.settings.zone.clone(),
            clock,
            operator: config.settings.server.tenant.clone(),
            all_tenants: config.settings.operations.all_tenants.clone(),
            roles,
        })
    }

    /// Resolves the role and its target, checks what was asked against the role, and asks its sources.
    ///
    /// # Errors
    /// A refusal: unknown role or scope, a runner that the role does not take, refused declared key, no row in the target
    /// table.
    pub async fn gather(
        &self,
        caller: Caller,
        runner: Option<Runner>,
        ask: &Ask,
        decision: DecisionId,
    ) -> Result<Facts, Ungathered> {
        let (bound, scopes, row) = match self.check(&caller, runner.as_ref(), ask) {
            Ok(checked) => checked,
            Err(refusal) => return Err(Ungathered { refusal, caller: Box::new(caller) }),
        };
        let Sourced { facts: sourced, failed } = bound.ask_sources(&caller, ask).await;
        // Read after the sources have answered: the time that policy sees is the time of the decision.
        let now = self.clock.now();
        let ttl = ask.ttl.unwrap_or(bound.role.ttl.default);
        let pieces = Pieces {
            now,
            zone: &self.zone,
            caller: &caller,
            runner: runner.as_ref(),
            ask,
            role: &bound.role,
            target: &bound.target,
            row: row.zip(bound.table()),
            scopes: &scopes,
            ttl,
            sourced,
            failed: &failed,
        };
        let (input, origins) = pieces.assemble();
        // An input of ours is always JSON; an empty text would deny, for policy cannot read it.
        let input_json = serde_json::to_string(&input).unwrap_or_default();
        Ok(Facts {
            decision,
            now,
            caller,
            runner,
            ask: ask.clone(),
            role: Arc::clone(&bound.role),
            target: Arc::clone(&bound.target),
            row: row.cloned(),
            scopes,
            ttl,
            input,
            input_json,
            origins,
            failed,
        })
    }

    /// Everything that needs no source.
    fn check(
        &self,
        caller: &Caller,
        runner: Option<&Runner>,
        ask: &Ask,
    ) -> Result<(&Bound, BTreeSet<ScopeName>, Option<&Row>), Refusal> {
        let bound = self.visible(caller, &ask.role)?;
        runner::check(&bound.role, caller, runner)?;
        if bound.role.possession_required && !caller.has_key() {
            let message = "this role wants a token that is bound to a key, or an X.509-SVID: a stolen token is then of no use";
            return Err(Refusal::new(Code::PossessionRequired, message));
        }
        let scopes = scopes(&bound.role, ask)?;
        declared::check(&bound.role, &ask.declared)?;
        let row = bound.row(caller)?;
        Ok((bound, scopes, row))
    }

    /// The role, if this identity may know that it exists.
    fn visible(&self, caller: &Caller, name: &RoleName) -> Result<&Bound, Refusal> {
        let unknown = |why: &str| {
            let message = format!("there is no role `{name}` that this identity may ask for");
            Refusal::new(Code::RoleUnknown, message).with_detail(why)
        };
        let bound = self.roles.get(name).ok_or_else(|| unknown("no role has this name"))?;
        // One answer for both, or role names of other tenants could be listed by trying them.
        if bound.role.tenant != *caller.tenant() {
            return Err(unknown(&format!("the role belongs to tenant {}", bound.role.tenant)));
        }
        Ok(bound)
    }
}

/// Scopes asked for, or the role's default ones: at least one, and each of them the role's.
fn scopes(role: &Role, ask: &Ask) -> Result<BTreeSet<ScopeName>, Refusal> {
    let scopes = ask.scopes.as_ref().unwrap_or(&role.default_scopes);
    let offer = || {
        let names: Vec<_> = role.scopes.keys().map(ScopeName::as_str).collect();
        format!("role {} has {}", role.name, names.join(", "))
    };
    if scopes.is_empty() {
        return Err(Refusal::new(Code::ScopesEmpty, format!("no scope is asked for; {}", offer())));
    }
    match scopes.iter().find(|scope| !role.scopes.contains_key(*scope)) {
        Some(unknown) => {
            Err(Refusal::new(Code::ScopeUnknown, format!("there is no scope `{unknown}`; {}", offer())))
        }
        None => Ok(scopes.clone()),
    }
}
