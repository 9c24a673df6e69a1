//! The one door to child processes: argv only, never a shell string. `xshell::cmd!` reads like one, and makes argv when it is compiled.
//!
//! Short calls give their output; long ones are watched by people. Every call has a deadline: one that hangs (a remote that never answers
//! git) would hold the folder's lock, on which later runs wait. Standard input is always empty. A failed call says what was run, ready
//! to paste, and what it printed; variables are passed to the child and never shown.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use duct::Expression;

use crate::error::{Context, Error, Exit, Result};
use crate::sys::failpoints::announce;

/// How often a long call is asked whether it has ended.
const LOOK: Duration = Duration::from_millis(100);

/// Longer than any short call takes that still does something, such as a push over a slow line.
const SHORT_LIMIT: Duration = Duration::from_secs(5 * 60);

/// How a call that ran out of time ended.
const TOO_LONG: &str = "did not finish in time and was ended";

/// A call of another program, to be run by one of its methods.
#[derive(Clone, Debug)]
pub struct Call {
    program: OsString,
    arguments: Vec<OsString>,
    environment: Vec<(OsString, Option<OsString>)>,
    folder: Option<PathBuf>,
}

/// What a finished call left behind.
#[derive(Debug)]
pub struct Output {
    /// The exit code; nothing where a signal ended the process.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error, as text.
    pub stderr: String,
}

