//! A server process that cannot outlive the tests.
//!
//! A shell holds it, and reads from a pipe whose other end is ours. However we end, the pipe closes, and the shell
//! cleans up. A destructor alone would not do: values shared by all tests are never dropped, and nothing is when a
//! test run is killed.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

pub(crate) struct Supervised {
    shell: Child,
}

impl Supervised {
    /// Starts a command line whose output goes to `log`. When it is over, `litter` is removed.
    pub(crate) fn start(command: &Command, log: &Path, litter: Option<&Path>) -> Self {
        let shell = Command::new("sh")
            .args(["-c", SCRIPT, "supervise"])
            .args([log.as_os_str(), litter.map_or(OsStr::new(""), Path::as_os_str)])
            .arg(command.get_program())
            .args(command.get_args())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        Self { shell }
    }
}

const SCRIPT: &str = r#"
log=$1 litter=$2
shift 2
"$@" > "$log" 2>&1 < /dev/null &
server=$!
read -r _
kill -KILL "$server"
wait "$server"
if [ -n "$litter" ]; then rm -rf -- "$litter"; fi
"#;

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _ = self.shell.wait();
    }
}
