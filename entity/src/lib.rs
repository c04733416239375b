//! The tables of Patchbay, one module each, and nothing else: no GraphQL, no rules.
//!
//! Every table of a workspace carries `workspace_id`; ids are UUIDs (version 7, connectors version 5), times are UTC
//! cut to microseconds. A connector is named by its slug. The migrations make these tables; a test compares the two.

#![allow(missing_docs, reason = "a column is documented where its name does not say it")]

pub mod api_key;
pub mod attempt;
pub mod authorization;
pub mod binding;
pub mod client;
pub mod connection;
pub mod connection_share;
pub mod connector;
pub mod dataset;
pub mod disconnection;
pub mod disconnection_connection;
pub mod give_back;
pub mod incident;
pub mod journal_entry;
pub mod journal_floor;
pub mod journal_head;
pub mod kept_answer;
pub mod kinds;
pub mod link;
pub mod link_connector;
pub mod metric;
pub mod notification;
pub mod pause;
pub mod reminder;
pub mod reminder_disconnection;
pub mod snapshot;
pub mod snapshot_part;
pub mod user;
pub mod wait_request;
pub mod workspace;

pub use kinds::{
    AccountChange, Aggregation, AttemptKind, AttemptStatus, AuthMethod, DataMode, DatasetStatus, Detector,
    DisconnectionEnd, DisconnectionReason, Endpoint, LinkEnd, NotificationKind, ReminderStatus, Role, Status, Topic,
};
