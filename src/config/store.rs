//! Where a ledger is kept: a SQLite file, or a database of a PostgreSQL server.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use percent_encoding::percent_decode_str;
use secrecy::SecretString;
use url::Url;

use super::WorkloadApiSettings;

/// Connections for reading unless written otherwise.
const POOL: u32 = 8;

/// The port that PostgreSQL listens on unless told otherwise.
const PORT: u16 = 5432;

/// Where a ledger is kept.
#[derive(Debug, Clone)]
pub enum StorePlace {
    /// One file, for one server.
    Sqlite(PathBuf),
    /// A database, for any number of servers.
    Postgres(PostgresPlace),
}

/// A database of a PostgreSQL server. What is not written here is never taken from the environment.
#[derive(Debug, Clone)]
pub struct PostgresPlace {
    /// Name or address of the server, or the folder of its Unix socket, which begins with `/`.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The role to log in as.
    pub user: String,
    /// The database.
    pub database: String,
    /// The role's password; none where the server asks for none.
    pub password: Option<SecretString>,
    /// PEM file of the authority that signed the server's certificate, beside those that the web trusts.
    pub ca: Option<PathBuf>,
    /// The agent whose SVID is shown to the server.
    pub client_certificate: Option<WorkloadApiSettings>,
    /// Most connections for reading; one more writes.
    pub pool: u32,
}

/// A text that names no database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a database: {0}")]
pub struct InvalidPlace(&'static str);

impl PostgresPlace {
    /// Reads `postgres://user[:password]@host[:port]/database`; the folder of a Unix socket is written as the host with
    /// its slashes as `%2F`.
    ///
    /// # Errors
    /// What is missing or too much; never the text itself, which may hold a password.
    pub fn from_url(text: &str) -> Result<Self, InvalidPlace> {
        let url = Url::parse(text).map_err(|_| InvalidPlace("it is no URL"))?;
        if !matches!(url.scheme(), "postgres" | "postgresql") {
            return Err(InvalidPlace("its scheme is not postgres"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidPlace("it has parameters; settings have keys of their own"));
        }
        let part = |part: &str, missing| match percent_decode_str(part).decode_utf8() {
            Ok(text) if !text.is_empty() => Ok(text.into_owned()),
            Ok(_) | Err(_) => Err(InvalidPlace(missing)),
        };
        let host = part(url.host_str().unwrap_or_default(), "it names no host")?;
        let host = host.trim_matches(['[', ']']).to_owned();
        let password =
            url.password().map(|password| part(password, "its password is no text")).transpose()?;
        Ok(Self {
            host,
            port: url.port().unwrap_or(PORT),
            user: part(url.username(), "it names no user")?,
            database: part(url.path().trim_start_matches('/'), "it names no database")?,
            password: password.map(SecretString::from),
            ca: None,
            client_certificate: None,
            pool: POOL,
        })
    }

    /// True if the server is on this machine for certain: a literal loopback address, or a Unix socket.
    pub fn is_local(&self) -> bool {
        self.is_socket() || self.host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
    }

    /// True if it is reached through a Unix socket.
    pub fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }

    /// True if the connection is encrypted and the server's certificate verified: always, but for a server on this
    /// machine that no authority is named for.
    pub fn is_encrypted(&self) -> bool {
        !self.is_local() || (self.ca.is_some() && !self.is_socket())
    }
}

impl StorePlace {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(path) => Some(path),
            Self::Postgres(_) => None,
        }
    }
}

impl fmt::Display for StorePlace {
    /// Names the place, without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => path.display().fmt(f),
            Self::Postgres(place) => place.fmt(f),
        }
    }
}

impl fmt::Display for PostgresPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, user, database, .. } = self;
        write!(f, "postgres://{user}@{host}:{port}/{database}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[test]
    fn a_url_names_user_host_port_and_database() {
        let place = PostgresPlace::from_url("postgres://tollgate@db.example:6432/ledger").unwrap();
        assert_eq!(place.to_string(), "postgres://tollgate@db.example:6432/ledger");
        assert!(place.password.is_none() && place.is_encrypted());
        let place = PostgresPlace::from_url("postgresql://t:p%40ss@127.0.0.1/ledger").unwrap();
        assert_eq!(place.password.as_ref().map(ExposeSecret::expose_secret), Some("p@ss"));
        assert!(!place.is_encrypted() && place.port == PORT);
        let with_ca = PostgresPlace { ca: Some("ca.pem".into()), ..place };
        assert!(with_ca.is_encrypted());
        let socket = PostgresPlace::from_url("postgres://t@%2Frun%2Fpostgresql/ledger").unwrap();
        assert!(socket.is_socket() && socket.host == "/run/postgresql" && !socket.is_encrypted());
        assert!(PostgresPlace::from_url("postgres://t@[::1]/ledger").unwrap().is_local());
    }

    #[test]
    fn what_is_missing_is_named_and_the_text_is_not_shown() {
        for (text, why) in [
            ("sentinel", "no URL"),
            ("https://u@h/d", "scheme"),
            ("postgres://h/d", "user"),
            ("postgres://u@/d", "no URL"),
            ("postgres://u:sentinel@h", "no database"),
            ("postgres://u:sentinel@h/d?sslmode=disable", "parameters"),
        ] {
            let told = PostgresPlace::from_url(text).unwrap_err().to_string();
            assert!(told.contains(why) && !told.contains("sentinel"), "{text}: {told}");
        }
    }

    #[test]
    fn s_01_the_password_is_in_no_debug_output() {
        let place = PostgresPlace::from_url("postgres://u:sentinel@h/d").unwrap();
        assert!(!format!("{place:?} {place}").contains("sentinel"));
    }
}
