//! Reads `*.rego` below the policy folder: bounded, in a stable order, and never a test file.
//!
//! A missing or unreadable file is an error, never an empty policy: what is missing must not mean "allowed".

use std::fs;
use std::path::{Path, PathBuf};

use crate::config::{Problem, Problems, Severity};

/// Largest policy file, in bytes.
const MAX_FILE_BYTES: u64 = 256 * 1024;
/// Most policy files in one folder, tests included.
const MAX_FILES: usize = 20_000;
/// Deepest nesting of folders.
const MAX_FOLDER_DEPTH: usize = 8;

/// One policy file as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SourceFile {
    /// Where it lies, for messages.
    pub(super) path: PathBuf,
    /// True below `global/`: its package applies to every role.
    pub(super) global: bool,
    /// What it says.
    pub(super) text: String,
}

/// Reads every policy file below `folder`.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<SourceFile>, Problems> {
    let mut walk = Walk { paths: Vec::new(), problems: Problems::default() };
    walk.folder(folder, 0);
    let Walk { mut paths, mut problems } = walk;
    paths.sort();
    let mut texts = Vec::with_capacity(paths.len());
    for path in paths {
        match read(&path) {
            Ok(text) => texts.push((path, text)),
            Err(why) => problems.push(unreadable(&path, &why)),
        }
    }
    if problems.stop_the_load() {
        return Err(problems);
    }
    let (files, problems) = from_texts(folder, texts);
    if problems.stop_the_load() { Err(problems) } else { Ok(files) }
}

/// Takes files that are already in memory, with paths below or relative to `folder`.
pub(super) fn from_texts(
    folder: &Path,
    texts: impl IntoIterator<Item = (PathBuf, String)>,
) -> (Vec<SourceFile>, Problems) {
    let mut problems = Problems::default();
    let mut files: Vec<SourceFile> = Vec::new();
    for (path, text) in texts {
        if !is_policy(&path) {
            continue;
        }
        if text.len() as u64 > MAX_FILE_BYTES {
            problems.push(unreadable(&path, &format!("it is larger than {MAX_FILE_BYTES} bytes")));
            continue;
        }
        let relative = path.strip_prefix(folder).unwrap_or(&path);
        let global = relative.components().count() > 1 && relative.starts_with("global");
        files.push(SourceFile { path, global, text });
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    for pair in files.windows(2) {
        if let [first, second] = pair
            && first.path == second.path
        {
            problems.push(unreadable(&second.path, "it is given twice"));
        }
    }
    (files, problems)
}

/// True for a file that decides: Rego, and not a test.
fn is_policy(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    path.extension().is_some_and(|ending| ending == "rego") && !name.ends_with("_test.rego")
}

struct Walk {
    paths: Vec<PathBuf>,
    problems: Problems,
}

impl Walk {
    fn folder(&mut self, folder: &Path, depth: usize) {
        if depth > MAX_FOLDER_DEPTH {
            let why = format!("folders are nested deeper than {MAX_FOLDER_DEPTH}");
            return self.problems.push(unreadable(folder, &why));
        }
        let entries = match fs::read_dir(folder) {
            Ok(entries) => entries,
            Err(error) => return self.problems.push(unreadable(folder, &error.to_string())),
        };
        for entry in entries {
            match entry {
                Ok(entry) => self.entry(&entry.path(), depth),
                Err(error) => self.problems.push(unreadable(folder, &error.to_string())),
            }
        }
    }

    fn entry(&mut self, path: &Path, depth: usize) {
        // Kubernetes mounts a volume as links into a hidden `..data` folder; following both would load all twice.
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || self.paths.len() > MAX_FILES {
            return;
        }
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => self.folder(path, depth + 1),
            Ok(_) if is_policy(path) => {
                self.paths.push(path.to_owned());
                if self.paths.len() > MAX_FILES {
                    self.problems.push(unreadable(path, &format!("there are more than {MAX_FILES} files")));
                }
            }
            Ok(_) => {}
            Err(error) => self.problems.push(unreadable(path, &error.to_string())),
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("it is larger than {MAX_FILE_BYTES} bytes"));
    }
    fs::read_to_string(path).map_err(|error| error.to_string())
}

fn unreadable(path: &Path, why: &str) -> Problem {
    Problem {
        severity: Severity::Error,
        code: "policy_unreadable",
        file: path.to_owned(),
        line: None,
        key: String::new(),
        message: format!("cannot be read as policy: {why}"),
        fix: "make it a readable folder of small UTF-8 `.rego` files; see `policies` in tollgate.toml".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &[SourceFile]) -> Vec<(&str, bool)> {
        files.iter().map(|f| (f.path.file_name().unwrap().to_str().unwrap(), f.global)).collect()
    }

    #[test]
    fn reads_policies_in_order_and_no_tests_or_hidden_files() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("global")).unwrap();
        fs::create_dir_all(at("..data")).unwrap();
        for name in ["b.rego", "a.rego", "a_test.rego", "notes.md", "global/g.rego", "..data/b.rego"] {
            fs::write(at(name), "package p").unwrap();
        }
        let files = read_folder(folder.path()).unwrap();
        assert_eq!(names(&files), [("a.rego", false), ("b.rego", false), ("g.rego", true)]);
    }

    #[test]
    fn p_03_missing_folder_or_unreadable_file_does_not_load() {
        let folder = tempfile::tempdir().unwrap();
        assert!(read_folder(&folder.path().join("nowhere")).unwrap_err().stop_the_load());
        fs::write(folder.path().join("a.rego"), [0xff, 0xfe]).unwrap();
        assert!(read_folder(folder.path()).unwrap_err().stop_the_load());
    }

    #[test]
    fn refuses_large_files_and_the_same_file_twice() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.rego"), " ".repeat(256 * 1024 + 1)).unwrap();
        assert!(read_folder(folder.path()).unwrap_err().stop_the_load());
        let twice = ["a.rego", "a.rego"].map(|name| (name.into(), "package p".to_owned()));
        assert!(from_texts(Path::new("policies"), twice).1.stop_the_load());
    }

    #[test]
    fn file_named_global_is_not_in_the_global_folder() {
        let (files, _) = from_texts(Path::new("p"), [("p/global.rego".into(), String::new())]);
        assert!(files.iter().all(|file| !file.global));
    }
}
