//! What must not be told on of an event's message: values that go by the name of a secret.
//!
//! Programs put their arguments and addresses into messages. Only what can hardly be anything else is taken out: names
//! of Secrets and volumes, which are often called `token`, are what a reader needs to find the fault.
//!
//! A text is read once from its beginning to its end, since whoever may write events decides how long it is.

use std::ops::Range;

/// The text without the values of `password=...`, `--password ...`, `password: ...`, `"token": "..."` (also where it was escaped),
/// `Bearer ...`, `Basic ...`, `//user:password@host`, and without the keys of AWS.
pub(super) fn redacted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let end = name_end(text, at);
        let secret = if end > at { after_name(text, at..end) } else { in_address(text, at) };
        let told = match &secret {
            Some(value) => value.start,
            None if end > at => end,
            None => at + first.len_utf8(),
        };
        safe.push_str(&text[at..told]);
        at = told;
        if let Some(value) = secret {
            safe.push_str(STAND_IN);
            at = value.end;
        }
    }
    safe
}

const STAND_IN: &str = "[REDACTED]";

/// Parts of names, in lower case and without separators.
const SECRET_NAMES: [&str; 10] = [
    "password",
    "passwd",
    "passphrase",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "authorization",
];

/// Names that are hardly ever followed by a colon and a word of prose.
const PLAIN_NAMES: [&str; 6] = ["password", "passwd", "passphrase", "apikey", "accesskey", "privatekey"];

fn name_end(text: &str, start: usize) -> usize {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.".contains(byte);
    start + text.as_bytes()[start..].iter().take_while(|byte| is_name(byte)).count()
}

/// The value that belongs to a name, or the name itself where it is a key.
fn after_name(text: &str, name: Range<usize>) -> Option<Range<usize>> {
    let word = &text[name.clone()];
    if is_aws_key(word) {
        return Some(name);
    }
    if let Some(value) = of_scheme(text, word, name.end) {
        return Some(value);
    }
    if !contains(word, &SECRET_NAMES) {
        return None;
    }
    let rest = &text[name.end..];
    let (quote, after) = quote(rest);
    let value = |after: &str| text.len() - after.len();
    if let Some(after) = after.strip_prefix('=') {
        return not_empty(whole(text, value(after)));
    }
    if let Some(after) = after.strip_prefix(':') {
        let start = value(after.trim_start_matches([' ', '\t']));
        // As in `Authorization: Basic ...`.
        let scheme = name_end(text, start);
        if let Some(found) = of_scheme(text, &text[start..scheme], scheme) {
            return Some(found);
        }
        let found = whole(text, start);
        let is_quoted = !quote.is_empty() && found.start > start;
        return not_empty(found).filter(|found| is_quoted || is_told(word, &text[found.clone()]));
    }
    let is_flag = (word.starts_with('-') || word.contains("--")) && quote.is_empty();
    let after = rest.strip_prefix(' ').filter(|after| is_flag && !after.starts_with([' ', '-']))?;
    // A path is no secret, but what the flag of a file is followed by.
    not_empty(whole(text, value(after))).filter(|found| !text[found.clone()].starts_with('/'))
}

/// After a colon may come a value, or what went wrong.
fn is_told(name: &str, value: &str) -> bool {
    contains(name, &PLAIN_NAMES) || value.len() >= 20 || value.bytes().any(|byte| byte.is_ascii_digit())
}

/// An opening quote, perhaps behind the backslashes of JSON in JSON, and what follows.
fn quote(text: &str) -> (&str, &str) {
    let slashes = text.len() - text.trim_start_matches('\\').len();
    if text[slashes..].starts_with(['"', '\'']) { text.split_at(slashes + 1) } else { ("", text) }
}

/// A value from its quote to the next of its kind, or up to whatever ends a word.
fn whole(text: &str, start: usize) -> Range<usize> {
    let (quote, inner) = quote(&text[start..]);
    let start = text.len() - inner.len();
    let length = if quote.is_empty() { inner.find(ends_a_word) } else { inner.find(quote) };
    start..start + length.unwrap_or(inner.len())
}

fn not_empty(value: Range<usize>) -> Option<Range<usize>> {
    Some(value).filter(|value| !value.is_empty())
}

/// What follows `Bearer` or `Basic`, where that is no word of prose.
fn of_scheme(text: &str, scheme: &str, end: usize) -> Option<Range<usize>> {
    let is_secret: fn(&str) -> bool = match scheme {
        _ if scheme.eq_ignore_ascii_case("bearer") => |value| value.len() >= 16,
        _ if scheme.eq_ignore_ascii_case("basic") => is_base64,
        _ => return None,
    };
    let value = text[end..].strip_prefix(' ')?;
    let start = text.len() - value.len();
    let end = start + value.find(ends_a_word).unwrap_or(value.len());
    Some(start..end).filter(|value| is_secret(&text[value.clone()]))
}

