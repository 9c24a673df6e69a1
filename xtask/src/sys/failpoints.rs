//! Every effect of a run passes here on its way out, so that tests can stop a run at each one.
//!
//! The doors to the outside (`files`, `children`, and those of `xtask-remote`) announce an effect just before it happens. Normally that costs a comparison.
//! With `XTASK_EFFECTS=FILE` each announcement is appended to FILE as a line, and with `XTASK_HALT_AT=N` the run stops for ever
//! before its N-th effect, where a test can end it with SIGKILL: a release must survive that at every number. With `XTASK_HALT_EACH=1`
//! it stops before each effect, and in the middle of each that has one, until a byte comes from its standard input, so that a test can
//! keep what a kill would leave at every moment of one run. What survives a loss of power from some moment on is recorded, too,
//! without a number: tests build from that what such a loss may leave.
//! Nothing else in the tool reads these variables, and no code path depends on them.

use std::fmt::Display;
use std::io::{Read, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The variable that names the file which the effects of a run are written to.
pub const RECORD: &str = "XTASK_EFFECTS";
/// The variable that holds the number (from 1) of the effect before which a run halts.
pub const HALT_AT: &str = "XTASK_HALT_AT";
/// The variable that makes a run halt at every moment at which something is half done or about to be done.
pub const HALT_EACH: &str = "XTASK_HALT_EACH";

/// An effect that was announced.
#[derive(Debug)]
pub struct Effect(Option<usize>);

/// Announces an effect that is about to happen: `kind` is the verb, `on` what it touches.
pub fn announce(kind: &str, on: &dyn Display) -> Effect {
    Effect(recorder().map(|recorder| recorder.begin(kind, on)))
}

/// Says that something survives a loss of power from now on: what a `file` holds, or which names a `folder` has.
pub fn synced(kind: &str, on: &dyn Display) {
    if let Some(recorder) = recorder() {
        recorder.note(&format!("- synced {kind} {on}\n"));
    }
}

impl Effect {
    /// Says that the effect is half done.
    pub fn halfway(&self) {
        if let (Some(recorder), Some(number)) = (recorder(), self.0) {
            recorder.pass_middle(number);
        }
    }
}

fn recorder() -> Option<&'static Recorder> {
    static RECORDER: OnceLock<Option<Recorder>> = OnceLock::new();
    RECORDER.get_or_init(Recorder::from_environment).as_ref()
}

struct Recorder {
    path: std::ffi::OsString,
    halt_at: Option<usize>,
    halts_at_each: bool,
    count: AtomicUsize,
}

impl Recorder {
    fn from_environment() -> Option<Self> {
        let path = std::env::var_os(RECORD)?;
        let halt_at = std::env::var(HALT_AT).ok().and_then(|number| number.parse().ok());
        let halts_at_each = std::env::var_os(HALT_EACH).is_some();
        Some(Recorder { path, halt_at, halts_at_each, count: AtomicUsize::new(0) })
    }

    fn begin(&self, kind: &str, on: &dyn Display) -> usize {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if self.note(&format!("{number} {kind} {on}\n")) {
            if self.halt_at == Some(number) {
                halt();
            } else if self.halts_at_each {
                wait_for_a_byte();
            }
        }
        number
    }

    fn pass_middle(&self, number: usize) {
        if self.halts_at_each && self.note(&format!("- in {number}\n")) {
            wait_for_a_byte();
        }
    }

    /// Whether the line is in the record now.
    #[expect(clippy::disallowed_methods, reason = "the record of effects is not an effect")]
    fn note(&self, line: &str) -> bool {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(&self.path);
        file.and_then(|mut file| file.write_all(line.as_bytes())).is_ok()
    }
}

/// Until somebody ends the process.
fn halt() {
    loop {
        std::thread::park();
    }
}

/// Or until nobody is there any more who could send one.
fn wait_for_a_byte() {
    std::io::stdin().lock().read_exact(&mut [0]).ok();
}
