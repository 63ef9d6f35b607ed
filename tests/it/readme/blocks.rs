//! The fenced blocks of the README.

use std::path::Path;

/// A fenced block.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// Line of the opening fence.
    pub(super) line: usize,
    pub(super) text: String,
}

/// What to do with a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Run { scenario: String, status: i32, background: bool },
    File { scenario: String, path: String },
    Output { scenario: String },
    NotRun(String),
    Drawing,
}

impl Block {
    pub(super) fn scenario(&self) -> Option<&str> {
        match &self.kind {
            Kind::Run { scenario, .. } | Kind::File { scenario, .. } | Kind::Output { scenario } => {
                Some(scenario)
            }
            Kind::NotRun(_) | Kind::Drawing => None,
        }
    }
}

/// The README's text.
pub(super) fn text() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap()
}

/// Every block of the README, in order.
pub(super) fn readme() -> Vec<Block> {
    let (text, mut blocks, mut open) = (text(), Vec::new(), None::<Block>);
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => {
                open = Some(Block { kind: kind(info, index + 1), line: index + 1, text: String::new() });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "a fence is not closed");
    blocks
}

/// Reads an info string; panics on one that says nothing, so that no command is left out by mistake.
fn kind(info: &str, line: usize) -> Kind {
    let mut words = info.split(' ');
    let language = words.next().unwrap();
    let (mut run, mut file, mut status, mut background, mut reason) = (None, None, 0, false, None);
    for word in words {
        match word.split_once('=') {
            Some(("run", name)) => run = Some(name.to_owned()),
            Some(("file", path)) => file = Some(path.to_owned()),
            Some(("status", number)) => status = number.parse().unwrap(),
            Some(("norun", why)) => reason = Some(why.replace('-', " ")),
            None if word == "background" => background = true,
            _ => panic!("line {line}: {word}?"),
        }
    }
    match (language, run, file, reason) {
        ("", None, None, None) => Kind::Drawing,
        ("sh" | "toml", None, None, Some(why)) => Kind::NotRun(why),
        ("sh", Some(scenario), None, None) => Kind::Run { scenario, status, background },
        ("text", Some(scenario), None, None) => Kind::Output { scenario },
        (_, Some(scenario), Some(path), None) => Kind::File { scenario, path },
        _ => panic!("line {line}: say run=, file= or norun="),
    }
}
