//! The settings of a workspace: what it is called, when its reminders leave, and where their buttons lead.

use chrono_tz::Tz;
use entity::workspace;
use sea_orm::{ActiveModelTrait, EntityTrait, IntoActiveModel};
use serde_json::{Value, json};
use url::{Host, Url};

use super::{
    People, audit,
    names::{self, both},
};
use crate::{
    access::{Action, Viewer},
    error::{Error, Result},
    ids::Kind,
    patch::Patch,
};

/// How long a connection may have to stay disconnected before someone is reminded, in hours: up to thirty days.
const REMINDER_HOURS: std::ops::RangeInclusive<i32> = 1..=720;
/// Stands for a connection's id in a workspace's `connectionUrl`.
pub const CONNECTION_PLACE: &str = "{connectionId}";
/// How many characters a URL may have.
const LONGEST_URL: usize = 2_000;

/// Changes of the viewer's workspace.
#[derive(Debug, Clone)]
pub struct UpdateWorkspace {
    pub name: Patch<String>,
    /// IANA name.
    pub time_zone: Patch<String>,
    /// `HH:MM`.
    pub reminder_time: Patch<String>,
    pub reminder_after_hours: Patch<i32>,
    /// With `{connectionId}` in it.
    pub connection_url: Patch<String>,
}

/// Changes whose every value is valid.
struct Checked {
    name: Option<String>,
    time_zone: Option<String>,
    reminder_time: Option<String>,
    reminder_after_hours: Option<i32>,
    connection_url: Patch<String>,
}

impl People {
    /// Changes the settings of the viewer's workspace.
    pub async fn update_workspace(&self, viewer: &Viewer, change: UpdateWorkspace) -> Result<workspace::Model> {
        viewer.may(Action::Administer)?;
        let change = change.checked()?;
        let txn = self.begin(viewer.workspace()).await?;
        let found = workspace::Entity::find_by_id(viewer.workspace()).one(&txn).await?;
        let before = found.ok_or(Error::Unauthenticated)?;
        let after = change.applied_to(before.clone());
        if after == before {
            return Ok(before);
        }
        after.clone().into_active_model().reset_all().update(&txn).await?;
        let details = json!({ "before": described(&before), "after": described(&after) });
        let entry = audit("workspace.updated", viewer.actor(), Kind::Workspace, after.id, details);
        self.journal.commit(txn, after.id, vec![entry]).await?;
        Ok(after)
    }
}

impl UpdateWorkspace {
    fn checked(self) -> Result<Checked> {
        let name = self.name.checked(|name| names::name("name", &name)).and_then(|name| name.or_keep("name"));
        let zone = self.time_zone.checked(|zone| time_zone(&zone)).and_then(|zone| zone.or_keep("timeZone"));
        let time = self.reminder_time.checked(time_of_day).and_then(|time| time.or_keep("reminderTime"));
        let hours = self.reminder_after_hours.checked(hours).and_then(|hours| hours.or_keep("reminderAfterHours"));
        let reminders = both(both(zone, time), hours);
        let (name, (((time_zone, reminder_time), reminder_after_hours), connection_url)) =
            both(name, both(reminders, self.connection_url.checked(connection_url)))?;
        Ok(Checked { name, time_zone, reminder_time, reminder_after_hours, connection_url })
    }
}

impl Checked {
    fn applied_to(self, workspace: workspace::Model) -> workspace::Model {
        workspace::Model {
            name: self.name.unwrap_or(workspace.name),
            time_zone: self.time_zone.unwrap_or(workspace.time_zone),
            reminder_time: self.reminder_time.unwrap_or(workspace.reminder_time),
            reminder_after_hours: self.reminder_after_hours.unwrap_or(workspace.reminder_after_hours),
            connection_url: self.connection_url.after(workspace.connection_url),
            ..workspace
        }
    }
}

fn time_zone(given: &str) -> Result<String> {
    let zone: Result<Tz, _> = given.parse();
    let message = "This is not the name of a time zone, such as America/Phoenix.";
    zone.map(|zone| zone.name().to_owned()).map_err(|_| Error::invalid("timeZone", message))
}

fn time_of_day(given: String) -> Result<String> {
    let below = |digits: &[u8], end: u8| match digits {
        [tens @ b'0'..=b'9', ones @ b'0'..=b'9'] => (tens - b'0') * 10 + (ones - b'0') < end,
        _ => false,
    };
    match given.as_bytes() {
        [hour @ .., b':', _, _] if below(hour, 24) && below(&given.as_bytes()[3..], 60) => Ok(given),
        _ => Err(Error::invalid("reminderTime", "This is not a time of day, such as 07:00.")),
    }
}

