//! A look at the text before it is parsed: how many tokens, how deeply nested (GraphQL specification, section 2.1).
//!
//! Linear in the text and without recursion. A text that is no GraphQL at all passes; the parser says so with a position.

use async_graphql::Pos;

use crate::graphql::response::Refusal;

/// Brackets within brackets. The parser gives up on selections at 64; lists, objects and types it would follow without end.
const NESTING: usize = 60;

/// Refuses a text of more than `limit` tokens, or nested too deeply.
pub(super) fn scan(text: &str, limit: usize) -> Result<(), Refusal> {
    let mut rest = text.as_bytes();
    let (mut tokens, mut nesting) = (0, 0_usize);
    while let Some((token, length)) = next(rest) {
        rest = &rest[length..];
        match token {
            Token::Ignored => continue,
            Token::Open => nesting += 1,
            Token::Close => nesting = nesting.saturating_sub(1),
            Token::Other => {}
        }
        tokens += 1;
        if tokens > limit {
            return Err(Refusal::too_complex(
                format!("A document holds at most {limit} tokens."),
                Some(position(text, rest)),
            ));
        }
        if nesting > NESTING {
            return Err(Refusal::too_complex("The document is nested too deeply.", Some(position(text, rest))));
        }
    }
    Ok(())
}

enum Token {
    /// White space, commas, comments.
    Ignored,
    Open,
    Close,
    Other,
}

/// The first token of `text` and its length, at least 1.
fn next(text: &[u8]) -> Option<(Token, usize)> {
    let first = *text.first()?;
    Some(match first {
        b' ' | b'\t' | b'\n' | b'\r' | b',' => (Token::Ignored, 1),
        b'#' => (Token::Ignored, run(text, |byte| byte != b'\n' && byte != b'\r')),
        b'{' | b'[' | b'(' => (Token::Open, 1),
        b'}' | b']' | b')' => (Token::Close, 1),
        b'"' if text.starts_with(b"\"\"\"") => (Token::Other, block_string(text)),
        b'"' => (Token::Other, string(text)),
        b'.' => (Token::Other, run(text, |byte| byte == b'.').min(3)),
        _ if is_word(first) => (Token::Other, run(text, |byte| is_word(byte) || byte == b'.')),
        _ => (Token::Other, 1),
    })
}

/// Whether names and numbers are made of it.
fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn run(text: &[u8], belongs: impl Fn(u8) -> bool) -> usize {
    text.iter().position(|byte| !belongs(*byte)).unwrap_or(text.len())
}

/// The length of the string that `text` begins with; it ends with its line at the latest.
fn string(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = text.get(at) {
        match byte {
            b'"' => return at + 1,
            b'\n' | b'\r' => return at,
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    text.len()
}

fn block_string(text: &[u8]) -> usize {
    let mut at = 3;
    while at < text.len() {
        match &text[at..] {
            [b'\\', b'"', b'"', b'"', ..] => at += 4,
            [b'"', b'"', b'"', ..] => return at + 3,
            _ => at += 1,
        }
    }
    text.len()
}

/// Where `rest`, the end of `text`, begins.
fn position(text: &str, rest: &[u8]) -> Pos {
    let before = &text.as_bytes()[..text.len() - rest.len()];
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    let column = before.iter().rev().take_while(|byte| **byte != b'\n').count().max(1);
    Pos { line, column }
}
