//! The files of a folder, read once, within limits, and never from outside it.
//!
//! What is loaded is what was hashed: everything after this works on the bytes kept here, so that a decision's
//! revision names exactly the text that it rested on.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use super::problem::{Problem, Problems};
use crate::secret::Fingerprint;

/// Largest file, in bytes, unless it is a table.
pub const MAX_FILE_BYTES: usize = 1 << 20;

/// Largest `.csv` file, in bytes.
pub const MAX_TABLE_BYTES: usize = 8 << 20;

/// Most bytes of all files together.
pub const MAX_TOTAL_BYTES: usize = 64 << 20;

/// Most files; leaves room for 20,000 roles and what goes with them.
pub const MAX_FILES: usize = 25_000;

/// Deepest folder below the root.
const MAX_DEPTH: usize = 16;

/// Files by their path relative to the folder they were read from.
#[derive(Debug, Clone, Default)]
pub struct Files {
    files: BTreeMap<PathBuf, Vec<u8>>,
    bytes: usize,
}

impl Files {
    /// Keeps files that are in memory already, such as those built into a program.
    pub fn from_pairs(pairs: impl IntoIterator<Item = (PathBuf, Vec<u8>)>, problems: &mut Problems) -> Self {
        let mut files = Self::default();
        for (path, content) in pairs {
            if path.components().all(|part| matches!(part, Component::Normal(_))) {
                files.keep(path, content, problems);
            } else {
                problems.push(Problem::error(
                    &path,
                    "path_outside",
                    "the path leaves the folder",
                    "give a relative path without `..`",
                ));
            }
        }
        files
    }

    /// Reads the files below `directory` for which `wanted` holds; it is asked with relative paths, for folders too,
    /// and a folder that is not wanted is not entered. Names that begin with a dot are left alone.
    ///
    /// What cannot be read is a problem; the rest is read nevertheless, so that all problems can be told at once.
    pub fn read(directory: &Path, wanted: impl Fn(&Path) -> bool, problems: &mut Problems) -> Self {
        // Resolved first: if the folder is a link that is swapped meanwhile, all files still come from one version.
        match directory.canonicalize() {
            Ok(root) => {
                let mut walk = Walk { root, wanted, seen: BTreeSet::new(), files: Self::default(), problems };
                walk.folder(Path::new(""), 0);
                walk.files
            }
            Err(error) => {
                problems.push(unreadable(directory, &error));
                Self::default()
            }
        }
    }

    /// The content of the file at `path`, relative to the folder.
    pub fn get(&self, path: &Path) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// All files in path order.
    pub fn iter(&self) -> impl Iterator<Item = (&Path, &[u8])> {
        self.files.iter().map(|(path, content)| (path.as_path(), content.as_slice()))
    }

    /// The files directly or, if `deep`, anywhere below `folder`, in path order.
    pub fn below(&self, folder: &str, deep: bool) -> impl Iterator<Item = (&Path, &[u8])> {
        self.iter().filter(move |(path, _)| {
            path.strip_prefix(folder).is_ok_and(|rest| deep || rest.components().count() == 1)
        })
    }

    /// Digest over every file's path and content.
    ///
    /// Each part is preceded by its length, so that no text can move from one file, or from a name, to the next
    /// without changing the digest.
    pub fn revision(&self) -> Fingerprint {
        let mut all = Vec::with_capacity(self.bytes);
        for (path, content) in &self.files {
            for part in [path.to_string_lossy().as_bytes(), content] {
                all.extend_from_slice(&(part.len() as u64).to_be_bytes());
                all.extend_from_slice(part);
            }
        }
        Fingerprint::of(&all)
    }

    fn keep(&mut self, path: PathBuf, content: Vec<u8>, problems: &mut Problems) {
        let refusal = if content.len() > cap(&path) {
            Some(("file_too_large", format!("the file is larger than {} bytes", cap(&path))))
        } else if self.bytes + content.len() > MAX_TOTAL_BYTES {
            Some(("folder_too_large", format!("all files together are larger than {MAX_TOTAL_BYTES} bytes")))
        } else if self.files.len() >= MAX_FILES {
            Some(("too_many_files", format!("there are more than {MAX_FILES} files")))
        } else {
            None
        };
        if let Some((code, message)) = refusal {
            problems.push(Problem::error(&path, code, &message, "split or shorten it"));
        } else {
            self.bytes += content.len();
            self.files.insert(path, content);
        }
    }
}

