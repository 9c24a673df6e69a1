//! What is printed, and with which exit code the program ends then.

use std::io::{self, BufWriter, Write};
use std::process::ExitCode;

use serde_json::{Value, json};

use crate::NAME;
use crate::text::write_ascii_json;

/// Standard output carries what was asked for and nothing else, since other programs read it.
pub(crate) fn print(text: &str) -> ExitCode {
    match io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_closed) => ExitCode::FAILURE,
    }
}

/// One sentence for people.
pub(crate) fn complain(message: &str) -> ExitCode {
    // Standard error may be closed; the exit code still tells.
    let _ = writeln!(io::stderr(), "{NAME}: {message}");
    ExitCode::FAILURE
}

/// One JSON object for programs.
pub(crate) fn refuse(error: &str, details: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "{}", json!({"error": error, "details": details}));
    ExitCode::FAILURE
}

/// The same in ASCII, with an exit code that says which kind of failure it is.
pub(crate) fn refuse_with(exit: u8, refusal: &Value) -> ExitCode {
    let _ = write_line(&refusal.to_string(), io::stderr());
    ExitCode::from(exit)
}

/// JSON that may be too long to be in memory twice.
pub(crate) fn print_in_ascii(json: &str) -> ExitCode {
    write_line(json, io::stdout()).map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS)
}

fn write_line(json: &str, to: impl Write) -> io::Result<()> {
    let mut to = BufWriter::new(to);
    write_ascii_json(json, &mut to)?;
    writeln!(to)?;
    to.flush()
}
