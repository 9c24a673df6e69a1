//! External programs: where they are.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::error::{Error, Exit, Result};
use crate::sys::children::Call;

/// The cargo that runs us, or the one on PATH. It is not told whose package this program is.
pub fn cargo() -> Call {
    Call::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).env_retain(|name| !tells_the_package(name))
}

/// Whether a variable is one by which cargo tells a program that it runs of whose package that is (the cargo book, "Environment
/// variables"). Another cargo must not see them: a build script that looks at them, as ring's does, would run again whenever cargo is
/// called from here and then from a shell, and all that stands above its crate would be compiled again.
pub fn tells_the_package(variable: &str) -> bool {
    ["CARGO_MANIFEST_", "CARGO_PKG_"].iter().any(|start| variable.starts_with(start))
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
