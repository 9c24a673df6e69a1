//! What the user sees while a command runs: short lines on standard error, in cargo's shape.
//!
//! Standard output is kept for results (`--json`, a table somebody asked for), so that it can be piped. Colours follow the
//! terminal and `NO_COLOR`. A run prints a bounded number of lines, however large the repository is.

use std::fmt::Display;

use anstream::{eprintln, println};
use anstyle::{AnsiColor, Style};

use crate::error::Error;
use crate::release::plan::{State, Step};

const GOOD: Style = AnsiColor::Green.on_default().bold();
const NEUTRAL: Style = AnsiColor::Cyan.on_default().bold();
const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();

/// Something was done, or is being done now.
pub fn status(verb: &str, what: impl Display) {
    line(GOOD, verb, &what);
}

/// Something was found to be done already, or does not apply.
pub fn note(verb: &str, what: impl Display) {
    line(NEUTRAL, verb, &what);
}

/// Something that does not stop the run and that a person should know.
pub fn warn(what: impl Display) {
    line(WARNING, "Warning", &what);
}

/// The end of a run that failed.
pub fn error(error: &Error) {
    eprintln!("{BAD}error:{BAD:#} {error}");
}

/// A result: goes to standard output.
pub fn result(text: impl Display) {
    println!("{text}");
}

/// A plan: one line for each step, on standard output.
pub fn plan(steps: &[Step]) {
    for Step { step, state } in steps {
        let (style, word, detail) = match state {
            State::Done(detail) => (NEUTRAL, "done", detail),
            State::ToDo(detail) => (GOOD, "to do", detail),
            State::Conflict(detail) => (BAD, "conflict", detail),
            State::Unknown(detail) => (WARNING, "unknown", detail),
        };
        println!("{step:<8} {style}{word:<8}{style:#} {}", detail.replace('\n', "\n                  "));
    }
}

fn line(style: Style, verb: &str, what: &dyn Display) {
    eprintln!("{style}{verb:>12}{style:#} {what}");
}
