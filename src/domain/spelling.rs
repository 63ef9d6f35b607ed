//! "Did you mean": the known name that a misspelt one most resembles.

/// Most letters that may differ.
const MAX_DISTANCE: usize = 2;

/// The candidate nearest to `name`, unless all are far; short names must be nearer.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let within = MAX_DISTANCE.min(name.len() / 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::osa_distance(name, candidate), candidate))
        .filter(|(distance, _)| (1..=within).contains(distance))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn finds_slips_and_not_other_words() {
        assert_eq!(nearest("brnach", ["branch", "event"]), Some("branch"));
        assert_eq!(nearest("branch", ["branch"]), None);
        assert_eq!(nearest("ref", ["tag", "run"]), None);
        assert_eq!(nearest("repository", ["environment"]), None);
    }
}
