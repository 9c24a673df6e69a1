//! Every effect of a run passes here on its way out, so that tests can stop a run at each one.
//!
//! The doors to the outside (`files`, `children`, and those of `xtask-remote`) announce an effect just before it happens. Normally that costs a comparison.
//! With `XTASK_EFFECTS=FILE` each announcement is appended to FILE as a line, and with `XTASK_HALT_AT=N` the run stops for ever
//! before its N-th effect, where a test can end it with SIGKILL: a release must survive that at every number. With `XTASK_HALT_IN=N`
//! it stops in the middle of that one, where it has a middle. What survives a loss of power from some moment on is
//! recorded, too, without a number: tests build from that what such a loss may leave.
//! Nothing else in the tool reads these variables, and no code path depends on them.

use std::fmt::Display;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The variable that names the file which the effects of a run are written to.
pub const RECORD: &str = "XTASK_EFFECTS";
/// The variable that holds the number (from 1) of the effect before which a run halts.
pub const HALT_AT: &str = "XTASK_HALT_AT";
/// The variable that holds the number of the effect in the middle of which a run halts.
pub const HALT_IN: &str = "XTASK_HALT_IN";

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
    halt_in: Option<usize>,
    count: AtomicUsize,
}

impl Recorder {
    fn from_environment() -> Option<Self> {
        let number = |name: &str| std::env::var(name).ok().and_then(|number| number.parse().ok());
        let path = std::env::var_os(RECORD)?;
        Some(Recorder { path, halt_at: number(HALT_AT), halt_in: number(HALT_IN), count: AtomicUsize::new(0) })
    }

    fn begin(&self, kind: &str, on: &dyn Display) -> usize {
        let number = self.count.fetch_add(1, Ordering::SeqCst) + 1;
        if self.note(&format!("{number} {kind} {on}\n")) && self.halt_at == Some(number) {
            halt();
        }
        number
    }

    fn pass_middle(&self, number: usize) {
        if self.halt_in == Some(number) && self.note(&format!("- in {number}\n")) {
            halt();
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
