//! The operator's process, and everything that can be seen of it from outside.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::port::Port;
use crate::vitals::Vitals;
use crate::wait::{seconds, until, until_true};

/// An operator that has not been started: its environment, which is otherwise empty.
///
/// `OPERATOR_BINARY` names another build to look at, such as one that is to be shipped.
pub(crate) struct Operator {
    command: Command,
    port: Port,
}

impl Operator {
    pub(crate) fn new() -> Self {
        let ours = OsString::from(env!("CARGO_BIN_EXE_kube9-operator"));
        let mut command = Command::new(std::env::var_os("OPERATOR_BINARY").unwrap_or(ours));
        command.env_clear().stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let port = Port::reserve();
        let number = port.number().to_string();
        Self { command, port }.with("HEALTH_PORT", &number)
    }

    pub(crate) fn with(mut self, variable: &str, value: &str) -> Self {
        self.command.env(variable, value);
        self
    }

    /// With a signal that does it no harm.
    pub(crate) fn ignoring(self, signal: &str) -> Self {
        let mut command = Command::new("/usr/bin/env");
        command.arg(format!("--ignore-signal={signal}")).arg(self.command.get_program()).env_clear();
        command.envs(self.command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self { command, ..self }
    }

    /// For one that may say more than a pipe has room for, at which it would stop.
    pub(crate) fn logging_to(mut self, file: &Path) -> Self {
        self.command.stderr(File::create(file).unwrap());
        self
    }

    /// The shortest interval there is, for tests that wait for the next write.
    pub(crate) fn often(self) -> Self {
        self.with("STATUS_UPDATE_INTERVAL_SECONDS", "10")
    }

    pub(crate) fn start(mut self) -> Running {
        Running { process: self.command.spawn().unwrap(), port: self.port }
    }

    /// The same with arguments.
    pub(crate) fn start_with(mut self, arguments: &[&str]) -> Running {
        self.command.args(arguments);
        self.start()
    }

    /// Runs it with arguments, to its own end.
    pub(crate) fn run(mut self, arguments: &[&str]) -> Output {
        self.command.args(arguments).output().unwrap()
    }
}

/// Standard output as the extension takes it: nothing but JSON.
#[track_caller]
pub(crate) fn answer(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a query that fails says instead: one JSON object on standard error.
#[track_caller]
pub(crate) fn complaint(output: &Output) -> Value {
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "");
    let complaint: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert!(complaint["error"].is_string() && complaint["details"].is_string(), "{complaint}");
    complaint
}

/// One that runs, and is killed when the test is over.
pub(crate) struct Running {
    process: Child,
    port: Port,
}

impl Running {
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    #[track_caller]
    pub(crate) fn vitals(&self) -> Vitals {
        Vitals::of(self.id()).expect("the operator runs")
    }

    pub(crate) fn terminate(&self) {
        self.signal("TERM");
    }

    pub(crate) fn signal(&self, name: &str) {
        let kill = Command::new("sh").args(["-c", "kill -s \"$0\" \"$1\"", name, &self.id().to_string()]).status();
        assert!(kill.unwrap().success(), "the operator is there to get a signal");
    }

    /// Waits for the end, and tells how it ended and what it printed to standard output and standard error.
    pub(crate) fn end(&mut self, limit: Duration) -> (ExitStatus, String, String) {
        let status = until("the operator ends", limit, || self.process.try_wait().unwrap());
        let (mut output, mut log) = (String::new(), String::new());
        self.process.stdout.take().unwrap().read_to_string(&mut output).unwrap();
        self.process.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status, output, log)
    }

    /// Waits for an end without a failure, and tells the most memory that it had, in megabytes.
    #[track_caller]
    pub(crate) fn most_memory(mut self) -> f64 {
        let mut most: f64 = 0.0;
        while let Some(vitals) = Vitals::of(self.id()) {
            most = most.max(vitals.peak_mb);
            thread::sleep(Duration::from_millis(1));
        }
        let (status, _, log) = self.end(seconds(5));
        assert!(status.success(), "{log}");
        most
    }

    /// The code and the text of a page, once the operator listens.
    pub(crate) fn page(&self, path: &str) -> (u16, String) {
        let (head, body) = self.answer("GET", path);
        let code = head.split(' ').nth(1).unwrap();
        (code.parse().unwrap(), body)
    }

    /// The head and the body of any answer.
    pub(crate) fn answer(&self, method: &str, path: &str) -> (String, String) {
        until("the operator listens", seconds(5), || self.request(method, path))
    }

    pub(crate) fn connect(&self) -> io::Result<TcpStream> {
        TcpStream::connect(("127.0.0.1", self.port.number()))
    }

    fn request(&self, method: &str, path: &str) -> Option<(String, String)> {
        let mut stream = self.connect().ok()?;
        stream.set_read_timeout(Some(seconds(5))).ok()?;
        stream.write_all(format!("{method} {path} HTTP/1.0\r\n\r\n").as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let (head, body) = answer.split_once("\r\n\r\n")?;
        Some((head.to_owned(), body.to_owned()))
    }

    #[track_caller]
    pub(crate) fn wait_until_ready(&self, limit: Duration) {
        until_true("/readyz says 200", limit, || self.page("/readyz").0 == 200);
    }

    #[track_caller]
    pub(crate) fn wait_until_not_ready(&self, limit: Duration) -> String {
        until("/readyz says 503", limit, || match self.page("/readyz") {
            (503, complaint) => Some(complaint),
            _ => None,
        })
    }

    /// How many writes have had this result.
    pub(crate) fn writes(&self, result: &str) -> u64 {
        self.metric(&format!("kube9_operator_status_writes_total{{result=\"{result}\"}}")) as u64
    }

    /// The value of a metric, given with its labels.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let (_, page) = self.page("/metrics");
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name} is missing from {page}")).parse().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
