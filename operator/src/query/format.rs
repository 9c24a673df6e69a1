//! How an answer is printed. For programs in JSON, for people as a table.

use serde_json::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Table,
}

impl Format {
    pub(super) fn from_word(word: &str) -> Option<Self> {
        match word {
            "json" => Some(Self::Json),
            "table" => Some(Self::Table),
            _ => None,
        }
    }

    /// The whole text. In a table, an object without columns of its own has one row for each of its fields.
    pub(super) fn render(self, value: &Value, columns: &[&str]) -> String {
        match self {
            Self::Json => escaped(&format!("{value:#}\n")),
            Self::Table => table(&rows(value, columns)),
        }
    }
}

/// Whoever may write an event may write into it what a terminal takes for commands. JSON wants only some of these characters escaped.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => escaped.push(character),
            _ if character.is_control() => escaped.push_str(&format!("\\u{:04x}", u32::from(character))),
            _ => escaped.push(character),
        }
    }
    escaped
}

fn rows(value: &Value, columns: &[&str]) -> Vec<Vec<String>> {
    let lists = value.as_object().into_iter().flat_map(|fields| fields.values()).find_map(Value::as_array);
    match (lists, columns) {
        (Some(items), [_, ..]) => {
            let head = columns.iter().map(|column| column.to_uppercase()).collect();
            let body = items.iter().map(|item| columns.iter().map(|column| cell(&item[*column])).collect());
            std::iter::once(head).chain(body).collect()
        }
        _ => {
            let fields = value.as_object().into_iter().flatten();
            fields.map(|(key, value)| vec![key.clone(), cell(value)]).collect()
        }
    }
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        // A line of a table stays a line.
        Value::String(text) => {
            let words: Vec<String> = text.split_whitespace().map(|word| word.replace(char::is_control, "")).collect();
            words.join(" ")
        }
        other => other.to_string(),
    }
}

fn table(rows: &[Vec<String>]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..rows.first().map_or(0, Vec::len)).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sample() -> Value {
        json!({"events": [{"name": "a", "note": "one\n two"}, {"name": "long", "note": null}], "more": {}})
    }

    #[test]
    fn json_is_read_back() {
        assert_eq!(serde_json::from_str::<Value>(&Format::Json.render(&sample(), &[])).unwrap(), sample());
    }

    #[test]
    fn no_text_of_the_cluster_is_a_command_for_a_terminal() {
        let hostile = json!({"note": "\u{1b}[2Jgone \u{9b}31mred \u{7f}\u{7}"});
        for format in [Format::Json, Format::Table] {
            let text = format.render(&hostile, &[]);
            assert!(!text.chars().any(|character| character.is_control() && character != '\n'), "{format:?}: {text:?}");
        }
        assert_eq!(serde_json::from_str::<Value>(&Format::Json.render(&hostile, &[])).unwrap(), hostile);
    }

    #[test]
    fn a_table_has_a_line_for_each_item() {
        let text = Format::Table.render(&sample(), &["name", "note"]);
        assert_eq!(text, "NAME  NOTE\na     one two\nlong  -\n");
        let empty = Format::Table.render(&json!({"events": []}), &["name"]);
        assert_eq!(empty, "NAME\n");
    }

    #[test]
    fn a_single_object_is_a_table_of_its_fields() {
        assert_eq!(
            Format::Table.render(&json!({"mode": "operated", "error": null}), &[]),
            "mode   operated\nerror  -\n"
        );
    }
}
