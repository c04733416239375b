//! The closed sets of values that columns hold.

use sea_orm::entity::prelude::*;
use serde::{Deserialize, Serialize};

/// Declares an enum stored as the given text.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$about:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, EnumIter, DeriveActiveEnum)]
        #[sea_orm(rs_type = "String", db_type = "Text")]
        pub enum $name { $($(#[$about])* #[sea_orm(string_value = $text)] $variant,)+ }

        impl $name {
            /// The stored text, which is also the API's.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }
        }
    };
}

text_enum!(Role { Admin = "ADMIN", Staff = "STAFF", Member = "MEMBER", Client = "CLIENT" });
text_enum!(AuthMethod { OAuth2 = "OAUTH2", ApiKey = "API_KEY", Basic = "BASIC", Fields = "FIELDS" });
text_enum!(DataMode { Warehouse = "WAREHOUSE", DirectQuery = "DIRECT_QUERY" });
text_enum!(DisconnectionReason {
    Revoked = "REVOKED",
    Expired = "EXPIRED",
    CredentialsRejected = "CREDENTIALS_REJECTED",
    AccessLost = "ACCESS_LOST",
    Reported = "REPORTED",
    Unresponsive = "UNRESPONSIVE",
});
text_enum!(Detector {
    TokenRenewal = "TOKEN_RENEWAL",
    Probe = "PROBE",
    DatasetRefresh = "DATASET_REFRESH",
    Report = "REPORT",
});
text_enum!(
    /// What of a provider is asked.
    Endpoint {
        Token = "TOKEN",
        /// What an authorization's own probe asks.
        Api = "API",
        /// What the probe of an account asks: it may be another API.
        Account = "ACCOUNT",
    }
);
text_enum!(DisconnectionEnd { Reconnected = "RECONNECTED", Recovered = "RECOVERED", Removed = "REMOVED" });
text_enum!(
    /// Why a link is of no more use before its time.
    LinkEnd {
        /// What it was made for is done.
        Used = "USED",
        /// The connection works again by other means.
        Healed = "HEALED",
    }
);
text_enum!(ReminderStatus {
    Pending = "PENDING",
    Sent = "SENT",
    /// The mail server refused it for good.
    Refused = "REFUSED",
    /// There was nothing left to tell when it was to be sent.
    Dropped = "DROPPED",
});
text_enum!(AttemptKind { Connect = "CONNECT", Reconnect = "RECONNECT" });
text_enum!(AttemptStatus {
    Pending = "PENDING",
    /// The callback was taken; the provider is being asked. PENDING to the outside.
    Exchanging = "EXCHANGING",
    NeedsDecision = "NEEDS_DECISION",
    Succeeded = "SUCCEEDED",
    Failed = "FAILED",
    Expired = "EXPIRED",
});
text_enum!(AccountChange {
    Ask = "ASK",
    Refuse = "REFUSE",
    ThisConnection = "THIS_CONNECTION",
    WholeAuthorization = "WHOLE_AUTHORIZATION",
});
text_enum!(NotificationKind {
    Disconnected = "DISCONNECTED",
    Expiring = "EXPIRING",
    Recovered = "RECOVERED",
    Incident = "INCIDENT",
});
text_enum!(
    /// What came of a dataset's last refresh. That one is on the way is in its claim.
    DatasetStatus { NeverRefreshed = "NEVER_REFRESHED", Fresh = "FRESH", Failed = "FAILED" }
);
text_enum!(Aggregation {
    Count = "COUNT",
    Sum = "SUM",
    Avg = "AVG",
    Min = "MIN",
    Max = "MAX",
    Last = "LAST",
});
text_enum!(
    /// Who an entry of the journal concerns; each topic has subscriptions and a retention of its own.
    Topic {
        Connections = "connections",
        Datasets = "datasets",
        Notifications = "notifications",
        Attempts = "attempts",
        Audit = "audit",
    }
);

/// A connection's or an authorization's status, stored as its rank: the most urgent sorts first.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, EnumIter, DeriveActiveEnum,
)]
#[sea_orm(rs_type = "i16", db_type = "SmallInteger")]
pub enum Status {
    #[sea_orm(num_value = 0)]
    Disconnected,
    #[sea_orm(num_value = 1)]
    Expiring,
    #[sea_orm(num_value = 2)]
    Connected,
}
