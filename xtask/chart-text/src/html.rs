//! HTML with one door: whatever comes from elsewhere gets into a page as text, and never as markup.
//!
//! Markup is written as literals, and `put!` fills their holes. Plain functions with this macro were chosen over a library of templates:
//! that would be a procedural macro and seconds more for everybody's first command, for two kinds of pages.

use std::fmt::{self, Display, Write};

/// A page, or a part of one.
#[derive(Debug, Default)]
pub(crate) struct Html(String);

/// Writes markup. Each `{}` in it takes a value, whose text is escaped.
macro_rules! put {
    ($html:expr, $markup:literal $(, $value:expr)* $(,)?) => {
        // What `concat!` makes cannot name variables around it: there is no hole but `{}`, and no way into that but `Escaped`.
        $html.write(format_args!(concat!($markup) $(, $crate::html::Escaped(&$value))*))
    };
}
pub(crate) use put;

impl Html {
    /// For `put!`, which escapes what stands in the markup's holes.
    pub(crate) fn write(&mut self, markup: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.0.write_fmt(markup);
    }

    /// Takes over what was written by this door before.
    pub(crate) fn write_again(&mut self, written: &str) {
        self.0.push_str(written);
    }

    pub(crate) fn into_text(self) -> String {
        self.0
    }
}

/// A value's text as it stands in an element, or between the double quotes of an attribute.
pub(crate) struct Escaped<T>(pub(crate) T);

impl<T: Display> Display for Escaped<T> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Door(out), "{}", self.0)
    }
}

struct Door<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Door<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = 0;
        for (at, character) in text.char_indices() {
            if let Some(harmless) = harmless(character) {
                self.0.write_str(&text[rest..at])?;
                self.0.write_str(harmless)?;
                rest = at + character.len_utf8();
            }
        }
        self.0.write_str(&text[rest..])
    }
}

/// What stands for a character that is not to be taken for markup, that HTML does not allow (its standard, "Preprocessing the input
/// stream"), or that would change the order in which what stands beside it is read.
fn harmless(character: char) -> Option<&'static str> {
    match character {
        '&' => Some("&amp;"),
        '<' => Some("&lt;"),
        '>' => Some("&gt;"),
        '"' => Some("&quot;"),
        '\'' => Some("&#39;"),
        _ if is_forbidden(character) => Some("\u{fffd}"),
        _ => None,
    }
}

pub(crate) fn is_forbidden(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\0'..='\u{1f}' | '\u{7f}'..='\u{9f}' => true,
        '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fdd0}'..='\u{fdef}' => true,
        _ => u32::from(character) & 0xfffe == 0xfffe,
    }
}

/// The text that an escaped one stands for.
#[cfg(test)]
pub(crate) fn unescaped(text: &str) -> String {
    // The ampersand last: what it then begins was no entity.
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "&")];
    entities.iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// Whether a text leads to a web page: nothing else becomes a link.
pub(crate) fn is_web(url: &str) -> bool {
    (url.starts_with("https://") || url.starts_with("http://")) && !url.contains(char::is_whitespace)
}