impl Call {
    /// A call of a program found on PATH, or at a path.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        Call { program: program.as_ref().to_owned(), arguments: Vec::new(), environment: Vec::new(), folder: None }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<A: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = A>) -> Self {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Sets a variable for the child.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.environment.push((name.into(), Some(value.as_ref().to_owned())));
        self
    }

    /// Sets variables for the child.
    #[must_use]
    pub fn envs<V: AsRef<OsStr>>(self, variables: impl IntoIterator<Item = (&'static str, V)>) -> Self {
        variables.into_iter().fold(self, |call, (name, value)| call.env(name, value))
    }

    /// Hides a variable of ours from the child.
    #[must_use]
    pub fn env_remove(mut self, name: &str) -> Self {
        self.environment.push((name.into(), None));
        self
    }

    /// Hides every variable of ours from the child but those of which this holds. What is set for it is set.
    #[must_use]
    pub fn env_retain(mut self, is_seen: impl Fn(&str) -> bool) -> Self {
        for (name, _) in std::env::vars_os() {
            let is_set = self.environment.iter().any(|(known, _)| *known == name);
            if !is_set && !is_seen(&name.to_string_lossy()) {
                self.environment.push((name, None));
            }
        }
        self
    }

    /// Runs the child in a folder.
    #[must_use]
    pub fn current_dir(mut self, folder: &Path) -> Self {
        self.folder = Some(folder.to_owned());
        self
    }

    /// Runs a short call and gives its standard output, trimmed.
    ///
    /// # Errors
    /// The program is not there, or it exits with a code other than 0.
    pub fn read(&self) -> Result<String> {
        self.begin()?.read()
    }

    /// Runs a short call to its end, whatever its exit code.
    ///
    /// # Errors
    /// The program cannot be started; it takes longer than five minutes (it is then ended).
    pub fn output(&self) -> Result<Output> {
        self.begin()?.answer()
    }

    /// Starts a short call, and goes on; several may run side by side.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn begin(&self) -> Result<Begun> {
        self.launch(|call| call.stdout_capture().stderr_capture()).map(Begun)
    }

    /// Runs a long call that people watch: everything it prints goes to our standard error.
    ///
    /// # Errors
    /// The program cannot be started, takes longer than `limit` (it is then ended), or exits with a code other than 0.
    pub fn watch(&self, limit: Duration) -> Result<()> {
        self.start()?.finish(limit)
    }

    /// As `watch`; `stop` may end it at any time.
    ///
    /// # Errors
    /// As `watch`; it was stopped.
    pub fn watch_unless(&self, limit: Duration, stop: &AtomicBool) -> Result<()> {
        self.start()?.end(limit, stop).map(drop)
    }

    /// Runs a long call that people watch, and gives its standard output; `stop` may end it at any time.
    ///
    /// # Errors
    /// As `watch`; it was stopped.
    pub fn watch_and_read(&self, limit: Duration, stop: &AtomicBool) -> Result<String> {
        let output = self.launch(Expression::stdout_capture)?.end(limit, stop)?;
        Ok(String::from_utf8_lossy(&output).into_owned())
    }

    /// Runs a long call, and hands on each line that it prints as it comes; `stop` may end it at any time.
    ///
    /// # Errors
    /// As `watch`; it was stopped.
    pub fn follow(&self, limit: Duration, stop: &AtomicBool, hear: &mut dyn FnMut(&str)) -> Result<()> {
        announce("run", self);
        let started = self.expression().stderr_to_stdout().reader();
        let handle = started.map_err(|error| self.not_started(&error))?;
        let silent = AtomicBool::new(false);
        let cut_short = std::thread::scope(|scope| {
            let watchdog = scope.spawn(|| {
                let deadline = Instant::now() + limit;
                while !silent.load(Ordering::SeqCst) {
                    if let Some(why) = cut_short(deadline, stop) {
                        handle.kill().ok();
                        return Some(why);
                    }
                    std::thread::sleep(LOOK);
                }
                None
            });
            for line in BufReader::new(&handle).split(b'\n').map_while(std::result::Result::ok) {
                hear(String::from_utf8_lossy(&line).trim_end());
            }
            silent.store(true, Ordering::SeqCst);
            watchdog.join().ok().flatten()
        });
        if let Some(why) = cut_short {
            return Err(self.failed(why, ""));
        }
        let output = handle.try_wait().context(Exit::Failure, || format!("cannot wait for `{self}`"))?;
        match output.and_then(|output| output.status.code()) {
            Some(0) => Ok(()),
            code => Err(self.failed(&Self::ending(code), "")),
        }
    }

    /// Runs a long call in silence; what it said is shown where it fails.
    ///
    /// # Errors
    /// As `watch`.
    pub fn run_silently(&self, limit: Duration) -> Result<()> {
        self.start_silently()?.finish(limit)
    }

    /// Starts such a call, and goes on.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start_silently(&self) -> Result<Running> {
        self.launch(|call| call.stdout_null().stderr_capture())
    }

    /// Starts a long call, and goes on.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn start(&self) -> Result<Running> {
        self.launch(Expression::stdout_to_stderr)
    }

    /// Starts the call with its output going where `streams` leads it.
    fn launch(&self, streams: impl FnOnce(&Expression) -> Expression) -> Result<Running> {
        announce("run", self);
        let handle = streams(&self.expression()).start().map_err(|error| self.not_started(&error))?;
        Ok(Running { handle, call: self.clone() })
    }

    /// Replaces this process by the call: terminal, signals and exit code are the child's. Returns only on failure.
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn exec(&self) -> Error {
        use std::os::unix::process::CommandExt;
        announce("become", self);
        let mut command = std::process::Command::new(&self.program);
        command.args(&self.arguments);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        self.not_started(&command.exec())
    }

    fn expression(&self) -> Expression {
        let mut expression = duct::cmd(&self.program, &self.arguments).stdin_null().unchecked();
        if let Some(folder) = &self.folder {
            expression = expression.dir(folder);
        }
        for (name, value) in &self.environment {
            expression = match value {
                Some(value) => expression.env(name, value),
                None => expression.env_remove(name),
            };
        }
        expression
    }

    fn not_started(&self, error: &dyn fmt::Display) -> Error {
        let program = self.program.to_string_lossy();
        Error::new(Exit::Environment, format!("cannot start `{program}`"))
            .because(error)
            .remedy(format!("install `{program}` and put it on PATH; `cargo xtask doctor` lists all that is needed"))
    }

    fn failed(&self, how: &str, stderr: &str) -> Error {
        let mut error = Error::new(Exit::Failure, format!("`{self}` {how}"));
        let said = stderr.trim();
        if !said.is_empty() {
            error = error.because(last_lines(said, 20));
        }
        if let Some(folder) = &self.folder {
            error = error.remedy(format!("to see it again: cd {} && {self}", quoted(folder.as_os_str())));
        }
        error
    }

    fn ending(code: Option<i32>) -> String {
        code.map_or_else(|| "was ended by a signal".into(), |code| format!("exited with code {code}"))
    }
}

