//! Who signs a release: a key at hand, or cosign with an identity or a key in AWS KMS.
//!
//! A rehearsal signs with a key of its own, made in the folder that it publishes into. Elsewhere the target's table says what there may be,
//! and the first of it that this machine has is taken: a key in a variable or a file, one in KMS, the identity of a workflow. Which of them
//! count is another question, and `policy`'s.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::config::SigningTable;
use crate::error::{Error, Exit, Result};
use crate::trust::bundle;
use crate::trust::cosign::{By, Cosign};
use crate::trust::key::SigningKey;
use crate::trust::statement::{Envelope, PAYLOAD, Statement, pre_authentication};

/// The file of a rehearsal's own key, in the folder that it publishes into. It is never served.
pub const OWN_KEY: &str = ".signing-key.pem";

/// Somebody who signs.
#[derive(Debug)]
pub enum Signer {
    /// A key at hand.
    Key(SigningKey),
    /// cosign.
    Cosign(Cosign, By),
}

/// What a table comes to on this machine: data, so that the choice can be tested.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Choice {
    Variable(String),
    File(PathBuf),
    Cosign(By),
}

impl Signer {
    /// The signer of a rehearsal into `folder`: a key of its own, which is made when it is first needed.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn of_rehearsal(folder: &Path) -> Result<Self> {
        SigningKey::kept_at(&folder.join(OWN_KEY)).map(Signer::Key)
    }

    /// What the table of the target called `target` comes to on this machine. `cosign` finds the program, where it is needed.
    ///
    /// # Errors
    /// Nothing in the table is there, or what is there cannot be used.
    pub fn choose(
        target: &str,
        table: &SigningTable,
        root: &Path,
        variable: &dyn Fn(&str) -> Option<String>,
        cosign: &dyn Fn() -> Result<Cosign>,
    ) -> Result<Self> {
        match table.choice(root, variable).ok_or_else(|| table.nobody(target))? {
            Choice::Variable(name) => {
                let text = variable(&name).unwrap_or_default();
                SigningKey::from_pem(&text, &format_args!("the variable {name}")).map(Signer::Key)
            }
            Choice::File(path) => {
                let bytes = crate::sys::files::read(&path)?.unwrap_or_default();
                SigningKey::from_pem(&String::from_utf8_lossy(&bytes), &path.display()).map(Signer::Key)
            }
            Choice::Cosign(by) => Ok(Signer::Cosign(cosign()?, by)),
        }
    }

    /// Signs statements, each in a bundle of its own.
    ///
    /// # Errors
    /// The key, the service or cosign refuses.
    pub fn sign(&self, statements: &[Statement]) -> Result<Vec<Vec<u8>>> {
        let signed = statements.iter().map(|statement| {
            let payload = statement.bytes()?;
            match self {
                Signer::Key(key) => {
                    let signature = key.sign(&pre_authentication(PAYLOAD, &payload))?;
                    bundle::write(&key.public(), Envelope::new(&payload, &signature))
                }
                Signer::Cosign(cosign, by) => cosign.sign(&payload, by),
            }
        });
        signed.collect()
    }
}

impl fmt::Display for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signer::Key(key) => write!(out, "{}", key.public()),
            Signer::Cosign(_, By::Identity(_)) => out.write_str("this workflow's identity"),
            Signer::Cosign(_, By::Kms(key)) => out.write_str(key),
        }
    }
}

impl SigningTable {
    fn choice(&self, root: &Path, variable: &dyn Fn(&str) -> Option<String>) -> Option<Choice> {
        let is_set = |name: &&String| variable(name).is_some_and(|value| !value.is_empty());
        let name = self.variable.as_ref().filter(is_set).cloned().map(Choice::Variable);
        let file = self.file.as_ref().map(|file| root.join(file)).filter(|file| file.exists()).map(Choice::File);
        let kms = self.kms.clone().map(|key| Choice::Cosign(By::Kms(key)));
        let has_identity = self.keyless && variable("ACTIONS_ID_TOKEN_REQUEST_URL").is_some();
        let services = self.services.as_ref().map(|file| root.join(file));
        let identity = has_identity.then_some(Choice::Cosign(By::Identity(services)));
        name.or(file).or(kms).or(identity)
    }

