//! Walks a rule's syntax tree once and collects every reference, call, comparison and `with`.
//!
//! The match on [`Expr`] is exhaustive on purpose: a version of the interpreter that adds a construct does not
//! compile here until somebody decides what it reads.

use std::collections::{BTreeMap, BTreeSet};

use regorus::unstable::{AssignOp, Expr, Literal, Query, Ref, Rule, RuleBody, RuleHead};

use super::packages::head;
use super::reference::{self, Chain};

/// A reference where it stands.
#[derive(Debug)]
pub(super) struct Use {
    /// What is referred to.
    pub(super) chain: Chain,
    /// The line.
    pub(super) line: usize,
    /// Set for the right side of `x := chain`: only the uses of `x` say how much of it is read.
    pub(super) named: Option<String>,
}

/// A call where it stands.
#[derive(Debug)]
pub(super) struct Call {
    /// The function; none if it is no plain name.
    pub(super) function: Option<Chain>,
    /// How many arguments it is given.
    pub(super) arguments: usize,
    /// What its first argument is.
    pub(super) first: Argument,
    /// The line.
    pub(super) line: usize,
}

/// An argument as far as the text determines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Argument {
    /// A literal text, raw or not.
    Text(String),
    /// A reference.
    Chain(Chain),
    /// Anything else, or no argument.
    Other,
}

/// The type of a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    Boolean,
    Number,
    Text,
}

/// A comparison of a reference with a literal.
#[derive(Debug)]
pub(super) struct Comparison {
    /// The reference.
    pub(super) chain: Chain,
    /// The literal's type.
    pub(super) literal: Kind,
    /// The line.
    pub(super) line: usize,
}

/// What one rule's text holds, names not yet resolved.
#[derive(Debug, Default)]
pub(super) struct Collected {
    pub(super) uses: Vec<Use>,
    pub(super) calls: Vec<Call>,
    pub(super) comparisons: Vec<Comparison>,
    /// Lines of `with`.
    pub(super) withs: Vec<usize>,
    /// Names declared inside the rule.
    pub(super) locals: BTreeSet<String>,
    /// `x := chain`: what `x` may stand for. Scopes are ignored, which can only add.
    pub(super) names: BTreeMap<String, Vec<Chain>>,
}

/// Collects from `rule`.
pub(super) fn collect(rule: &Rule) -> Collected {
    let mut collected = Collected::default();
    for index in reference::read(head(rule)).inner {
        collected.expr(index);
    }
    match rule {
        Rule::Default { args, value, .. } => {
            for arg in args {
                collected.declare(arg);
            }
            collected.expr(value);
        }
        Rule::Spec { head, bodies, .. } => {
            collected.head(head);
            for body in bodies {
                collected.body(body);
            }
        }
    }
    collected
}

impl Collected {
    fn head(&mut self, head: &RuleHead) {
        match head {
            RuleHead::Compr { assign, .. } => {
                if let Some(assign) = assign {
                    self.expr(&assign.value);
                }
            }
            RuleHead::Set { key, .. } => {
                if let Some(key) = key {
                    self.expr(key);
                }
            }
            RuleHead::Func { args, assign, .. } => {
                for arg in args {
                    self.declare(arg);
                }
                if let Some(assign) = assign {
                    self.expr(&assign.value);
                }
            }
        }
    }

    fn body(&mut self, body: &RuleBody) {
        if let Some(assign) = &body.assign {
            self.expr(&assign.value);
        }
        self.query(&body.query);
    }

