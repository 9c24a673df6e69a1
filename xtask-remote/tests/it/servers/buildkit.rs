//! A real buildkitd, known to a real buildx by a name. No Docker is needed.

#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use crate::support::{Run, is_root, skipped, tool, wait_until};

/// A running buildkitd.
pub struct Buildkit {
    /// Where it is asked.
    pub address: String,
    daemon: Child,
    _folder: TempDir,
}

impl Buildkit {
    /// Whether it can run here; where not, that is said once.
    pub fn can_run() -> bool {
        if !is_root() {
            skipped("only root can run buildkitd");
        }
        is_root() && tool("buildkitd").is_some()
    }

    /// One that has never built anything. `home` is where buildx keeps what it knows of builders.
    pub fn start(name: &str, buildx: &Path, home: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let address = format!("unix://{}", socket.display());
        let mut daemon = Command::new(tool("buildkitd").unwrap());
        daemon.args(["--addr", &address, "--root"]).arg(folder.path().join("root"));
        daemon.args(["--oci-worker=true", "--containerd-worker=false", "--oci-worker-snapshotter=native"]);
        let daemon = daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let server = Buildkit { address: address.clone(), daemon, _folder: folder };
        assert!(wait_until(Duration::from_secs(60), || socket.exists()), "buildkitd did not start");
        let mut create = Command::new(buildx);
        create.args(["create", "--name", name, "--driver", "remote", &address]).env("HOME", home);
        Run::of(create).ok();
        server
    }
}

impl Drop for Buildkit {
    fn drop(&mut self) {
        // It unmounts what it has mounted, which it could not where it is killed.
        let mut end = Command::new("kill");
        end.arg(self.daemon.id().to_string());
        end.status().ok();
        self.daemon.wait().ok();
    }
}
