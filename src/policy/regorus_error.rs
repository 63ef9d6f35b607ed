//! Reads the interpreter's errors: one line for the record, never its picture of the source or a backtrace.

/// Longest text kept of one error, in characters.
const MAX_CHARS: usize = 300;

/// The first line that states an error in `text`, without its prefix.
pub(super) fn first_error(text: &str) -> String {
    let stated = text.lines().find_map(|line| line.trim_start().strip_prefix("error:"));
    let line =
        stated.or_else(|| text.lines().find(|line| !line.trim().is_empty())).unwrap_or("unknown error");
    line.trim().chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_statement_and_nothing_of_the_source() {
        let text =
            "\n--> p.rego:2:3\n  |\n2 | allow := secret\n  |   ^\nerror: use of undefined variable\nStack";
        assert_eq!(first_error(text), "use of undefined variable");
        assert_eq!(first_error("not a valid rule path\nmore"), "not a valid rule path");
        assert_eq!(first_error(&"x".repeat(1000)).len(), MAX_CHARS);
    }
}
