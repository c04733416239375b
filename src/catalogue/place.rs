//! Where a placeholder stands, and what that asks of its value.
//!
//! In a URL the place follows from the text before it. Values are escaped so that none leaves its place; what cannot be
//! escaped there (a slash in a host, a line end in a header) is refused. As a second fence the finished URL is parsed and
//! has to have the host, path and query that were written: a parser that reads it otherwise is not believed.

use std::{borrow::Cow, fmt};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

/// Everything but the unreserved characters of RFC 3986 §2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Where a placeholder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// At the very start of a URL: scheme, host, perhaps a path.
    #[default]
    Origin,
    Host,
    Port,
    Path,
    /// A name or a value in a URL's query.
    Query,
    Header,
    /// Inside a string of a JSON document.
    Json,
    /// A name or a value of a form.
    Form,
    /// Where somebody else escapes.
    Plain,
}

impl Place {
    /// A value that fits, to see whether the text around it does.
    pub(super) fn sample(self) -> &'static str {
        match self {
            Self::Origin => "https://origin.example",
            Self::Port => "1",
            _ => "a",
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Origin => "the place of a whole origin",
            Self::Host => "a host",
            Self::Port => "a port",
            Self::Path => "a path",
            Self::Query => "a query",
            Self::Header => "a header",
            Self::Json => "a JSON document",
            Self::Form => "a form",
            Self::Plain => "a text",
        })
    }
}

/// The value as it may stand in that place; `None` when it may not. Nothing may be empty in a URL.
pub(super) fn escape(place: Place, value: &str) -> Option<Cow<'_, str>> {
    match place {
        Place::Origin => origin(value).map(Cow::Borrowed),
        Place::Host => only(value, |c| c.is_ascii_alphanumeric() || c == '-' || c == '.'),
        Place::Port => only(value, |c| c.is_ascii_digit()),
        Place::Path | Place::Query => (!value.is_empty()).then(|| Cow::from(utf8_percent_encode(value, RESERVED))),
        Place::Header => value.chars().all(is_header_character).then_some(Cow::Borrowed(value)),
        Place::Json => {
            let quoted = serde_json::Value::from(value).to_string();
            Some(Cow::Owned(quoted[1..quoted.len() - 1].to_owned()))
        }
        Place::Form => Some(Cow::from(utf8_percent_encode(value, RESERVED))),
        Place::Plain => Some(Cow::Borrowed(value)),
    }
}

/// Visible ASCII, space and tab (RFC 9110 §5.5, without its obsolete part).
pub(super) fn is_header_character(c: char) -> bool {
    matches!(c, ' '..='~' | '\t')
}

fn only(value: &str, allowed: impl Fn(char) -> bool) -> Option<Cow<'_, str>> {
    (!value.is_empty() && value.chars().all(allowed)).then_some(Cow::Borrowed(value))
}

/// A URL that others can be built on, without the slash at its end.
fn origin(value: &str) -> Option<&str> {
    let value = value.strip_suffix('/').unwrap_or(value);
    let mut writer = UrlWriter::default();
    writer.text(value).ok()?;
    let (_, written) = writer.finish().ok()?;
    (!written.contains('?')).then_some(value)
}

/// Writes a URL from left to right and knows where it is.
#[derive(Default)]
pub(super) struct UrlWriter {
    written: String,
    place: Place,
    /// A whole origin has just been written: only a path or a query can follow.
    after_origin: bool,
    /// Where the host begins, and where it (with its port) ends.
    host: Option<(usize, usize)>,
    /// Where the query begins, its `?` included.
    query: Option<usize>,
}

impl UrlWriter {
    /// Where the next character would stand.
    pub(super) fn place(&self) -> Place {
        self.place
    }

