//! Text that is a small language of its own: regular expressions and formats. Also comparisons across types.
//!
//! An unanchored expression matches in the middle, and `^a|b$` is anchored on one side of each branch only: the
//! bare pattern is parsed and must require the text's start and its end on every branch.

use regex_syntax::hir::Look;

use crate::config::{Problem, Problems};
use crate::policy::collect::Kind;
use crate::policy::graph::Graph;
use crate::policy::known;
use crate::policy::report::{error, warning};
use crate::policy::resolve::{BuiltinCall, FirstArgument, KeyComparison};

/// Most digits of a width in a format: the interpreter pads without a limit of its own.
const MAX_WIDTH_DIGITS: usize = 2;

/// Checks every call and comparison.
pub(super) fn check(graph: &Graph, problems: &mut Problems) {
    for node in graph.nodes() {
        let texts = node.reads.builtins.iter().filter_map(text);
        let comparisons = node.reads.comparisons.iter().filter_map(comparison);
        for problem in texts.chain(comparisons) {
            problems.push(problem);
        }
    }
}

fn text(call: &BuiltinCall) -> Option<Problem> {
    match call.name.as_deref() {
        Some("regex.match") => pattern(call),
        Some("sprintf") => format(call),
        _ => None,
    }
}

fn pattern(call: &BuiltinCall) -> Option<Problem> {
    let literal = match &call.first {
        FirstArgument::Text(literal) => literal,
        FirstArgument::Input => {
            return Some(error(
                "pattern_from_input",
                &call.place,
                "the pattern of `regex.match` comes from the request, so that the request decides what matches",
                "write the pattern into the policy",
            ));
        }
        FirstArgument::Other => {
            return Some(warning(
                "pattern_not_literal",
                &call.place,
                "the pattern of `regex.match` is computed, so that its anchors cannot be checked",
                "write the pattern as a literal, or use `==`, `in` or `glob.match`",
            ));
        }
    };
    let Ok(parsed) = regex_syntax::parse(literal) else {
        let message = "the pattern is not a regular expression that the interpreter reads";
        return Some(error(
            "invalid_pattern",
            &call.place,
            message,
            "correct it; look-around does not exist",
        ));
    };
    let looks = parsed.properties();
    let anchored =
        looks.look_set_prefix().contains(Look::Start) && looks.look_set_suffix().contains(Look::End);
    if anchored {
        return None;
    }
    Some(error(
        "unanchored_pattern",
        &call.place,
        "the pattern also matches in the middle of a longer text, on at least one of its branches",
        format!("anchor the whole of it: `^(?:{})$`", bare(literal)),
    ))
}

/// The pattern without the anchors that its author wrote at its ends.
pub(super) fn bare(literal: &str) -> &str {
    let start = literal.strip_prefix('^').unwrap_or(literal);
    match start.strip_suffix('$') {
        Some(body) if !body.ends_with('\\') => body,
        _ => start,
    }
}

fn format(call: &BuiltinCall) -> Option<Problem> {
    let FirstArgument::Text(literal) = &call.first else {
        let message = "the format of `sprintf` is computed";
        return Some(error("format_not_literal", &call.place, message, "write the format as a literal"));
    };
    let wide = literal.split('%').skip(1).any(|verb| {
        let digits = verb.trim_start_matches(['.', '-', '+', ' ', '#']);
        digits.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count() > MAX_WIDTH_DIGITS
    });
    wide.then(|| {
        let message = format!("the format pads to more than {MAX_WIDTH_DIGITS} digits of width");
        error("format_too_wide", &call.place, message, "leave the width out")
    })
}

/// Rego orders values of different types, so that `"100" > 30` holds and `==` never does.
fn comparison(comparison: &KeyComparison) -> Option<Problem> {
    let key = known::type_of(&comparison.read.path)?;
    if key == comparison.literal {
        return None;
    }
    let path = comparison.read.path.join(".");
    Some(error(
        "type_mismatch",
        &comparison.read.place,
        format!("`input.{path}` is {}, and is compared with {}", word(key), word(comparison.literal)),
        format!("compare it with {}", word(key)),
    ))
}

const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Null => "null",
        Kind::Boolean => "a boolean",
        Kind::Number => "a number",
        Kind::Text => "text",
    }
}
