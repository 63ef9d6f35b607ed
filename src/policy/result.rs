//! Checks what a rule answered against the policy contract: exact types, bounded counts and lengths, nothing that
//! could forge a line of a log or a terminal.
//!
//! Nothing is coerced: `"true"` is not `true`, and a wrong shape is a failure of the package, never a weaker answer.

use std::collections::{BTreeMap, BTreeSet};

use regorus::Value;

use super::decision::Require;
use crate::domain::{PackageName, Reason, ScopeName, Ttl, deceives};

/// Most denials of one package.
const MAX_REASONS: usize = 32;
/// Longest message or fix, in bytes.
const MAX_TEXT_BYTES: usize = 512;
/// Longest rule id, tag key or group, in bytes. Session tag keys of AWS have at most 128.
const MAX_WORD_BYTES: usize = 128;
/// Longest tag value, in bytes; the length of AWS session tag values.
const MAX_TAG_BYTES: usize = 256;
/// Most tags; as many as AWS takes in one session (`AssumeRole`, parameter `Tags`).
const MAX_TAGS: usize = 50;
/// Most scopes of one package.
const MAX_SCOPES: usize = 256;
/// Most approvals that can be required.
const MAX_APPROVALS: u64 = 10;
/// Most groups that approvers may come from.
const MAX_GROUPS: usize = 16;

/// An answer of the wrong shape.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{rule}` {problem}")]
pub(super) struct BadResult {
    rule: &'static str,
    problem: String,
}

/// Reads one rule's answer.
struct Answer<'a> {
    rule: &'static str,
    value: &'a Value,
}

/// `allow`: only `true` allows. Undefined means that no body of the rule held.
pub(super) fn allow(value: &Value) -> Result<bool, BadResult> {
    match value {
        Value::Undefined => Ok(false),
        Value::Bool(allowed) => Ok(*allowed),
        _ => Err(Answer { rule: "allow", value }.bad("must be a boolean")),
    }
}

/// `deny`: a set of messages, or of objects with `message` and perhaps `id` and `fix`.
pub(super) fn deny(package: &PackageName, value: &Value) -> Result<Vec<Reason>, BadResult> {
    let answer = Answer { rule: "deny", value };
    answer.set(MAX_REASONS)?.into_iter().map(|value| Answer { rule: "deny", value }.reason(package)).collect()
}

/// `max_ttl`: text such as `"30m"`; undefined means no limit of the package's own.
pub(super) fn max_ttl(value: &Value) -> Result<Option<Ttl>, BadResult> {
    let answer = Answer { rule: "max_ttl", value };
    answer.defined().map(|answer| answer.ttl()).transpose()
}

/// `scopes`: a set of scope names, which may be empty.
pub(super) fn scopes(value: &Value) -> Result<BTreeSet<ScopeName>, BadResult> {
    let answer = Answer { rule: "scopes", value };
    let scope = |value| {
        let answer = Answer { rule: "scopes", value };
        answer.word(MAX_WORD_BYTES)?.parse().map_err(|_| answer.bad("holds something that is no scope name"))
    };
    answer.set(MAX_SCOPES)?.into_iter().map(scope).collect()
}

/// `require`: `{approvals, from, mfa_max_age}`; undefined means nothing.
pub(super) fn require(value: &Value) -> Result<Option<Require>, BadResult> {
    let answer = Answer { rule: "require", value };
    answer.defined().map(|answer| answer.require()).transpose()
}

/// `tags`: an object of texts; undefined means none.
pub(super) fn tags(value: &Value) -> Result<BTreeMap<String, String>, BadResult> {
    let answer = Answer { rule: "tags", value };
    let Some(answer) = answer.defined() else { return Ok(BTreeMap::new()) };
    let Value::Object(fields) = answer.value else { return Err(answer.bad("must be an object")) };
    if fields.len() > MAX_TAGS {
        return Err(answer.bad(format!("has more than {MAX_TAGS} entries")));
    }
    let text = |value, limit| Answer { rule: "tags", value }.word(limit).map(str::to_owned);
    fields.iter().map(|(key, value)| Ok((text(key, MAX_WORD_BYTES)?, text(value, MAX_TAG_BYTES)?))).collect()
}

