//! What Patchbay does, by capability, and how its house is built; one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "one binary: a module shows the others what they share")]

mod agency;
mod command_line;
mod cursors;
mod elsewhere;
mod harness;
mod layering;
mod mid_stream;
mod people;
mod roles;
mod schema;
mod schema_fields;
mod tenants;
mod tokens;
mod visibility;
