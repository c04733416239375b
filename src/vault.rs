//! Secrets at rest: sealed with XChaCha20-Poly1305 under a named key.
//!
//! A sealed secret names its key and is bound to the table, row and column it belongs to, so that no ciphertext can be
//! moved elsewhere. Nothing else in the house opens a secret. Which secrets there are is for the rooms that own them.

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::clock::{SharedEntropy, random};

/// The layout of a sealed secret: version, length of the key's name, the name, the nonce, the ciphertext.
const VERSION: u8 = 1;
/// Bytes of a nonce: so many that random ones do not meet.
const NONCE: usize = 24;

/// Where a secret lives.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub table: &'static str,
    pub column: &'static str,
    pub row: Uuid,
}

impl Place {
    fn associated_data(self) -> Vec<u8> {
        [self.table.as_bytes(), b".", self.column.as_bytes(), b":", self.row.as_bytes()].concat()
    }
}

/// Why a key ring could not be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum KeyRingError {
    #[error("no encryption key is given")]
    Empty,
    #[error("an encryption key must look like name:base64")]
    Malformed,
    #[error("the encryption key `{0}` must be 32 bytes, base64 encoded")]
    Length(String),
    #[error("two encryption keys are named `{0}`")]
    Twice(String),
}

/// Why a sealed secret could not be opened. Never says anything of what is inside.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Unreadable {
    #[error("the secret was sealed with a key that is not configured")]
    UnknownKey,
    #[error("the secret is damaged, or not where it was sealed")]
    Damaged,
}

/// Seals and opens secrets; cheap to clone.
#[derive(Clone)]
pub struct Vault {
    /// The first one seals.
    keys: Arc<[(String, XChaCha20Poly1305)]>,
    entropy: SharedEntropy,
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.keys.iter().map(|(name, _)| name)).finish()
    }
}

impl Vault {
    /// Reads `name:base64,…`, as PATCHBAY_ENCRYPTION_KEYS has it; the first key seals.
    pub fn new(keys: &SecretString, entropy: SharedEntropy) -> Result<Self, KeyRingError> {
        let mut ring: Vec<(String, XChaCha20Poly1305)> = Vec::new();
        for entry in keys.expose_secret().split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
            let (name, key) = entry.split_once(':').ok_or(KeyRingError::Malformed)?;
            if name.is_empty() || name.len() > 64 {
                return Err(KeyRingError::Malformed);
            }
            let key = Zeroizing::new(STANDARD.decode(key).map_err(|_| KeyRingError::Length(name.to_owned()))?);
            let cipher = XChaCha20Poly1305::new_from_slice(&key).map_err(|_| KeyRingError::Length(name.to_owned()))?;
            if ring.iter().any(|(known, _)| known == name) {
                return Err(KeyRingError::Twice(name.to_owned()));
            }
            ring.push((name.to_owned(), cipher));
        }
        if ring.is_empty() { Err(KeyRingError::Empty) } else { Ok(Self { keys: ring.into(), entropy }) }
    }

    /// Seals `secret` for `place`.
    pub fn seal(&self, place: Place, secret: &[u8]) -> Vec<u8> {
        let (name, cipher) = &self.keys[0];
        let nonce: [u8; NONCE] = random(&*self.entropy);
        let payload = Payload { msg: secret, aad: &place.associated_data() };
        // XChaCha20-Poly1305 refuses only messages of 256 GiB and more.
        let ciphertext = cipher.encrypt(XNonce::from_slice(&nonce), payload).unwrap_or_default();
        let length = u8::try_from(name.len()).unwrap_or_default();
        [&[VERSION, length], name.as_bytes(), &nonce, &ciphertext].concat()
    }

    /// Opens what was sealed for `place`.
    pub fn open(&self, place: Place, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unreadable> {
        let (name, rest) = split(sealed).ok_or(Unreadable::Damaged)?;
        let (_, cipher) = self.keys.iter().find(|(known, _)| known.as_bytes() == name).ok_or(Unreadable::UnknownKey)?;
        let (nonce, ciphertext) = rest.split_at_checked(NONCE).ok_or(Unreadable::Damaged)?;
        let payload = Payload { msg: ciphertext, aad: &place.associated_data() };
        let secret = cipher.decrypt(XNonce::from_slice(nonce), payload).map_err(|_| Unreadable::Damaged)?;
        Ok(Zeroizing::new(secret))
    }
}

/// The key's name, and what follows it.
fn split(sealed: &[u8]) -> Option<(&[u8], &[u8])> {
    let [VERSION, length, rest @ ..] = sealed else { return None };
    rest.split_at_checked(usize::from(*length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemEntropy;

    const A: &str = "a:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    const B: &str = "b:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn vault(keys: &str) -> Result<Vault, KeyRingError> {
        Vault::new(&keys.into(), Arc::new(SystemEntropy))
    }

    fn place(row: u128) -> Place {
        Place { table: "authorization", column: "credential", row: Uuid::from_u128(row) }
    }

    #[test]
    fn what_was_sealed_opens_where_it_was_sealed_and_nowhere_else() {
        let vault = vault(A).unwrap();
        let sealed = vault.seal(place(1), b"secret");
        assert_eq!(vault.open(place(1), &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(vault.open(place(2), &sealed), Err(Unreadable::Damaged));
        let elsewhere = Place { column: "secret", ..place(1) };
        assert_eq!(vault.open(elsewhere, &sealed), Err(Unreadable::Damaged));
        assert!(!sealed.windows(6).any(|part| part == b"secret"));
    }

    #[test]
    fn one_flipped_bit_is_refused_wherever_it_is() {
        let vault = vault(A).unwrap();
        let sealed = vault.seal(place(1), b"secret");
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(vault.open(place(1), &damaged).is_err(), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert!(vault.open(place(1), &sealed[..length]).is_err());
        }
    }

    #[test]
    fn the_first_key_seals_and_every_key_opens() {
        let old = vault(A).unwrap().seal(place(1), b"secret");
        let both = vault(&format!("{B},{A}")).unwrap();
        assert_eq!(both.open(place(1), &old).unwrap().as_slice(), b"secret");
        let new = both.seal(place(1), b"secret");
        assert_eq!(vault(A).unwrap().open(place(1), &new), Err(Unreadable::UnknownKey));
    }

    #[test]
    fn a_key_ring_that_is_not_one_says_why_without_showing_a_key() {
        assert_eq!(vault("").unwrap_err(), KeyRingError::Empty);
        assert_eq!(vault("nonsense").unwrap_err(), KeyRingError::Malformed);
        assert_eq!(vault("a:c2hvcnQ=").unwrap_err(), KeyRingError::Length("a".to_owned()));
        assert_eq!(vault(&format!("{A},{A}")).unwrap_err(), KeyRingError::Twice("a".to_owned()));
        assert_eq!(format!("{:?}", vault(A).unwrap()), r#"["a"]"#);
    }
}
