//! JSON Pointers (RFC 6901) into a provider's answers, and what may be read there.
//!
//! One thing is added to the RFC: in the pointer of a list, a whole segment `*` stands for each member of an array or an
//! object, so that lists inside a list can be named (`/accountSummaries/*/propertySummaries`).

use serde_json::Value;

/// The value at a pointer; the empty pointer is the value itself.
pub fn one<'v>(value: &'v Value, pointer: &str) -> Option<&'v Value> {
    value.pointer(pointer)
}

/// Each member of every list that the pointer names, in order. What is not a list (or is not there) has no members.
pub fn each<'v>(value: &'v Value, pointer: &str) -> Vec<&'v Value> {
    let mut lists = vec![value];
    for segment in pointer.split('/').skip(1) {
        lists = match segment {
            "*" => lists.into_iter().flat_map(members).collect(),
            name => lists.into_iter().filter_map(|list| list.pointer(&format!("/{name}"))).collect(),
        };
    }
    lists.into_iter().flat_map(members).collect()
}

/// A scalar as text: a string as it is, a whole number in digits, a boolean as its word.
///
/// `None` for an empty string, for one with control characters (neither a database nor a header takes them), and for
/// numbers that JSON readers do not agree on (fractions, more than 64 bits).
pub fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if text.is_empty() || text.contains(char::is_control) => None,
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

/// Why a text cannot be a pointer.
pub fn fault(pointer: &str, is_list: bool) -> Option<&'static str> {
    if !pointer.is_empty() && !pointer.starts_with('/') {
        return Some("a JSON Pointer is empty or begins with `/`");
    }
    if pointer.replace("~0", "").replace("~1", "").contains('~') {
        return Some("in a JSON Pointer `~` is written `~0`, and `/` inside a name `~1`");
    }
    if !is_list && pointer.split('/').any(|segment| segment == "*") {
        return Some("`*` (each member) has a meaning in the pointer of a list only");
    }
    None
}

fn members(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(items) => items.values().collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_empty_pointer_is_the_value_itself() {
        let answer = json!([1, 2]);
        assert_eq!(one(&answer, ""), Some(&answer));
        assert_eq!(each(&answer, ""), [&json!(1), &json!(2)]);
    }

    #[test]
    fn a_star_goes_into_each_member() {
        let answer = json!({"accounts": [{"list": ["a", "b"]}, {}, {"list": null}, {"list": ["c"]}]});
        assert_eq!(each(&answer, "/accounts/*/list"), ["a", "b", "c"]);
    }

    #[test]
    fn a_star_goes_into_the_members_of_an_object() {
        let answer = json!({"regions": {"eu": {"shops": [1]}, "us": {"shops": [2]}}});
        assert_eq!(each(&answer, "/regions/*/shops"), [&json!(1), &json!(2)]);
    }

    #[test]
    fn a_member_with_a_slash_in_its_name_is_found() {
        assert_eq!(each(&json!({"a/b": {"~": ["x"]}}), "/a~1b/~0"), ["x"]);
    }

    #[test]
    fn what_is_not_a_list_has_no_members() {
        for answer in [json!({"list": "text"}), json!({"list": 7}), json!({}), json!(null)] {
            assert!(each(&answer, "/list").is_empty(), "{answer}");
        }
    }

    #[test]
    fn numbers_are_allowed_as_ids() {
        assert_eq!(text(&json!(690933842)).as_deref(), Some("690933842"));
        assert_eq!(text(&json!(u64::MAX)).as_deref(), Some("18446744073709551615"));
    }

    #[test]
    fn what_cannot_be_an_id_is_none() {
        let huge: Value = serde_json::from_str("123456789012345678901234567890").unwrap();
        for value in [json!(""), json!("a\u{0}b"), json!("a\nb"), json!(1.5), huge, json!(null), json!([1]), json!({})]
        {
            assert_eq!(text(&value), None, "{value}");
        }
    }

    #[test]
    fn a_pointer_that_cannot_be_one_is_faulted() {
        assert_eq!(fault("", false), None);
        assert_eq!(fault("/a/~0/~1", false), None);
        assert_eq!(fault("/a/*/b", true), None);
        assert!(fault("/a/*/b", false).is_some());
        assert!(fault("a", false).is_some());
        assert!(fault("/a~", false).is_some());
        assert!(fault("/a~2", false).is_some());
    }
}
