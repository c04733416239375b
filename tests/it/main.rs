//! What Patchbay does, by capability, and how its house is built; one binary.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test fails by panicking")]
#![allow(unreachable_pub, reason = "one binary: a module shows the others what they share")]

mod agency;
mod api_keys;
mod attempts;
mod audit;
mod callback;
mod changing_account;
mod checking;
mod command_line;
mod conflicts;
mod connecting;
mod connecting_again;
mod connecting_many;
mod connecting_with_keys;
mod connectors;
mod crash;
mod cursors;
mod demo;
mod departed_clients;
mod departures;
mod elsewhere;
mod harness;
mod identity_provider;
mod incidents;
mod inputs;
mod layering;
mod logs;
mod metrics;
mod mid_stream;
mod migrations;
mod moving;
mod nodes;
mod noticing;
mod outbound;
mod people;
mod reconnecting;
mod removing;
mod renewing;
mod roles;
mod schema;
mod schema_fields;
mod secrets;
mod sending_again;
mod settings;
mod sharing;
mod starting;
mod telling;
mod tenants;
mod tokens;
mod transport;
mod tray;
mod truth;
mod updating;
mod visibility;