/// What `cmd!` says: the program, its arguments and variables, and the shell's folder.
impl From<xshell::Cmd<'_>> for Call {
    fn from(cmd: xshell::Cmd<'_>) -> Self {
        let command = std::process::Command::from(cmd);
        let variable = |(name, value): (&OsStr, Option<&OsStr>)| (name.to_owned(), value.map(OsStr::to_owned));
        Call {
            program: command.get_program().to_owned(),
            arguments: command.get_args().map(OsStr::to_owned).collect(),
            environment: command.get_envs().map(variable).collect(),
            folder: command.get_current_dir().map(Path::to_owned),
        }
    }
}

/// A short call that was started.
pub struct Begun(Running);

impl Begun {
    /// Waits for its end, and gives its standard output, trimmed.
    ///
    /// # Errors
    /// As `answer`; it exits with a code other than 0.
    pub fn read(self) -> Result<String> {
        let call = self.0.call.clone();
        let output = self.answer()?;
        if output.code != Some(0) {
            return Err(call.failed(&Call::ending(output.code), &output.stderr));
        }
        let text = String::from_utf8(output.stdout);
        let text = text.context(Exit::Failure, || format!("`{call}` printed something that is not UTF-8"))?;
        Ok(text.trim_end().to_owned())
    }

    /// Waits for its end, whatever its exit code.
    ///
    /// # Errors
    /// It cannot be waited for; it takes longer than five minutes (it is then ended).
    pub fn answer(self) -> Result<Output> {
        self.answer_within(SHORT_LIMIT)
    }

