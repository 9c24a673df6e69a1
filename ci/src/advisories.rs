//! What is said where RustSec's list of known vulnerabilities cannot be had: it is on GitHub and nowhere else.

use xtask::error::Error;

/// What was not proven, and what stopped it: git's own last word.
pub(crate) fn not_looked(error: &Error) -> String {
    let why = error.why.as_deref().unwrap_or(&error.what);
    let said = why.lines().rev().find(|line| line.starts_with("fatal: ")).or(why.lines().last()).unwrap_or_default();
    format!("that no crate has a known vulnerability: RustSec's list of them cannot be had: {said}")
}

#[cfg(test)]
mod tests {
    use xtask::error::Exit;

    use super::*;

    #[test]
    fn what_kept_us_from_looking_is_told_in_gits_own_words() {
        let said = "2026 [ERROR] failed to fetch database: failed to clone: [..]\nCloning into 'x'...\nfatal: unable to access 'https://github.com/RustSec/advisory-db/': Could not resolve host: github.com\n\n";
        let told = not_looked(&Error::new(Exit::Failure, "cargo-deny failed").because(said));
        assert!(told.starts_with("that no crate has a known vulnerability"), "{told}");
        assert!(told.ends_with("Could not resolve host: github.com"), "{told}");
        assert!(not_looked(&Error::new(Exit::Failure, "it took more than 120 s")).ends_with("it took more than 120 s"));
    }
}
