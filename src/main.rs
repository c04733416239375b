//! The binary: reads the command line, runs the command, and says in one plain message on stderr what went wrong.
//!
//! What each command prints is in [`commands`]; what it does, in the library.

mod commands;
mod logging;
mod panics;
mod signals;

use std::{
    io::{Write, stderr},
    process::ExitCode,
};

use clap::Parser;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// 0: done. 1: it failed. 2: the command line was not understood.
fn main() -> ExitCode {
    panics::install();
    let cli = commands::Cli::parse();
    // Fails only where a provider is installed already: then there is one.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // Where stderr is closed, the exit code has to do.
            let _ = writeln!(stderr(), "patchbay: {failure}");
            ExitCode::FAILURE
        }
    }
}
