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
            '\u{0}'..='\u{1f}'
            | '\u{7f}'..='\u{9f}'
            | '\u{2028}'
            | '\u{2029}'
            | '\u{feff}'
            | '\u{fffe}'
            | '\u{ffff}' => {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{:04x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

/// A JSON value on one line, its texts as `quote` writes them. Numbers stay as they were written.
///
/// # Errors
/// It is not JSON.
pub fn exact(json: &str) -> Result<Cow<'_, str>, String> {
    // Everything that `quote` would write differently contains one of these bytes.
    let suspicious =
        |text: &str| text.bytes().any(|byte| byte < b' ' || matches!(byte, b'\\' | 0x7f | 0xc2 | 0xe2 | 0xef));
    if !suspicious(json) {
        return Ok(Cow::Borrowed(json));
    }
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(start) = rest.find('"') {
        push_without_space(&rest[..start], &mut out);
        let end = start + text_length(&rest[start..]).ok_or("a text does not end")?;
        let quoted = &rest[start..end];
        if suspicious(quoted) {
            let text: String = serde_json::from_str(quoted).map_err(|error| error.to_string())?;
            quote(&text, &mut out);
        } else {
            out.push_str(quoted);
        }
        rest = &rest[end..];
    }
    push_without_space(rest, &mut out);
    Ok(Cow::Owned(out))
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
}
