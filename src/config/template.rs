//! Text with `{name}` placeholders, which take verified values when a credential is minted or a source is asked.
//!
//! `{name:path}` and `{declared.name}` are for the URLs of sources, where `facts` gives them their meaning.
//! There is no escape and no default: a brace always belongs to a placeholder, and an unknown name does not load.

/// A part of a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'t> {
    /// Text as it is.
    Text(&'t str),
    /// The name between braces.
    Placeholder(&'t str),
}

/// Why a text is not a template.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// A brace without its partner, or within another pair.
    #[error("every `{{` needs its `}}`")]
    Unbalanced,
    /// A name that cannot be one.
    #[error("a placeholder is {{name}}, of [a-z_][a-z0-9_]*; a source's URL takes {{declared.name}} too")]
    Name,
}

/// Splits `text` into its parts, in order.
///
/// # Errors
/// [`InvalidTemplate`] for a lone brace or a name that breaks the grammar.
pub fn parts(text: &str) -> Result<Vec<Part<'_>>, InvalidTemplate> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').ok_or(InvalidTemplate::Unbalanced)?;
        if before.contains('}') || name.contains('{') {
            return Err(InvalidTemplate::Unbalanced);
        }
        let word = name.strip_suffix(":path").unwrap_or(name);
        if !is_word(word.strip_prefix("declared.").unwrap_or(word)) {
            return Err(InvalidTemplate::Name);
        }
        if !before.is_empty() {
            parts.push(Part::Text(before));
        }
        parts.push(Part::Placeholder(name));
        rest = after;
    }
    if rest.contains('}') {
        return Err(InvalidTemplate::Unbalanced);
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest));
    }
    Ok(parts)
}

fn is_word(word: &str) -> bool {
    word.parse::<crate::domain::AttributeName>().is_ok()
}

/// The placeholders' names in `text`, in order; none if it is not a template.
pub fn placeholders(text: &str) -> Vec<&str> {
    let names = |part: &Part<'_>| matches!(part, Part::Placeholder(_));
    parts(text)
        .unwrap_or_default()
        .into_iter()
        .filter(names)
        .map(|part| match part {
            Part::Text(name) | Part::Placeholder(name) => name,
        })
        .collect()
}

/// `text` with `value` in place of each placeholder; to check the grammar around them.
pub(super) fn filled(text: &str, value: &str) -> String {
    parts(text)
        .unwrap_or_default()
        .iter()
        .map(|part| match part {
            Part::Text(text) => *text,
            Part::Placeholder(_) => value,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_text_and_placeholders() {
        let found = parts("a/{owner_id}/{declared.ticket}").unwrap();
        let wanted = [
            Part::Text("a/"),
            Part::Placeholder("owner_id"),
            Part::Text("/"),
            Part::Placeholder("declared.ticket"),
        ];
        assert_eq!(found, wanted);
        assert_eq!(placeholders("a/{owner_id}/{declared.ticket}"), ["owner_id", "declared.ticket"]);
        assert_eq!(filled("a{b}c", "-"), "a-c");
    }

    #[test]
    fn refuses_lone_braces_and_odd_names() {
        for text in ["{", "}", "a}b{c}", "{a{b}}", "{a}}"] {
            assert_eq!(parts(text), Err(InvalidTemplate::Unbalanced), "{text}");
        }
        for text in ["{}", "{A}", "{a b}", "{aws:username}", "{a.b}", "{declared.}", "{:path}"] {
            assert_eq!(parts(text), Err(InvalidTemplate::Name), "{text}");
        }
    }
}
