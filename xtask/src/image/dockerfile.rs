//! `Dockerfile`, as far as an image that only copies a static binary needs it.
//!
//! The file is the one description of the image: buildx reads it, and so does the embedded builder, which understands exactly the
//! instructions below and refuses the rest. There is no `RUN`: nothing is ever executed for a foreign platform.

use crate::error::{Error, Exit, Result};
use crate::oci::{Empty, Execution, Platform};

/// What a Dockerfile says, before it is known for which platform.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dockerfile {
    /// Files that are copied, each into a layer of its own, as BuildKit does it.
    pub copies: Vec<Copy>,
    /// How a container runs.
    pub execution: Execution,
}

/// One `COPY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// The path in the build context; may hold `${TARGETPLATFORM}`.
    pub from: String,
    /// The absolute path in the image.
    pub to: String,
    /// The permission bits.
    pub mode: u32,
}

impl Copy {
    /// The path in the build context for a platform.
    pub fn source(&self, platform: &Platform) -> String {
        let platform = platform.to_string();
        self.from.replace("${TARGETPLATFORM}", &platform).replace("$TARGETPLATFORM", &platform)
    }
}

impl Dockerfile {
    /// Reads a Dockerfile.
    ///
    /// # Errors
    /// A line is not one of the instructions that this builder knows; the line is named.
    pub fn parse(text: &str) -> Result<Self> {
        // What BuildKit starts a `FROM scratch` image with.
        let execution = Execution { env: vec![DEFAULT_PATH.into()], working_dir: "/".into(), ..Execution::default() };
        let mut dockerfile = Dockerfile { copies: Vec::new(), execution };
        let mut from_scratch = false;
        let mut platform_known = false;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (instruction, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
            let understood = match instruction.to_ascii_uppercase().as_str() {
                "FROM" if rest.trim() == "scratch" && !from_scratch => {
                    from_scratch = true;
                    Some(())
                }
                "ARG" if rest.trim() == "TARGETPLATFORM" => {
                    platform_known |= from_scratch;
                    Some(())
                }
                _ if !from_scratch => None,
                "COPY" if rest.contains("TARGETPLATFORM") && !platform_known => None,
                other => dockerfile.apply(other, rest.trim()),
            };
            if understood.is_none() {
                return Err(Error::new(Exit::Workspace, format!("Dockerfile, line {}: `{line}`", number + 1))
                    .because("the embedded builder knows FROM scratch, then ARG TARGETPLATFORM, COPY of one file, ENV NAME=VALUE, USER, WORKDIR /, EXPOSE, and ENTRYPOINT and CMD as JSON arrays; no variable but TARGETPLATFORM")
                    .remedy("build binaries before the image, and only copy them in it"));
            }
        }
        if dockerfile.copies.is_empty() {
            return Err(Error::new(Exit::Workspace, "the Dockerfile copies nothing into the image"));
        }
        Ok(dockerfile)
    }

    fn apply(&mut self, instruction: &str, rest: &str) -> Option<()> {
        let execution = &mut self.execution;
        match instruction {
            "COPY" => self.copies.push(copy(rest)?),
            "ENV" => {
                let (name, value) = variable(rest)?;
                let assignment = format!("{name}={value}");
                let known = execution.env.iter_mut().find(|known| known.split('=').next() == Some(name));
                match known {
                    Some(known) => *known = assignment,
                    None => execution.env.push(assignment),
                }
            }
            "USER" => execution.user = word(rest)?,
            // BuildKit makes any other folder, in a layer of its own.
            "WORKDIR" if rest == "/" => {}
            "EXPOSE" => {
                let port = if rest.contains('/') { rest.to_owned() } else { format!("{rest}/tcp") };
                let (number, protocol) = port.split_once('/')?;
                number.parse::<u16>().ok().filter(|_| ["sctp", "tcp", "udp"].contains(&protocol))?;
                execution.exposed_ports.insert(port, Empty {});
            }
            "ENTRYPOINT" => execution.entrypoint = serde_json::from_str(rest).ok()?,
            "CMD" => {
                execution.cmd = serde_json::from_str(rest).ok()?;
                execution.args_escaped = true;
            }
            _ => return None,
        }
        Some(())
    }
}

