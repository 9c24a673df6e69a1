//! YAML as Helm reads it, turned into JSON.
//!
//! Helm reads YAML 1.1 (through go-yaml's second version): a plain `no` is false, `012` is ten, `1_000` a thousand, and a date is a
//! text. The same rules apply here, so that a file means to us what it means to Helm. What JSON cannot say, or Helm refuses, is
//! refused: a key that stands twice, infinity, binary data, a second document.

use std::collections::{HashMap, HashSet};

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::value::RawValue;

use crate::json::quote;

/// Deeper than any chart, and shallow enough for the stack.
const DEPTH_MAX: usize = 64;

/// The JSON of a YAML document.
///
/// # Errors
/// It is not YAML, or holds what JSON cannot say; the reason is given with its line where the parser knows it.
pub fn to_json(text: &str) -> Result<String, String> {
    let mut reader =
        Reader { events: Parser::new_from_str(text), anchors: HashMap::new(), out: String::new(), size_max: 0 };
    reader.out.reserve(text.len());
    // Aliases may repeat what they name, but a document that grows without end is an attack, or broken.
    reader.size_max = text.len() * 16 + (1 << 20);
    reader.document()?;
    Ok(reader.out)
}

struct Reader<'t> {
    events: Parser<'t, saphyr_parser::StrInput<'t>>,
    /// The JSON of each anchored node.
    anchors: HashMap<usize, String>,
    out: String,
    size_max: usize,
}

impl<'t> Reader<'t> {
    fn document(&mut self) -> Result<(), String> {
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd => return Err("there is no document".into()),
                event => break self.node(event, 0)?,
            }
        }
        loop {
            match self.next()? {
                Event::DocumentEnd | Event::Nothing => {}
                Event::StreamEnd => return Ok(()),
                _ => return Err("there is more than one document".into()),
            }
        }
    }

    fn next(&mut self) -> Result<Event<'t>, String> {
        match self.events.next_event() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'t>, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX || self.out.len() > self.size_max {
            return Err("it is nested deeper, or its aliases expand further, than any sane document".into());
        }
        let start = self.out.len();
        let anchor = match event {
            Event::Alias(anchor) => {
                let json = self.anchors.get(&anchor).ok_or("an alias names a node that has not ended")?;
                self.out.push_str(json);
                0
            }
            Event::Scalar(text, style, anchor, tag) => {
                let scalar = resolve(&text, style == ScalarStyle::Plain, tag.as_deref())?;
                scalar.write(&text, &mut self.out);
                anchor
            }
            Event::SequenceStart(anchor, _) => {
                self.sequence(depth)?;
                anchor
            }
            Event::MappingStart(anchor, _) => {
                self.mapping(depth)?;
                anchor
            }
            other => return Err(format!("{other:?} stands where a value should")),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, self.out[start..].to_owned());
        }
        Ok(())
    }

    fn sequence(&mut self, depth: usize) -> Result<(), String> {
        self.out.push('[');
        let mut separator = "";
        loop {
            match self.next()? {
                Event::SequenceEnd => break,
                event => {
                    self.out.push_str(separator);
                    self.node(event, depth + 1)?;
                }
            }
            separator = ",";
        }
        self.out.push(']');
        Ok(())
    }

    fn mapping(&mut self, depth: usize) -> Result<(), String> {
        self.out.push('{');
        let mut keys = HashSet::new();
        let mut merged = Vec::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => break,
                Event::Scalar(text, ScalarStyle::Plain, _, None) if text == "<<" => {
                    merged.extend(self.merge(depth)?);
                    continue;
                }
                Event::Scalar(text, style, anchor, tag) => {
                    let key = resolve(&text, style == ScalarStyle::Plain, tag.as_deref())?.key(&text)?;
                    if anchor != 0 {
                        let mut json = String::new();
                        quote(&key, &mut json);
                        self.anchors.insert(anchor, json);
                    }
                    key
                }
                Event::Alias(anchor) => {
                    let json = self.anchors.get(&anchor).ok_or("an alias names a node that has not ended")?;
                    serde_json::from_str(json).map_err(|_| "a key is not a text")?
                }
                _ => return Err("a key is a list or a map".into()),
            };
            self.begin_member(&key, keys.is_empty());
            let event = self.next()?;
            self.node(event, depth + 1)?;
            if let Some(key) = keys.replace(key) {
                return Err(format!("the key `{key}` stands twice in one map"));
            }
        }
        for (key, json) in merged {
            if !keys.contains(&key) {
                self.begin_member(&key, keys.is_empty());
                self.out.push_str(&json);
                keys.insert(key);
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn begin_member(&mut self, key: &str, first: bool) {
        if !first {
            self.out.push(',');
        }
        quote(key, &mut self.out);
        self.out.push(':');
    }

    /// The members that a merge key (`<<`, YAML 1.1) brings in: those of a map, or of a list of maps, of which earlier ones win.
    fn merge(&mut self, depth: usize) -> Result<Vec<(String, String)>, String> {
        let start = self.out.len();
        let event = self.next()?;
        self.node(event, depth + 1)?;
        let json = self.out.split_off(start);
        let wrong = |_| "the value of `<<` is neither a map nor a list of maps".to_owned();
        let maps: Vec<Members> = if json.starts_with('[') {
            serde_json::from_str(&json).map_err(wrong)?
        } else {
            vec![serde_json::from_str(&json).map_err(wrong)?]
        };
        Ok(maps.into_iter().flat_map(|map| map.0).collect())
    }
}

/// The members of a JSON object, in their order.
struct Members(Vec<(String, String)>);

impl<'de> serde::Deserialize<'de> for Members {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let map: HashMap<String, Box<RawValue>> = HashMap::deserialize(deserializer)?;
        let mut members: Vec<_> = map.into_iter().map(|(key, raw)| (key, String::from(raw.get()))).collect();
        members.sort();
        Ok(Members(members))
    }
}

