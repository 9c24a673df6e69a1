//! What the user sees while a command runs: short lines on standard error, in cargo's shape.
//!
//! Standard output is kept for results (`--json`, a table somebody asked for), so that it can be piped. Colours follow the
//! terminal and `NO_COLOR`. A run prints a bounded number of lines, however large the repository is.
//!
//! What comes from elsewhere passes `plain` on its way to any terminal, log or page: it could move the cursor, or hide what we say.
//!
//! In GitHub Actions steps are foldable groups, warnings and the error are annotations, and a release leaves a summary on the
//! job's page (GitHub's documentation, "Workflow commands for GitHub Actions").

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anstream::adapter::strip_str;
use anstream::{eprint, eprintln, println};
use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::error::{Context, Error, Exit, Result};

/// What is done, or will be.
pub const GOOD: Style = AnsiColor::Green.on_default().bold();
/// What was done before.
pub const NEUTRAL: Style = AnsiColor::Cyan.on_default().bold();
/// What a person should look at.
pub const WARNING: Style = AnsiColor::Yellow.on_default().bold();
const QUIET: Style = Style::new().dimmed();
/// What stops a run.
pub const BAD: Style = AnsiColor::Red.on_default().bold();

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
    annotate("warning", &what);
}

/// The end of a run that failed.
pub fn error(error: &Error) {
    eprintln!("{BAD}error:{BAD:#} {}", Harmless(error));
    annotate("error", error);
}

/// A part of a run that may take long; where it took more than a second, the run says how long.
///
/// # Errors
/// Those of the work.
pub fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    const WORTH_SAYING: Duration = Duration::from_secs(1);
    if in_actions() {
        eprintln!("::group::{name}");
    }
    let started = Instant::now();
    let result = work();
    let took = started.elapsed();
    if took > WORTH_SAYING {
        line(QUIET, "Took", &format_args!("{:.1} s for {name}", took.as_secs_f64()));
    }
    if in_actions() {
        eprintln!("::endgroup::");
    }
    result
}

/// A bar on a terminal for `total` bytes, and nothing elsewhere. It goes when the value does.
pub fn progress(verb: &str, total: u64) -> Progress {
    let style = ProgressStyle::with_template("{prefix:>12.cyan.bold} [{bar:30}] {bytes}/{total_bytes} ({eta})");
    let style = style.unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_prefix(verb.to_owned()).with_style(style);
    Progress(bar.with_finish(ProgressFinish::AndClear))
}

/// Something on its way.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// That many bytes more are done.
    pub fn add(&self, bytes: u64) {
        self.0.inc(bytes);
    }
}

/// Markdown for the page of the job that this runs in, where it runs in one.
#[expect(clippy::disallowed_methods, reason = "the page is output, as the terminal is, and no effect of a release")]
pub fn summary(markdown: &str) {
    let Some(path) = std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) else { return };
    let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
    // A page without a summary is no reason for a release to fail.
    file.and_then(|mut file| writeln!(file, "{}", plain(markdown))).ok();
}

/// A text, some of which may come from elsewhere, as it is shown.
struct Harmless<T>(T);

impl<T: Display> Display for Harmless<T> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = plain(&self.0.to_string());
        out.write_str(&if in_actions() { without_commands(&text) } else { text })
    }
}

/// A text, some of which may come from elsewhere, as it is shown among ours.
pub fn harmless(text: impl Display) -> String {
    Harmless(text).to_string()
}

