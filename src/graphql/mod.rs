//! The API: translation only.
//!
//! A resolver decodes its input, makes one call to the domain and wraps the result. What someone may see or do, and
//! whether an id names anything, the domain decides; it is never asked here. Transports (HTTP, sockets) are
//! [`crate::http`]'s.
//!
//! | file | owns |
//! | --- | --- |
//! | `request.rs`, `documents.rs`, `guard.rs`, `asks.rs`, `prepared.rs`, `execution.rs`, `engine.rs`, `budget.rs`, `asked_accounts.rs`, `response.rs`, `kept_answers.rs`, `kept_sight.rs` | from a request to its answer |
//! | `field_types.rs` | what the fields of the schema are, for those who judge what is asked |
//! | `errors.rs`, `wording.rs`, `user_error.rs`, `nulls.rs` | errors: top-level, the executor's own, those in payloads, and what they leave of an answer |
//! | `services.rs`, `loaders.rs`, `beside.rs`, `event_cursor.rs` | what a resolver finds in its context, and what lists load ahead |
//! | `scalars.rs`, `page.rs`, `node.rs`, `counts.rs` | what every subject uses |
//! | `people.rs`, `people_changes.rs`, `api_keys.rs`, `catalogue.rs` | people, their programs, and connectors |
//! | `connections.rs`, `connection_inputs.rs`, `authorizations.rs`, `disconnections.rs` | what is plugged in |
//! | `connect.rs`, `connect_accounts.rs`, `attempts.rs`, `links.rs`, `upkeep.rs` | plugging in and out |
//! | `changes.rs`, `notifications.rs`, `audit.rs` | what happened, and who hears of it |
//! | `schema.rs` | the roots, and the schema as text |

pub mod api_keys;
mod asked_accounts;
mod asks;
pub mod attempts;
pub mod audit;
pub mod authorizations;
mod beside;
mod budget;
pub mod catalogue;
pub mod changes;
pub mod connect;
pub mod connect_accounts;
pub mod connection_inputs;
pub mod connections;
pub mod counts;
pub mod dataset_changes;
pub mod datasets;
pub mod disconnections;
mod documents;
mod engine;
pub mod errors;
pub mod event_cursor;
mod execution;
mod field_types;
mod guard;
mod kept_answers;
mod kept_sight;
pub mod links;
pub mod loaders;
pub mod metrics;
pub mod node;
pub mod notifications;
mod nulls;
pub mod page;
pub mod people;
pub mod people_changes;
mod prepared;
mod request;
mod response;
mod rows;
pub mod scalars;
pub mod schema;
pub mod services;
pub mod upkeep;
pub mod user_error;
mod wording;

pub use asked_accounts::AskedAccounts;
pub use budget::Budget;
pub use errors::ApiError;
pub use execution::{Answered, Api};
pub use kept_answers::{IdempotencyKey, KeptAnswers};
pub use prepared::{Prepared, SubscriptionKey};
pub use request::{RawRequest, RequestId, RequestIds};
pub use response::{Event, Refusal, Response, Subject};
pub use schema::{Schema, build, build_metered, sdl};
pub use services::Services;

use services::services;
