//! Evaluates one set of packages: one prepared engine, cloned per decision, within one time limit.
//!
//! The template never holds anybody's input, and the only evaluation takes the input by value, so that no decision
//! can see another one's. The interpreter is strict: a builtin that fails is an error, not a rule that does not hold.

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use regorus::utils::limits::ExecutionTimerConfig;
use regorus::{Engine, Value};

use super::contract;
use super::decision::PackageResult;
use super::extensions::{self, BoundTime, NotRegistered};
use super::graph::{Closure, Graph};
use super::memory::Memory;
use super::packages::Packages;
use super::projection::Projection;
use super::regorus_error::first_error;
use super::result::{self, BadResult};
use super::syntax::Syntax;
use crate::domain::PackageName;

/// Largest input, in bytes of JSON.
const MAX_INPUT_BYTES: usize = 64 * 1024;

/// Steps of the interpreter between two looks at the time.
const STEPS_PER_CHECK: NonZeroU32 = NonZeroU32::new(64).unwrap();

/// Longest that the first evaluation of an engine may take, while it is prepared.
const WARM_UP: Duration = Duration::from_millis(100);

/// Why a package could not be evaluated. The text goes to the record, never to the caller.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failure {
    /// The decision's time limit is used up.
    #[error("the time limit of the decision is used up")]
    OutOfTime,
    /// The interpreter's own word.
    #[error("`{rule}`: {message}")]
    Evaluation {
        /// The contract name that was evaluated.
        rule: &'static str,
        /// What happened.
        message: String,
    },
    /// An answer of the wrong shape.
    #[error(transparent)]
    Result(#[from] BadResult),
    /// The input cannot be given to the interpreter.
    #[error("the input is not JSON of at most {MAX_INPUT_BYTES} bytes")]
    Input,
}

/// Why an engine could not be prepared.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotPrepared {
    /// An extension.
    #[error(transparent)]
    Extension(#[from] NotRegistered),
    /// The interpreter's own word on the packages, and where it points to.
    #[error("{message}")]
    Packages {
        /// What is wrong.
        message: String,
        /// The line, if it says one.
        line: Option<usize>,
        /// The file, if it says one.
        file: Option<String>,
    },
}

/// One package of a set, with the contract rules that it declares: asking for another one is an error.
#[derive(Debug)]
struct Member {
    name: PackageName,
    global: bool,
    rules: Vec<(&'static str, String)>,
}

/// A set of packages that are evaluated together, prepared.
#[derive(Debug)]
pub(super) struct PackageSet {
    template: Engine,
    members: Vec<Member>,
    closure: Closure,
    projection: Projection,
    /// Its number in the memory, and the memory; none if its answers depend on more than what they read.
    memory: Option<(usize, Memory)>,
}

/// An input as the interpreter takes it.
pub(super) struct EngineInput(Value);

impl EngineInput {
    /// Reads `json`; its size is limited.
    pub(super) fn read(json: &str) -> Result<Self, Failure> {
        if json.len() > MAX_INPUT_BYTES {
            return Err(Failure::Input);
        }
        // Not `Value::from_json_str`, whose table of keys seen pays for itself only in long lists of like objects.
        serde_json::from_str(json).map(Self).map_err(|_| Failure::Input)
    }
}

impl PackageSet {
    /// Prepares `names` and what they reach through `data`, as number `number` of the sets that share `memory`.
    pub(super) fn prepare(
        packages: &Packages,
        graph: &Graph,
        names: &BTreeSet<PackageName>,
        number: usize,
        memory: &Memory,
    ) -> Result<Self, NotPrepared> {
        let mut closure = Closure::default();
        let mut members = Vec::new();
        for name in names {
            closure.extend(graph.closure(name, contract::all()));
            if let Some(package) = packages.get(name) {
                let declared = contract::all().filter(|rule| package.rules.contains(*rule));
                let rules = declared.map(|rule| (rule, format!("data.{name}.{rule}"))).collect();
                members.push(Member { name: name.clone(), global: package.global, rules });
            }
        }
        let template = prepare_engine(packages, &closure.packages)?;
        let projection = Projection::new(&closure.inputs);
        let memory = (!graph.calls(&closure, extensions::NOW_NAME)).then(|| (number, memory.clone()));
        Ok(Self { template, members, closure, projection, memory })
    }

    /// What an evaluation reads.
    pub(super) const fn closure(&self) -> &Closure {
        &self.closure
    }

    /// The packages that answer, global ones included.
    pub(super) fn members(&self) -> impl Iterator<Item = (&PackageName, bool)> {
        self.members.iter().map(|member| (&member.name, member.global))
    }

    /// What every package answers to `input`, JSON text.
    ///
    /// # Errors
    /// [`Failure::Input`].
    pub(super) fn answer(
        &self,
        input: &str,
        now: Timestamp,
        limit: Duration,
    ) -> Result<Arc<Vec<PackageResult>>, Failure> {
        if input.len() > MAX_INPUT_BYTES {
            return Err(Failure::Input);
        }
        let read = self.projection.of(input).map_err(|_| Failure::Input)?;
        let evaluate = |read: &str| Ok(self.evaluate(EngineInput::read(read)?, now, limit));
        match &self.memory {
            Some((number, memory)) => memory.recall(*number, read, evaluate),
            None => evaluate(&read).map(Arc::new),
        }
    }

