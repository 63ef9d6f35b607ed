//! Remembers what a package set answered to what it read: the same question is not put to the interpreter twice.
//!
//! An evaluation is a function of the package set and of the text that it is given: policies have no network, no
//! randomness and no state, and one that asks for the time is never remembered. The key *is* that text, whole, and not
//! a digest of it, so that an answer can only ever be given to the question it answers. A reload makes a new memory.

use std::sync::Arc;

use moka::sync::Cache;

use super::decision::PackageResult;

/// Bytes that all answers of one loaded configuration may take, about; the least used go first.
const MAX_BYTES: u64 = 8 * 1024 * 1024;

/// What an answer takes beside its key, about: the cache's own entry, and a few packages' results.
const ANSWER_BYTES: usize = 1024;

/// The package set's number, and all that its evaluation is given.
type Question = (usize, Box<str>);

/// Answers of many package sets, within one bound.
#[derive(Debug, Clone)]
pub(super) struct Memory(Cache<Question, Arc<Vec<PackageResult>>>);

impl Memory {
    /// An empty memory.
    pub(super) fn new() -> Self {
        let weight = |(_, input): &Question, results: &Arc<Vec<PackageResult>>| {
            let texts: usize = results.iter().flat_map(|result| &result.deny).map(reason_bytes).sum();
            u32::try_from(input.len() + texts + ANSWER_BYTES).unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(MAX_BYTES).weigher(weight).build())
    }

    /// What set number `set` answered to `input`, or what `evaluate` says now. An answer with an error is not kept: the
    /// next request may be luckier, with a time limit for one.
    ///
    /// # Errors
    /// Those of `evaluate`.
    pub(super) fn recall<E>(
        &self,
        set: usize,
        input: String,
        evaluate: impl FnOnce(&str) -> Result<Vec<PackageResult>, E>,
    ) -> Result<Arc<Vec<PackageResult>>, E> {
        let question = (set, input.into_boxed_str());
        if let Some(answer) = self.0.get(&question) {
            return Ok(answer);
        }
        let answer = Arc::new(evaluate(&question.1)?);
        if answer.iter().all(|result| result.error.is_none()) {
            self.0.insert(question, Arc::clone(&answer));
        }
        Ok(answer)
    }
}

fn reason_bytes(reason: &crate::domain::Reason) -> usize {
    let texts = [Some(&reason.message), reason.id.as_ref(), reason.fix.as_ref()];
    texts.into_iter().flatten().map(String::len).sum()
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn result(error: Option<&str>) -> Vec<PackageResult> {
        let silent = PackageResult::silent("p".parse().unwrap());
        vec![PackageResult { error: error.map(str::to_owned), allow: Some(true), ..silent }]
    }

    fn ask(
        memory: &Memory,
        set: usize,
        input: &str,
        answer: Vec<PackageResult>,
    ) -> (bool, Arc<Vec<PackageResult>>) {
        let mut asked = false;
        let evaluate = |text: &str| {
            assert_eq!(text, input);
            asked = true;
            Ok::<_, Infallible>(answer)
        };
        let answer = memory.recall(set, input.to_owned(), evaluate).unwrap();
        (asked, answer)
    }

    #[test]
    fn an_answer_is_given_to_its_own_question_only() {
        let memory = Memory::new();
        for (set, input, asked) in
            [(1, "{}", true), (1, "{}", false), (2, "{}", true), (1, "{ }", true), (1, "{}", false)]
        {
            assert_eq!(ask(&memory, set, input, result(None)).0, asked, "{set} {input}");
        }
    }

    #[test]
    fn a_failure_is_not_remembered() {
        let memory = Memory::new();
        assert!(ask(&memory, 1, "{}", result(Some("late"))).1.iter().all(|result| result.error.is_some()));
        assert!(ask(&memory, 1, "{}", result(None)).0);
        assert!(!ask(&memory, 1, "{}", result(None)).0);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let memory = Memory::new();
        for n in 0..2_000 {
            ask(&memory, 1, &format!("{n}{}", "x".repeat(16 * 1024)), result(None));
        }
        memory.0.run_pending_tasks();
        assert!(memory.0.weighted_size() <= MAX_BYTES);
        assert!(memory.0.entry_count() > 100);
    }
}
