use super::*;

fn pattern(source: &str) -> Pattern {
    Pattern { source: source.to_owned(), whole: regex::Regex::new(source).unwrap() }
}

#[test]
fn a_pattern_is_one_that_browsers_read() {
    for (source, expected) in [
        ("[a-z0-9][a-z0-9-]{0,62}", "[a-z0-9][a-z0-9\\-]{0,62}"),
        ("[a-z\\-]+", "[a-z\\-]+"),
        ("pk_[A-Za-z0-9_]+", "pk_[A-Za-z0-9_]+"),
    ] {
        assert_eq!(for_browsers(&pattern(source)), expected);
    }
}

#[test]
fn what_someone_needs_is_read_without_its_marks() {
    let markdown = "- A **Google account** that\n  may see it.\n- Tick `the box` [there](https://b.example).\n\nIt goes on under <https://a.example>.\n";
    let expected = ["A Google account that may see it.", "Tick the box there.", "It goes on under https://a.example."];
    assert_eq!(needs(markdown), expected);
    assert!(needs("- A user:\n  ```sql\n  CREATE USER\n  ```\n").is_empty());
}
