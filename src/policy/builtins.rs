//! Which builtin functions a policy may call: an allow-list, and a reason for everything else that is compiled in.
//!
//! A builtin is allowed if its result depends on its arguments alone, and if it cannot do much more work, or make a
//! much larger value, than its arguments: the time limit acts between builtins, not inside one.

use regorus::unstable::BUILTINS;

/// What a policy may call.
#[rustfmt::skip]
const ALLOWED: &[&str] = &[
    // Numbers and aggregates.
    "abs", "ceil", "count", "floor", "format_int", "max", "min", "product", "round", "sum", "to_number",
    "bits.and", "bits.negate", "bits.or", "bits.rsh", "bits.xor",
    // Arrays, sets, objects.
    "array.concat", "array.reverse", "array.slice", "sort",
    "intersection", "union",
    "json.filter", "json.remove", "object.filter", "object.get", "object.keys", "object.remove", "object.subset",
    "object.union", "object.union_n",
    // Text.
    "concat", "contains", "endswith", "indexof", "indexof_n", "lower", "replace", "split", "sprintf", "startswith",
    "strings.any_prefix_match", "strings.any_suffix_match", "strings.count", "strings.replace_n", "strings.reverse",
    "substring", "trim", "trim_left", "trim_prefix", "trim_right", "trim_space", "trim_suffix", "upper",
    "glob.match", "glob.quote_meta",
    "regex.find_all_string_submatch_n", "regex.find_n", "regex.is_valid", "regex.match", "regex.replace",
    "regex.split",
    "semver.compare", "semver.is_valid", "units.parse", "units.parse_bytes",
    // Types and encodings.
    "is_array", "is_boolean", "is_null", "is_number", "is_object", "is_set", "is_string", "type_name",
    "base64.decode", "base64.encode", "base64.is_valid", "base64url.decode", "base64url.encode",
    "base64url.encode_no_pad", "hex.decode", "hex.encode", "json.is_valid", "json.marshal",
    "json.marshal_with_options", "json.unmarshal",
    "urlquery.decode", "urlquery.decode_object", "urlquery.encode", "urlquery.encode_object",
    // Networks, without looking anything up.
    "net.cidr_contains", "net.cidr_is_valid",
    // Time. `time.now_ns` is bound to the decision's timestamp and never reads a clock.
    "time.add_date", "time.clock", "time.date", "time.diff", "time.format", "time.now_ns", "time.parse_duration_ns",
    "time.parse_ns", "time.parse_rfc3339_ns", "time.weekday",
];

/// What is compiled in, or well known, and refused, with the reason that its user reads.
const REFUSED: &[(&str, &str)] = &[
    ("__builtin_sets.intersection", "it is internal: write `a & b`"),
    ("__builtin_sets.union", "it is internal: write `a | b`"),
    ("bits.lsh", "one call can fill the memory"),
    ("http.send", "policy reaches no network: configure a fact source and read `input.context`"),
    ("net.cidr_expand", "one call can fill the memory: use `net.cidr_contains`"),
    ("net.lookup_ip_addr", "policy reaches no network: configure a fact source and read `input.context`"),
    ("numbers.range", "one call can outlast the time limit: write the values out"),
    ("numbers.range_step", "one call can outlast the time limit: write the values out"),
    ("opa.runtime", "policy reads no environment: configure an attribute or a label"),
    ("print", "it writes to the server's standard error: use `tollgate explain`"),
    ("rand.intn", "a decision must come out the same when it is replayed"),
    ("regex.globs_match", "its semantics surprise: use `glob.match`"),
    ("regex.template_match", "its pattern cannot be checked for anchors: use `regex.match` or `glob.match`"),
    ("trace", "it has no effect here: use `tollgate explain`"),
    ("uuid.rfc4122", "a decision must come out the same when it is replayed"),
    ("walk", "it hides which keys are read: name them"),
];

/// Whether a policy may call a function that is not a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may, with so many arguments.
    Allowed(usize),
    /// It may not, for this reason.
    Refused(&'static str),
    /// There is no such function.
    Unknown,
}

/// Judges the builtin `name`.
pub(super) fn judge(name: &str) -> Verdict {
    if let Some((_, reason)) = REFUSED.iter().find(|(refused, _)| *refused == name) {
        return Verdict::Refused(reason);
    }
    match BUILTINS.get(name) {
        Some((_, arity)) if ALLOWED.contains(&name) => Verdict::Allowed(usize::from(*arity)),
        Some(_) => Verdict::Refused("it is not on the list of functions that policies may use"),
        None => Verdict::Unknown,
    }
}

/// The allowed builtin that `name` most resembles.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    crate::domain::nearest(name, ALLOWED.iter().copied())
}

/// True if a rule or an import of this name would be taken for a builtin, or the other way round.
pub(super) fn is_builtin_name(name: &str) -> bool {
    judge(name) != Verdict::Unknown
}

/// True if builtins' names begin with `name` and a dot.
pub(super) fn is_builtin_namespace(name: &str) -> bool {
    let within = |builtin: &str| builtin.strip_prefix(name).is_some_and(|rest| rest.starts_with('.'));
    BUILTINS.keys().any(|builtin| within(builtin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_builtin_is_either_allowed_or_refused_with_a_reason() {
        let listed = |name: &str| ALLOWED.contains(&name) ^ REFUSED.iter().any(|(other, _)| *other == name);
        let unlisted: Vec<_> = BUILTINS.keys().filter(|name| !listed(name)).collect();
        assert!(unlisted.is_empty(), "must stand in exactly one list: {unlisted:?}");
        for name in ALLOWED {
            assert!(BUILTINS.contains_key(name), "{name} is not compiled in");
        }
    }

    #[test]
    fn p_04_network_environment_and_output_are_not_callable() {
        for name in ["http.send", "net.lookup_ip_addr", "opa.runtime", "print", "trace"] {
            assert!(matches!(judge(name), Verdict::Refused(_)), "{name}");
        }
        for name in ["io.jwt.decode", "crypto.sha256", "nosuch"] {
            assert_eq!(judge(name), Verdict::Unknown, "{name}");
        }
    }

    #[test]
    fn p_14_randomness_is_refused_and_the_bound_clock_is_not() {
        assert!(matches!(judge("rand.intn"), Verdict::Refused(_)));
        assert!(matches!(judge("uuid.rfc4122"), Verdict::Refused(_)));
        assert_eq!(judge("time.now_ns"), Verdict::Allowed(0));
    }

    #[test]
    fn p_05_builtins_that_outlast_the_limit_are_refused() {
        for name in ["numbers.range", "numbers.range_step", "net.cidr_expand", "bits.lsh"] {
            assert!(matches!(judge(name), Verdict::Refused(_)), "{name}");
        }
    }

    #[test]
    fn suggests_the_name_that_was_meant() {
        assert_eq!(nearest("startwith"), Some("startswith"));
        assert!(is_builtin_namespace("net") && !is_builtin_namespace("startswith"));
    }
}
