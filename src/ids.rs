//! Ids: UUIDs inside, TypeIDs (`connection_01jd8…`, <https://github.com/jetify-com/typeid>) outside.

use chrono::{DateTime, Utc};
use type_safe_id::{DynamicType, TypeSafeId};
use uuid::Uuid;

use crate::clock::{Entropy, random};

/// What an id names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    Viewer,
    Workspace,
    User,
    ApiKey,
    Connector,
    Client,
    Authorization,
    Connection,
    Disconnection,
    Attempt,
    Dataset,
    Metric,
    Notification,
    AuditEntry,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 14] = [
        Self::Viewer,
        Self::Workspace,
        Self::User,
        Self::ApiKey,
        Self::Connector,
        Self::Client,
        Self::Authorization,
        Self::Connection,
        Self::Disconnection,
        Self::Attempt,
        Self::Dataset,
        Self::Metric,
        Self::Notification,
        Self::AuditEntry,
    ];

    /// The prefix of its ids.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Workspace => "workspace",
            Self::User => "user",
            Self::ApiKey => "api_key",
            Self::Connector => "connector",
            Self::Client => "client",
            Self::Authorization => "authorization",
            Self::Connection => "connection",
            Self::Disconnection => "disconnection",
            Self::Attempt => "attempt",
            Self::Dataset => "dataset",
            Self::Metric => "metric",
            Self::Notification => "notification",
            Self::AuditEntry => "audit_entry",
        }
    }

    /// The thing of this kind with that id.
    pub fn of(self, id: Uuid) -> NodeId {
        NodeId { kind: self, id }
    }

    /// The kind whose ids begin with `prefix`.
    pub fn from_prefix(prefix: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.prefix() == prefix)
    }
}

/// A thing of the API, by kind and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct NodeId {
    pub kind: Kind,
    pub id: Uuid,
}

impl std::fmt::Display for NodeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Every prefix above is a valid one (a test walks them), so this never falls back to the bare UUID.
        match DynamicType::new(self.kind.prefix()) {
            Ok(prefix) => TypeSafeId::from_type_and_uuid(prefix, self.id).fmt(f),
            Err(_) => self.id.fmt(f),
        }
    }
}

impl std::str::FromStr for NodeId {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Self, Malformed> {
        // The parser cuts at bytes, and panics within a character.
        let text = Some(text).filter(|text| text.is_ascii()).ok_or(Malformed)?;
        let id: TypeSafeId<DynamicType> = text.parse().map_err(|_| Malformed)?;
        let kind = Kind::from_prefix(id.type_prefix()).ok_or(Malformed)?;
        Ok(Self { kind, id: id.uuid() })
    }
}

/// The text is no id of any kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

/// The id as the API shows it.
pub fn encode(kind: Kind, id: Uuid) -> String {
    NodeId { kind, id }.to_string()
}

/// The id that `text` shows; none when it is malformed or of another kind, which is like one that does not exist.
pub fn decode(kind: Kind, text: &str) -> Option<Uuid> {
    text.parse::<NodeId>().ok().filter(|node| node.kind == kind).map(|node| node.id)
}

/// A new id (UUIDv7) of the instant `now`.
pub fn new(now: DateTime<Utc>, entropy: &dyn Entropy) -> Uuid {
    let milliseconds = u64::try_from(now.timestamp_millis()).unwrap_or_default();
    uuid::Builder::from_unix_timestamp_millis(milliseconds, &random(entropy)).into_uuid()
}

/// The namespace of the ids of connectors.
const CONNECTORS: Uuid = Uuid::from_u128(0x6f1d_3e52_58a7_4a53_9a6e_0c7c_5f24_d1b0);

/// A connector's id: the same on every server.
pub fn connector_id(slug: &str) -> Uuid {
    Uuid::new_v5(&CONNECTORS, slug.as_bytes())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_text_is_at_most_one_id_of_one_kind_and_is_written_alike(kind in 0..Kind::ALL.len(), end in "\\PC{0,30}", id: u128) {
            let kind = Kind::ALL[kind];
            let shown = encode(kind, Uuid::from_u128(id));
            for text in [format!("{}_{end}", kind.prefix()), format!("{shown}{end}"), end, shown] {
                let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| decode(*kind, &text).is_some()).collect();
                prop_assert!(kinds.len() <= 1);
                if let [kind] = kinds[..] {
                    prop_assert_eq!(encode(kind, decode(kind, &text).unwrap()), text);
                }
            }
        }
    }

    #[test]
    fn every_kind_comes_back_as_itself_and_as_no_other() {
        let id = connector_id("stripe");
        for kind in Kind::ALL {
            let text = encode(kind, id);
            assert!(text.starts_with(kind.prefix()), "{text}");
            assert_eq!(decode(kind, &text), Some(id));
            for other in Kind::ALL.into_iter().filter(|other| *other != kind) {
                assert_eq!(decode(other, &text), None);
            }
        }
    }

    #[test]
    fn what_is_no_id_is_none() {
        for text in
            ["", "client", "client_", "client_0", "CLIENT_01jd8", "client_zzzzzzzzzzzzzzzzzzzzzzzzzz", "client_\0"]
        {
            assert_eq!(decode(Kind::Client, text), None, "{text:?}");
        }
    }
}
