//! What must not be told on of an event's message: values that go by the name of a secret.
//!
//! Programs put their arguments and addresses into messages. Only what can hardly be anything else is taken out: names
//! of Secrets and volumes, which are often called `token`, are what a reader needs to find the fault.

/// The text without the values of `password=...`, `"token": "..."`, `Bearer ...` and `//user:password@host`.
pub(super) fn redacted(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(secret) = next(rest) {
        safe.push_str(&rest[..secret.start]);
        safe.push_str(STAND_IN);
        rest = &rest[secret.end..];
    }
    safe.push_str(rest);
    safe
}

const STAND_IN: &str = "[REDACTED]";

/// Parts of names, in lower case and without separators.
const SECRET_NAMES: [&str; 9] =
    ["password", "passwd", "secret", "token", "apikey", "accesskey", "privatekey", "credential", "authorization"];

type Span = std::ops::Range<usize>;

/// The first value that is still there.
fn next(text: &str) -> Option<Span> {
    let found = [assigned(text), quoted(text), bearer(text), in_address(text)];
    found.into_iter().flatten().min_by_key(|span| span.start)
}

/// `--db-password=value`, up to whatever ends a word.
fn assigned(text: &str) -> Option<Span> {
    spans(text, "=", |start| {
        let is_name = |character: char| character.is_ascii_alphanumeric() || "-_.".contains(character);
        let name = text[..start].rsplit(|character| !is_name(character)).next()?;
        let value = start + 1;
        let (value, end) = match text[value..].strip_prefix(['"', '\'']) {
            Some(inner) => (value + 1, inner.find(['"', '\'']).unwrap_or(inner.len())),
            None => (value, text[value..].find(ends_a_word).unwrap_or(text.len() - value)),
        };
        is_secret(name).then_some(value..value + end)
    })
}

/// `"clientSecret": "value"`, as in JSON.
fn quoted(text: &str) -> Option<Span> {
    spans(text, "\":", |start| {
        let name = text[..start].rsplit('"').next()?;
        let after = &text[start + 2..];
        let inner = after.trim_start().strip_prefix('"')?;
        let value = text.len() - inner.len();
        is_secret(name).then(|| value..value + inner.find('"').unwrap_or(inner.len()))
    })
}

fn bearer(text: &str) -> Option<Span> {
    const WORD: &str = "bearer ";
    let lower = text.to_ascii_lowercase();
    spans(&lower, WORD, |start| {
        let value = start + WORD.len();
        let end = text[value..].find(ends_a_word).unwrap_or(text.len() - value);
        // A word of ordinary prose is no token.
        (end >= 16).then_some(value..value + end)
    })
}

/// `https://user:password@host`, as addresses of registries and repositories are written.
fn in_address(text: &str) -> Option<Span> {
    spans(text, "://", |start| {
        let value = start + 3;
        let end = text[value..].find(|character: char| character == '/' || ends_a_word(character));
        let authority = &text[value..end.map_or(text.len(), |end| value + end)];
        let (user, _host) = authority.rsplit_once('@')?;
        Some(value..value + user.len())
    })
}

/// The first place of the mark that has a value with something to hide.
fn spans(text: &str, mark: &str, value: impl Fn(usize) -> Option<Span>) -> Option<Span> {
    let mut values = text.match_indices(mark).filter_map(|(start, _)| value(start));
    values.find(|span| !span.is_empty() && !STAND_IN.starts_with(&text[span.clone()]))
}

fn is_secret(name: &str) -> bool {
    let name: String = name.chars().filter(|character| !"-_.".contains(*character)).collect();
    let name = name.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|secret| name.contains(secret))
}

fn ends_a_word(character: char) -> bool {
    character.is_whitespace() || "\"'`,;&)]}".contains(character)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_that_go_by_the_name_of_a_secret_are_taken_out() {
        let cases = [
            ("run --db-password=hunter2 --port=5", "run --db-password=[REDACTED] --port=5"),
            ("API_KEY=\"two words\" failed", "API_KEY=\"[REDACTED]\" failed"),
            ("{\"clientSecret\": \"abc\", \"a\": \"b\"}", "{\"clientSecret\": \"[REDACTED]\", \"a\": \"b\"}"),
            ("GET /x?token=abc&user=me", "GET /x?token=[REDACTED]&user=me"),
            ("Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30", "Authorization: Bearer [REDACTED]"),
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
        fn no_text_is_too_odd(text in "(password|token|a|\"|=|:|/|@| |Bearer |é|xyzxyzxyzxyzxyzxyz){0,12}") {
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
