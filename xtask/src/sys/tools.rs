//! External programs: where they are.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Exit, Result};
use crate::sys::children::Call;

/// The cargo that runs us, or the one on PATH.
pub fn cargo() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// The first program of that name on PATH.
pub fn on_path(name: &str) -> Option<PathBuf> {
    all_on_path(name).into_iter().next()
}

/// The words that call buildx: docker with its plugin, or else buildx on its own, which needs no docker.
///
/// # Errors
/// There is neither.
pub fn buildx() -> Result<Vec<OsString>> {
    let plugin = [OsString::from("docker"), "buildx".into()];
    if let Some(docker) = on_path("docker")
        && Call::new(docker).args(["buildx", "version"]).output()?.code == Some(0)
    {
        return Ok(plugin.into());
    }
    let alone = ["buildx", "docker-buildx"].into_iter().find_map(on_path);
    alone.map(|program| vec![program.into_os_string()]).ok_or_else(|| {
        Error::new(Exit::Environment, "buildx is not installed")
            .because("there is no docker client with the plugin, and no `buildx` on PATH")
            .remedy("install Docker, or the buildx release binary as `buildx` on PATH, and create a builder with it")
            .remedy("or set `builder = \"embedded\"` for the target in Cargo.toml: it needs nothing")
    })
}

/// Every program of that name on PATH, the one that would be run first.
pub fn all_on_path(name: &str) -> Vec<PathBuf> {
    use std::os::unix::fs::PermissionsExt;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let candidates = std::env::split_paths(&path).map(|folder| folder.join(name));
    let executable = |path: &PathBuf| {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
    };
    candidates.filter(executable).collect()
}