fn cap(path: &Path) -> usize {
    if path.extension().is_some_and(|ending| ending == "csv") { MAX_TABLE_BYTES } else { MAX_FILE_BYTES }
}

fn unreadable(path: &Path, error: &io::Error) -> Problem {
    let message = format!("it cannot be read: {error}");
    Problem::error(path, "unreadable", &message, "check that it exists and that Tollgate may read it")
}

/// Reads at most `cap` bytes and one more, so that the caller can tell a file of the right size from a longer one.
pub(super) fn read_capped(path: &Path, cap: usize) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(cap as u64 + 1).read_to_end(&mut content)?;
    Ok(content)
}

/// A walk through a folder.
struct Walk<'p, W> {
    root: PathBuf,
    wanted: W,
    seen: BTreeSet<PathBuf>,
    files: Files,
    problems: &'p mut Problems,
}

impl<W: Fn(&Path) -> bool> Walk<'_, W> {
    fn folder(&mut self, relative: &Path, depth: usize) {
        let mut names: Vec<_> = match fs::read_dir(self.root.join(relative)) {
            Ok(entries) => {
                entries.filter_map(Result::ok).map(|entry| entry.file_name()).take(MAX_FILES + 1).collect()
            }
            Err(error) => return self.problems.push(unreadable(relative, &error)),
        };
        names.sort();
        for name in names {
            let path = relative.join(&name);
            let Some(name) = name.to_str() else {
                let fix = "rename it";
                self.problems.push(Problem::error(&path, "bad_name", "the name is not UTF-8", fix));
                continue;
            };
            // A Kubernetes ConfigMap keeps its versions in `..data`, and links its files into it.
            if !name.starts_with('.') && (self.wanted)(&path) && self.files.files.len() <= MAX_FILES {
                self.entry(path, depth);
            }
        }
    }

    fn entry(&mut self, path: PathBuf, depth: usize) {
        let real = match self.root.join(&path).canonicalize() {
            Ok(real) => real,
            Err(error) => return self.problems.push(unreadable(&path, &error)),
        };
        if !real.starts_with(&self.root) {
            let message = "the link leads out of the folder";
            let fix = "put the file itself here; a link could bring in a file that nobody reviewed";
            return self.problems.push(Problem::error(&path, "link_outside", message, fix));
        }
        if real.is_dir() {
            if depth >= MAX_DEPTH || !self.seen.insert(real) {
                let message = "the folder is nested too deeply, or reached twice through links";
                self.problems.push(Problem::error(&path, "folder_loop", message, "remove the link"));
            } else {
                self.folder(&path, depth + 1);
            }
        } else if real.is_file() {
            match read_capped(&real, cap(&path)) {
                Ok(content) => self.files.keep(path, content, self.problems),
                Err(error) => self.problems.push(unreadable(&path, &error)),
            }
        } else {
            // A pipe would make the load wait for ever.
            let message = "it is neither a file nor a folder";
            self.problems.push(Problem::error(&path, "not_a_file", message, "remove it"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn codes(problems: &Problems) -> Vec<&'static str> {
        problems.iter().map(|problem| problem.code).collect()
    }

    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir_all(folder.path().join("roles/deploy")).unwrap();
        fs::write(folder.path().join("tollgate.toml"), "a").unwrap();
        fs::write(folder.path().join("roles/deploy/x.toml"), "b").unwrap();
        folder
    }

    fn pairs(pairs: &[(&str, &str)]) -> Files {
        let pairs = pairs.iter().map(|(path, text)| (PathBuf::from(path), text.as_bytes().to_vec()));
        Files::from_pairs(pairs, &mut Problems::default())
    }

    #[test]
    fn reads_what_is_wanted_and_leaves_hidden_names_alone() {
        let folder = folder();
        fs::write(folder.path().join(".hidden"), "x").unwrap();
        fs::write(folder.path().join("other"), "x").unwrap();
        let mut problems = Problems::default();
        let files = Files::read(folder.path(), |path| path != Path::new("other"), &mut problems);
        assert!(problems.is_empty());
        let paths: Vec<_> = files.iter().map(|(path, _)| path.to_str().unwrap()).collect();
        assert_eq!(paths, ["roles/deploy/x.toml", "tollgate.toml"]);
        assert_eq!(files.get(Path::new("tollgate.toml")), Some(b"a".as_slice()));
        assert_eq!(files.below("roles", false).count(), 0);
        assert_eq!(files.below("roles", true).count(), 1);
    }

    #[test]
    fn refuses_links_out_of_the_folder_and_loops() {
        let (folder, outside) = (folder(), tempfile::tempdir().unwrap());
        fs::write(outside.path().join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("link")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("roles"), folder.path().join("roles/again")).unwrap();
        std::os::unix::fs::symlink("nowhere", folder.path().join("dangling")).unwrap();
        let mut problems = Problems::default();
        let files = Files::read(folder.path(), |_| true, &mut problems);
        problems.sort();
        assert_eq!(codes(&problems), ["unreadable", "link_outside", "folder_loop"]);
        assert!(files.get(Path::new("link")).is_none());
    }

    #[test]
    fn follows_links_that_stay_inside_as_a_kubernetes_volume_has_them() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("..v1")).unwrap();
        fs::write(folder.path().join("..v1/tollgate.toml"), "a").unwrap();
        std::os::unix::fs::symlink("..v1", folder.path().join("..data")).unwrap();
        std::os::unix::fs::symlink("..data/tollgate.toml", folder.path().join("tollgate.toml")).unwrap();
        let mut problems = Problems::default();
        let files = Files::read(folder.path(), |_| true, &mut problems);
        assert!(problems.is_empty());
        assert_eq!(files.iter().count(), 1);
    }

    #[test]
    fn refuses_large_files_and_goes_on() {
        let folder = folder();
        fs::write(folder.path().join("large.toml"), vec![b' '; MAX_FILE_BYTES + 1]).unwrap();
        fs::write(folder.path().join("table.csv"), vec![b' '; MAX_FILE_BYTES + 1]).unwrap();
        let mut problems = Problems::default();
        let files = Files::read(folder.path(), |_| true, &mut problems);
        assert_eq!(codes(&problems), ["file_too_large"]);
        assert_eq!(files.iter().count(), 3);
    }

    #[test]
    fn refuses_too_many_bytes_and_files_together() {
        let mut problems = Problems::default();
        let large = (0..9).map(|number| (format!("{number}.csv").into(), vec![0; MAX_TABLE_BYTES]));
        Files::from_pairs(large, &mut problems);
        assert_eq!(codes(&problems), ["folder_too_large"]);
        let mut problems = Problems::default();
        Files::from_pairs(
            (0..=MAX_FILES).map(|number| (number.to_string().into(), Vec::new())),
            &mut problems,
        );
        assert_eq!(codes(&problems), ["too_many_files"]);
    }

    #[test]
    fn refuses_what_is_no_file() {
        let folder = folder();
        let _socket = std::os::unix::net::UnixListener::bind(folder.path().join("roles/socket")).unwrap();
        let mut problems = Problems::default();
        Files::read(folder.path(), |_| true, &mut problems);
        assert_eq!(codes(&problems), ["not_a_file"]);
    }

    #[test]
    fn refuses_paths_that_leave_the_folder() {
        let mut problems = Problems::default();
        let files =
            Files::from_pairs([("../x".into(), Vec::new()), ("/x".into(), Vec::new())], &mut problems);
        assert_eq!(codes(&problems), ["path_outside", "path_outside"]);
        assert_eq!(files.iter().count(), 0);
    }

    #[test]
    fn s_10_revision_changes_with_every_path_and_content_and_with_nothing_else() {
        let base = pairs(&[("a", "1"), ("b", "2")]);
        assert_eq!(base.revision(), pairs(&[("b", "2"), ("a", "1")]).revision());
        for other in [
            &[("a", "1"), ("b", "3")][..],
            &[("a", "1"), ("c", "2")],
            &[("a", "1")],
            &[("a", "1"), ("b", "2"), ("c", "")],
            &[("a", "12"), ("b", "")],
            &[("a", ""), ("1b", "2")],
        ] {
            assert_ne!(base.revision(), pairs(other).revision(), "{other:?}");
        }
    }

    #[test]
    fn s_10_a_link_swapped_to_a_new_version_changes_the_revision() {
        let (base, versions) = (tempfile::tempdir().unwrap(), ["v1", "v2"]);
        for version in versions {
            fs::create_dir(base.path().join(version)).unwrap();
            fs::write(base.path().join(version).join("tollgate.toml"), version).unwrap();
        }
        let current = base.path().join("current");
        let revisions = versions.map(|version| {
            let _ = fs::remove_file(&current);
            std::os::unix::fs::symlink(version, &current).unwrap();
            Files::read(&current, |_| true, &mut Problems::default()).revision()
        });
        assert_ne!(revisions[0], revisions[1]);
    }
}
