//! What AWS is told about who asks: session name, source identity, session tags.
//!
//! Session name and source identity are both `tg-<decision id>`. A principal key holds colons, which neither grammar
//! admits, and nothing is rewritten to fit; the decision id always fits, leads to the record that names the principal,
//! and, as source identity, stays with every session chained from this one and with every `CloudTrail` entry of them.
//! A role that wants the principal at AWS tags the session with it: `tags = { principal = "principal" }`.

use std::collections::BTreeMap;

use crate::domain::{Code, DecisionId, Refusal};
use crate::provider::template::Values;
use crate::provider::upstream::unfit;

/// Most session tags (STS API reference, `AssumeRole`, parameter `Tags`).
const MAX_TAGS: usize = 50;
/// Longest tag key, in characters (STS API reference, `Tag`).
const MAX_KEY: usize = 128;
/// Longest tag value, in characters (STS API reference, `Tag`).
const MAX_VALUE: usize = 256;

/// `RoleSessionName` and `SourceIdentity`: 39 of the 64 characters that `[\w+=,.@-]{2,64}` admits.
pub(super) fn session_name(decision: DecisionId) -> String {
    format!("tg-{decision}")
}

/// The session's tags: those that the role takes from the identity, and those that policy sets.
///
/// A tag whose attribute is missing refuses: without it a condition such as `StringNotEquals` on the tag would hold.
///
/// # Errors
/// `target_value_refused`, or `tag_conflict` where role and policy disagree.
pub(super) fn tags(
    wanted: &BTreeMap<String, String>,
    values: &Values<'_>,
    by_policy: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, Refusal> {
    let mut tags = by_policy.clone();
    for (key, attribute) in wanted {
        let value = values.text(attribute).map_err(|why| unfit(format!("session tag {key}: {why}")))?;
        match tags.get(key) {
            Some(other) if *other != value => {
                return Err(Refusal::new(
                    Code::TagConflict,
                    "role and policy set the same tag to different values",
                )
                .with_detail(format!("session tag {key}")));
            }
            Some(_) | None => tags.insert(key.clone(), value),
        };
    }
    check(&tags)?;
    Ok(tags)
}

fn check(tags: &BTreeMap<String, String>) -> Result<(), Refusal> {
    if tags.len() > MAX_TAGS {
        return Err(unfit(format!("{} session tags; AWS takes {MAX_TAGS}", tags.len())));
    }
    let mut seen = std::collections::BTreeSet::new();
    for (key, value) in tags {
        let lower = key.to_lowercase();
        let why = if key.is_empty() || key.chars().count() > MAX_KEY {
            "a key has 1 to 128 characters"
        } else if lower.starts_with("aws:") {
            "keys that begin with aws: are AWS's own"
        } else if value.chars().count() > MAX_VALUE {
            "a value has at most 256 characters"
        } else if !key.chars().chain(value.chars()).all(is_tag_letter) {
            "keys and values are letters, digits, spaces and _.:/=+-@"
        } else if !seen.insert(lower) {
            "AWS takes keys that differ only in case for one"
        } else {
            continue;
        };
        return Err(unfit(format!("session tag {key:?}: {why}")));
    }
    Ok(())
}

/// `[\p{L}\p{Z}\p{N}_.:/=+\-@]` (STS API reference, `Tag`); of the blanks only the plain space.
fn is_tag_letter(letter: char) -> bool {
    letter.is_alphanumeric() || " _.:/=+-@".contains(letter)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::provider::aws::arn::is_word;
    use crate::provider::testing::Identity;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn with(value: &str) -> Result<BTreeMap<String, String>, Refusal> {
        tags(&map(&[("key", "name")]), &Identity::with("name", json!(value)).values(), &BTreeMap::default())
    }

    #[test]
    fn the_session_name_always_fits_its_grammar() {
        let name = session_name(DecisionId::new(u64::MAX, &[255; 10]));
        assert!((2..=64).contains(&name.len()) && name.bytes().all(is_word), "{name}");
    }

    #[test]
    fn tags_come_from_the_identity_and_from_policy() {
        let identity = Identity::with("repository_id", json!("1234"));
        let values = identity.values();
        let wanted = map(&[("repository", "repository_id"), ("who", "principal")]);
        let tags = tags(&wanted, &values, &map(&[("ticket", "T-1")])).unwrap();
        assert_eq!(
            tags,
            map(&[("repository", "1234"), ("ticket", "T-1"), ("who", "github:repository:1234")])
        );
    }

    #[test]
    fn c_01_refuses_tags_that_do_not_fit_and_rewrites_none() {
        assert!(with("acme/shop @ main").is_ok());
        for bad in ["a\nb", "a*b", "a|b", "a\u{0}", "a\u{2028}b", "<x>"] {
            assert_eq!(with(bad).unwrap_err().code, Code::TargetValueRefused, "{bad:?}");
        }
        assert!(with(&"é".repeat(256)).is_ok());
        assert!(with(&"é".repeat(257)).is_err());
    }

    #[test]
    fn c_01_refuses_a_tag_whose_attribute_is_missing() {
        let identity = Identity::with("repository_id", json!("1234"));
        let values = identity.values();
        let refusal = tags(&map(&[("key", "nothing")]), &values, &BTreeMap::default()).unwrap_err();
        assert_eq!(refusal.code, Code::TargetValueRefused);
    }

    #[test]
    fn role_and_policy_may_agree_on_a_tag_and_may_not_disagree() {
        let identity = Identity::with("name", json!("a"));
        let values = identity.values();
        let wanted = map(&[("key", "name")]);
        assert!(tags(&wanted, &values, &map(&[("key", "a")])).is_ok());
        let refusal = tags(&wanted, &values, &map(&[("key", "b")])).unwrap_err();
        assert_eq!(refusal.code, Code::TagConflict);
    }

    #[test]
    fn refuses_reserved_duplicate_long_and_too_many_keys() {
        let identity = Identity::with("repository_id", json!("1234"));
        let values = identity.values();
        let long = "k".repeat(129);
        for policy in
            [map(&[("AWS:x", "")]), map(&[("a", ""), ("A", "")]), map(&[("", "")]), map(&[(&long, "")])]
        {
            assert!(tags(&BTreeMap::default(), &values, &policy).is_err(), "{policy:?}");
        }
        let many =
            |count: usize| (0..count).map(|n| (format!("k{n}"), String::new())).collect::<BTreeMap<_, _>>();
        assert!(tags(&BTreeMap::default(), &values, &many(50)).is_ok());
        assert!(tags(&BTreeMap::default(), &values, &many(51)).is_err());
    }
}