    /// Asks every package, `deny` and `allow` first; what narrows a grant only if there will be one.
    pub(super) fn evaluate(&self, input: EngineInput, now: Timestamp, limit: Duration) -> Vec<PackageResult> {
        let _time = BoundTime::new(now);
        let mut evaluation = Evaluation::new(self.template.clone(), input, limit);
        let mut results: Vec<_> = self.members.iter().map(|member| evaluation.verdict(member)).collect();
        if results
            .iter()
            .all(|result| result.error.is_none() && result.deny.is_empty() && result.allow != Some(false))
        {
            for (member, result) in self.members.iter().zip(&mut results) {
                if let Err(failure) = evaluation.narrowing(member, result) {
                    result.error = Some(failure.to_string());
                }
            }
        }
        results
    }
}

/// Loads packages into an engine and lets the interpreter analyse them.
pub(super) fn prepare_engine(
    packages: &Packages,
    names: &BTreeSet<PackageName>,
) -> Result<Engine, NotPrepared> {
    let mut engine = Engine::new();
    engine.set_strict_builtin_errors(true);
    extensions::register(&mut engine)?;
    let mut first_rule = None;
    for name in names {
        for file in packages.files_of(name) {
            engine.set_rego_v0(file.syntax == Syntax::V0);
            let path = file.path.display().to_string();
            engine.add_policy(path, file.text.clone()).map_err(|error| NotPrepared::read(&error))?;
        }
        let rule = packages.get(name).and_then(|package| package.rules.first());
        first_rule = first_rule.or_else(|| rule.map(|rule| format!("data.{name}.{rule}")));
    }
    engine.set_input(Value::new_object());
    if let Some(rule) = first_rule {
        // Unsafe variables and use before definition only show here.
        let entry = rule.as_str().into();
        engine.clone().compile_with_entrypoint(&entry).map_err(|error| NotPrepared::read(&error))?;
        // The first evaluation builds tables that clones then share; its answer means nothing.
        engine.set_execution_timer_config(timer(WARM_UP));
        drop(engine.eval_rule(rule));
    }
    Ok(engine)
}

const fn timer(limit: Duration) -> ExecutionTimerConfig {
    ExecutionTimerConfig { limit, check_interval: STEPS_PER_CHECK }
}

impl NotPrepared {
    fn read(error: &impl ToString) -> Self {
        let text = error.to_string();
        let place = text.lines().find_map(|line| line.strip_prefix("--> "));
        let mut parts = place.unwrap_or_default().rsplitn(3, ':').skip(1);
        let line = parts.next().and_then(|line| line.parse().ok());
        Self::Packages { message: first_error(&text), line, file: parts.next().map(str::to_owned) }
    }
}

/// One decision's evaluation.
struct Evaluation {
    engine: Engine,
    deadline: Option<Instant>,
}

impl Evaluation {
    fn new(mut engine: Engine, input: EngineInput, limit: Duration) -> Self {
        engine.set_input(input.0);
        Self { engine, deadline: Instant::now().checked_add(limit) }
    }

    /// Asks a package whether it denies and whether it allows.
    fn verdict(&mut self, member: &Member) -> PackageResult {
        let mut result = PackageResult::silent(member.name.clone());
        let denials = self.rule(member, "deny").and_then(|value| match value {
            Some(value) => Ok(result::deny(&member.name, &value)?),
            None => Ok(Vec::new()),
        });
        match denials {
            Ok(reasons) => result.deny = reasons,
            Err(failure) => result.error = Some(failure.to_string()),
        }
        if !member.global {
            // A package without `allow` does not load; should one get here, it allows nothing.
            let allowed = self.rule(member, "allow").and_then(|value| match value {
                Some(value) => Ok(result::allow(&value)?),
                None => Ok(false),
            });
            match allowed {
                Ok(allowed) => result.allow = Some(allowed),
                Err(failure) => {
                    result.allow = Some(false);
                    result.error.get_or_insert_with(|| failure.to_string());
                }
            }
        }
        result
    }

    /// Asks an allowing package what it leaves of the request.
    fn narrowing(&mut self, member: &Member, result: &mut PackageResult) -> Result<(), Failure> {
        if let Some(value) = self.rule(member, "max_ttl")? {
            result.max_ttl = result::max_ttl(&value)?;
        }
        if let Some(value) = self.rule(member, "scopes")? {
            result.scopes = Some(result::scopes(&value)?);
        }
        if let Some(value) = self.rule(member, "require")? {
            result.require = result::require(&value)?;
        }
        if let Some(value) = self.rule(member, "tags")? {
            result.tags = result::tags(&value)?;
        }
        Ok(())
    }

    /// One rule's value; none if the package does not declare it. The interpreter's own timer begins anew with each
    /// rule, so that each gets what is left of the whole.
    fn rule(&mut self, member: &Member, name: &'static str) -> Result<Option<Value>, Failure> {
        let Some((_, path)) = member.rules.iter().find(|(rule, _)| *rule == name) else { return Ok(None) };
        let left = self.deadline.and_then(|deadline| deadline.checked_duration_since(Instant::now()));
        let limit = left.filter(|left| !left.is_zero()).ok_or(Failure::OutOfTime)?;
        let engine = &mut self.engine;
        engine.set_execution_timer_config(timer(limit));
        let failed = |message| Failure::Evaluation { rule: name, message };
        engine.eval_rule(path.clone()).map(Some).map_err(|error| failed(first_error(&error.to_string())))
    }
}
