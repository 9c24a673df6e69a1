//! YAML as far as a kubeconfig needs it: maps, lists and texts. Nothing in one is a number.

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Value};

/// Deeper than any kubeconfig, and shallow enough for the stack.
const DEEPEST: usize = 32;

/// Every document of a text. What is written without quotes is a text like any other, or nothing.
pub(super) fn documents(text: &str) -> Result<Vec<Value>, String> {
    // Editors of other systems put a mark there.
    let mut events = Events(Parser::new_from_str(text.trim_start_matches('\u{feff}')));
    let mut documents = Vec::new();
    loop {
        match events.next()? {
            Event::StreamEnd => return Ok(documents),
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => documents.push(events.node(event, 0)?),
        }
    }
}

struct Events<'text>(Parser<'text, StrInput<'text>>);

impl<'text> Events<'text> {
    fn next(&mut self) -> Result<Event<'text>, String> {
        match self.0.next_event() {
            Some(Ok((event, _place))) => Ok(event),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(Event::StreamEnd),
        }
    }

    fn node(&mut self, event: Event<'text>, depth: usize) -> Result<Value, String> {
        match event {
            _ if depth > DEEPEST => Err("it is nested too deeply".to_owned()),
            Event::Scalar(text, ScalarStyle::Plain, ..) if matches!(&*text, "" | "~" | "null") => Ok(Value::Null),
            Event::Scalar(text, ..) => Ok(Value::String(text.into_owned())),
            Event::SequenceStart(..) => self.list(depth),
            Event::MappingStart(..) => self.map(depth),
            Event::Alias(_) => Err("it refers to another part of itself (*), which is not understood here".to_owned()),
            _ => Err("it ends too early".to_owned()),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, String> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Array(list)),
                event => list.push(self.node(event, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, String> {
        let mut map = Map::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Value::Object(map)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err("a key is not a text".to_owned()),
            };
            let event = self.next()?;
            let value = self.node(event, depth + 1)?;
            if map.contains_key(&key) {
                return Err(format!("{key:?} stands there twice"));
            }
            map.insert(key, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_forms_that_kubeconfigs_come_in_are_read_alike() {
        let block = "# a comment\nusers:\n- name: 007\n  user:\n    token: 'a: b'\n    exec:\nflag: true\n";
        let flow = r#"{"users": [{"name": "007", "user": {"token": "a: b", "exec": null}}], "flag": true}"#;
        let expected = json!({"users": [{"name": "007", "user": {"token": "a: b", "exec": null}}], "flag": "true"});
        for text in [block, flow, &format!("\u{feff}{block}")] {
            assert_eq!(documents(text).unwrap(), std::slice::from_ref(&expected), "{text}");
        }
        assert_eq!(
            documents("a: |\n  1\n  2\n---\nb: \"\\u00fc\"\n").unwrap(),
            [json!({"a": "1\n2\n"}), json!({"b": "ü"})]
        );
        assert_eq!(documents("").unwrap(), Vec::<Value>::new());
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for text in ["a: b: c", "a: [1", "a: 1\na: 2", "a: &b 1\nc: *b", "[a]: b", &"[".repeat(100)] {
            assert!(documents(text).is_err(), "{text}");
        }
        assert!(documents("a: 1\nb: [\n").unwrap_err().contains("line 3"));
    }
}
