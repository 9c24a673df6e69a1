//! Every effect of a run passes here on its way out, so that tests can stop a run at each one.
//!
//! The doors to the outside (`disk`, `process`) announce an effect just before it happens. Normally that costs a comparison.
//! With `XTASK_EFFECTS=FILE` each announcement is appended to FILE as a line, and with `XTASK_HALT_AT=N` the run stops for ever
//! before its N-th effect, where a test can end it with SIGKILL: a release must survive that at every number.
//! Nothing else in the tool reads these variables, and no code path depends on them.

use std::fmt::Display;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The variable that names the file which the effects of a run are written to.
pub const RECORD: &str = "XTASK_EFFECTS";
/// The variable that holds the number (from 1) of the effect before which a run halts.
pub const HALT_AT: &str = "XTASK_HALT_AT";

/// Announces an effect that is about to happen: `kind` is the verb, `on` what it touches.
pub fn announce(kind: &str, on: &dyn Display) {
    static RECORDER: OnceLock<Option<Recorder>> = OnceLock::new();
    if let Some(recorder) = RECORDER.get_or_init(Recorder::from_environment) {
        recorder.note(kind, on);
    }
}

struct Recorder {
    path: std::ffi::OsString,
    halt_at: Option<usize>,
    count: AtomicUsize,
}

impl Recorder {
    fn from_environment() -> Option<Self> {
        let halt_at = std::env::var(HALT_AT).ok().and_then(|number| number.parse().ok());
        Some(Recorder { path: std::env::var_os(RECORD)?, halt_at, count: AtomicUsize::new(0) })
    }

    #[expect(clippy::disallowed_methods, reason = "the record of effects is not an effect")]
    fn note(&self, kind: &str, on: &dyn Display) {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        let line = format!("{number} {kind} {on}\n");
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&self.path);
        let written = file.and_then(|mut file| file.write_all(line.as_bytes()));
        if written.is_ok() && self.halt_at == Some(number) {
            loop {
                std::thread::park();
            }
        }
    }
}
