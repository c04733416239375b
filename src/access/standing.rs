//! What somebody was when something was done for them: kept beside it, and compared with what they are later.

use entity::Role;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Sight, Viewer};

/// What a viewer was at one moment: how much they might do, and how much they saw.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    role: Role,
    client: Option<Uuid>,
    sight: Seen,
}

/// [`Sight`], as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Seen {
    Everything,
    MadeOrShared(Uuid),
    Client(Uuid),
    Nothing,
}

impl From<Sight> for Seen {
    fn from(sight: Sight) -> Self {
        match sight {
            Sight::Everything => Self::Everything,
            Sight::MadeOrShared(user) => Self::MadeOrShared(user),
            Sight::Client(client) => Self::Client(client),
            Sight::Nothing => Self::Nothing,
        }
    }
}

impl Viewer {
    /// What this viewer is now.
    pub fn standing(&self) -> Standing {
        Standing { role: self.role(), client: self.client(), sight: self.sight().into() }
    }

    /// Whether this viewer is at least what somebody was `then`: no lesser role, no other client, and nothing less to see.
    pub fn is_at_least(&self, then: &Standing) -> bool {
        let now = self.standing();
        let sees = now.sight == Seen::Everything || now.sight == then.sight || then.sight == Seen::Nothing;
        let same_client = then.client.is_none() || then.client == now.client || now.sight == Seen::Everything;
        rank(now.role) >= rank(then.role) && sees && same_client
    }
}

/// The more a role may do, the greater.
fn rank(role: Role) -> u8 {
    match role {
        Role::Client => 0,
        Role::Member => 1,
        Role::Staff => 2,
        Role::Admin => 3,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use entity::{user, workspace};

    use super::*;

    fn person(id: u128, role: Role, client: Option<u128>) -> Viewer {
        let now = DateTime::UNIX_EPOCH;
        let user = user::Model {
            id: Uuid::from_u128(id),
            workspace_id: Uuid::nil(),
            name: String::new(),
            name_key: String::new(),
            email: String::new(),
            email_key: String::new(),
            role,
            client_id: client.map(Uuid::from_u128),
            active: true,
            reminder_emails: true,
            created_at: now,
        };
        let workspace = workspace::Model {
            id: Uuid::nil(),
            name: String::new(),
            time_zone: "UTC".to_owned(),
            reminder_time: "07:00".to_owned(),
            reminder_after_hours: 24,
            reminded_at: None,
            connection_url: None,
            cursor_key: vec![0; 32],
            created_at: now,
        };
        Viewer::person(&user, &workspace, None, 0)
    }

    #[test]
    fn every_role_is_at_least_itself_and_what_sees_and_may_less() {
        use Role::{Admin, Client, Member, Staff};
        let (acme, globex) = (Some(1), Some(2));
        let all = [(Admin, None), (Staff, None), (Member, None), (Client, acme), (Client, globex)];
        let at_least = |now: (Role, Option<u128>)| {
            let now = person(7, now.0, now.1);
            all.map(|(role, client)| now.is_at_least(&person(7, role, client).standing()))
        };
        assert_eq!(at_least((Admin, None)), [true; 5]);
        assert_eq!(at_least((Staff, None)), [false, true, true, true, true]);
        assert_eq!(at_least((Member, None)), [false, false, true, false, false]);
        assert_eq!(at_least((Client, acme)), [false, false, false, true, false]);
        assert_eq!(at_least((Client, globex)), [false, false, false, false, true]);
    }

    #[test]
    fn what_one_member_made_another_does_not_see() {
        let one = person(1, Role::Member, None).standing();
        assert!(!person(2, Role::Member, None).is_at_least(&one) && person(2, Role::Staff, None).is_at_least(&one));
    }

    #[test]
    fn it_is_kept_and_read_again() {
        let then = person(1, Role::Client, Some(3)).standing();
        let read: Standing = serde_json::from_str(&serde_json::to_string(&then).unwrap()).unwrap();
        assert_eq!(read, then);
    }
}
