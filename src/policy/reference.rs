//! References such as `input.context.branch` or `data.lib["x"].y`, as far as they are known before evaluation.

use regorus::unstable::Expr;

/// A name with the longest path that the text alone determines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Chain {
    /// `input`, `data`, an import, a rule, or a local variable.
    pub(super) root: String,
    /// Fields and text indexes behind it.
    pub(super) path: Vec<String>,
}

/// A reference taken apart.
pub(super) struct Reference<'a> {
    /// The chain; none if the reference begins at a call or a comprehension.
    pub(super) chain: Option<Chain>,
    /// True if nothing follows the chain.
    pub(super) complete: bool,
    /// Expressions inside: what it begins at, and every index that is not plain text.
    pub(super) inner: Vec<&'a Expr>,
}

/// Takes a variable, a field access or an index apart; every other expression is its own `inner`.
pub(super) fn read(expr: &Expr) -> Reference<'_> {
    let mut steps = Vec::new();
    let mut inner = Vec::new();
    let mut at = expr;
    let root = loop {
        match at {
            Expr::RefDot { refr, field, .. } => {
                steps.push(Some(field.0.text().to_owned()));
                at = refr.as_ref();
            }
            Expr::RefBrack { refr, index, .. } => {
                let literal = literal_text(index);
                if literal.is_none() {
                    inner.push(index.as_ref());
                }
                steps.push(literal);
                at = refr.as_ref();
            }
            Expr::Var { span, .. } => break Some(span.text().to_owned()),
            other => {
                inner.push(other);
                break None;
            }
        }
    };
    // The first index that is not plain text ends the chain: what follows is unknown.
    let path: Vec<String> = steps.iter().rev().map_while(Clone::clone).collect();
    let complete = path.len() == steps.len();
    Reference { chain: root.map(|root| Chain { root, path }), complete, inner }
}

/// The value of a `"…"` literal. Raw strings and numbers count as unknown, which is simple and safe.
pub(super) fn literal_text(expr: &Expr) -> Option<String> {
    match expr {
        Expr::String { value, .. } => value.as_string().ok().map(ToString::to_string),
        _ => None,
    }
}

/// The expression's line, from 1.
pub(super) fn line(expr: &Expr) -> usize {
    usize::try_from(expr.span().line).unwrap_or(usize::MAX)
}
