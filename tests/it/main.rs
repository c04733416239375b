//! What Patchbay does, by capability, and how its house is built; one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]

mod command_line;
mod harness;
mod layering;
mod schema;
