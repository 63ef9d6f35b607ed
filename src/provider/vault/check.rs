//! What is asked of Vault, and whether that is what it answered.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::wire::Auth;
use crate::config::{ScopeSpec, VaultRole};
use crate::domain::Refusal;
use crate::policy::Grant;
use crate::provider::upstream::{internal, unfit};

/// Longest lifetime of a fresh login, in seconds: how long one that nobody recorded stays alive.
const MAX_LOGIN: u64 = 120;
/// Longest policy name, in bytes.
const MAX_POLICY: usize = 128;

/// A child token as asked for.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    /// Policies of the granted scopes, sorted, each once.
    pub(super) policies: Vec<&'a str>,
    /// Lifetime, in seconds.
    pub(super) ttl: u64,
    /// Lifetime of the child, in seconds: the same, or the whole session if its login is to be extended.
    pub(super) life: u64,
    /// Uses; 0 means any number.
    pub(super) uses: u32,
}

impl<'a> Asked<'a> {
    /// What `grant` comes to.
    ///
    /// # Errors
    /// `target_value_refused`.
    pub(super) fn new(grant: &'a Grant, settings: &VaultRole) -> Result<Self, Refusal> {
        let (uses, ttl) = (settings.uses.unwrap_or(0), grant.ttl());
        let life = grant.facts().role().lease.max_session.map_or(ttl, |session| session.max(ttl));
        Ok(Self { policies: policies(grant)?, ttl: ttl.as_secs().into(), life: life.as_secs().into(), uses })
    }

    /// Compares the child with what was asked.
    ///
    /// # Errors
    /// What differs, without the token.
    pub(super) fn check(&self, child: &Auth) -> Result<(), String> {
        let got: BTreeSet<&str> = child.policies.iter().map(String::as_str).collect();
        // Policies of the identity entity are in the answer too: a child that has them holds more than was granted.
        if !got.iter().eq(self.policies.iter()) {
            return Err(format!("the child has the policies {got:?}; {:?} were asked for", self.policies));
        }
        if child.orphan {
            return Err("the child is an orphan: revoking the login would leave it alive".to_owned());
        }
        if child.renewable {
            return Err("the child is renewable".to_owned());
        }
        if child.lease_duration == 0 || child.lease_duration > self.life {
            return Err(format!("the child lives {} s; {} s are granted", child.lease_duration, self.life));
        }
        if child.num_uses != self.uses {
            return Err(format!("the child has {} uses; {} were asked for", child.num_uses, self.uses));
        }
        if child.accessor.is_empty() {
            return Err("the child has no accessor: it is a batch token, which nothing can revoke".to_owned());
        }
        Ok(())
    }
}

/// The policies of the granted scopes.
///
/// # Errors
/// `target_value_refused` for none, for `root`, and for names that Vault would rewrite.
pub(super) fn policies(grant: &Grant) -> Result<Vec<&str>, Refusal> {
    let mut policies = BTreeSet::new();
    for name in grant.scopes() {
        match grant.facts().role().scopes.get(name) {
            Some(ScopeSpec::Vault(scope)) => policies.extend(scope.policies.iter().map(String::as_str)),
            Some(ScopeSpec::Aws(_) | ScopeSpec::Jwt) | None => {
                return Err(internal(format!("scope {name} is not one of Vault")));
            }
        }
    }
    if policies.is_empty() {
        return Err(unfit(
            "the granted scopes come to no policy: the child would inherit all of the login's",
        ));
    }
    match policies.iter().find(|name| !is_policy(name)) {
        Some(name) => {
            Err(unfit(format!("{name:?} is not a policy name: [a-z0-9_./-], at most 128, and not root")))
        }
        None => Ok(policies.into_iter().collect()),
    }
}

/// Vault lower-cases policy names; one that it would change could not be compared with its answer.
fn is_policy(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_./-".contains(&byte);
    (1..=MAX_POLICY).contains(&name.len()) && name != "root" && name.bytes().all(letter)
}

