//! The files of this checkout.

use std::path::{Path, PathBuf};

/// Where the checkout is.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file with this ending in `folder` and below.
pub(crate) fn ending_with(ending: &str, folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { ending_with(ending, &path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|found| found == ending))
        .collect()
}

/// The text of all sources, tests among them.
pub(crate) fn sources() -> String {
    let files = ["src", "tests"].map(|folder| ending_with("rs", &root().join(folder))).concat();
    files.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
}
