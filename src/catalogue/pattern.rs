//! The patterns of fields: ECMAScript's regular expressions as far as they mean the same in both worlds.
//!
//! A pattern is shown to browsers, which run it as ECMAScript, and checked here by the `regex` crate, which cannot be
//! driven into exponential time. So what the two read differently is translated (`\d` is ten digits, `.` stops at a line
//! end) or, where that cannot be done, refused when the file is read.

use std::{iter::Peekable, str::Chars};

use regex::Regex;

use super::connector::Pattern;

impl Pattern {
    /// Reads a pattern; the error says what is wrong with it.
    pub(super) fn parse(source: &str) -> Result<Self, String> {
        let translated = Translation { rest: source.chars().peekable(), out: String::new() }.run()?;
        // On its own first: `a)|(?:b` is wrong although it would be right between the brackets below.
        let whole = Regex::new(&translated).and_then(|_| Regex::new(&format!("^(?:{translated})$")));
        let whole = whole.map_err(|error| last_line(&error))?;
        Ok(Self { source: source.to_owned(), whole })
    }

    /// Whether the pattern matches the value as a whole.
    pub fn matches(&self, value: &str) -> bool {
        self.whole.is_match(value)
    }
}

/// The message of a syntax error without the drawing above it.
fn last_line(error: &regex::Error) -> String {
    let text = error.to_string();
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

struct Translation<'s> {
    rest: Peekable<Chars<'s>>,
    out: String,
}

impl Translation<'_> {
    fn run(mut self) -> Result<String, String> {
        while let Some(c) = self.rest.next() {
            match c {
                '\\' => self.escape(false)?,
                '[' => self.class()?,
                '(' => self.group()?,
                '.' => self.out.push_str(r"[^\n\r\x{2028}\x{2029}]"),
                other => self.out.push(other),
            }
        }
        Ok(self.out)
    }

    fn group(&mut self) -> Result<(), String> {
        self.out.push('(');
        if self.rest.next_if_eq(&'?').is_none() {
            return Ok(());
        }
        match self.rest.next() {
            Some(':') => self.out.push_str("?:"),
            Some('=' | '!' | '<') => return Err("look-around and named groups are not supported".to_owned()),
            _ => return Err("`(?` is followed by `:` here; flags inside a pattern are not ECMAScript".to_owned()),
        }
        Ok(())
    }

    fn class(&mut self) -> Result<(), String> {
        self.out.push('[');
        if self.rest.next_if_eq(&'^').is_some() {
            self.out.push('^');
        }
        if self.rest.peek() == Some(&']') {
            return Err("an empty `[]` is not supported".to_owned());
        }
        while let Some(c) = self.rest.next() {
            match c {
                ']' => {
                    self.out.push(']');
                    return Ok(());
                }
                '\\' => self.escape(true)?,
                '-' if self.rest.peek() == Some(&'-') => return Err(r"inside `[]` write a hyphen as `\-`".to_owned()),
                // Nested classes and set operations to `regex`, plain characters to ECMAScript.
                '[' | '&' | '~' => self.out.extend(['\\', c]),
                other => self.out.push(other),
            }
        }
        Err("a `[` is not closed".to_owned())
    }

    fn escape(&mut self, in_class: bool) -> Result<(), String> {
        let Some(c) = self.rest.next() else { return Err(r"it ends in a lone `\`".to_owned()) };
        match c {
            'd' => self.out.push_str("[0-9]"),
            'D' => self.out.push_str("[^0-9]"),
            'w' => self.out.push_str("[A-Za-z0-9_]"),
            'W' => self.out.push_str("[^A-Za-z0-9_]"),
            'b' if in_class => self.out.push_str(r"\x08"),
            'b' => self.out.push_str(r"(?-u:\b)"),
            's' | 'S' | 't' | 'n' | 'r' | 'f' | 'v' => self.out.extend(['\\', c]),
            'x' => self.code_point(2)?,
            'u' => self.code_point(4)?,
            // `\<` and `\>` are word boundaries to `regex`.
            '<' | '>' => self.out.push(c),
            c if c.is_ascii_punctuation() => self.out.extend(['\\', c]),
            c => return Err(format!(r"`\{}` is not supported", c.escape_debug())),
        }
        Ok(())
    }

    fn code_point(&mut self, digits: usize) -> Result<(), String> {
        let hex: String = self.rest.by_ref().take(digits).collect();
        let point = u32::from_str_radix(&hex, 16).ok().filter(|_| hex.len() == digits).and_then(char::from_u32);
        let Some(point) = point else { return Err(r"`\x` takes two hex digits, `\u` four".to_owned()) };
        self.out.push_str(&format!(r"\x{{{:x}}}", u32::from(point)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, value: &str) -> bool {
        Pattern::parse(pattern).unwrap().matches(value)
    }

    #[test]
    fn a_pattern_matches_a_value_as_a_whole() {
        assert!(matches("[a-z0-9][a-z0-9-]*", "my-shop"));
        for value in ["My-shop", "-shop", "evil.example#", "shop\n", "\nshop", "a/b", "", "ſhop"] {
            assert!(!matches("[a-z0-9][a-z0-9-]*", value), "{value:?}");
        }
    }

    #[test]
    fn an_alternative_cannot_leave_its_anchors() {
        assert!(!matches("a|b", "ax"));
        assert!(!matches("a|b", "xb"));
        assert!(Pattern::parse("a)|(?:b").is_err());
    }

    #[test]
    fn digits_and_words_are_ascii_as_in_ecmascript() {
        assert!(matches(r"\d+", "123"));
        assert!(!matches(r"\d+", "١٢٣"));
        assert!(!matches(r"\w+", "é"));
        assert!(matches(r"[\d\-x]+", "1-x"));
        assert!(matches(r"[^\d]+", "ab"));
    }

    #[test]
    fn a_dot_stops_at_every_line_end() {
        for end in ["\n", "\r", "\u{2028}"] {
            assert!(!matches("a.b", &format!("a{end}b")));
        }
        assert!(matches("a.b", "aéb"));
    }

    #[test]
    fn brackets_and_ampersands_in_a_class_are_plain_characters() {
        assert!(matches("[[&&a]+", "[&a"));
        assert!(matches(r"[a-z\-]+", "a-b"));
        assert!(matches(r"\<\x41\u00e9\>\.", "<Aé>."));
    }

    #[test]
    fn what_only_one_of_the_two_understands_is_refused() {
        for pattern in [
            "(?i)a",
            "(?P<n>a)",
            "(?=a)",
            "(?<!a)b",
            r"\Aa",
            r"a\z",
            r"(a)\1",
            r"\pL",
            "[a",
            "a)",
            "[]",
            "[a--b]",
            r"\x1",
            r"\ud800",
            "a{1000}{1000}{10}",
            r"a\",
        ] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
