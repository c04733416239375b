//! Secrets at rest: sealed with XChaCha20-Poly1305 under a named key.
//!
//! A sealed secret names its key and is bound to the table, row and column it belongs to, so that no ciphertext can be
//! moved elsewhere. Nothing else in the house opens a secret. What is in them is for the rooms that own them; in which
//! columns they are, [`SealedColumn`] lists, by which [`Rotation`] finds them.

mod rotation;

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

pub use rotation::{KeyUse, Rotated, Rotation, Unopened};

/// Every column that holds secrets. Nothing is sealed for another, so none is forgotten when keys are rotated. Its table has an
/// `id`, a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SealedColumn {
    AuthorizationCredential,
    AttemptSecret,
    KeptAnswer,
    GiveBackCredential,
}

impl SealedColumn {
    pub const ALL: [Self; 4] =
        [Self::AuthorizationCredential, Self::AttemptSecret, Self::KeptAnswer, Self::GiveBackCredential];

    pub fn table(self) -> &'static str {
        self.names().0
    }

    pub fn column(self) -> &'static str {
        self.names().1
    }

    fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::AuthorizationCredential => ("authorization", "credential"),
            Self::AttemptSecret => ("attempt", "secret"),
            Self::KeptAnswer => ("kept_answer", "sealed"),
            Self::GiveBackCredential => ("give_back", "credential"),
        }
    }

    /// The place of the secret in the row `row`.
    pub fn of(self, row: Uuid) -> Place {
        Place { column: self, row }
    }
}

/// Where a secret lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    pub column: SealedColumn,
    pub row: Uuid,
}

impl Place {
    fn associated_data(self) -> Vec<u8> {
        let (table, column) = self.column.names();
        [table.as_bytes(), b".", column.as_bytes(), b":", self.row.as_bytes()].concat()
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
        [&mark(name)[..], &nonce, &ciphertext].concat()
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

    /// The names of the keys; the first one's seals.
    pub fn key_names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(name, _)| name.as_str())
    }

    /// The same secret, sealed with the first key; none where it is already.
    fn reseal(&self, place: Place, sealed: &[u8]) -> Result<Option<Vec<u8>>, Unreadable> {
        if sealed.starts_with(&mark(&self.keys[0].0)) {
            return Ok(None);
        }
        Ok(Some(self.seal(place, &self.open(place, sealed)?)))
    }
}

/// How everything begins that was sealed with the key of this name.
fn mark(key: &str) -> Vec<u8> {
    let length = u8::try_from(key.len()).unwrap_or_default();
    [&[VERSION, length], key.as_bytes()].concat()
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
        SealedColumn::AuthorizationCredential.of(Uuid::from_u128(row))
    }

    #[test]
    fn what_was_sealed_opens_where_it_was_sealed_and_nowhere_else() {
        let vault = vault(A).unwrap();
        let sealed = vault.seal(place(1), b"secret");
        assert_eq!(vault.open(place(1), &sealed).unwrap().as_slice(), b"secret");
        assert_eq!(vault.open(place(2), &sealed), Err(Unreadable::Damaged));
        let elsewhere = SealedColumn::GiveBackCredential.of(Uuid::from_u128(1));
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
    fn what_an_older_key_sealed_is_sealed_anew_once() {
        let both = vault(&format!("{B},{A}")).unwrap();
        let old = vault(A).unwrap().seal(place(1), b"secret");
        let new = both.reseal(place(1), &old).unwrap().unwrap();
        assert_eq!(vault(B).unwrap().open(place(1), &new).unwrap().as_slice(), b"secret");
        assert_eq!(both.reseal(place(1), &new), Ok(None));
        assert_eq!(both.reseal(place(2), &old), Err(Unreadable::Damaged), "what was moved stays refused");
        // A name that another one begins with is another key.
        let longer = vault("bb:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=").unwrap().seal(place(1), b"secret");
        assert_eq!(both.reseal(place(1), &longer), Err(Unreadable::UnknownKey));
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
