//! What an entry keeps of each thing it touched, so that filters and visibility can be judged later, as they were
//! before and after. How that is stored is [`super::packed`]'s.

use chrono::{DateTime, Utc};
use entity::{DisconnectionReason, Status};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What an entry touched. A change of these types is a new layout: see [`super::packed`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Facts {
    None,
    Connections(Vec<Touched>),
    Notifications(Vec<Told>),
    Dataset(DatasetFact),
}

/// One connection before and after a change; `before` is none for one that is new, `after` for one that is gone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Touched {
    pub connection: Uuid,
    pub before: Option<Fact>,
    pub after: Option<Fact>,
}

/// What filters and visibility need of a connection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fact {
    pub name: String,
    pub connector: String,
    pub authorization: Uuid,
    pub client: Option<Uuid>,
    pub owner: Option<Uuid>,
    pub shares: Vec<Uuid>,
    pub status: Status,
    /// Microseconds since 1970.
    pub status_changed_at: i64,
    /// Of the disconnection it is in.
    pub reason: Option<DisconnectionReason>,
}

impl Fact {
    /// When its status last changed.
    pub fn status_changed_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.status_changed_at).unwrap_or_default()
    }
}

/// One person's notification.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Told {
    pub user: Uuid,
    pub notification: Uuid,
}

/// One dataset, with what filters and visibility need of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatasetFact {
    pub dataset: Uuid,
    pub through: Through,
    /// What it read through until this moved it.
    pub before: Option<Through>,
}

/// The connection that a dataset reads through, and who sees that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Through {
    pub connection: Uuid,
    pub client: Option<Uuid>,
    pub owner: Option<Uuid>,
    pub shares: Vec<Uuid>,
}

impl Facts {
    /// The connections it touched.
    pub fn connections(&self) -> &[Touched] {
        match self {
            Self::Connections(touched) => touched,
            Self::None | Self::Notifications(_) | Self::Dataset(_) => &[],
        }
    }

    /// The people it told.
    pub fn notifications(&self) -> &[Told] {
        match self {
            Self::Notifications(told) => told,
            Self::None | Self::Connections(_) | Self::Dataset(_) => &[],
        }
    }

    /// The dataset it is about.
    pub fn dataset(&self) -> Option<&DatasetFact> {
        match self {
            Self::Dataset(fact) => Some(fact),
            Self::None | Self::Connections(_) | Self::Notifications(_) => None,
        }
    }
}
