//! Cursors: opaque, and valid only in the workspace that handed them out.
//!
//! What a cursor says is authenticated with a key of the workspace's own, so that a forged or foreign one is told
//! from a real one. What it says belongs to [`crate::pages`] (places in a list) and the journal (places in time).

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, Mac};
use serde::{Serialize, de::DeserializeOwned};
use sha2::Sha256;

/// Bytes of the authentication code: enough, since a forged cursor shows nothing that a real one would not.
const TAG: usize = 8;

/// Bytes of a whole authentication code.
const CODE: usize = 32;

/// The key of one workspace's cursors.
#[derive(Clone)]
pub struct CursorKey(Vec<u8>);

impl std::fmt::Debug for CursorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CursorKey")
    }
}

/// The text is no cursor of this workspace, or one for another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotOurs;

impl CursorKey {
    /// The key as the workspace's row holds it.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// A cursor that says `value`, for use at `place`.
    pub fn seal(&self, place: &str, value: &impl Serialize) -> String {
        // Keys are plain data: postcard cannot fail on them.
        let mut bytes = postcard::to_stdvec(value).unwrap_or_default();
        let tag = self.tag(place, &bytes);
        bytes.extend(tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What `cursor` says, when it was sealed for `place` in this workspace.
    pub fn open<T: DeserializeOwned>(&self, place: &str, cursor: &str) -> Result<T, NotOurs> {
        let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| NotOurs)?;
        let (value, tag) = bytes.split_last_chunk::<TAG>().ok_or(NotOurs)?;
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&tag[..], &self.tag(place, value)[..])) {
            return Err(NotOurs);
        }
        postcard::from_bytes(value).map_err(|_| NotOurs)
    }

    /// A code that nobody else makes of `value` for use at `place`: for what does more than show a place in a list.
    pub fn code(&self, place: &str, value: &[u8]) -> [u8; CODE] {
        let mut code = [0; CODE];
        // HMAC takes keys of any length.
        if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) {
            mac.update(place.as_bytes());
            mac.update(&[0]);
            mac.update(value);
            code.copy_from_slice(&mac.finalize().into_bytes());
        }
        code
    }

    /// Whether `code` is [that of](Self::code) `value`.
    pub fn is_code(&self, place: &str, value: &[u8], code: &[u8]) -> bool {
        subtle::ConstantTimeEq::ct_eq(code, &self.code(place, value)[..]).into()
    }

    fn tag(&self, place: &str, value: &[u8]) -> [u8; TAG] {
        let mut tag = [0; TAG];
        tag.copy_from_slice(&self.code(place, value)[..TAG]);
        tag
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_cursor_with_anything_changed_does_not_open(place in any::<prop::sample::Index>(), with in "[A-Za-z0-9_=. é-]{0,3}", number: i64, text: String) {
            let key = CursorKey::new(vec![1; 16]);
            let cursor = key.seal("clients", &(number, &text));
            prop_assert_eq!(key.open::<(i64, String)>("clients", &cursor), Ok((number, text)));
            let at = place.index(cursor.len());
            let changed = format!("{}{with}{}", &cursor[..at], &cursor[at + 1..]);
            if changed != cursor {
                prop_assert_eq!(key.open::<(i64, String)>("clients", &changed), Err(NotOurs));
            }
        }

        #[test]
        fn no_text_whatever_is_a_cursor_by_chance(text in "\\PC{0,200}") {
            prop_assert_eq!(CursorKey::new(vec![1; 16]).open::<Vec<u64>>("clients", &text), Err(NotOurs));
        }
    }

    #[test]
    fn a_cursor_opens_only_in_its_workspace_and_at_its_place() {
        let key = CursorKey::new(vec![1; 16]);
        let cursor = key.seal("clients", &(7_i64, "x"));
        assert_eq!(key.open::<(i64, String)>("clients", &cursor), Ok((7, "x".to_owned())));
        assert_eq!(key.open::<(i64, String)>("users", &cursor), Err(NotOurs));
        assert_eq!(CursorKey::new(vec![2; 16]).open::<(i64, String)>("clients", &cursor), Err(NotOurs));
    }

    #[test]
    fn a_code_is_of_its_value_its_place_and_its_workspace() {
        let key = CursorKey::new(vec![1; 16]);
        let code = key.code("unsubscribe", b"mara");
        assert!(key.is_code("unsubscribe", b"mara", &code));
        assert!(!key.is_code("unsubscribe", b"ned", &code));
        assert!(!key.is_code("elsewhere", b"mara", &code));
        assert!(!CursorKey::new(vec![2; 16]).is_code("unsubscribe", b"mara", &code));
        for part in [&code[..0], &code[..8], &code[..31]] {
            assert!(!key.is_code("unsubscribe", b"mara", part), "{} bytes", part.len());
        }
    }

    #[test]
    fn an_altered_cursor_is_not_ours() {
        let key = CursorKey::new(vec![1; 16]);
        let cursor = key.seal("clients", &7_i64);
        for place in 0..cursor.len() {
            let mut altered = cursor.clone().into_bytes();
            altered[place] = if altered[place] == b'A' { b'B' } else { b'A' };
            let altered = String::from_utf8(altered).unwrap();
            assert!(key.open::<i64>("clients", &altered).is_err() || altered == cursor, "{altered}");
        }
        assert_eq!(key.open::<i64>("clients", ""), Err(NotOurs));
    }
}
