//! What an issuer entry says of a SPIFFE trust domain: where its bundle comes from, and how its paths are read.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use spiffe::transport::Endpoint;
use url::Url;

use super::template::{self, InvalidTemplate, Part};
use crate::domain::AttributeName;

/// Most segments of a template.
const MAX_SEGMENTS: usize = 32;

/// Where a trust domain's bundle comes from: the keys and authorities that its identities are verified by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BundleSource {
    /// A SPIFFE bundle document, or authorities in PEM; read again as it ages.
    File(PathBuf),
    /// A bundle endpoint (SPIFFE Federation, section 5).
    Endpoint {
        /// Its URL.
        url: Url,
        /// How it proves who it is.
        server: EndpointServer,
    },
    /// What the agent of `[workload_api]` streams: of its own trust domain, and of those that it is federated with.
    WorkloadApi,
}

/// `[workload_api]`: the SPIFFE agent beside this server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkloadApiSettings {
    /// Where it listens: a Unix socket, or a port of this machine.
    pub endpoint: Endpoint,
    /// Tollgate's own SPIFFE ID, if the agent issues it several; the first that it sends unless written.
    pub spiffe_id: Option<String>,
}

/// How a bundle endpoint proves who it is (SPIFFE Federation, section 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EndpointServer {
    /// `https_web`: a certificate that the platform's authorities, or `ca_file`, vouch for.
    Web,
    /// `https_spiffe`: an X.509-SVID of the trust domain itself, verified by the bundle that is known so far.
    Spiffe {
        /// The SPIFFE ID of the endpoint.
        id: String,
        /// The bundle to begin with.
        first: PathBuf,
    },
}

/// A form of paths, such as `/ns/{namespace}/sa/{service_account}`: each placeholder takes one whole segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Text(String),
    Attribute(AttributeName),
}

/// Why a text is no [`PathTemplate`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPathTemplate {
    /// Not `/` and segments.
    #[error("a path begins with a slash and has 1 to {MAX_SEGMENTS} segments, none of them empty")]
    Path,
    /// A segment that no path can have (SPIFFE-ID, section 2.2).
    #[error("a segment has [a-zA-Z0-9._-] and is neither `.` nor `..`")]
    Segment,
    /// A broken placeholder.
    #[error(transparent)]
    Template(#[from] InvalidTemplate),
    /// A placeholder beside text.
    #[error("a placeholder stands for a whole segment: its end would be a guess otherwise")]
    Partial,
    /// A name that appears twice.
    #[error("each placeholder appears once")]
    Twice,
}

impl PathTemplate {
    /// The attributes that `path` gives, if it has this form.
    pub fn read<'p>(&self, path: &'p str) -> Option<Vec<(&AttributeName, &'p str)>> {
        let mut found = Vec::new();
        let mut segments = path.strip_prefix('/')?.split('/');
        for wanted in &self.0 {
            let segment = segments.next()?;
            match wanted {
                Segment::Text(text) if text == segment => {}
                Segment::Text(_) => return None,
                Segment::Attribute(name) => found.push((name, segment)),
            }
        }
        segments.next().is_none().then_some(found)
    }

    /// The attributes that it can give.
    pub fn attributes(&self) -> impl Iterator<Item = &AttributeName> {
        self.0.iter().filter_map(|segment| match segment {
            Segment::Attribute(name) => Some(name),
            Segment::Text(_) => None,
        })
    }
}

impl FromStr for PathTemplate {
    type Err = InvalidPathTemplate;

    fn from_str(text: &str) -> Result<Self, InvalidPathTemplate> {
        let rest = text.strip_prefix('/').ok_or(InvalidPathTemplate::Path)?;
        let segments: Vec<_> = rest.split('/').map(segment).collect::<Result<_, _>>()?;
        if segments.len() > MAX_SEGMENTS {
            return Err(InvalidPathTemplate::Path);
        }
        let template = Self(segments);
        let twice = |(index, name)| template.attributes().take(index).any(|before| before == name);
        if template.attributes().enumerate().any(twice) {
            Err(InvalidPathTemplate::Twice)
        } else {
            Ok(template)
        }
    }
}

fn segment(text: &str) -> Result<Segment, InvalidPathTemplate> {
    match *template::parts(text)?.as_slice() {
        [] => Err(InvalidPathTemplate::Path),
        [Part::Text(text)] => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
            let fits = text.bytes().all(fits) && text != "." && text != "..";
            fits.then(|| Segment::Text(text.to_owned())).ok_or(InvalidPathTemplate::Segment)
        }
        [Part::Placeholder(name)] => {
            name.parse().map(Segment::Attribute).map_err(|_| InvalidTemplate::Name.into())
        }
        _ => Err(InvalidPathTemplate::Partial),
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|segment| match segment {
            Segment::Text(text) => write!(f, "/{text}"),
            Segment::Attribute(name) => write!(f, "/{{{name}}}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        let template: PathTemplate = template.parse().unwrap();
        let pairs = template.read(path)?;
        Some(pairs.into_iter().map(|(name, value)| (name.to_string(), value.to_owned())).collect())
    }

    #[test]
    fn i_16_a_placeholder_takes_one_whole_segment_and_nothing_is_left_over() {
        let template = "/ns/{namespace}/sa/{service_account}";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let wanted = vec![pair("namespace", "shop"), pair("service_account", "deployer")];
        assert_eq!(read(template, "/ns/shop/sa/deployer"), Some(wanted));
        for other in
            ["", "/", "/ns/shop/sa", "/ns/shop/sa/a/b", "/NS/shop/sa/a", "ns/shop/sa/a", "/ns/a/b/sa/c"]
        {
            assert_eq!(read(template, other), None, "{other}");
        }
        assert_eq!(read("/spire/agent", "/spire/agent"), Some(Vec::new()));
    }

    #[test]
    fn refuses_what_could_never_match_or_would_guess() {
        use InvalidPathTemplate as E;
        for (text, error) in [
            ("", E::Path),
            ("/", E::Path),
            ("ns/{a}", E::Path),
            ("/ns//{a}", E::Path),
            ("/ns/{a}/", E::Path),
            ("/../{a}", E::Segment),
            ("/a b", E::Segment),
            ("/job-{id}", E::Partial),
            ("/{a}{b}", E::Partial),
            ("/{a}/{a}", E::Twice),
            ("/{a", E::Template(InvalidTemplate::Unbalanced)),
            ("/{A}", E::Template(InvalidTemplate::Name)),
            ("/{a:path}", E::Template(InvalidTemplate::Name)),
        ] {
            assert_eq!(text.parse::<PathTemplate>(), Err(error), "{text}");
        }
        let text = "/ns/{namespace}/sa/x";
        assert_eq!(text.parse::<PathTemplate>().unwrap().to_string(), text);
    }
}
