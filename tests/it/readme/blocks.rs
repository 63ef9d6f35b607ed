//! The fenced blocks of the pages whose guides are run.

use std::path::Path;

const README: &str = "README.md";
const OPERATIONS: &str = "docs/operations.md";

/// A fenced block.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) kind: Kind,
    /// The page's path.
    pub(super) page: &'static str,
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
    read(README)
}

fn read(page: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(page)).unwrap()
}

/// Every block of the pages, in order.
pub(super) fn all() -> Vec<Block> {
    [README, OPERATIONS].into_iter().flat_map(of_page).collect()
}

fn of_page(page: &'static str) -> Vec<Block> {
    let (text, mut blocks, mut open) = (read(page), Vec::new(), None::<Block>);
    // A block may belong to an item of a list, and is indented then.
    let mut indent = 0;
    for (index, line) in text.lines().enumerate() {
        match (&mut open, line.trim_start().strip_prefix("```")) {
            (None, Some(info)) => {
                let (kind, number) = (kind(info, page, index + 1), index + 1);
                indent = line.len() - line.trim_start().len();
                open = Some(Block { kind, page, line: number, text: String::new() });
            }
            (Some(_), Some("")) => blocks.extend(open.take()),
            (Some(block), _) => {
                block.text.push_str(line.get(indent..).unwrap_or_default());
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    assert!(open.is_none(), "{page}: a fence is not closed");
    blocks
}

/// Reads an info string; panics on one that says nothing, so that no command is left out by mistake.
fn kind(info: &str, page: &str, line: usize) -> Kind {
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
            _ => panic!("{page}:{line}: {word}?"),
        }
    }
    match (language, run, file, reason) {
        ("", None, None, None) => Kind::Drawing,
        ("sh" | "toml", None, None, Some(why)) => Kind::NotRun(why),
        ("sh", Some(scenario), None, None) => Kind::Run { scenario, status, background },
        ("text", Some(scenario), None, None) => Kind::Output { scenario },
        (_, Some(scenario), Some(path), None) => Kind::File { scenario, path },
        _ => panic!("{page}:{line}: say run=, file= or norun="),
    }
}