/// Whether a login can be extended, found again, and forgotten without harm.
///
/// # Errors
/// What its Vault role must say instead.
pub(super) fn login(login: &Auth) -> Result<(), String> {
    if login.accessor.is_empty() {
        return Err("it gives batch tokens, which nothing can revoke: set token_type to service".to_owned());
    }
    if !login.renewable || login.num_uses != 0 {
        return Err(
            "its tokens cannot be renewed for the granted lifetime: set token_num_uses to 0".to_owned()
        );
    }
    if login.lease_duration == 0 || login.lease_duration > MAX_LOGIN {
        let lives = login.lease_duration;
        return Err(format!(
            "its tokens live {lives} s: set token_ttl to 60s; a login that nobody recorded must die soon"
        ));
    }
    Ok(())
}

/// Networks in the one form that `IpNet` writes; none if one of them is not a network.
pub(super) fn as_networks(texts: &[String]) -> Option<BTreeSet<String>> {
    // Vault answers a single host without its prefix length.
    let parse = |text: &String| {
        text.parse::<IpNet>().or_else(|_| text.parse().map(|host: std::net::IpAddr| IpNet::from(host)))
    };
    texts.iter().map(|text| parse(text).map(|net| net.to_string()).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Code;
    use crate::provider::testing::vault_grant;

    fn child(change: impl FnOnce(&mut Auth)) -> Auth {
        let mut auth = Auth {
            client_token: "s.x".into(),
            accessor: "a".into(),
            policies: vec!["read-app".into()],
            lease_duration: 900,
            renewable: false,
            orphan: false,
            num_uses: 0,
        };
        change(&mut auth);
        auth
    }

    #[test]
    fn c_09_a_child_other_than_asked_is_refused() {
        let asked = Asked { policies: vec!["read-app"], ttl: 900, life: 900, uses: 0 };
        assert_eq!(asked.check(&child(|_| ())), Ok(()));
        assert_eq!(asked.check(&child(|c| c.lease_duration = 899)), Ok(()));
        let changes: [fn(&mut Auth); 9] = [
            |c| c.policies.push("default".into()),
            |c| c.policies.clear(),
            |c| c.policies = vec!["root".into()],
            |c| c.orphan = true,
            |c| c.renewable = true,
            |c| c.lease_duration = 901,
            |c| c.lease_duration = 0,
            |c| c.num_uses = 1,
            |c| c.accessor.clear(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            assert!(asked.check(&child(change)).is_err(), "change {number} was let through");
        }
    }

    #[test]
    fn a_login_must_be_short_renewable_and_revocable() {
        let fresh = |change: fn(&mut Auth)| {
            let mut auth = child(change);
            auth.renewable = !auth.renewable;
            login(&auth)
        };
        assert_eq!(fresh(|l| l.lease_duration = 120), Ok(()));
        assert!(fresh(|l| l.lease_duration = 121).unwrap_err().contains("token_ttl"));
        assert!(fresh(|l| l.lease_duration = 0).is_err());
        assert!(fresh(|l| (l.lease_duration, l.num_uses) = (60, 1)).is_err());
        assert!(fresh(|l| (l.lease_duration, l.renewable) = (60, true)).is_err());
        assert!(
            fresh(|l| (l.lease_duration, l.accessor) = (60, String::new())).unwrap_err().contains("batch")
        );
    }

    #[test]
    fn a_grant_without_policies_would_inherit_all_and_is_refused() {
        assert_eq!(policies(&vault_grant(&[])).unwrap_err().code, Code::TargetValueRefused);
        assert_eq!(policies(&vault_grant(&["b", "a", "b"])).unwrap(), ["a", "b"]);
    }

    #[test]
    fn c_01_refuses_policy_names_that_vault_would_rewrite_and_root() {
        for name in ["root", "", "Reader", "a b", "a\n", "a,b", "é", &"a".repeat(129)] {
            let refusal = policies(&vault_grant(&[name])).unwrap_err();
            assert_eq!(refusal.code, Code::TargetValueRefused, "{name:?}");
        }
    }

    #[test]
    fn compares_networks_by_meaning() {
        let networks =
            |texts: &[&str]| as_networks(&texts.iter().map(|t| (*t).to_owned()).collect::<Vec<_>>());
        assert_eq!(networks(&["10.0.0.1"]), networks(&["10.0.0.1/32"]));
        assert_ne!(networks(&["10.0.0.0/8"]), networks(&["10.0.0.0/9"]));
        assert_eq!(networks(&["nonsense"]), None);
    }
}
