//! The customer's identity provider, whose tokens are believed: three settings that go together.

use url::Url;

use super::{parse, reader::Reader};

/// The settings, with what is said where one is missing.
const TOGETHER: [(&str, &str); 3] = [
    (
        "jwt_jwks_url",
        "not set, and it goes with PATCHBAY_JWT_ISSUER and PATCHBAY_JWT_AUDIENCE; set it to the `jwks_uri` of the \
         identity provider's discovery document",
    ),
    (
        "jwt_issuer",
        "not set, and it goes with PATCHBAY_JWT_JWKS_URL; set it to the `iss` of the identity provider's tokens, \
         letter by letter",
    ),
    (
        "jwt_audience",
        "not set, and it goes with PATCHBAY_JWT_JWKS_URL; set it to the `aud` by which the identity provider's tokens \
         mean this server",
    ),
];

/// An identity provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityProvider {
    /// Where its JWK Set is.
    pub jwks_url: Url,
    /// `iss` of its tokens.
    pub issuer: String,
    /// One of these is in `aud`; never empty.
    pub audiences: Vec<String>,
}

/// Whether any of the settings is there.
pub(super) fn is_meant(reader: &Reader) -> bool {
    TOGETHER.iter().any(|(key, _)| reader.is_set(key))
}

/// The provider, if one is meant. What is missing or wrong is noted.
pub(super) fn read(reader: &mut Reader) -> Option<IdentityProvider> {
    if !is_meant(reader) {
        return None;
    }
    for (key, otherwise) in TOGETHER {
        if !reader.is_set(key) {
            reader.missing(key, otherwise);
        }
    }
    let jwks_url = reader.read("jwt_jwks_url", parse::web_address);
    let issuer = reader.read("jwt_issuer", parse::one_text);
    let audiences = reader.read("jwt_audience", parse::names);
    Some(IdentityProvider { jwks_url: jwks_url?, issuer: issuer?, audiences: audiences? })
}