fn hours(given: i32) -> Result<i32> {
    if REMINDER_HOURS.contains(&given) {
        return Ok(given);
    }
    let (least, most) = (REMINDER_HOURS.start(), REMINDER_HOURS.end());
    Err(Error::invalid("reminderAfterHours", format!("Between {least} and {most} hours fit here.")))
}

/// Mails carry it: it has to lead to one server, whichever connection it is for.
fn connection_url(given: String) -> Result<String> {
    match flaw(&given) {
        None => Ok(given),
        Some(flaw) => Err(Error::invalid("connectionUrl", flaw)),
    }
}

fn flaw(given: &str) -> Option<String> {
    if given.chars().nth(LONGEST_URL).is_some() {
        return Some(format!("At most {LONGEST_URL} characters fit here."));
    }
    // What browsers drop or mend in silence is no part of a URL (RFC 3986 §2).
    let spelled = given.chars().all(|letter| letter.is_ascii_graphic() && !"\"<>\\^`|".contains(letter));
    let rest = given.replace(CONNECTION_PLACE, "");
    if !spelled || rest.contains(['{', '}']) || rest.len() == given.len() {
        return Some(format!("This has to be a URL with {CONNECTION_PLACE} in it, and no other placeholder."));
    }
    let Ok(url) = Url::parse(&given.replace(CONNECTION_PLACE, "connection")) else {
        return Some("This is not an absolute URL.".to_owned());
    };
    let here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    let one_server =
        Url::parse(&given.replace(CONNECTION_PLACE, "other")).is_ok_and(|other| other.origin() == url.origin());
    if !one_server || !url.username().is_empty() || url.password().is_some() {
        return Some(format!("{CONNECTION_PLACE} belongs after the server's name, which stands by itself."));
    }
    match url.scheme() {
        "https" => None,
        "http" if here => None,
        _ => Some("This has to begin with https:// (http:// only for localhost).".to_owned()),
    }
}

/// What the audit log tells of a workspace.
fn described(workspace: &workspace::Model) -> Value {
    json!({
        "name": workspace.name,
        "timeZone": workspace.time_zone,
        "reminderTime": workspace.reminder_time,
        "reminderAfterHours": workspace.reminder_after_hours,
        "connectionUrl": workspace.connection_url,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_of_day_has_two_digits_twice() {
        for text in ["00:00", "07:00", "23:59"] {
            assert_eq!(time_of_day(text.to_owned()).unwrap(), text);
        }
        for text in ["", "7:00", "07:0", "24:00", "07:60", "07:00:00", "07.00", " 07:00", "+7:00", "0７:00", "٠٧:٠٠"]
        {
            assert!(time_of_day(text.to_owned()).is_err(), "{text}");
        }
    }

    #[test]
    fn a_time_zone_is_known_by_its_iana_name() {
        for text in ["America/Phoenix", "Europe/Berlin", "UTC"] {
            assert_eq!(time_zone(text).unwrap(), text);
        }
        for text in ["", "america/phoenix", "Mars/Olympus", "+02:00", "America/Phoenix "] {
            assert!(time_zone(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_connection_url_leads_to_one_server_by_https() {
        for text in [
            "https://app.example/sources/{connectionId}",
            "https://app.example/?id={connectionId}#{connectionId}",
            "https://app.example/#/{connectionId}",
            "http://localhost:3000/{connectionId}",
            "http://127.0.0.1/{connectionId}",
            "http://[::1]/{connectionId}",
        ] {
            assert_eq!(flaw(text), None, "{text}");
        }
        for text in [
            "",
            "{connectionId}",
            "/sources/{connectionId}",
            "//app.example/{connectionId}",
            "https://app.example/sources",
            "https://app.example/{connectionId}/{other}",
            "https://app.example/{connectionid}",
            "https://app.example/{{connectionId}}",
            "https://{connectionId}.example/",
            "https://{connectionId}@app.example/",
            "https://app.example:{connectionId}/",
            "https://mara@app.example/{connectionId}",
            "http://app.example/{connectionId}",
            "http://localhost.app.example/{connectionId}",
            "javascript:alert('{connectionId}')",
            "data:text/html,{connectionId}",
            "{connectionId}://app.example/",
            "https://app.example/{connectionId}\r\nX: y",
            " https://app.example/{connectionId}",
            "https:\\\\app.example\\{connectionId}",
            "https://app.example/{connectionId}\"",
        ] {
            assert!(flaw(text).is_some(), "{text}");
        }
        assert!(flaw(&format!("https://app.example/{{connectionId}}{}", "a".repeat(LONGEST_URL))).is_some());
    }
}