impl<'a> Answer<'a> {
    fn bad(&self, problem: impl Into<String>) -> BadResult {
        BadResult { rule: self.rule, problem: problem.into() }
    }

    fn defined(self) -> Option<Self> {
        (*self.value != Value::Undefined).then_some(self)
    }

    fn set(&self, limit: usize) -> Result<Vec<&'a Value>, BadResult> {
        match self.value {
            Value::Set(items) if items.len() <= limit => Ok(items.iter_sorted().collect()),
            Value::Set(_) => Err(self.bad(format!("has more than {limit} elements"))),
            _ => Err(self.bad("must be a set")),
        }
    }

    /// Text that is not empty, not longer than `limit` bytes, and has nothing that moves a cursor or turns a line.
    fn word(&self, limit: usize) -> Result<&'a str, BadResult> {
        let Value::String(text) = self.value else { return Err(self.bad("must hold text")) };
        if text.is_empty() || text.len() > limit {
            return Err(self.bad(format!("holds a text that is empty or longer than {limit} bytes")));
        }
        if text.chars().any(deceives) {
            return Err(self.bad("holds a control or text-direction character"));
        }
        Ok(text)
    }

    fn ttl(&self) -> Result<Ttl, BadResult> {
        self.word(MAX_WORD_BYTES)?.parse().map_err(|error| self.bad(format!("is no lifetime: {error}")))
    }

    /// The members of an object, each of them one of `known`.
    fn members<const N: usize>(&self, known: [&str; N]) -> Result<[Option<Answer<'a>>; N], BadResult> {
        let Value::Object(fields) = self.value else { return Err(self.bad("must be an object")) };
        let is_known = |key: &Value| key.as_string().is_ok_and(|key| known.contains(&key.as_ref()));
        if !fields.keys().all(is_known) {
            return Err(self.bad(format!("may only have the members {}", known.join(", "))));
        }
        let member =
            |name: &str| fields.get(&Value::from(name)).map(|value| Answer { rule: self.rule, value });
        Ok(known.map(member))
    }

    fn reason(&self, package: &PackageName) -> Result<Reason, BadResult> {
        let package = package.clone();
        if let Value::String(_) = self.value {
            let message = self.word(MAX_TEXT_BYTES)?.to_owned();
            return Ok(Reason { package, id: None, message, fix: None });
        }
        let [id, message, fix] = self.members(["id", "message", "fix"])?;
        let message = message.ok_or_else(|| self.bad("has an object without `message`"))?;
        let text = |answer: Option<Answer<'a>>, limit| {
            answer.map(|answer| answer.word(limit).map(str::to_owned)).transpose()
        };
        Ok(Reason {
            package,
            id: text(id, MAX_WORD_BYTES)?,
            message: message.word(MAX_TEXT_BYTES)?.to_owned(),
            fix: text(fix, MAX_TEXT_BYTES)?,
        })
    }

    fn require(&self) -> Result<Require, BadResult> {
        let [approvals, from, mfa] = self.members(["approvals", "from", "mfa_max_age"])?;
        let approvals = approvals.and_then(|answer| answer.value.as_u64().ok());
        let approvals = approvals.filter(|count| (1..=MAX_APPROVALS).contains(count));
        let approvals = approvals.and_then(|count| u32::try_from(count).ok());
        Ok(Require {
            approvals: approvals
                .ok_or_else(|| self.bad(format!("needs `approvals` from 1 to {MAX_APPROVALS}")))?,
            from: from.map(|answer| answer.groups()).transpose()?.unwrap_or_default(),
            mfa_max_age: mfa.map(|answer| answer.ttl()).transpose()?,
        })
    }

    /// Groups, as a set or an array. Written and empty would read as "nobody" and act as "anybody".
    fn groups(&self) -> Result<BTreeSet<String>, BadResult> {
        let items: Vec<&Value> = match self.value {
            Value::Set(items) => items.iter().collect(),
            Value::Array(items) => items.iter().collect(),
            _ => return Err(self.bad("needs `from` as a set or an array")),
        };
        if items.is_empty() || items.len() > MAX_GROUPS {
            return Err(self.bad(format!("needs 1 to {MAX_GROUPS} groups in `from`, or no `from`")));
        }
        let group = |value| Answer { rule: self.rule, value }.word(MAX_WORD_BYTES).map(str::to_owned);
        items.into_iter().map(group).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn set(items: impl IntoIterator<Item = serde_json::Value>) -> Value {
        Value::from(items.into_iter().map(Value::from).collect::<BTreeSet<_>>())
    }

    fn reasons(items: impl IntoIterator<Item = serde_json::Value>) -> Result<Vec<Reason>, BadResult> {
        deny(&"ci.deploy".parse().unwrap(), &set(items))
    }

    #[test]
    fn p_02_only_the_boolean_true_allows() {
        assert_eq!(allow(&Value::from(true)), Ok(true));
        assert_eq!(allow(&Value::from(false)), Ok(false));
        assert_eq!(allow(&Value::Undefined), Ok(false));
        for wrong in [json!("true"), json!(1), json!({}), json!([true]), json!(null)] {
            assert!(allow(&Value::from(wrong.clone())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn deny_takes_texts_and_objects_and_nothing_else() {
        let found =
            reasons([json!("no"), json!({"id": "D-1", "message": "branch", "fix": "use main"})]).unwrap();
        assert_eq!(found.len(), 2);
        assert!(found.iter().any(|reason| reason.id.as_deref() == Some("D-1") && reason.fix.is_some()));
        for wrong in [json!(1), json!(true), json!({"msg": "no"}), json!({"id": "x"}), json!(""), json!([])] {
            assert!(reasons([wrong.clone()]).is_err(), "{wrong}");
        }
        assert!(deny(&"p".parse().unwrap(), &Value::from(true)).is_err());
        assert!(deny(&"p".parse().unwrap(), &Value::Undefined).is_err());
    }

    #[test]
    fn p_08_messages_are_bounded_and_cannot_forge_lines() {
        for wrong in ["a\nb", "a\u{1b}[2J", "a\u{202e}b", "a\u{2028}b", &"x".repeat(513)] {
            assert!(reasons([json!(wrong)]).is_err(), "{wrong:?}");
            assert!(reasons([json!({"message": "m", "fix": wrong})]).is_err(), "{wrong:?}");
        }
        assert!(reasons((0..33).map(|n| json!(n.to_string()))).is_err());
    }

    #[test]
    fn lifetimes_are_written_with_a_unit() {
        assert_eq!(max_ttl(&Value::from("30m")).unwrap().unwrap().as_secs(), 1800);
        assert_eq!(max_ttl(&Value::Undefined), Ok(None));
        for wrong in [json!(30), json!("30"), json!("0s"), json!("13h"), json!(null)] {
            assert!(max_ttl(&Value::from(wrong.clone())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scopes_are_a_set_of_scope_names() {
        assert_eq!(scopes(&set([json!("read")])).unwrap().len(), 1);
        assert!(scopes(&set([])).unwrap().is_empty());
        assert!(scopes(&set([json!("READ")])).is_err());
        assert!(scopes(&Value::from(json!(["read"]))).is_err());
        assert!(scopes(&Value::Undefined).is_err());
    }

    #[test]
    fn requirements_are_complete_and_bounded() {
        let read = |value: serde_json::Value| require(&Value::from(value));
        let full = read(json!({"approvals": 2, "from": ["sec"], "mfa_max_age": "15m"})).unwrap().unwrap();
        assert_eq!((full.approvals, full.from.len()), (2, 1));
        assert!(read(json!({"approvals": 1})).unwrap().unwrap().from.is_empty());
        assert_eq!(require(&Value::Undefined), Ok(None));
        for wrong in [
            json!({}),
            json!({"approvals": 0}),
            json!({"approvals": 11}),
            json!({"approvals": 1.5}),
            json!({"approvals": "1"}),
            json!({"approvals": 1, "from": []}),
            json!({"approvals": 1, "from": "sec"}),
            json!({"approvals": 1, "form": ["sec"]}),
            json!({"approvals": 1, "mfa_max_age": 900}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tags_are_bounded_texts() {
        assert_eq!(tags(&Value::from(json!({"team": "shop"}))).unwrap().len(), 1);
        assert_eq!(tags(&Value::Undefined), Ok(BTreeMap::new()));
        for wrong in [json!({"team": 1}), json!({"a\n": "b"}), json!({"a": ""}), json!(["a"]), json!("a")] {
            assert!(tags(&Value::from(wrong.clone())).is_err(), "{wrong}");
        }
    }
}
