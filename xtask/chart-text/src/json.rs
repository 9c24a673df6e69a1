//! JSON that is the same thing when it is read as YAML 1.1, whichever of its two parsers a Helm uses.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;

/// Refuses what is not JSON.
///
/// # Errors
/// The reason, and where.
pub fn check(text: &str) -> Result<(), String> {
    serde_json::from_str::<&RawValue>(text).map(drop).map_err(|error| error.to_string())
}

/// A member of an object, where it is there and a text.
///
/// # Errors
/// It is not an object.
pub fn text_member(json: &str, name: &str) -> Result<Option<String>, String> {
    let members: HashMap<String, &RawValue> = serde_json::from_str(json).map_err(|error| error.to_string())?;
    Ok(members.get(name).and_then(|raw| serde_json::from_str(raw.get()).ok()))
}

/// Writes a text as JSON that is the same text in YAML 1.1: what YAML takes for a line break, or does not allow, is escaped;
/// characters beyond the basic plane stay raw, since YAML knows no surrogate pairs.
pub fn quote(text: &str, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            character if is_escaped(character) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// Whether `quote` writes a character as `\uXXXX`.
fn is_escaped(character: char) -> bool {
    matches!(character, '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// A JSON value on one line, its texts as `quote` writes them. Numbers stay as they were written.
///
/// # Errors
/// It is not JSON.
pub fn exact(json: &str) -> Result<Cow<'_, str>, String> {
    if is_exact(json) {
        return Ok(Cow::Borrowed(json));
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        push_without_space(&rest[..start], &mut out);
        let end = start + text_length(&rest[start..]).ok_or("a text does not end")?;
        let text: String = serde_json::from_str(&rest[start..end]).map_err(|error| error.to_string())?;
        quote(&text, &mut out);
        rest = &rest[end..];
    }
    push_without_space(rest, &mut out);
    Ok(Cow::Owned(out))
}

/// Whether JSON is on one line and has texts as `quote` writes them, as far as a quick look can tell: an index of ours has nothing else.
fn is_exact(json: &str) -> bool {
    let mut bytes = json.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b'\\' => match quoted_length(&json[at..]) {
                Some(length) => drop(bytes.nth(length - 2)),
                None => return false,
            },
            // What each character begins with that `quote` escapes.
            ..b' ' | 0x7f | 0xc2 | 0xe2 | 0xef => return false,
            _ => {}
        }
    }
    true
}

/// The length of the escape that JSON begins with, where `quote` writes it so.
fn quoted_length(json: &str) -> Option<usize> {
    if matches!(json.get(1..2)?, "\"" | "\\") {
        return Some(2);
    }
    let digits = json.strip_prefix("\\u")?.get(..4)?;
    let character = char::from_u32(u32::from_str_radix(digits, 16).ok()?)?;
    (is_escaped(character) && digits == digits.to_ascii_lowercase()).then_some(6)
}

fn push_without_space(json: &str, out: &mut String) {
    out.extend(json.chars().filter(|character| !character.is_ascii_whitespace()));
}

/// The length of the JSON text that `json` begins with, its quotes included.
fn text_length(json: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, byte) in json.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yaml_reads_differently_is_escaped_and_the_rest_is_raw() {
        let mut out = String::new();
        quote("a\"\\\n\u{85}\u{2028}\u{feff}ü\u{1f600}", &mut out);
        assert_eq!(out, "\"a\\\"\\\\\\u000a\\u0085\\u2028\\ufeffü\u{1f600}\"");
    }

    #[test]
    fn json_that_others_wrote_is_brought_to_one_line_without_changing_a_number() {
        let json = "{\n  \"a\": [1.10, 1e3, -0],\n  \"b\\u002f\": \"\\ud83d\\ude00 \\/ x\"\n}";
        assert_eq!(exact(json).unwrap(), "{\"a\":[1.10,1e3,-0],\"b/\":\"\u{1f600} / x\"}");
    }

    #[test]
    fn only_what_quote_writes_is_left_as_it_is() {
        let quoted = "\\\"\\\\\\u000a\\u0085\\u2028\\ufeff\u{fc}\u{1f600}";
        let json = format!("{{\"a\":\"{quoted}\"}}");
        assert!(is_exact(&json) && exact(&json).unwrap() == json);
        for other in ["\\n", "\\u000A", "\\u0041", "\\/", "\\ud83d\\ude00", "\u{85}", "\u{feff}", "\u{7f}", "\\u00"] {
            assert!(!is_exact(&format!("\"{other}\"")), "{other}");
        }
        for text in ["\n", "\u{7f}", "a\u{2029}\u{fffe}\\", "\u{e9}\u{10ffff}\""] {
            let mut out = String::new();
            quote(text, &mut out);
            assert_eq!(exact(&serde_json::to_string(text).unwrap()).unwrap(), out);
        }
    }
}
