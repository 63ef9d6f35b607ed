//! The names that a package answers by, and what kind of rule each must be.

/// Rules with one value.
pub(super) const VALUE_RULES: [&str; 4] = ["allow", "max_ttl", "require", "tags"];
/// Rules that collect a set.
pub(super) const SET_RULES: [&str; 2] = ["deny", "scopes"];
/// Rules that can only restrict: a key missing there switches a restriction off.
pub(super) const RESTRICTING: [&str; 4] = ["deny", "max_ttl", "scopes", "require"];
/// Rules that say what is left of a grant; an operation has none.
pub(super) const NARROWING: [&str; 4] = ["max_ttl", "scopes", "require", "tags"];
/// Rules that a global package may not have: it restricts, and nothing else.
pub(super) const NOT_GLOBAL: [&str; 2] = ["allow", "tags"];

/// Every contract name.
pub(super) fn all() -> impl Iterator<Item = &'static str> {
    VALUE_RULES.into_iter().chain(SET_RULES)
}
