//! Patchbay keeps an organisation's data sources plugged in.
//!
//! This is the map of the house. Imports point one way:
//!
//! ```text
//! main → app → http, jobs → graphql → datasets → connections → notifications → people → provider
//!      → journal, catalogue, vault, mail → access → pages, patch, claims, retention → ids, cursor, error, config, db
//!      → tasks → clock, line, retries, shares, spelling, telemetry (and the crates `entity` and `migration`)
//! ```
//!
//! A room may import any room to its right; rooms between commas do not import each other; only [`app`] imports
//! [`sandbox`]. A test keeps the rule.

pub mod access;
pub mod app;
pub mod catalogue;
pub mod claims;
pub mod clock;
pub mod config;
pub mod connections;
pub mod cursor;
pub mod datasets;
pub mod db;
pub mod error;
pub mod graphql;
pub mod http;
pub mod ids;
pub mod jobs;
pub mod journal;
mod line;
pub mod mail;
pub mod notifications;
pub mod pages;
pub mod patch;
pub mod people;
pub mod provider;
pub mod retention;
pub mod retries;
pub mod sandbox;
pub mod shares;
mod spelling;
pub mod tasks;
pub mod telemetry;
pub mod vault;