/// What a scalar is.
#[derive(Debug, PartialEq)]
enum Scalar {
    Null,
    Bool(bool),
    /// A number, as JSON writes it.
    Number(String),
    Text,
}

impl Scalar {
    fn write(&self, text: &str, out: &mut String) {
        match self {
            Scalar::Null => out.push_str("null"),
            Scalar::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Scalar::Number(json) => out.push_str(json),
            Scalar::Text => quote(text, out),
        }
    }

    /// The scalar as a key of a JSON object.
    fn key(&self, text: &str) -> Result<String, String> {
        match self {
            Scalar::Null => Err("a key is empty".into()),
            Scalar::Bool(value) => Ok(value.to_string()),
            Scalar::Number(json) => match json.parse::<i128>() {
                Ok(_) => Ok(json.clone()),
                // go-yaml writes such keys with the precision of a 32-bit number.
                Err(_) => json.parse::<f32>().map(|number| number.to_string()).map_err(|error| error.to_string()),
            },
            Scalar::Text => Ok(text.to_owned()),
        }
    }
}

fn resolve(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Scalar, String> {
    let tag = tag.map(|tag| format!("{}{}", tag.handle, tag.suffix));
    let wanted = tag.as_deref().and_then(|tag| tag.strip_prefix("tag:yaml.org,2002:"));
    match (tag.as_deref(), wanted) {
        (None, _) if plain => resolve_plain(text),
        (None, _) | (_, Some("str")) => Ok(Scalar::Text),
        (_, Some("binary")) => Err("binary data is not supported (`!!binary`)".into()),
        (_, Some(kind @ ("bool" | "int" | "float" | "null"))) => match (kind, resolve_plain(text)?) {
            ("bool", scalar @ Scalar::Bool(_))
            | ("int" | "float", scalar @ Scalar::Number(_))
            | ("null", scalar @ Scalar::Null) => Ok(scalar),
            _ => Err(format!("`{text}` is not a {kind}, as its tag says")),
        },
        _ => Ok(Scalar::Text),
    }
}

/// YAML 1.1's implicit types, as go-yaml 2 has them.
fn resolve_plain(text: &str) -> Result<Scalar, String> {
    Ok(match text {
        "" | "~" | "null" | "Null" | "NULL" => Scalar::Null,
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => Scalar::Bool(true),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => Scalar::Bool(false),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" | "-.inf" | "-.Inf"
        | "-.INF" => {
            return Err(format!("`{text}` cannot be written in JSON"));
        }
        _ => number(text).map_or(Scalar::Text, Scalar::Number),
    })
}

/// A number as JSON writes it, or nothing where the text is none.
fn number(text: &str) -> Option<String> {
    let plain = match text.chars().next()? {
        '0'..='9' | '+' | '-' => text.replace('_', ""),
        '.' => text.to_owned(),
        _ => return None,
    };
    integer(&plain).map(|number| number.to_string()).or_else(|| decimal(&plain))
}

/// Go's `strconv.ParseInt` with base 0, within 64 bits.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, base) = match lower.as_str() {
        _ if lower.starts_with("0x") => (&lower[2..], 16),
        _ if lower.starts_with("0b") => (&lower[2..], 2),
        _ if lower.starts_with("0o") => (&lower[2..], 8),
        _ if lower.starts_with('0') && lower.len() > 1 => (&lower[1..], 8),
        _ => (lower.as_str(), 10),
    };
    if !digits.starts_with(|first: char| first.is_digit(base)) {
        return None;
    }
    let value = sign * i128::from_str_radix(digits, base).ok()?;
    (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`, as JSON writes it.
fn decimal(text: &str) -> Option<String> {
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let (mantissa, exponent) = match rest.find(['e', 'E']) {
        Some(at) => (&rest[..at], Some(&rest[at + 1..])),
        None => (rest, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || (whole.is_empty() && fraction.is_empty()) {
        return None;
    }
    let whole = whole.trim_start_matches('0');
    let mut json = format!("{sign}{}", if whole.is_empty() { "0" } else { whole });
    if !fraction.is_empty() {
        json = format!("{json}.{fraction}");
    }
    if let Some(exponent) = exponent {
        let plain = exponent.strip_prefix(['-', '+']).unwrap_or(exponent);
        if plain.is_empty() || !digits(plain) {
            return None;
        }
        json = format!("{json}e{exponent}");
    }
    json.parse::<f64>().is_ok_and(f64::is_finite).then_some(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(yaml: &str) -> String {
        to_json(yaml).unwrap()
    }

    #[test]
    fn every_scalar_keeps_the_type_that_helm_sees() {
        let table = [
            ("no", "false"),
            ("on", "true"),
            ("y", "true"),
            ("\"no\"", "\"no\""),
            ("'on'", "\"on\""),
            ("1.10", "1.10"),
            ("\"1.10\"", "\"1.10\""),
            ("012", "10"),
            ("0o14", "12"),
            ("089", "89"),
            ("0x1F", "31"),
            ("0b11", "3"),
            ("1_000", "1000"),
            ("1e3", "1e3"),
            ("+1", "1"),
            ("-12", "-12"),
            (".5", "0.5"),
            ("1.", "1"),
            ("-.5e-3", "-0.5e-3"),
            ("1.2.3", "\"1.2.3\""),
            ("12:30:45", "\"12:30:45\""),
            ("~", "null"),
            ("", "null"),
            ("\"\"", "\"\""),
            ("2026-01-02", "\"2026-01-02\""),
            ("2026-01-02T03:04:05Z", "\"2026-01-02T03:04:05Z\""),
            ("!!str 012", "\"012\""),
            ("!!float 1", "1"),
            ("!mine 1", "\"1\""),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
        ];
        for (yaml, expected) in table {
            let expected = format!("{{\"a\":{expected}}}");
            assert_eq!(json(&format!("a: {yaml}")), expected, "{yaml}");
        }
    }

    #[test]
    fn multi_line_texts_anchors_aliases_and_merges_are_what_they_stand_for() {
        assert_eq!(json("a: |\n  one\n  two\nb: >-\n  one\n  two"), r#"{"a":"one\u000atwo\u000a","b":"one two"}"#);
        assert_eq!(json("a: &x [1]\nb: *x"), r#"{"a":[1],"b":[1]}"#);
        assert_eq!(json("a: &x {c: 1, d: 2}\nb: {<<: *x, c: 3}"), r#"{"a":{"c":1,"d":2},"b":{"c":3,"d":2}}"#);
    }

    #[test]
    fn keys_become_texts_as_in_helm() {
        assert_eq!(json("a: {on: 1, 012: 2, 1.5: 3, x: 4}"), r#"{"a":{"true":1,"10":2,"1.5":3,"x":4}}"#);
    }

    #[test]
    fn what_helm_refuses_or_json_cannot_say_is_refused() {
        let table = [
            ("a: 1\na: 2", "twice"),
            ("a: {on: 1, yes: 2}", "twice"),
            ("a: .inf", "cannot be written"),
            ("a: !!binary aGk=", "binary"),
            ("a: 1\n---\nb: 2", "more than one document"),
            ("? [1]\n: 2", "list or a map"),
            ("a: [1", "while parsing"),
            ("a: !!int x", "not a int"),
        ];
        for (yaml, expected) in table {
            let error = to_json(&format!("{yaml}\n")).unwrap_err();
            assert!(error.contains(expected) || expected == "while parsing", "{yaml}: {error}");
        }
    }

    #[test]
    fn aliases_that_expand_without_end_are_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..10 {
            let below = format!("*a{}, ", level - 1).repeat(10);
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(to_json(&bomb).is_err());
    }
}