/// Words of prose have letters only, and capitals only at the beginning.
fn is_base64(word: &str) -> bool {
    let is_odd = |byte: u8| byte.is_ascii_digit() || byte.is_ascii_uppercase() || b"+/=".contains(&byte);
    word.len() >= 6 && word.bytes().skip(1).any(is_odd)
}

/// Sixteen letters and digits behind four that tell what it is of.
fn is_aws_key(word: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit();
    word.len() == 20 && (word.starts_with("AKIA") || word.starts_with("ASIA")) && word.bytes().all(is_inner)
}

/// `https://user:password@host`, as addresses of registries and repositories are written.
fn in_address(text: &str, at: usize) -> Option<Range<usize>> {
    let authority = text[at..].strip_prefix("://")?;
    let start = at + 3;
    let end = authority.find(|character: char| character == '/' || ends_a_word(character));
    let (user, _host) = authority[..end.unwrap_or(authority.len())].rsplit_once('@')?;
    not_empty(start..start + user.len())
}

fn contains(name: &str, parts: &[&str]) -> bool {
    let name: String = name.chars().filter(|character| !"-_.".contains(*character)).collect();
    let name = name.to_ascii_lowercase();
    parts.iter().any(|part| name.contains(part))
}

fn ends_a_word(character: char) -> bool {
    character.is_whitespace() || "\"'`,;&)]}\\".contains(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_that_go_by_the_name_of_a_secret_are_taken_out() {
        let cases = [
            ("run --db-password=hunter2 --port=5", "run --db-password=[REDACTED] --port=5"),
            ("run --password hunter2 --port 5", "run --password [REDACTED] --port 5"),
            ("[2J--password hunter2", "[2J--password [REDACTED]"),
            ("password: hunter, token: abc123", "password: [REDACTED], token: [REDACTED]"),
            ("API_KEY=\"two words\" failed", "API_KEY=\"[REDACTED]\" failed"),
            ("{\"clientSecret\": \"abc\", \"a\": \"b\"}", "{\"clientSecret\": \"[REDACTED]\", \"a\": \"b\"}"),
            (r#"{\"password\":\"a b\",\"c\":1}"#, r#"{\"password\":\"[REDACTED]\",\"c\":1}"#),
            (r#"\\\"token\\\": \\\"a b\\\""#, r#"\\\"token\\\": \\\"[REDACTED]\\\""#),
            ("GET /x?token=abc&user=me", "GET /x?token=[REDACTED]&user=me"),
            ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30", "Authorization: Bearer [REDACTED]"),
            ("Authorization: Basic bWU6cHc=", "Authorization: Basic [REDACTED]"),
            ("sent basic bWU6cHc= instead", "sent basic [REDACTED] instead"),
            ("as AKIAIOSFODNN7EXAMPLE now", "as [REDACTED] now"),
            ("pull https://me:pw@host/x: no", "pull https://[REDACTED]@host/x: no"),
            ("a=1 secret=é token=b", "a=1 secret=[REDACTED] token=[REDACTED]"),
        ];
        for (text, expected) in cases {
            assert_eq!(redacted(text), expected);
        }
    }

    #[test]
    fn what_a_reader_needs_to_find_the_fault_stays() {
        let texts = [
            "MountVolume.SetUp failed for volume \"token\" : secret \"db-password\" not found",
            "couldn't find key password in Secret shop/db",
            "failed to fetch token: connection refused",
            "cannot open --token-file /var/run/token",
            "basic authentication failed",
            "Back-off pulling image \"registry:5000/a@sha256:0123\"",
            "the bearer of bad news",
            "http://10.0.0.1:8080/healthz?a=b",
        ];
        for text in texts {
            assert_eq!(redacted(text), text);
        }
    }

    proptest! {
        #[test]
        fn a_text_without_such_names_stays_as_it_is(text in "[a-dé=:\"'@ \\[]{0,40}") {
            prop_assert_eq!(redacted(&text), text);
        }

        #[test]
        fn no_text_is_too_odd(text in "(password|token|a|\"|=|:|/|@| |Bearer |é|\\\\|--|xyzxyzxyzxyzxyzxyz){0,12}") {
            let safe = redacted(&text);
            prop_assert!(safe.contains(STAND_IN) || safe == text);
        }

        #[test]
        fn no_secret_stays(before in "[a-z ]{0,9}", secret in "[A-Z0-9]{8,20}", after in "[a-z ]{0,9}") {
            let text = format!("{before} --some-token={secret} {after}");
            prop_assert!(!redacted(&text).contains(&secret));
        }
    }
}
