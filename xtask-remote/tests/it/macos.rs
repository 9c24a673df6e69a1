//! What is known here of macOS: that everything but C compiles for it.
//!
//! No Linux machine has Apple's linker, and few have the standard library for it. So that library is compiled from its sources, too, and
//! nothing is linked. In place of a C compiler stands a program that does nothing: what is written in C (ring, SQLite) is proven on
//! GitHub's own macOS machines alone.

#![expect(clippy::disallowed_methods, reason = "tests start processes of their own")]

mod nightly {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use crate::support::{Run, compilers, root, scrubbed, skipped};

    #[test]
    fn everything_but_c_compiles_for_macos() {
        let Some(rustc) = compilers().into_iter().find(has_sources) else {
            return skipped("no compiler here has the sources of its standard library (rustup component add rust-src)");
        };
        let mut check = scrubbed(env!("CARGO"));
        check.current_dir(root()).args(["check", "--locked", "--all-targets"]);
        check.args(["--package", "xtask", "--package", "xtask-remote", "--package", "chart-text", "--package", "ci"]);
        check.args(["-Zbuild-std=std,panic_unwind,proc_macro,test", "--target", "aarch64-apple-darwin"]);
        check.env("CARGO_TARGET_DIR", root().join("target/macos")).env("RUSTC", rustc);
        // Both are needed for the standard library's sources, which use what is not stable.
        check.env("RUSTC_BOOTSTRAP", "1").env("CARGO_TERM_PROGRESS_WHEN", "never");
        check.env("CC", "true").env("AR", "true");
        Run::of(check).ok();
    }

    fn has_sources(rustc: &PathBuf) -> bool {
        let mut ask = Command::new(rustc);
        ask.args(["--print", "sysroot"]);
        Path::new(Run::of(ask).stdout.trim()).join("lib/rustlib/src/rust/library").is_dir()
    }
}
