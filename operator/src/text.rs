//! Words that come from elsewhere, made fit to be told.

use std::io::{self, Write};

/// The first `longest` characters, the last of them an ellipsis if something was left out.
pub(crate) fn shortened(text: &str, longest: usize) -> String {
    // No more of a long text is looked at than is kept.
    match text.char_indices().nth(longest) {
        None => text.to_owned(),
        Some(_) => text.chars().take(longest.saturating_sub(1)).chain(['…']).collect(),
    }
}

/// The same without what a terminal takes for commands, and without what turns the order of letters round. Lines stay lines.
pub(crate) fn plain(text: &str) -> String {
    let is_plain = |character: &char| match character {
        '\n' | '\t' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => false,
        _ => !character.is_control(),
    };
    text.chars().filter(is_plain).collect()
}

/// The same JSON in ASCII: kube9 reads an answer in pieces, and loses a character that two of them share; and nothing of it is a
/// command for a terminal.
pub(crate) fn write_ascii_json(json: &str, to: &mut impl Write) -> io::Result<()> {
    for character in json.chars() {
        match character {
            '\n' | ' '..='~' => to.write_all(character.encode_utf8(&mut [0; 4]).as_bytes())?,
            // Only space between tokens may hold such.
            '\0'..' ' => to.write_all(b" ")?,
            _ => character.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(to, "\\u{unit:04x}"))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_fits_is_kept_and_a_longer_one_says_that_it_is() {
        assert_eq!(shortened(&"ü".repeat(500), 500), "ü".repeat(500));
        assert_eq!(shortened("four", 3), "fo…");
    }

    #[test]
    fn json_in_ascii_says_the_same() {
        let json = "{\"a\":\r\n\t\"ü\u{7f}\u{9b}\u{202e}🦀\"}";
        let mut ascii = Vec::new();
        write_ascii_json(json, &mut ascii).unwrap();
        let ascii = String::from_utf8(ascii).unwrap();
        assert_eq!(ascii, "{\"a\": \n \"\\u00fc\\u007f\\u009b\\u202e\\ud83e\\udd80\"}");
        let read = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(read(&ascii), read(json));
    }

    #[test]
    fn commands_for_a_terminal_are_taken_out() {
        assert_eq!(plain("a\u{1b}[2J\u{9b}31m\r\u{202e}é\tb\n"), "a[2J31mé\tb\n");
    }
}
