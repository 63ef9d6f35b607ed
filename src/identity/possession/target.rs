//! The URL that a proof is made for, so that two spellings of one URL compare as equal, and no two URLs do.

use std::fmt::Write as _;

use url::Url;

/// Longest URL, bytes: none of Tollgate's own is near it.
const MAX_URL: usize = 2048;

/// `text` in the normal form of RFC 3986, section 6.2.2 and 6.2.3: scheme and host in lower case, the port written out, dot
/// segments removed, escapes of unreserved characters undone. None if it is no http or https URL, or has a part that
/// `htu` never has: a user, a query, a fragment (RFC 9449, section 4.2).
pub(super) fn normal(text: &str) -> Option<String> {
    // The parser would mend these: a tab disappears, `\` becomes `/`, `https:a` gets its slashes.
    let plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b'?' | b'#');
    if text.len() > MAX_URL || !text.bytes().all(plain) || !text.contains("://") {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https");
    if !is_web || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let (host, port) = (url.host_str()?, url.port_or_known_default()?);
    Some(format!("{}://{host}:{port}{}", url.scheme(), unescaped(url.path())?))
}

/// `path` with its escapes of unreserved characters undone, and the digits of the others in upper case (RFC 3986, sections
/// 6.2.2.1 and 6.2.2.2). None if an escape is cut off.
fn unescaped(path: &str) -> Option<String> {
    let mut parts = path.split('%');
    let mut normal = parts.next()?.to_owned();
    for part in parts {
        let (digits, rest) = part.split_at_checked(2)?;
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| !digits.starts_with('+'))?;
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            normal.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(normal, "%{byte:02X}");
        }
        normal.push_str(rest);
    }
    Some(normal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spellings_of_one_url_are_equal() {
        let token = normal("https://tollgate.example/token").unwrap();
        for same in [
            "HTTPS://Tollgate.Example/token",
            "https://tollgate.example:443/token",
            "https://tollgate.example/./token",
            "https://tollgate.example/v1/../token",
            "https://tollgate.example/%74oken",
        ] {
            assert_eq!(normal(same).unwrap(), token, "{same}");
        }
        assert_eq!(normal("http://a.example").unwrap(), "http://a.example:80/");
        assert_eq!(normal("https://a.example/%2f%7E").unwrap(), "https://a.example:443/%2F~");
    }

    #[test]
    fn other_urls_differ_and_what_htu_never_has_is_refused() {
        let token = normal("https://tollgate.example/token").unwrap();
        for other in [
            "http://tollgate.example/token",
            "https://tollgate.example:8443/token",
            "https://tollgate.example/token/",
            "https://tollgate.example/Token",
            "https://tollgate.example.evil.example/token",
            "https://tollgate.example/%2ftoken",
            "https://tollgate.example//token",
        ] {
            assert_ne!(normal(other).unwrap(), token, "{other}");
        }
        for bad in [
            "",
            "/token",
            "https:tollgate.example/token",
            "https://tollgate.example/token?a=b",
            "https://tollgate.example/token#x",
            "https://user@tollgate.example/token",
            "https://tollgate.example\\token",
            "https://tollgate.example/to ken",
            "https://tollgate.example/to\tken",
            "https://tollgate.example/%7",
            "https://tollgate.example/%+7",
            "file:///token",
            "https://é.example/token",
        ] {
            assert_eq!(normal(bad), None, "{bad:?}");
        }
        assert_eq!(normal(&format!("https://a.example/{}", "a".repeat(MAX_URL))), None);
    }

    proptest! {
        #[test]
        fn a_normal_form_is_its_own(text in "https?://[a-z]{1,5}(:[1-9]{2})?(/[a-zA-Z0-9.%~_-]{0,6}){0,4}") {
            if let Some(once) = normal(&text) {
                prop_assert_eq!(normal(&once), Some(once.clone()));
            }
        }
    }
}
