//! Refuses text that would exhaust the parser or the stack, before the parser sees it.
//!
//! The parser's time doubles with each level of nested arrays or objects, and a long run of infix operators becomes
//! an equally deep tree. Both are measured here in one pass that understands strings and comments.

/// Deepest nesting of `[` and `{`, rule bodies included.
const MAX_BRACKET_DEPTH: usize = 6;
/// Most operator characters in one expression.
const MAX_OPERATORS: usize = 200;

/// What makes a text unfit for the parser, and its line, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooComplex {
    /// Brackets.
    #[error("brackets are nested deeper than {MAX_BRACKET_DEPTH}")]
    Nested {
        /// The line of the bracket.
        line: usize,
    },
    /// Operators.
    #[error("one expression has more than {MAX_OPERATORS} operator characters")]
    Long {
        /// The line of the operator.
        line: usize,
    },
}

impl TooComplex {
    pub(super) const fn line(self) -> usize {
        match self {
            Self::Nested { line } | Self::Long { line } => line,
        }
    }
}

/// Checks `text`.
pub(super) fn check(text: &str) -> Result<(), TooComplex> {
    let mut scan = Scan { line: 1, brackets: 0, runs: vec![Run::default()] };
    let mut within = Within::Code;
    for character in text.chars() {
        within = match within {
            Within::Comment if character == '\n' => Within::Code,
            Within::Comment => Within::Comment,
            Within::Raw if character == '`' => Within::Code,
            Within::Raw => Within::Raw,
            Within::Escape => Within::Text,
            Within::Text => match character {
                '\\' => Within::Escape,
                '"' | '\n' => Within::Code,
                _ => Within::Text,
            },
            Within::Code => scan.code(character)?,
        };
        if character == '\n' {
            scan.newline();
        }
    }
    Ok(())
}

/// What the character stands in.
enum Within {
    Code,
    Comment,
    Text,
    Escape,
    Raw,
}

/// Operators since an expression began, at one level of brackets.
#[derive(Default)]
struct Run {
    operators: usize,
    last_is_operator: bool,
    newline: bool,
}

struct Scan {
    line: usize,
    brackets: usize,
    runs: Vec<Run>,
}

impl Scan {
    fn newline(&mut self) {
        self.line += 1;
        if let Some(run) = self.runs.last_mut() {
            run.newline = true;
        }
    }

    fn code(&mut self, character: char) -> Result<Within, TooComplex> {
        match character {
            '#' => return Ok(Within::Comment),
            '[' | '{' | '(' => self.open(character)?,
            ']' | '}' | ')' => self.close(character),
            ',' | ';' => self.restart(),
            '+' | '-' | '*' | '/' | '%' | '&' | '|' | '<' | '>' | '=' | '!' | ':' => self.operator()?,
            _ if character.is_whitespace() => {}
            _ => self.operand(),
        }
        Ok(match character {
            '"' => Within::Text,
            '`' => Within::Raw,
            _ => Within::Code,
        })
    }

    fn open(&mut self, bracket: char) -> Result<(), TooComplex> {
        self.operand();
        if bracket != '(' {
            self.brackets += 1;
        }
        self.runs.push(Run::default());
        if self.brackets > MAX_BRACKET_DEPTH { Err(TooComplex::Nested { line: self.line }) } else { Ok(()) }
    }

    fn close(&mut self, bracket: char) {
        if bracket != ')' {
            self.brackets = self.brackets.saturating_sub(1);
        }
        if self.runs.len() > 1 {
            self.runs.pop();
        }
    }

    fn restart(&mut self) {
        if let Some(run) = self.runs.last_mut() {
            *run = Run::default();
        }
    }

    /// An operand on a new line after another operand begins a new expression; after an operator it goes on.
    fn operand(&mut self) {
        if let Some(run) = self.runs.last_mut() {
            if run.newline && !run.last_is_operator {
                run.operators = 0;
            }
            (run.newline, run.last_is_operator) = (false, false);
        }
    }

    fn operator(&mut self) -> Result<(), TooComplex> {
        let line = self.line;
        if let Some(run) = self.runs.last_mut() {
            run.operators += 1;
            (run.newline, run.last_is_operator) = (false, true);
            if run.operators > MAX_OPERATORS {
                return Err(TooComplex::Long { line });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p_05_refuses_nesting_that_would_stall_the_parser() {
        let nested = |depth: usize| format!("package p\nx := {}1{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(6)), Ok(()));
        assert_eq!(check(&nested(7)), Err(TooComplex::Nested { line: 2 }));
        assert_eq!(check(&"{".repeat(7)), Err(TooComplex::Nested { line: 1 }));
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_count() {
        assert_eq!(check("# [[[[[[[[[[\nx := \"[[[[[[[[[\\\"[[[\"\ny := `[[[[[[[\n[[[`\n"), Ok(()));
        // A quote in a comment opens no string that would hide what follows.
        assert_eq!(check("# \"\n[[[[[[["), Err(TooComplex::Nested { line: 2 }));
    }

    #[test]
    fn p_05_refuses_a_run_of_operators_that_would_exhaust_the_stack() {
        let on_one_line = format!("x := 0{}", " + 1".repeat(300));
        assert_eq!(check(&on_one_line), Err(TooComplex::Long { line: 1 }));
        assert!(check(&format!("x := 0{}", "\n + 1".repeat(300))).is_err());
        assert!(check(&format!("x := 0{}", " +\n 1".repeat(300))).is_err());
        assert!(check(&format!("x := 0{}", " + (1\n)".repeat(300))).is_err());
        assert!(check(&format!("x := a[0]{}", " + a[0]".repeat(300))).is_err());
    }

    #[test]
    fn many_short_expressions_are_fine() {
        assert_eq!(check(&"a == b + c\n".repeat(1000)), Ok(()));
        assert_eq!(check(&"x := {1 + 1, 2 + 2};".repeat(1000)), Ok(()));
    }
}
