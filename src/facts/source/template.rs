//! URL templates of fact sources: where a value may stand, and how it enters.
//!
//! A value enters as one path segment or query value and can never choose the host, climb out of its folder, or add a
//! segment, parameter or fragment. Values that would are refused, not cleaned.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::config::template;
use crate::domain::{AttributeName, FactKey};

/// All but the unreserved characters (RFC 3986, section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Longest value that enters a URL, bytes.
const MAX_VALUE_BYTES: usize = 512;

/// Longest URL, bytes.
const MAX_URL_BYTES: usize = 4096;

/// A parsed template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Template(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(String),
    Value { name: Placeholder, shape: Shape },
}

/// How a value enters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// `{name}`: one segment; a `/` is encoded.
    Segment,
    /// `{name:path}`: a `/` separates segments, each encoded.
    Path,
}

/// Whose value a placeholder takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::facts) enum Placeholder {
    /// `{attribute}`: a verified attribute of the identity.
    Attribute(AttributeName),
    /// `{declared.key}`: what the caller declared.
    Declared(FactKey),
}

/// A template that could send a request somewhere else than its author reads.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTemplate {
    /// Braces that do not pair, or hold no name.
    #[error(transparent)]
    Placeholder(#[from] template::InvalidTemplate),
    /// A placeholder before the path begins.
    #[error("scheme and host must be written out; placeholders belong in the path or the query")]
    Host,
    /// Not a URL, or one that a URL parser would rewrite.
    #[error("not an absolute URL in its normal form, without user, password or fragment")]
    NotNormal,
}

/// Why no URL could be made for this request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::facts) enum RenderError {
    #[error("this identity has no `{0}` to ask with")]
    NoAttribute(AttributeName),
    #[error("the caller declared no `{0}` to ask with")]
    NotDeclared(FactKey),
    #[error("the value of a placeholder is empty, longer than {MAX_VALUE_BYTES} bytes, or has a dot segment")]
    BadValue,
    #[error("the URL would be longer than {MAX_URL_BYTES} bytes, or read differently than written")]
    BadUrl,
}

impl Template {
    /// Parses `text`.
    pub(super) fn parse(text: &str) -> Result<Self, InvalidTemplate> {
        let template = Self(parts(text)?);
        let Some(Part::Literal(prefix)) = template.0.first() else { return Err(InvalidTemplate::Host) };
        let (_, after_scheme) = prefix.split_once("://").ok_or(InvalidTemplate::Host)?;
        if !after_scheme.contains('/') {
            return Err(InvalidTemplate::Host);
        }
        let probe = template.fill(|_| Ok("x".to_owned())).map_err(|_| InvalidTemplate::NotNormal)?;
        let plain = probe.username().is_empty() && probe.password().is_none() && probe.fragment().is_none();
        if plain && probe.has_host() { Ok(template) } else { Err(InvalidTemplate::NotNormal) }
    }

    /// The URL with each placeholder replaced by what `value` gives for it.
    pub(super) fn render(&self, value: impl Fn(&Placeholder) -> Option<String>) -> Result<Url, RenderError> {
        self.fill(|name| {
            value(name).ok_or_else(|| match name {
                Placeholder::Attribute(name) => RenderError::NoAttribute(name.clone()),
                Placeholder::Declared(key) => RenderError::NotDeclared(key.clone()),
            })
        })
    }

    fn fill(&self, value: impl Fn(&Placeholder) -> Result<String, RenderError>) -> Result<Url, RenderError> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Value { name, shape } => push_value(&mut text, &value(name)?, *shape)?,
            }
        }
        let url = Url::parse(&text).map_err(|_| RenderError::BadUrl)?;
        // The parser resolves dot segments and repairs what it can. What it changed is not what the author wrote.
        if url.as_str() == text && text.len() <= MAX_URL_BYTES { Ok(url) } else { Err(RenderError::BadUrl) }
    }
}

fn push_value(text: &mut String, value: &str, shape: Shape) -> Result<(), RenderError> {
    // Some servers decode `%2F` before they route, so a dot segment is refused even inside one encoded segment.
    let climbs = value.split(['/', '\\']).any(|part| matches!(part, "." | ".."));
    if value.is_empty() || value.len() > MAX_VALUE_BYTES || climbs {
        return Err(RenderError::BadValue);
    }
    match shape {
        Shape::Segment => text.extend(utf8_percent_encode(value, RESERVED)),
        Shape::Path => {
            for (index, segment) in value.split('/').enumerate() {
                if segment.is_empty() {
                    return Err(RenderError::BadValue);
                }
                if index > 0 {
                    text.push('/');
                }
                text.extend(utf8_percent_encode(segment, RESERVED));
            }
        }
    }
    Ok(())
}

fn parts(text: &str) -> Result<Vec<Part>, InvalidTemplate> {
    let part = |part| match part {
        template::Part::Text(text) => Ok(Part::Literal(text.to_owned())),
        template::Part::Placeholder(inside) => placeholder(inside),
    };
    template::parts(text)?.into_iter().map(part).collect()
}

fn placeholder(inside: &str) -> Result<Part, InvalidTemplate> {
    let (name, shape) = match inside.strip_suffix(":path") {
        Some(name) => (name, Shape::Path),
        None => (inside, Shape::Segment),
    };
    let name = match name.strip_prefix("declared.") {
        Some(key) => key.parse().map(Placeholder::Declared),
        None => name.parse().map(Placeholder::Attribute),
    };
    name.map(|name| Part::Value { name, shape }).map_err(|_| template::InvalidTemplate::Name.into())
}

#[cfg(test)]
#[path = "template_tests.rs"]
mod tests;