    fn nobody(&self, target: &str) -> Error {
        let error = Error::new(Exit::Environment, format!("nothing on this machine can sign for target `{target}`"));
        let ways = [
            self.variable.as_ref().map(|name| format!("set the variable {name} to a private key (PEM)")),
            self.file.as_ref().map(|file| format!("put a private key into {}", file.display())),
            self.keyless
                .then(|| "release from the workflow, whose job needs `permissions: id-token: write`".to_owned()),
        ];
        let ways: Vec<String> = ways.into_iter().flatten().collect();
        if ways.is_empty() {
            return error.because("its table names nothing that signs").remedy(format!(
                "name it in [workspace.metadata.release.targets.{target}.signing]: variable, file, kms or keyless"
            ));
        }
        ways.into_iter().fold(error, Error::remedy)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;
    use crate::trust::policy::Policy;
    use crate::trust::statement::predicate;
    use crate::trust::verify;

    fn table(text: &str) -> SigningTable {
        toml_edit::de::from_str(text).unwrap()
    }

    fn choice(text: &str, root: &Path, set: &[&str]) -> Option<Choice> {
        table(text).choice(root, &|name| set.contains(&name).then(|| "x".to_owned()))
    }

    #[test]
    fn what_signs_is_the_first_that_this_machine_has() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let all = "variable = \"KEY\"\nfile = \"key.pem\"\nkeyless = true\n";
        let github = "ACTIONS_ID_TOKEN_REQUEST_URL";
        assert_eq!(choice(all, root, &[]), None);
        assert_eq!(choice(all, root, &[github]), Some(Choice::Cosign(By::Identity(None))));
        crate::sys::files::create_new(&root.join("key.pem"), b"x").unwrap();
        assert_eq!(choice(all, root, &[github]), Some(Choice::File(root.join("key.pem"))));
        assert_eq!(choice(all, root, &[github, "KEY"]), Some(Choice::Variable("KEY".into())));
        assert_eq!(choice("kms = \"awskms:///a\"", root, &[]), Some(Choice::Cosign(By::Kms("awskms:///a".into()))));
        assert_eq!(choice("", root, &[github]), None, "an identity signs only where the table says so");
        let private = choice("keyless = true\nservices = \"s.json\"", root, &[github]);
        assert_eq!(private, Some(Choice::Cosign(By::Identity(Some(root.join("s.json"))))));
    }

    #[test]
    fn where_nothing_can_sign_the_ways_out_are_those_of_the_table() {
        let told = |text: &str| {
            let no_cosign = || Err(Error::new(Exit::Environment, "not reached"));
            Signer::choose("production", &table(text), Path::new("/"), &|_| None, &no_cosign).unwrap_err().to_string()
        };
        assert!(told("keyless = true").contains("id-token: write"));
        assert!(told("variable = \"KEY\"").contains("set the variable KEY"));
        assert!(told("").contains("targets.production.signing"));
    }

    #[test]
    fn a_rehearsal_signs_with_its_own_key_and_another_one_is_not_believed() {
        let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let subject = Digest::of(b"image");
        let statement = Statement::new("demo", &subject, predicate::SIGNATURE, serde_json::json!({}));
        let signer = Signer::of_rehearsal(folder.path()).unwrap();
        let bundles = signer.sign(std::slice::from_ref(&statement)).unwrap();
        let accepting = |folder: &Path| {
            let own = SigningKey::kept_at(&folder.join(OWN_KEY)).unwrap().public();
            Policy::new("local", &[], Path::new("/"), &semver::Version::new(1, 0, 0), Some(own)).unwrap()
        };
        let nobody: &verify::Certificates<'_> = &|_, _, _| Err("no authority".into());
        let ours = verify::attested(&subject, &bundles[0], &accepting(folder.path()), nobody).unwrap();
        assert_eq!(ours.statement, statement);
        assert!(verify::attested(&subject, &bundles[0], &accepting(other.path()), nobody).is_err());
    }
}