    pub(super) fn text(&mut self, text: &str) -> Result<(), &'static str> {
        let mut rest = text;
        if self.place == Place::Origin {
            let scheme = ["https://", "http://"].into_iter().find(|scheme| text.starts_with(scheme));
            let scheme = scheme.ok_or("a URL begins with `https://`")?;
            self.written.push_str(scheme);
            self.host = Some((scheme.len(), scheme.len()));
            self.place = Place::Host;
            rest = &text[scheme.len()..];
        }
        rest.chars().try_for_each(|c| self.character(c))
    }

    fn character(&mut self, c: char) -> Result<(), &'static str> {
        if std::mem::take(&mut self.after_origin) && !matches!(c, '/' | '?') {
            return Err("behind a whole origin comes a `/` or a `?`");
        }
        match (self.place, c) {
            (_, '#') => return Err("a `#` has no meaning here: a fragment is never sent"),
            (Place::Host | Place::Port, '@') => return Err("a URL here has no user and no password"),
            (Place::Host, ':') => self.place = Place::Port,
            (Place::Host | Place::Port, '/') => self.place = Place::Path,
            (Place::Host | Place::Port | Place::Path, '?') => {
                self.place = Place::Query;
                self.query = Some(self.written.len());
            }
            _ => {}
        }
        self.written.push(c);
        if matches!(self.place, Place::Host | Place::Port) {
            self.extend_host();
        }
        Ok(())
    }

    /// Writes a placeholder's value; `None` when it cannot stand here.
    pub(super) fn value(&mut self, value: &str) -> Option<()> {
        if self.after_origin {
            return None;
        }
        let escaped = escape(self.place, value)?;
        if self.place == Place::Origin {
            self.text(&escaped).ok()?;
            self.place = Place::Path;
            self.after_origin = true;
            return Some(());
        }
        self.written.push_str(&escaped);
        if matches!(self.place, Place::Host | Place::Port) {
            self.extend_host();
        }
        Some(())
    }

    fn extend_host(&mut self) {
        if let Some((_, end)) = &mut self.host {
            *end = self.written.len();
        }
    }

    /// The URL, and the text it was read from.
    pub(super) fn finish(self) -> Result<(Url, String), &'static str> {
        let (from, to) = self.host.ok_or("a URL begins with `https://`")?;
        let url = Url::parse(&self.written).map_err(|_| "it is not a URL")?;
        let authority = &self.written[from..to];
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        let path_end = self.query.unwrap_or(self.written.len());
        let path = match &self.written[to..path_end] {
            "" => "/",
            path => path,
        };
        let same = is_host_name(host)
            && url.host_str() == Some(host.to_ascii_lowercase().as_str())
            && port.is_none_or(|port| port.parse().ok() == url.port_or_known_default())
            && url.path() == path
            && url.query() == self.query.map(|at| &self.written[at + 1..]);
        if same { Ok((url, self.written)) } else { Err("it is not written as it would be sent") }
    }
}

/// Labels of letters, digits, `-` and `_` (RFC 1123 §2.1, and what is in use), each with something in it.
fn is_host_name(host: &str) -> bool {
    let label = |label: &str| {
        !label.is_empty() && label.len() <= 63 && label.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c))
    };
    host.len() <= 253 && host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_in_a_host_is_made_of_host_characters() {
        assert_eq!(escape(Place::Host, "my-shop.eu").as_deref(), Some("my-shop.eu"));
        for attack in
            ["evil.example#", "a/b", "a?b", "a@b", "a:80", "a\r\nb", "%2f", "bücher", "", " ", "a\\b", "[::1]"]
        {
            assert_eq!(escape(Place::Host, attack), None, "{attack:?}");
        }
    }

    #[test]
    fn a_value_in_a_path_or_query_is_percent_encoded() {
        for place in [Place::Path, Place::Query] {
            assert_eq!(escape(place, "a/b?c#d&e=f+g h").as_deref(), Some("a%2Fb%3Fc%23d%26e%3Df%2Bg%20h"));
            assert_eq!(escape(place, "%2f").as_deref(), Some("%252f"));
            assert_eq!(escape(place, "é\r\n").as_deref(), Some("%C3%A9%0D%0A"));
            assert_eq!(escape(place, ""), None);
        }
    }

    #[test]
    fn a_header_takes_no_line_end_and_nothing_beyond_ascii() {
        assert_eq!(escape(Place::Header, "Token a=\"b\"").as_deref(), Some("Token a=\"b\""));
        for attack in ["a\r\nX-Evil: 1", "a\n", "\0", "é", "a\u{7f}"] {
            assert_eq!(escape(Place::Header, attack), None, "{attack:?}");
        }
    }

    #[test]
    fn a_value_in_json_cannot_close_its_string() {
        assert_eq!(escape(Place::Json, "\",\"a\":\"\\\n").as_deref(), Some(r#"\",\"a\":\"\\\n"#));
    }

    #[test]
    fn a_whole_origin_is_an_http_url_without_user_query_and_fragment() {
        assert_eq!(escape(Place::Origin, "https://eu1.example").as_deref(), Some("https://eu1.example"));
        assert_eq!(escape(Place::Origin, "http://127.0.0.1:9/").as_deref(), Some("http://127.0.0.1:9"));
        assert_eq!(escape(Place::Origin, "https://a.example/v2").as_deref(), Some("https://a.example/v2"));
        for attack in [
            "",
            "eu1.example",
            "ftp://a.example",
            "file:///etc/passwd",
            "https://u:p@a.example",
            "https://a.example?x=1",
            "https://a.example#x",
            "https://a.example/../b",
            "https://a.example\\b",
            "https://",
            "javascript:alert(1)",
        ] {
            assert_eq!(escape(Place::Origin, attack), None, "{attack:?}");
        }
    }
}
