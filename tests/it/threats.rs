//! Every threat that the project claims to withstand has a test that carries its id in its name.

use crate::harness::files::sources;

/// The ids claimed, as the threat model lists them.
const CLAIMED: &[&str] = &[
    "i_01", "i_02", "i_03", "i_04", "i_05", "i_06", "i_07", "i_08", "i_09", "i_10", "i_11", "i_12", "i_13",
    "i_14", "i_15", "i_16", "i_17", "i_18", "i_19", "i_20", "i_21", "i_22", "i_23", //
    "p_01", "p_02", "p_03", "p_04", "p_05", "p_06", "p_07", "p_08", "p_09", "p_11", "p_12", "p_13", "p_14",
    "p_15", //
    "c_01", "c_02", "c_03", "c_05", "c_06", "c_07", "c_08", "c_09", "c_10", "c_11", "c_12", "c_13", "c_14",
    "c_15", "c_16", //
    "s_01", "s_02", "s_07", "s_08", "s_09", "s_10", "s_11", "s_12", "s_13", "s_14",
];

#[test]
fn every_claimed_threat_has_a_test() {
    let text = sources();
    let missing: Vec<_> = CLAIMED.iter().filter(|id| !text.contains(&format!("fn {id}_"))).collect();
    assert!(missing.is_empty(), "no test is named after {missing:?}");
}