    fn query(&mut self, query: &Query) {
        for statement in &query.stmts {
            self.literal(&statement.literal);
            for with in &statement.with_mods {
                self.withs.push(reference::line(&with.refr));
                self.expr(&with.refr);
                self.expr(&with.r#as);
            }
        }
    }

    fn literal(&mut self, literal: &Literal) {
        match literal {
            Literal::SomeVars { vars, .. } => {
                self.locals.extend(vars.iter().map(|name| name.text().to_owned()));
            }
            Literal::SomeIn { key, value, collection, .. } => {
                for name in key.iter().chain([value]) {
                    self.declare(name);
                }
                self.expr(collection);
            }
            Literal::Expr { expr, .. } | Literal::NotExpr { expr, .. } => self.expr(expr),
            Literal::Every { key, value, domain, query, .. } => {
                let names = key.iter().chain(std::iter::once(value));
                self.locals.extend(names.map(|name| name.text().to_owned()));
                self.expr(domain);
                self.query(query);
            }
        }
    }

    /// A pattern that binds names; it may refer to other values too.
    fn declare(&mut self, pattern: &Expr) {
        match pattern {
            Expr::Var { span, .. } => {
                self.locals.insert(span.text().to_owned());
            }
            Expr::Array { items, .. } | Expr::Set { items, .. } => {
                for item in items {
                    self.declare(item);
                }
            }
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.expr(key);
                    self.declare(value);
                }
            }
            other => self.expr(other),
        }
    }

    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::String { .. }
            | Expr::RawString { .. }
            | Expr::Number { .. }
            | Expr::Bool { .. }
            | Expr::Null { .. } => {}
            Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => self.reference(expr),
            Expr::Array { items, .. } | Expr::Set { items, .. } => self.all(items),
            Expr::Object { fields, .. } => {
                for (_, key, value) in fields {
                    self.expr(key);
                    self.expr(value);
                }
            }
            Expr::ArrayCompr { term, query, .. } | Expr::SetCompr { term, query, .. } => {
                self.expr(term);
                self.query(query);
            }
            Expr::ObjectCompr { key, value, query, .. } => {
                self.expr(key);
                self.expr(value);
                self.query(query);
            }
            Expr::Call { fcn, params, .. } => self.call(fcn, params.iter().map(AsRef::as_ref).collect()),
            Expr::UnaryExpr { expr, .. } => self.expr(expr),
            Expr::BinExpr { lhs, rhs, .. } | Expr::ArithExpr { lhs, rhs, .. } => {
                self.expr(lhs);
                self.expr(rhs);
            }
            Expr::BoolExpr { lhs, rhs, .. } => self.compare(lhs, rhs),
            Expr::AssignExpr { op, lhs, rhs, .. } => self.assign(op, lhs, rhs),
            Expr::Membership { key, value, collection, .. } => {
                for part in key.iter().chain([value, collection]) {
                    self.expr(part);
                }
            }
        }
    }

    fn all(&mut self, items: &[Ref<Expr>]) {
        for item in items {
            self.expr(item);
        }
    }

    fn reference(&mut self, expr: &Expr) {
        let read = reference::read(expr);
        if let Some(chain) = read.chain {
            self.uses.push(Use { chain, line: reference::line(expr), named: None });
        }
        for inner in read.inner {
            self.expr(inner);
        }
    }

    fn call(&mut self, function: &Expr, arguments: Vec<&Expr>) {
        let name = reference::read(function);
        self.calls.push(Call {
            function: name.chain.filter(|_| name.complete),
            arguments: arguments.len(),
            first: arguments.first().map_or(Argument::Other, |first| argument(first)),
            line: reference::line(function),
        });
        for inner in name.inner.into_iter().chain(arguments) {
            self.expr(inner);
        }
    }

    fn compare(&mut self, lhs: &Expr, rhs: &Expr) {
        for (side, other) in [(lhs, rhs), (rhs, lhs)] {
            if let (Argument::Chain(chain), Some(literal)) = (argument(side), kind(other)) {
                self.comparisons.push(Comparison { chain, literal, line: reference::line(side) });
            }
        }
        self.expr(lhs);
        self.expr(rhs);
    }

    fn assign(&mut self, op: &AssignOp, lhs: &Expr, rhs: &Expr) {
        match op {
            // Unification compares like `==` whenever both sides are bound.
            AssignOp::Eq => self.compare(lhs, rhs),
            AssignOp::ColEq => {
                self.declare(lhs);
                let right = reference::read(rhs);
                match (lhs, right.chain) {
                    (Expr::Var { span, .. }, Some(chain)) if right.complete => {
                        let name = span.text().to_owned();
                        self.names.entry(name.clone()).or_default().push(chain.clone());
                        self.uses.push(Use { chain, line: reference::line(rhs), named: Some(name) });
                    }
                    _ => self.expr(rhs),
                }
            }
        }
    }
}

fn argument(expr: &Expr) -> Argument {
    match expr {
        Expr::String { value, .. } | Expr::RawString { value, .. } => {
            value.as_string().map_or(Argument::Other, |text| Argument::Text(text.to_string()))
        }
        Expr::Var { .. } | Expr::RefDot { .. } | Expr::RefBrack { .. } => {
            let read = reference::read(expr);
            read.chain.filter(|_| read.complete).map_or(Argument::Other, Argument::Chain)
        }
        _ => Argument::Other,
    }
}

fn kind(expr: &Expr) -> Option<Kind> {
    match expr {
        Expr::Null { .. } => Some(Kind::Null),
        Expr::Bool { .. } => Some(Kind::Boolean),
        Expr::Number { .. } => Some(Kind::Number),
        Expr::String { .. } | Expr::RawString { .. } => Some(Kind::Text),
        _ => None,
    }
}
