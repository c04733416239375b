//! What people type: names, e-mail addresses, external ids, search terms.
//!
//! What passes here is safe on one line of a mail header, a log or a page, and both databases can store it. A message
//! names the input and never repeats its value.

use crate::{
    error::{Error, Result},
    line::{is_shapeless, without_marks},
};

/// How many characters a name, an external id or a search term may have.
pub const LONGEST: usize = 200;
/// How many characters a message may have.
pub const LONGEST_MESSAGE: usize = 500;
/// How many characters an address may have: 64 before the `@`, 255 after it (RFC 5321 §4.5.3.1).
pub const LONGEST_EMAIL: usize = 320;

/// A name without the white space around it, and without marks that nobody sees: those of direction would turn round what
/// stands beside it on a page.
pub fn name(field: &str, given: &str) -> Result<String> {
    line(&without_marks(given), LONGEST).map(str::to_owned).map_err(|flaw| Error::invalid(field, flaw))
}

/// Somebody else's id for a thing, exactly as they gave it.
pub fn external_id(field: &str, given: &str) -> Result<String> {
    line(given, LONGEST).map(|_| given.to_owned()).map_err(|flaw| Error::invalid(field, flaw))
}

/// What somebody tells in a sentence or two, without the white space around it, and without such marks.
pub fn message(field: &str, given: &str) -> Result<String> {
    line(&without_marks(given), LONGEST_MESSAGE).map(str::to_owned).map_err(|flaw| Error::invalid(field, flaw))
}

/// An e-mail address without the white space around it. Only what would make it two addresses, or none, is refused:
/// whether it can be reached, a mail to it shows.
pub fn email(field: &str, given: &str) -> Result<String> {
    let address = line(given, LONGEST_EMAIL).map_err(|flaw| Error::invalid(field, flaw))?;
    let separates = |letter: char| letter.is_whitespace() || is_shapeless(letter) || "<>()[],;:\\\"".contains(letter);
    match address.split_once('@') {
        Some((local, domain))
            if !local.is_empty() && !domain.is_empty() && !domain.contains('@') && !address.contains(separates) =>
        {
            Ok(address.to_owned())
        }
        _ => Err(Error::invalid(field, "This is not an e-mail address.")),
    }
}

/// A search term; none when there is nothing in it.
pub fn search(given: Option<&str>) -> Result<Option<&str>> {
    match given.map(str::trim) {
        None | Some("") => Ok(None),
        Some(term) => argument("search", term).map(Some),
    }
}

/// A text that is looked for, as the query's argument `name` gives it.
pub fn argument<'a>(name: &str, given: &'a str) -> Result<&'a str> {
    line(given, LONGEST).map(|_| given).map_err(|flaw| Error::BadInput(format!("`{name}`: {flaw}")))
}

/// Both values, or every error of the two.
pub fn both<A, B>(one: Result<A>, other: Result<B>) -> Result<(A, B)> {
    match (one, other) {
        (Ok(one), Ok(other)) => Ok((one, other)),
        (Err(Error::Rejected(mut errors)), Err(Error::Rejected(more))) => {
            errors.extend(more);
            Err(Error::Rejected(errors))
        }
        (Err(error), _) | (_, Err(error)) => Err(error),
    }
}

/// `given` without the white space around it, when it is one line of 1 to `most` characters; else what is wrong.
fn line(given: &str, most: usize) -> Result<&str, String> {
    let text = given.trim();
    if text.is_empty() {
        Err("This must not be empty.".to_owned())
    } else if text.chars().nth(most).is_some() {
        Err(format!("At most {most} characters fit here."))
    } else if given.chars().any(breaks_a_line) {
        Err("Control characters and line breaks do not fit here.".to_owned())
    } else {
        Ok(text)
    }
}

/// C0 and C1 controls (Unicode's category Cc), and Unicode's own line and paragraph separators.
fn breaks_a_line(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: std::fmt::Debug>(result: Result<T>) -> String {
        match result {
            Err(Error::Rejected(errors)) => {
                assert_eq!(errors[0].field, Some(vec!["name".to_owned()]));
                errors[0].message.clone()
            }
            Err(Error::BadInput(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_name_keeps_its_case_and_loses_the_space_around_it() {
        assert_eq!(name("name", "  Große Agentur, Inc. ").unwrap(), "Große Agentur, Inc.");
        assert_eq!(name("name", &"ß".repeat(LONGEST)).unwrap().chars().count(), LONGEST);
    }

    #[test]
    fn marks_of_direction_are_taken_out_of_a_name_and_refused_in_an_address() {
        assert_eq!(name("name", "\u{202e}Acme\u{202c}\u{2067} ").unwrap(), "Acme");
        assert_eq!(message("name", "Gone\u{200f} away\u{61c}").unwrap(), "Gone away");
        refusal(name("name", "\u{202e}\u{2069}"));
        refusal(email("name", "ann\u{202e}@example.com"));
        assert_eq!(external_id("name", "a\u{200e}b").unwrap(), "a\u{200e}b", "somebody else's, as it is");
    }

    #[test]
    fn a_name_that_is_empty_or_too_long_is_refused() {
        for given in ["", "   ", "\u{3000}", &"ß".repeat(LONGEST + 1), &"x".repeat(1 << 20)] {
            refusal(name("name", given));
        }
    }

    #[test]
    fn what_could_break_a_line_is_refused_and_not_repeated() {
        for control in ["\0", "\r\n", "\n", "\t", "\u{1b}[31m", "\u{7f}", "\u{85}", "\u{9b}", "\u{2028}", "\u{2029}"] {
            for given in [format!("hunter{control}2"), format!("hunter2{control}")] {
                for refused in [name("name", &given), external_id("name", &given), email("name", &given)] {
                    assert!(!refusal(refused).contains("hunter"), "{given:?}");
                }
                assert!(!refusal(argument("search", &given)).contains("hunter"));
            }
        }
    }

    #[test]
    fn an_external_id_is_kept_as_it_is() {
        assert_eq!(external_id("name", " Ä-7 ").unwrap(), " Ä-7 ");
    }

    #[test]
    fn an_address_has_one_at_sign_and_names_one_mailbox() {
        for given in
            ["ann@example.com", " ann@example.com ", "ann+x@sub.example.com", "änn@exämple.com", "root@localhost"]
        {
            assert_eq!(email("name", given).unwrap(), given.trim());
        }
        let long = format!("ann@{}", "x".repeat(LONGEST_EMAIL));
        for given in
            ["ann", "@", "ann@", "@x.com", "a@b@c", "a b@c", "a@b,c@d", "Ann <a@b>", "a@b;c", "\"a\"@b", "a@b>", &long]
        {
            refusal(email("name", given));
        }
    }

    #[test]
    fn an_empty_search_says_nothing() {
        assert_eq!(search(None).unwrap(), None);
        assert_eq!(search(Some("  ")).unwrap(), None);
        assert_eq!(search(Some(" a%_ ")).unwrap(), Some("a%_"));
        assert!(refusal(search(Some(&"x".repeat(LONGEST + 1)))).contains("`search`"));
    }

    #[test]
    fn all_that_is_wrong_is_said_at_once() {
        let Err(Error::Rejected(errors)) = both(name("name", ""), email("email", "x")) else { panic!() };
        let fields: Vec<_> = errors.into_iter().filter_map(|error| error.field).flatten().collect();
        assert_eq!(fields, ["name", "email"]);
        assert!(matches!(both::<u8, u8>(Err(Error::Forbidden), Err(Error::invalid("x", "y"))), Err(Error::Forbidden)));
    }
}
