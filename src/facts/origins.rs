//! Where each key of an input came from, written down once, as the record keeps it.

use super::Origin;

/// Key path, such as `context.branch`, to origin: the text of a JSON object. There are dozens of keys per request, and only
/// a reader of the record ever looks one up.
#[derive(Debug, Clone)]
pub struct Origins(Vec<u8>);

impl Origins {
    /// Room for the keys of a usual request, bytes.
    const USUAL: usize = 4096;

    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(Self::USUAL))
    }

    /// Notes where the member `key` of `part` came from, of the input itself if `part` is empty. Parts are words of ours, and
    /// each path is noted once.
    pub(super) fn add(&mut self, part: &str, key: &str, origin: &Origin) {
        let text = &mut self.0;
        text.push(if text.is_empty() { b'{' } else { b',' });
        text.push(b'"');
        if !part.is_empty() {
            text.extend_from_slice(part.as_bytes());
            text.push(b'.');
        }
        let quote = text.len();
        // Text and a plain enum can always be written to memory.
        let _ = serde_json::to_writer(&mut *text, key);
        text.remove(quote);
        text.push(b':');
        let _ = serde_json::to_writer(text, origin);
    }

    /// The JSON object.
    pub fn to_json(&self) -> String {
        let mut text = String::from_utf8_lossy(&self.0).into_owned();
        text.push_str(if text.is_empty() { "{}" } else { "}" });
        text
    }

    /// The origins by path.
    #[cfg(test)]
    pub(crate) fn by_path(&self) -> std::collections::BTreeMap<String, Origin> {
        serde_json::from_str(&self.to_json()).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_json_whatever_the_keys_are() {
        let mut origins = Origins::new();
        assert_eq!(origins.to_json(), "{}");
        origins.add("context", "branch", &Origin::Token);
        origins.add("resource.labels", "a\"b\\\u{1}é", &Origin::Table("t\"".into()));
        let found = origins.by_path();
        assert_eq!(found["context.branch"], Origin::Token);
        assert_eq!(found["resource.labels.a\"b\\\u{1}é"], Origin::Table("t\"".into()));
        assert_eq!(found.len(), 2);
    }
}
