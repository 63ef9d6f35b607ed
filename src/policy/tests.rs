//! Whole policies: loaded, analysed and asked, on the real interpreter.

mod decide;
mod failures;
mod load;
mod mutation;
mod older_syntax;
mod operations;
pub(super) mod support;
