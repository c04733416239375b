//! What somebody typed, or a server said, on a line of its own.

/// `given` on one line that shows what it holds: white space is one space, and what has no shape of its own, or turns the
/// direction of what follows, is left out. At most `most` characters.
pub(crate) fn one_line(given: &str, most: usize) -> String {
    let visible: String = given.chars().filter(|letter| letter.is_whitespace() || !shapeless(*letter)).collect();
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
fn shapeless(letter: char) -> bool {
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
    fn what_is_too_long_ends_in_dots() {
        assert_eq!((one_line("abcd", 4), one_line("abcde", 4)), ("abcd".to_owned(), "abc…".to_owned()));
    }
}