    fn answer_within(self, limit: Duration) -> Result<Output> {
        let Running { handle, call } = &self.0;
        let finished = handle.wait_timeout(limit).context(Exit::Failure, || format!("cannot wait for `{call}`"))?;
        let Some(output) = finished else { return Err(call.failed(TOO_LONG, "")) };
        Ok(Output {
            code: output.status.code(),
            stdout: output.stdout.clone(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// A call that was started. It is ended where nobody waits for its end any more.
pub struct Running {
    handle: duct::Handle,
    call: Call,
}

impl Running {
    /// Waits for the end.
    ///
    /// # Errors
    /// The call takes longer than `limit` (it is then ended), or exits with a code other than 0.
    pub fn finish(self, limit: Duration) -> Result<()> {
        announce("wait", &self.call);
        self.end(limit, &AtomicBool::new(false)).map(drop)
    }

    /// Waits for the end, and gives what was captured of standard output.
    fn end(self, limit: Duration, stop: &AtomicBool) -> Result<Vec<u8>> {
        let call = &self.call;
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let finished = self.handle.wait_timeout(left.min(LOOK));
            match finished.context(Exit::Failure, || format!("cannot wait for `{call}`"))? {
                Some(output) if output.status.code() == Some(0) => return Ok(output.stdout.clone()),
                Some(output) => {
                    let said = String::from_utf8_lossy(&output.stderr);
                    return Err(call.failed(&Call::ending(output.status.code()), &said));
                }
                None => {
                    if let Some(why) = cut_short(deadline, stop) {
                        return Err(call.failed(why, ""));
                    }
                }
            }
        }
    }
}

/// Why a call has to end now, where it has.
fn cut_short(deadline: Instant, stop: &AtomicBool) -> Option<&'static str> {
    if stop.load(Ordering::SeqCst) {
        Some("was stopped, since something else failed")
    } else {
        (Instant::now() >= deadline).then_some(TOO_LONG)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // One that has ended is not there to be ended.
        self.handle.kill().ok();
    }
}

/// The command as a shell would take it. Variables are left out: they may hold secrets.
impl fmt::Display for Call {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&quoted(&self.program))?;
        self.arguments.iter().try_for_each(|argument| write!(out, " {}", quoted(argument)))
    }
}

/// Whether a variable says of the machine what every program may want to know, and nothing that others must not.
pub fn is_harmless(variable: &str) -> bool {
    const NAMES: [&str; 14] = [
        "COLORTERM",
        "HOME",
        "LANG",
        "LANGUAGE",
        "LOGNAME",
        "NO_COLOR",
        "PATH",
        "SHELL",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
        "TERM",
        "TMPDIR",
        "TZ",
        "USER",
    ];
    const PROXIES: [&str; 4] = ["ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];
    let is_proxy = PROXIES.contains(&variable.to_uppercase().as_str());
    NAMES.contains(&variable) || variable.starts_with("LC_") || is_proxy
}

/// Whether a variable holds, by its name, what proves to others who somebody is.
pub fn is_secret(variable: &str) -> bool {
    const WORDS: [&str; 6] = ["AUTH", "CREDENTIAL", "PASSWORD", "PRIVATE", "SECRET", "TOKEN"];
    let name = variable.to_uppercase();
    name.ends_with("_KEY") || WORDS.iter().any(|word| name.contains(word))
}

fn quoted(argument: &OsStr) -> String {
    let text = argument.to_string_lossy();
    let plain = |character: char| character.is_ascii_alphanumeric() || "-_=/.,:@+%^".contains(character);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_shown_ready_to_paste() {
        let call = Call::new("git").args(["log", "-1", "it's here", ""]).env("TOKEN", "canary");
        assert_eq!(call.to_string(), r"git log -1 'it'\''s here' ''");
    }

    #[test]
    fn a_command_of_a_shell_is_run_by_this_door_with_all_that_was_said() {
        let shell = xshell::Shell::new().unwrap();
        shell.change_dir("/");
        shell.set_var("FROM_SHELL", "one");
        let (script, words) = ("echo $PWD $FROM_SHELL $FROM_CMD ${HOME-none} $0 $1", ["it's here"]);
        let cmd = xshell::cmd!(shell, "sh -c {script} zero {words...}").env("FROM_CMD", "two").env_remove("HOME");
        let call = Call::from(cmd);
        assert_eq!(call.read().unwrap(), "/ one two none zero it's here");
        assert_eq!(call.to_string(), format!(r"sh -c '{script}' zero 'it'\''s here'"));
    }

    #[test]
    fn a_failed_call_says_what_was_run_and_what_it_printed() {
        let error = Call::new("git").args(["rev-parse", "--verify", "no-such-thing"]).read().unwrap_err();
        assert!(error.what.contains("git rev-parse --verify no-such-thing"), "{error}");
        assert!(error.why.unwrap().contains("fatal"));
    }

    #[test]
    fn a_silent_call_that_fails_says_what_it_printed() {
        let limit = Duration::from_secs(10);
        let error = Call::new("git").args(["rev-parse", "--verify", "no-such-thing"]).run_silently(limit).unwrap_err();
        assert!(error.why.unwrap().contains("fatal"));
        assert!(Call::new("git").args(["--version"]).run_silently(limit).is_ok());
    }

    #[test]
    fn a_missing_program_is_an_environment_error_with_a_remedy() {
        let error = Call::new("no-such-program-here").read().unwrap_err();
        assert_eq!((error.exit, error.remedies.len()), (Exit::Environment, 1));
    }

    #[test]
    fn a_short_call_that_hangs_is_ended() {
        let started = Instant::now();
        let begun = Call::new("sleep").args(["30"]).begin().unwrap();
        let error = begun.answer_within(Duration::from_millis(50)).unwrap_err();
        assert!(error.what.contains("`sleep 30` did not finish in time"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }

    #[test]
    fn a_call_that_takes_too_long_is_ended() {
        let started = Instant::now();
        let error = Call::new("sleep").args(["30"]).watch(Duration::from_millis(50)).unwrap_err();
        assert!(error.what.contains("did not finish"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}
