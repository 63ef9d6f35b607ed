//! Parses a file as Rego v1, or else in the older `allow { … }` syntax, without letting the fallback fail open.
//!
//! In the older syntax a file that does not import `if` reads `allow if { 1 == 2 }` as the unconditional rule
//! `allow`. Every file that falls back is therefore read with all future keywords imported, and a rule with neither
//! body nor value is refused.

use regorus::Engine;
use regorus::unstable::{Module, Ref, Rule, RuleHead};

use super::regorus_error::first_error;

/// The text that is put behind the package path; on the same line, so that line numbers stay true.
const KEYWORDS: &str = " import future.keywords";

/// The one v1 error that says that the author writes the older syntax.
const OLDER_SYNTAX: &str = "`if` keyword is required before rule body";

/// Which Rego a file is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Syntax {
    /// Rego v1.
    V1,
    /// The older syntax, with all future keywords imported.
    V0,
}

/// A file's syntax tree with the text that gave it.
#[derive(Debug, Clone)]
pub(super) struct Parsed {
    pub(super) syntax: Syntax,
    pub(super) text: String,
    pub(super) module: Ref<Module>,
}

/// Why a file does not parse: the parser's word and its line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(super) struct SyntaxError {
    pub(super) line: Option<usize>,
    pub(super) message: String,
}

/// Parses `text`, first as v1.
pub(super) fn parse(text: &str) -> Result<Parsed, SyntaxError> {
    let v1 = match parse_as(Syntax::V1, text) {
        Ok(parsed) => return Ok(parsed),
        Err(error) => error,
    };
    let Some(with_keywords) = import_keywords(text) else { return Err(v1) };
    match parse_as(Syntax::V0, &with_keywords) {
        Ok(parsed) => Ok(parsed),
        Err(v0) if v1.message == OLDER_SYNTAX => Err(v0),
        Err(_) => Err(v1),
    }
}

fn parse_as(syntax: Syntax, text: &str) -> Result<Parsed, SyntaxError> {
    let mut engine = Engine::new();
    engine.set_rego_v0(syntax == Syntax::V0);
    engine.add_policy(String::new(), text.to_owned()).map_err(|error| SyntaxError::read(&error))?;
    let module = engine.get_modules().first().cloned();
    let module = module.ok_or_else(|| SyntaxError { line: None, message: "the file is empty".into() })?;
    match module.policy.iter().find(|rule| is_bare(rule)) {
        Some(rule) => Err(SyntaxError {
            line: usize::try_from(rule.span().line).ok(),
            message: "the rule has neither a body nor a value, so it would always hold".into(),
        }),
        None => Ok(Parsed { syntax, text: text.to_owned(), module }),
    }
}

/// True for `allow` alone on a line. Version 1 refuses it itself; the older syntax takes it as "always".
fn is_bare(rule: &Rule) -> bool {
    match rule {
        Rule::Default { .. } => false,
        Rule::Spec { head, bodies, .. } => {
            bodies.is_empty()
                && match head {
                    RuleHead::Compr { assign, .. } | RuleHead::Func { assign, .. } => assign.is_none(),
                    RuleHead::Set { key, .. } => key.is_none(),
                }
        }
    }
}

/// `text` with the future keywords imported on its package line; none if that line is not where it should be.
fn import_keywords(text: &str) -> Option<String> {
    let mut start = 0;
    let line = text.split_inclusive('\n').find(|line| {
        let code = line.trim_start();
        let blank = code.is_empty() || code.starts_with('#');
        if blank {
            start += line.len();
        }
        !blank
    })?;
    let path = line.trim_start().strip_prefix("package")?;
    let name = path.trim_start_matches([' ', '\t']);
    if name.len() == path.len() {
        return None;
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
    let name_end = name.find(|c| !plain(c)).unwrap_or(name.len());
    let end = start + (line.len() - name.len()) + name_end;
    let (head, tail) = text.split_at_checked(end)?;
    Some(format!("{head}{KEYWORDS}{tail}"))
}

impl SyntaxError {
    /// Takes line and reason out of the parser's picture of the source.
    pub(super) fn read(error: &impl ToString) -> Self {
        let text = error.to_string();
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("--> "))
            .and_then(|place| place.rsplit(':').nth(1))
            .and_then(|line| line.parse().ok());
        Self { line, message: first_error(&text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syntax(text: &str) -> Result<Syntax, SyntaxError> {
        parse(text).map(|parsed| parsed.syntax)
    }

    #[test]
    fn v1_files_stay_v1_and_older_ones_fall_back() {
        assert_eq!(syntax("package p\nallow if { input.x == 1 }"), Ok(Syntax::V1));
        assert_eq!(syntax("package p\nimport rego.v1\nallow if { input.x == 1 }"), Ok(Syntax::V1));
        assert_eq!(syntax("# c\n\npackage p # c\nallow { input.x in [1, 2] }"), Ok(Syntax::V0));
        assert_eq!(syntax("package p\ndefault allow = false\ndeny[msg] { msg := \"x\" }"), Ok(Syntax::V0));
        assert_eq!(syntax("package p\nimport future.keywords.in\nallow { input.x in [1] }"), Ok(Syntax::V0));
    }

    #[test]
    fn p_02_one_forgotten_if_does_not_make_the_other_rules_unconditional() {
        // Read without the keywords, `allow if` would be a rule `allow` that always holds, and a rule `if`.
        let parsed = parse("package p\nallow if { 1 == 2 }\nhelper { 1 == 1 }").unwrap();
        assert_eq!(parsed.syntax, Syntax::V0);
        assert_eq!(parsed.module.policy.len(), 2);
        let mut engine = Engine::new();
        engine.set_rego_v0(true);
        engine.add_policy(String::new(), parsed.text).unwrap();
        assert_eq!(engine.eval_rule("data.p.allow".into()).unwrap(), regorus::Value::Undefined);
    }

    #[test]
    fn p_02_refuses_a_rule_without_body_and_value() {
        let error = syntax("package p\nhelper { 1 == 1 }\nallow\n").unwrap_err();
        assert_eq!(error.line, Some(3));
        assert!(syntax("package p\nallow\n").is_err());
        assert!(syntax("package p\nhelper { 1 == 1 }\nf(x)\n").is_err());
    }

    #[test]
    fn keywords_go_behind_the_package_path_and_lines_stay_true() {
        assert_eq!(
            import_keywords("package a.b\nx").as_deref(),
            Some("package a.b import future.keywords\nx")
        );
        let commented = "# one\n\n package a # two\n";
        let imported = import_keywords(commented).unwrap();
        assert_eq!(imported, "# one\n\n package a import future.keywords # two\n");
        assert_eq!(import_keywords("packagex"), None);
        assert_eq!(import_keywords("# only a comment"), None);
        let error = syntax("package p\nallow { input.x }\nbroken {").unwrap_err();
        assert_eq!(error.line, Some(3));
    }

    #[test]
    fn reports_the_v1_error_unless_the_author_writes_the_older_syntax() {
        let error = syntax("package p\nallow if { ).").unwrap_err();
        assert_eq!(error.line, Some(2));
        assert_ne!(error.message, OLDER_SYNTAX);
        assert!(syntax("").is_err());
    }
}
