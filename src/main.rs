//! The `tollgate` command.

use std::process::ExitCode;

/// Not the system's: policy evaluation makes a thousand small allocations per exchange, which were a fifth of its cost.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Every TLS stack in the process agrees on one provider; a second call would be a bug, and changes nothing.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    #[cfg(feature = "failpoints")]
    tollgate::failpoints::arm();
    tollgate::cli::main()
}
