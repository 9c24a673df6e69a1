//! What an action leaves behind for the steps after it, and what it refuses: both from its own sources, at the version that is pinned.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::BTreeMap;

use super::programs::go;
use super::runner::{After, Machine};
use crate::support::{script, tool};

type Inputs = BTreeMap<String, String>;
/// Outputs by their names, or why the step failed.
type Done = Result<Vec<(String, String)>, String>;

impl Machine<'_> {
    /// What a step with an action does.
    pub fn action(&mut self, action: &str, with: &Inputs) -> Done {
        let given = |name: &str| with.get(name).map(String::as_str).unwrap_or_default();
        let nothing = Ok(Vec::new());
        match action {
            "actions/checkout" => {
                // A public repository is there for everybody: no right is needed for it, and the token is not sent without one.
                self.has_right("contents", "read");
                self.check_out(given("fetch-depth") == "0");
                nothing
            }
            "actions/upload-artifact" => self.artifacts.upload(&self.work(), with),
            "actions/download-artifact" => self.artifacts.download(&self.work(), with).map(|()| Vec::new()),
            "actions/cache" => self.cache(with, true),
            "actions/cache/restore" => self.cache(with, false),
            "actions/cache/save" => {
                self.save(given("key"), &lines(given("path")));
                nothing
            }
            "Swatinem/rust-cache" => self.rust_cache(with),
            "aws-actions/configure-aws-credentials" => self.configure_aws(with),
            "actions/attest" => self.attest(with),
            "github/codeql-action/upload-sarif" => self.upload_sarif(with),
            // A builder that is used by whoever names none.
            "docker/setup-buildx-action" => {
                let programs = self.whole().programs.path();
                self.path.insert(0, programs.into());
                let config = programs.join(".docker/buildx").display().to_string();
                self.environment.insert("BUILDX_CONFIG".into(), config);
                self.environment.insert("BUILDX_BUILDER".into(), "kit".into());
                nothing
            }
            "actions/setup-node" => {
                assert_eq!(given("package-manager-cache"), "false", "the tests do not know npm's cache");
                let node = std::fs::read_link(tool("node").unwrap()).unwrap();
                self.path.insert(0, node.parent().unwrap().into());
                nothing
            }
            "actions/setup-go" => {
                assert_eq!(given("cache"), "false", "the tests do not know Go's cache");
                let version = self.version_of_go(with);
                self.set_up("go", &version, &go(self.home(), &version))
            }
            "actions/setup-python" => {
                assert_eq!(given("cache"), "", "the tests do not know pip's cache");
                let version = given("python-version");
                self.set_up("python3", version, &format!("echo python3 {version}\n"))
            }
            other => panic!("the tests do not know what {other} leaves behind"),
        }
    }

    fn cache(&mut self, with: &Inputs, keeps: bool) -> Done {
        const KNOWN: [&str; 4] = ["fail-on-cache-miss", "key", "path", "restore-keys"];
        assert!(with.keys().all(|name| KNOWN.contains(&name.as_str())), "the tests do not know all of {with:?}");
        let given = |name: &str| with.get(name).map(String::as_str).unwrap_or_default();
        let (key, paths) = (given("key"), lines(given("path")));
        if key.is_empty() || paths.is_empty() {
            return Err("Input required and not supplied".into());
        }
        let found = self.restore(key, &lines(given("restore-keys")), &paths)?;
        if keeps && found.as_deref() != Some(key) {
            self.afterwards(After::Save { key: key.into(), paths });
        }
        let primary = (!keeps).then(|| ("cache-primary-key".to_owned(), key.to_owned()));
        match found {
            None if given("fail-on-cache-miss") == "true" => {
                Err(format!("Failed to restore cache entry. Exiting as fail-on-cache-miss is set. Input key: {key}"))
            }
            // Where nothing is found, `cache-hit` is not set at all.
            None => Ok(primary.into_iter().collect()),
            Some(found) => {
                let matched = (!keeps).then(|| ("cache-matched-key".to_owned(), found.clone()));
                let hit = ("cache-hit".to_owned(), (found == key).to_string());
                Ok(primary.into_iter().chain(matched).chain([hit]).collect())
            }
        }
    }

    /// It keeps what cargo downloaded, and of `target` what is not the workspace's own: of that there is nothing in these workspaces. Its
    /// key also has the compiler and variables for it, which are the same for every run here.
    fn rust_cache(&mut self, with: &Inputs) -> Done {
        const KNOWN: [&str; 3] = ["key", "save-if", "shared-key"];
        assert!(with.keys().all(|name| KNOWN.contains(&name.as_str())), "the tests do not know all of {with:?}");
        let named = match (with.get("shared-key"), with.get("key")) {
            (Some(shared), _) => shared.clone(),
            (None, Some(key)) => format!("{key}-{}", self.id),
            (None, None) => self.id.to_owned(),
        };
        let start = format!("v0-rust-{named}-{}-x64-environment", self.os());
        let lock = std::fs::read(self.work().join("Cargo.lock")).unwrap_or_default();
        let key = format!("{start}-{}", &xtask::oci::sha256_hex(&lock)[..8]);
        let paths = vec!["~/.cargo/registry".to_owned(), "~/.cargo/git".to_owned()];
        let found = self.restore(&key, &[start], &paths)?;
        self.environment.insert("CARGO_INCREMENTAL".into(), "0".into());
        let hit = found.as_deref() == Some(&key);
        if !hit && with.get("save-if").is_none_or(|wish| wish == "true") {
            self.afterwards(After::Save { key, paths });
        }
        Ok(vec![("cache-hit".into(), hit.to_string())])
    }

    /// The later steps of the job have the credentials of the role.
    fn configure_aws(&mut self, with: &Inputs) -> Done {
        let given = |name: &str| with.get(name).map(String::as_str).unwrap_or_default();
        if given("aws-region").is_empty() {
            return Err("Input required and not supplied: aws-region".into());
        }
        if !self.has_right("id-token", "write") {
            return Err("Credentials could not be loaded, please check your action inputs: Could not load credentials from any \
                        providers"
                .into());
        }
        self.take_role(given("role-to-assume"))?;
        for name in ["AWS_DEFAULT_REGION", "AWS_REGION"] {
            self.environment.insert(name.into(), given("aws-region").into());
        }
        Ok(Vec::new())
    }

    /// The digest is signed: it must be there.
    fn attest(&mut self, with: &Inputs) -> Done {
        const KNOWN: [&str; 2] = ["subject-digest", "subject-name"];
        assert!(with.keys().all(|name| KNOWN.contains(&name.as_str())), "the tests do not know all of {with:?}");
        let given = |name: &str| with.get(name).map(String::as_str).unwrap_or_default();
        if !self.has_right("id-token", "write") {
            return Err(
                "missing \"id-token\" permission. Please add \"permissions: id-token: write\" to your workflow.".into(),
            );
        }
        let digest = given("subject-digest");
        if given("subject-name").is_empty() {
            return Err("subject-name must be provided when using subject-digest".into());
        }
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.chars().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(format!("subject-digest must be in the format \"sha256:<hex-digest>\", and is `{digest}`"));
        }
        if !self.has_right("attestations", "write") {
            return Err("Failed to persist attestation: Resource not accessible by integration".into());
        }
        let (_, image) = given("subject-name").split_once('/').unwrap();
        assert!(self.whole().production.is_pushed(image, digest), "`{digest}` is not in the registry");
        self.runner.attested.lock().unwrap().push(digest.into());
        Ok(Vec::new())
    }

    fn upload_sarif(&mut self, with: &Inputs) -> Done {
        const KNOWN: [&str; 2] = ["category", "sarif_file"];
        assert!(with.keys().all(|name| KNOWN.contains(&name.as_str())), "the tests do not know all of {with:?}");
        let may = self.has_right("security-events", "write");
        let at = self.work().join(with.get("sarif_file").map_or("../results", String::as_str));
        let own = format!(".github/workflows/{}:{}", self.workflow.name, self.id);
        let category = with.get("category").cloned().unwrap_or(own);
        if !may {
            return Err("Resource not accessible by integration".into());
        }
        self.runner.scanning.upload(&at, &category, &mut self.uploads).map(|()| Vec::new())
    }

    /// The one that is named, or else the toolchain of a module's file, and where it names none, the oldest Go that it wants.
    fn version_of_go(&self, with: &Inputs) -> String {
        match (with.get("go-version"), with.get("go-version-file")) {
            (Some(version), _) => version.clone(),
            (None, Some(file)) => {
                assert!(file.ends_with("/go.mod"), "the tests know no other file with a version of Go: {file}");
                let text = std::fs::read_to_string(self.work().join(file)).unwrap();
                let said = |start: &str| text.lines().find_map(|line| line.strip_prefix(start)).map(str::to_owned);
                said("toolchain go").or_else(|| said("go ")).unwrap_or_default()
            }
            (None, None) => String::new(),
        }
    }

    /// A program in the version that was asked for.
    fn set_up(&mut self, program: &str, version: &str, text: &str) -> Done {
        if version.is_empty() {
            return Err(format!("the tests want to be told a version of {program}"));
        }
        let folder = self.home().join(format!("tools-{program}"));
        std::fs::create_dir(&folder).unwrap();
        script(&folder.join(program), text);
        self.path.insert(0, folder);
        Ok(Vec::new())
    }
}

/// A list that is given as lines.
fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}
