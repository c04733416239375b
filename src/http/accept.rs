//! Media types: what a request is written in, and what its answer may be written in (GraphQL over HTTP, section 4).

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE};

/// What an answer is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Media {
    /// `application/json`: what is a well-formed request gets 200. Also for who says nothing, or anything.
    #[default]
    Json,
    /// `application/graphql-response+json`: the status says whether the request was executed.
    GraphqlResponse,
    /// `text/event-stream`: the operation's responses as they come.
    EventStream,
}

impl Media {
    /// What the client likes best of what there is; none when it accepts none of it.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let mut accepted = headers.get_all(ACCEPT).iter().peekable();
        if accepted.peek().is_none() {
            return Some(Self::Json);
        }
        let ranges = accepted.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let mut best: Option<(u16, Self)> = None;
        for (media, weight) in ranges.filter_map(range) {
            if weight > 0 && best.is_none_or(|(heaviest, _)| weight > heaviest) {
                best = Some((weight, media));
            }
        }
        best.map(|(_, media)| media)
    }

    /// The `Content-Type` of the answer.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json; charset=utf-8",
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            Self::EventStream => "text/event-stream",
        }
    }
}

/// One range of `Accept` and its weight in thousandths (RFC 9110, section 12.5.1), when it covers something there is.
fn range(text: &str) -> Option<(Media, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let media = match parts.next()?.to_ascii_lowercase().as_str() {
        "application/json" | "application/*" | "*/*" => Media::Json,
        "application/graphql-response+json" => Media::GraphqlResponse,
        "text/event-stream" => Media::EventStream,
        _ => return None,
    };
    let weight = parts.find_map(|parameter| parameter.strip_prefix("q=").or_else(|| parameter.strip_prefix("Q=")));
    let weight = weight.map_or(Some(1.0), |weight| weight.parse::<f32>().ok())?;
    // Between 0 and 1, so the cast cannot lose more than the fourth digit.
    Some((media, (weight.clamp(0.0, 1.0) * 1_000.0) as u16))
}

/// Whether the body is said to be JSON in UTF-8, not packed. A form or plain text is not: a web page can send those anywhere
/// without asking.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(content_type)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else { return false };
    let mut parts = content_type.split(';').map(|part| part.trim().to_ascii_lowercase());
    let json = parts.next().is_some_and(|media| media == "application/json" || media == "application/graphql+json");
    let utf8 = parts
        .filter_map(|part| part.strip_prefix("charset=").map(str::to_owned))
        .all(|charset| charset.trim_matches('"') == "utf-8");
    json && utf8 && !headers.contains_key(CONTENT_ENCODING)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepted(text: &str) -> Option<Media> {
        Media::of(&[(ACCEPT, text.parse().unwrap())].into_iter().collect())
    }

    #[test]
    fn the_client_gets_what_it_likes_best() {
        for (text, media) in [
            ("*/*", Some(Media::Json)),
            ("application/graphql-response+json, application/json;q=0.9", Some(Media::GraphqlResponse)),
            (
                "application/json;q=0.5, application/graphql-response+json; charset=utf-8; q=0.8",
                Some(Media::GraphqlResponse),
            ),
            ("text/html, application/json", Some(Media::Json)),
            ("text/event-stream", Some(Media::EventStream)),
            ("application/json, text/event-stream", Some(Media::Json)),
            ("Application/GraphQL-Response+JSON", Some(Media::GraphqlResponse)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("application/json;q=much", None),
        ] {
            assert_eq!(accepted(text), media, "{text}");
        }
        assert_eq!(Media::of(&HeaderMap::new()), Some(Media::Json));
    }

    #[test]
    fn only_json_in_utf_8_is_a_body() {
        let said = |text: &str| is_json(&[(CONTENT_TYPE, text.parse().unwrap())].into_iter().collect());
        for text in [
            "application/json",
            "application/json;charset=utf-8",
            "Application/JSON; charset=\"UTF-8\"",
            "application/graphql+json",
        ] {
            assert!(said(text), "{text}");
        }
        for text in [
            "text/plain",
            "multipart/form-data",
            "application/x-www-form-urlencoded",
            "application/json; charset=utf-16",
            "",
            "application/jsonp",
        ] {
            assert!(!said(text), "{text}");
        }
        assert!(!is_json(&HeaderMap::new()));
    }
}
