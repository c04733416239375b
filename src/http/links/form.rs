//! What a link's page sends back.

use axum::http::{HeaderMap, header};
use url::form_urlencoded;
use uuid::Uuid;

use crate::ids::{self, Kind};

/// What the name of a connector's field begins with in the form, so that none meets another name.
pub(super) const FIELD: &str = "field.";

/// What was typed and chosen. Not to be shown: it may hold secrets.
#[derive(Default)]
pub(super) struct Form {
    /// The connector's slug; the page of one to reconnect names none.
    pub(super) connector: Option<String>,
    /// The connector's fields: name and value.
    pub(super) fields: Vec<(String, String)>,
    /// The attempt that waits for an account.
    pub(super) attempt: Option<Uuid>,
    pub(super) account: Option<String>,
}

impl Form {
    /// Reads `application/x-www-form-urlencoded`. What is none of its names is left out.
    pub(super) fn read(body: &[u8]) -> Self {
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body).into_owned() {
            match name.as_str() {
                "connector" => form.connector = Some(value),
                "attempt" => form.attempt = ids::decode(Kind::Attempt, &value),
                "account" => form.account = Some(value),
                _ => form.fields.extend(name.strip_prefix(FIELD).map(|field| (field.to_owned(), value))),
            }
        }
        form
    }

    /// What was typed into a field.
    pub(super) fn typed(&self, field: &str) -> Option<&str> {
        self.fields.iter().find(|(name, _)| name == field).map(|(_, value)| value.as_str())
    }
}

/// Whether a body says that it is a form.
pub(super) fn is_one(headers: &HeaderMap) -> bool {
    let media = headers.get(header::CONTENT_TYPE).and_then(|media| media.to_str().ok()).unwrap_or_default();
    let essence = media.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_told_from_the_forms_own_names() {
        let form = Form::read(b"connector=shop&field.connector=x+y&field.key=%26&account=7&other=1&attempt=none");
        assert_eq!(form.connector.as_deref(), Some("shop"));
        let fields = [("connector", "x y"), ("key", "&")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(form.fields, fields);
        assert_eq!((form.account.as_deref(), form.attempt, form.typed("key")), (Some("7"), None, Some("&")));
    }

    #[test]
    fn only_a_form_is_one() {
        let is_one = |media: &str| {
            let headers = [(header::CONTENT_TYPE, media.parse().unwrap())].into_iter().collect();
            super::is_one(&headers)
        };
        assert!(
            is_one("application/x-www-form-urlencoded") && is_one("Application/X-WWW-Form-Urlencoded; charset=UTF-8")
        );
        assert!(!is_one("application/json") && !is_one("multipart/form-data; boundary=x"));
        assert!(!super::is_one(&HeaderMap::new()));
    }
}
