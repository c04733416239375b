//! Who asks, and what they may: the viewer, the roles, the one permission table, and how a bearer is verified.
//!
//! Every domain function takes `&Viewer` first. What a viewer may *see* of a table is a condition that the table's own
//! room makes from [`Viewer::sight`].

mod api_key;
mod authenticator;
mod identity_provider;
mod jwks;
mod permissions;
mod standing;
mod token;
mod viewer;

pub use api_key::{NewSecret, viewer_of_key};
pub use authenticator::{Authenticator, Bind};
pub use entity::Role;
pub use identity_provider::{IdentityProvider, Subject};
pub use jwks::{KeyDocument, KeySource, NoKeys};
pub use permissions::{Action, Reach, acting};
pub use standing::Standing;
pub use token::{JwtSecret, TokenError};
pub use viewer::{Actor, Principal, Sight, Viewer};
