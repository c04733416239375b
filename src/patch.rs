//! What an update does to one value: keep it, clear it, or set it.

use crate::error::{Error, Result};

/// One value of an update. In the API: absent, `null`, or a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Patch<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T> Patch<T> {
    /// The new value, if any, of what cannot be empty: clearing it is INVALID at `field`.
    pub fn or_keep(self, field: &str) -> Result<Option<T>> {
        match self {
            Self::Keep => Ok(None),
            Self::Set(value) => Ok(Some(value)),
            Self::Clear => Err(Error::invalid(field, "This cannot be empty: leave it out, or give a value.")),
        }
    }

    /// The value that follows `before`, of what may be empty.
    pub fn after(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }

    /// The same update of a value made by `turn`.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Patch<U> {
        match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(turn(value)),
        }
    }

    /// The same update, once its value passed `check`.
    pub fn checked<U>(self, check: impl FnOnce(T) -> Result<U>) -> Result<Patch<U>> {
        Ok(match self {
            Self::Keep => Patch::Keep,
            Self::Clear => Patch::Clear,
            Self::Set(value) => Patch::Set(check(value)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_keeps_clears_or_sets() {
        assert_eq!(Patch::Keep.after(Some(1)), Some(1));
        assert_eq!(Patch::Clear.after(Some(1)), None);
        assert_eq!(Patch::Set(2).after(Some(1)), Some(2));
    }

    #[test]
    fn what_cannot_be_empty_is_kept_or_set_and_not_cleared() {
        assert!(matches!(Patch::<i32>::Keep.or_keep("name"), Ok(None)));
        assert!(matches!(Patch::Set(2).or_keep("name"), Ok(Some(2))));
        let Err(Error::Rejected(errors)) = Patch::<i32>::Clear.or_keep("name") else { panic!("it was cleared") };
        assert_eq!(errors[0].field, Some(vec!["name".to_owned()]));
    }
}