/// A text without anything that a terminal takes for a command: no escape sequence and no control character but line feeds and tabs. What
/// is left unfinished ends with its line, so that it hides nothing of ours.
pub fn plain(text: &str) -> String {
    let is_shown = |character: &char| !character.is_control() || *character == '\t';
    let line = |line: &str| strip_str(line).to_string().chars().filter(is_shown).collect::<String>();
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// A text as it is shown in a job's log: the runner takes a line that begins with `::`, or has `##[` in it, for a command of ours.
fn without_commands(text: &str) -> String {
    let line = |line: &str| {
        // The runner looks past white space.
        let (space, rest) = line.split_at(line.len() - line.trim_start().len());
        let rest = rest.replace("##[", "## [");
        if rest.starts_with("::") { format!("{space}: {}", &rest[1..]) } else { format!("{space}{rest}") }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

fn in_actions() -> bool {
    std::env::var_os("GITHUB_ACTIONS").is_some_and(|value| value == "true")
}

fn annotate(kind: &str, what: &dyn Display) {
    if in_actions() {
        let text = plain(&what.to_string()).replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A");
        eprintln!("::{kind} title=xtask::{text}");
    }
}

/// A result: goes to standard output, as it is where a program reads it.
pub fn result(text: impl Display) {
    if std::io::stdout().is_terminal() { println!("{}", Harmless(text)) } else { println!("{text}") }
}

/// A result for people, with colours of ours; what came from elsewhere went through `plain`.
pub fn drawn_result(text: impl Display) {
    println!("{text}");
}

/// Multi-line text on standard error, for people.
pub fn aside(text: impl Display) {
    eprintln!("{}", Harmless(text));
}

/// The same with colours of ours; what came from elsewhere went through `plain`.
pub fn drawn_aside(text: impl Display) {
    eprintln!("{text}");
}

/// Whether there is a person at the terminal.
pub fn is_somebody_there() -> bool {
    std::io::stdin().is_terminal()
}

/// Asks the person at the terminal.
///
/// # Errors
/// There is nobody.
pub fn confirm(question: &str) -> Result<bool> {
    let input = std::io::stdin();
    if !is_somebody_there() {
        return Err(Error::new(Exit::Usage, "nobody is there to ask, and nothing was changed")
            .because("standard input is no terminal")
            .remedy("use --yes, or --plan to only look"));
    }
    eprint!("{NEUTRAL}{question}{NEUTRAL:#} [y/N] ");
    let mut answer = String::new();
    input.read_line(&mut answer).context(Exit::Failure, || "cannot read the answer".into())?;
    Ok(matches!(answer.trim().to_lowercase().as_str(), "y" | "yes"))
}

fn line(style: Style, verb: &str, what: &dyn Display) {
    eprintln!("{style}{verb:>12}{style:#} {}", Harmless(what));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_line_of_a_remote_text_is_a_command_for_githubs_runner() {
        let remote = "denied\n::set-env name=PATH::/tmp\n  ::add-path::/tmp\r\nsee ##[error]this\na::b";
        let shown = without_commands(&plain(remote));
        let is_command = |line: &str| line.trim_start().starts_with("::") || line.contains("##[");
        assert!(!shown.lines().any(is_command), "{shown}");
        assert!(shown.contains(": :set-env name=PATH::/tmp") && shown.ends_with("a::b"), "{shown}");
        // Nor one that only begins with the colons once what hides them is gone.
        for hidden in
            ["\u{1b}[m::add-path::/tmp", "\r::add-path::/tmp", "\u{9b}1m::add-path::/tmp", "#\u{7}#[error]this"]
        {
            let shown = without_commands(&plain(hidden));
            assert!(!shown.lines().any(is_command), "{hidden:?}: {shown:?}");
        }
    }

    #[test]
    fn no_part_of_a_remote_text_is_a_command_for_a_terminal() {
        let every: String = (0..0xa0).filter_map(char::from_u32).collect();
        let shown = plain(&every);
        assert!(shown.chars().all(|character| !character.is_control() || "\t\n".contains(character)), "{shown:?}");
        for (remote, shown) in [
            ("\u{1b}[2J\u{1b}[1;31mdenied\u{1b}[0m", "denied"),
            ("\u{1b}]0;title\u{7}denied", "denied"),
            ("\u{1b}]8;;https://example.com\u{1b}\\here", "here"),
            ("100 %\rdenied\u{8}", "100 %denied"),
            ("a\tb\nc", "a\tb\nc"),
            ("größe: 5 µs, 日本", "größe: 5 µs, 日本"),
            // What is never finished hides no more than its own line.
            ("denied\u{1b}]0;\n  to do:   retry", "denied\n  to do:   retry"),
        ] {
            assert_eq!(plain(remote), shown, "{remote:?}");
        }
    }
}
