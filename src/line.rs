//! What somebody typed, or a server said, on a line of its own.

use std::borrow::Cow;

/// `given` without what has no shape of its own, or turns the direction of what follows: what a name is taken in as. Other
/// controls stay, for whoever refuses them.
pub(crate) fn without_marks(given: &str) -> Cow<'_, str> {
    let marks = |letter: char| is_shapeless(letter) && !letter.is_control();
    if given.contains(marks) { given.chars().filter(|letter| !marks(*letter)).collect() } else { given.into() }
}

/// `given` on one line that shows what it holds: white space is one space, and what has no shape of its own, or turns the
/// direction of what follows, is left out. At most `most` characters.
pub(crate) fn one_line(given: &str, most: usize) -> String {
    let visible: String = given.chars().filter(|letter| letter.is_whitespace() || !is_shapeless(*letter)).collect();
    let mut line = String::with_capacity(visible.len());
    for word in visible.split_whitespace() {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    if let Some((end, _)) = line.char_indices().nth(most) {
        let kept = line.char_indices().nth(most.saturating_sub(1)).map_or(end, |(at, _)| at);
        line.truncate(kept);
        line.truncate(line.trim_end().len());
        line.push('…');
    }
    line
}

/// Controls, and those of Unicode's format characters (category Cf) that no name needs: soft hyphen, bidirectional marks,
/// overrides and isolates (UAX #9 §2), zero width space, word joiner, byte order mark, annotation marks. The joiners
/// U+200C and U+200D stay: Persian and emoji are written with them.
pub(crate) fn is_shapeless(letter: char) -> bool {
    letter.is_control()
        || matches!(letter,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_begins_a_line_or_turns_the_direction() {
        assert_eq!(one_line(" Mara\r\nBcc: eve\u{2028}now\u{85}", 200), "Mara Bcc: eve now");
        assert_eq!(one_line("\u{1b}[31mred\u{202e}der\u{0}", 200), "[31mredder");
    }

    #[test]
    fn a_name_is_taken_in_without_marks_and_with_its_letters() {
        for mark in
            "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{200e}\u{200f}\u{61c}".chars()
        {
            assert_eq!(without_marks(&format!("{mark}Ac{mark}me{mark}")), "Acme");
        }
        for kept in ["Acme", "\u{5d0}\u{5d1} \u{628}", "\u{645}\u{6cc}\u{200c}\u{62e}", "a\nb"] {
            assert_eq!(without_marks(kept), kept);
        }
    }

    #[test]
    fn what_is_too_long_ends_in_dots() {
        assert_eq!((one_line("abcd", 4), one_line("abcde", 4)), ("abcd".to_owned(), "abc…".to_owned()));
    }
}
