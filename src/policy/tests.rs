//! Whole policies: loaded, analysed and asked, on the real interpreter.

mod decide;
mod failures;
mod load;
mod mutation;
mod older_syntax;
pub(super) mod support;