/// The programs' path, until `ENV` says another one.
const DEFAULT_PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn copy(rest: &str) -> Option<Copy> {
    let mut mode = 0o755;
    let mut paths = Vec::new();
    for word in rest.split_whitespace() {
        match word.strip_prefix("--chmod=") {
            Some(octal) => mode = u32::from_str_radix(octal, 8).ok()?,
            None if word.starts_with("--") => return None,
            None => paths.push(word),
        }
    }
    let [from, to] = paths.as_slice() else { return None };
    let source = from.replace("${TARGETPLATFORM}", "").replace("$TARGETPLATFORM", "");
    let plain = literal(&source) && literal(to) && !source.contains(['*', '?', '[', '<']);
    let absolute = to.starts_with('/') && !to.ends_with('/') && !to.split('/').any(|part| part == "..");
    (plain && absolute).then(|| Copy { from: (*from).into(), to: (*to).into(), mode })
}

fn variable(rest: &str) -> Option<(&str, &str)> {
    let (name, value) = rest.split_once('=')?;
    let quoted = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
    // Without quotes, a space begins the next variable.
    let whole = quoted.is_some() || !value.contains(char::is_whitespace);
    let value = quoted.unwrap_or(value);
    (whole && literal(value) && word(name).is_some()).then_some((name, value))
}

fn word(rest: &str) -> Option<String> {
    (!rest.is_empty() && literal(rest) && !rest.contains(char::is_whitespace)).then(|| rest.to_owned())
}

/// Whether BuildKit takes a text as it stands: no variable, no quote, no escape.
fn literal(text: &str) -> bool {
    !text.contains(['$', '\\', '"', '\''])
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCKERFILE: &str = "# a comment\nFROM scratch\nARG TARGETPLATFORM\n\
        COPY --chmod=0755 ${TARGETPLATFORM}/demo /usr/local/bin/demo\nENV PATH=/usr/local/bin\nUSER 1000:1000\n\
        EXPOSE 8080\nENTRYPOINT [\"/usr/local/bin/demo\"]\nCMD [\"serve\"]\n";

    #[test]
    fn a_dockerfile_that_copies_a_binary_is_understood() {
        let dockerfile = Dockerfile::parse(DOCKERFILE).unwrap();
        let arm = Platform::try_from("linux/arm64".to_owned()).unwrap();
        assert_eq!(dockerfile.copies[0].source(&arm), "linux/arm64/demo");
        assert_eq!((dockerfile.copies[0].to.as_str(), dockerfile.copies[0].mode), ("/usr/local/bin/demo", 0o755));
        assert_eq!(dockerfile.execution.user, "1000:1000");
        assert_eq!(dockerfile.execution.exposed_ports.keys().collect::<Vec<_>>(), ["8080/tcp"]);
        assert_eq!(dockerfile.execution.entrypoint, ["/usr/local/bin/demo"]);
        assert_eq!(dockerfile.execution.cmd, ["serve"]);
    }

    #[test]
    fn an_instruction_that_would_not_be_obeyed_is_refused_with_its_line() {
        let lines = [
            "RUN true",
            "COPY a b",
            "COPY --from=x a /b",
            "COPY a /../b",
            "COPY a* /a",
            "COPY $HOME/a /a",
            "COPY \"a\" /a",
            "CMD serve",
            "EXPOSE http",
            "EXPOSE 80/ip",
            "ENV A=$PATH",
            "ENV A=1 B=2",
            "ENV A=\\",
            "WORKDIR /work",
            "FROM debian",
        ];
        for line in lines {
            let error = Dockerfile::parse(&format!("{DOCKERFILE}{line}\n")).unwrap_err();
            assert!(error.what.contains("line 10") && error.what.contains(line), "{error}");
        }
        assert!(Dockerfile::parse("COPY a /b\n").is_err(), "FROM comes first");
        assert!(Dockerfile::parse("FROM scratch\n").is_err(), "an empty image");
        let without = DOCKERFILE.replace("ARG TARGETPLATFORM\n", "");
        assert!(Dockerfile::parse(&without).is_err(), "BuildKit takes a variable that was not asked for as empty");
    }

    #[test]
    fn variables_are_set_beside_the_default_path_or_in_its_place() {
        let env = |lines: &str| Dockerfile::parse(&format!("FROM scratch\nCOPY a /a\n{lines}")).unwrap().execution.env;
        assert_eq!(env(""), [DEFAULT_PATH]);
        assert_eq!(env("ENV A=\"b c\"\n"), [DEFAULT_PATH, "A=b c"]);
        assert_eq!(env("ENV A=1\nENV PATH=/bin\nENV A=2\n"), ["PATH=/bin", "A=2"]);
    }
}
