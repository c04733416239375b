//! A JSON answer of the token endpoint or the API, kept as a value until it is sent so that a
//! [`super::Fault`] can bend it.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

/// Status, body, and the challenge that a 401 has to carry.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
    challenge: Option<&'static str>,
}

impl Answer {
    pub(super) fn new(status: StatusCode, body: Value) -> Self {
        Self { status, body, challenge: None }
    }

    pub(super) fn ok(body: Value) -> Self {
        Self::new(StatusCode::OK, body)
    }

    /// An error with a sentence for whoever reads it.
    pub(super) fn error(status: StatusCode, code: &str, message: &str) -> Self {
        Self::new(status, json!({ "error": code, "message": message }))
    }

    /// An error of the token or revocation endpoint (RFC 6749 §5.2).
    pub(super) fn oauth_error(status: StatusCode, code: &str) -> Self {
        Self::new(status, json!({ "error": code }))
    }

    /// The `WWW-Authenticate` header (RFC 9110 §11.6.1).
    pub(super) fn challenge(self, challenge: &'static str) -> Self {
        Self { challenge: Some(challenge), ..self }
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        // RFC 6749 §5.1 asks for both of whatever holds a token; the rest is nobody's to keep either.
        let caching = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
        let mut response = (self.status, caching, Json(self.body)).into_response();
        if let Some(challenge) = self.challenge {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}
