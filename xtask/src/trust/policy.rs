//! Whose signature counts for a target: public keys, and identities that an authority gives certificates to. Pure but for reading keys.
//!
//! An identity is exact: a pattern would accept workflows that nobody has looked at. Only the version may stand in it as `{version}`,
//! behind the `@` where GitHub names the ref: the workflow that was started by the tag `v1.2.3` signs 1.2.3 and nothing else. That identity does not
//! say whose run it was: any repository may call a public one's workflow, with sources of its own. So the certificate must be for a run of the
//! workflow's own repository, too.

use std::fmt;
use std::path::Path;

use semver::Version;

use crate::config::SignerTable;
use crate::error::{Error, Exit, Result};
use crate::sys::files;
use crate::trust::key::PublicKey;

/// What stands for the version in an identity.
const VERSION: &str = "{version}";

/// Who is accepted as signer of one version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Keys, with what people call them.
    pub keys: Vec<(PublicKey, String)>,
    /// Identities.
    pub identities: Vec<Identity>,
}

/// Who a certificate is for, and who vouches for that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The issuer of the token that the certificate was given for.
    pub issuer: String,
    /// The certificate's subject.
    pub subject: String,
}

impl Policy {
    /// The accepted signers of a version in the target called `target`. `own` is the key that a rehearsal made for itself, which counts where
    /// no signer is named.
    ///
    /// # Errors
    /// A signer is neither a key nor an identity, a key cannot be read, or nobody is accepted at all.
    pub fn new(
        target: &str,
        tables: &[SignerTable],
        root: &Path,
        version: &Version,
        own: Option<PublicKey>,
    ) -> Result<Self> {
        let mut policy = Policy::default();
        for (number, table) in tables.iter().enumerate() {
            let wrong = |why: String| {
                Error::new(Exit::Workspace, format!("target `{target}`: its signer {} cannot be used", number + 1))
                    .because(why)
                    .remedy("give each of [[…signers]] either `key`, a public key's file, or `issuer` and `identity`")
            };
            match (&table.key, &table.issuer, &table.identity) {
                (Some(path), None, None) => policy.keys.push((read_key(root, path).map_err(wrong)?, named(path))),
                (None, Some(issuer), Some(identity)) => {
                    policy.identities.push(Identity::new(issuer, identity, version).map_err(wrong)?);
                }
                _ => return Err(wrong("it is neither a key nor an issuer with an identity".into())),
            }
        }
        if tables.is_empty() {
            let own = own.ok_or_else(|| {
                Error::new(Exit::Workspace, format!("target `{target}` accepts no signer"))
                    .because("without one nothing in it can be told from what a stranger put there")
                    .remedy(format!("name who signs in [[workspace.metadata.release.targets.{target}.signers]]"))
            })?;
            policy.keys.push((own, "this folder's own key".into()));
        }
        Ok(policy)
    }

    /// The key that a bundle hints at.
    pub fn key(&self, hint: &str) -> Option<&(PublicKey, String)> {
        self.keys.iter().find(|(key, _)| key.hint() == hint)
    }

    /// Everybody, for people.
    pub fn list(&self) -> String {
        let keys = self.keys.iter().map(|(key, name)| format!("{name} ({key})"));
        keys.chain(self.identities.iter().map(Identity::to_string)).collect::<Vec<_>>().join(", or ")
    }
}

impl Identity {
    fn new(issuer: &str, identity: &str, version: &Version) -> Result<Self, String> {
        if !issuer.starts_with("https://") {
            return Err(format!("the issuer `{issuer}` is no https:// URL"));
        }
        let (place, reference) = identity.rsplit_once('@').unwrap_or((identity, ""));
        if place.contains(VERSION) {
            return Err(format!("{VERSION} stands in `{identity}` before the ref"));
        }
        if identity.is_empty() || identity.contains(['*', ' ']) {
            return Err(format!("the identity `{identity}` is not exact"));
        }
        let reference = reference.replace(VERSION, &version.to_string());
        let subject = if reference.is_empty() { place.to_owned() } else { format!("{place}@{reference}") };
        match subject.find(['{', '}']) {
            None => Ok(Identity { issuer: issuer.to_owned(), subject }),
            Some(_) => Err(format!("`{identity}` holds braces other than {VERSION}")),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} (says {})", self.subject, self.issuer)
    }
}

fn read_key(root: &Path, path: &Path) -> Result<PublicKey, String> {
    let bytes = files::read(&root.join(path)).map_err(|error| error.to_string())?;
    let bytes = bytes.ok_or_else(|| format!("there is no key at {}", path.display()))?;
    PublicKey::from_pem(&String::from_utf8_lossy(&bytes)).map_err(|why| format!("{}: {why}", path.display()))
}

fn named(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::trust::key::SigningKey;

    const WORKFLOW: &str = "https://github.com/alto9/demo/.github/workflows/release.yml@refs/tags/v{version}";

    fn tables(text: &str) -> Result<Vec<SignerTable>, String> {
        #[derive(Deserialize)]
        struct Table {
            signers: Vec<SignerTable>,
        }
        toml_edit::de::from_str::<Table>(text).map(|table| table.signers).map_err(|error| error.to_string())
    }

    fn policy(text: &str, root: &Path) -> Result<Policy, String> {
        let tables = tables(text)?;
        Policy::new("staging", &tables, root, &Version::new(1, 2, 3), None).map_err(|error| error.to_string())
    }

    fn key() -> PublicKey {
        SigningKey::from_pem(&SigningKey::generate().unwrap(), &"a test").unwrap().public()
    }

    #[test]
    fn a_workflow_is_bound_to_the_tag_of_the_version_that_it_signs() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("[[signers]]\nissuer = \"https://issuer\"\nidentity = \"{WORKFLOW}\"\n");
        let found = policy(&text, folder.path()).unwrap().identities.remove(0);
        assert!(found.subject.ends_with("release.yml@refs/tags/v1.2.3"), "{found}");
        assert_eq!(found.issuer, "https://issuer");
    }

    #[test]
    fn a_key_is_read_from_the_workspace_and_found_by_its_hint() {
        let (folder, key) = (tempfile::tempdir().unwrap(), key());
        files::create_new(&folder.path().join("keys/ann.pub"), key.to_pem().as_bytes()).unwrap();
        let policy = policy("[[signers]]\nkey = \"keys/ann.pub\"\n", folder.path()).unwrap();
        assert_eq!(policy.key(&key.hint()), Some(&(key.clone(), "keys/ann.pub".into())));
        assert_eq!(policy.key("other"), None);
        assert!(policy.list().contains("keys/ann.pub (key "), "{}", policy.list());
    }

    #[test]
    fn where_no_signer_is_named_a_folder_accepts_its_own_key_and_other_targets_nobody() {
        let (own, version) = (key(), Version::new(1, 0, 0));
        let rehearsal = Policy::new("local", &[], Path::new("/"), &version, Some(own.clone())).unwrap();
        assert!(rehearsal.key(&own.hint()).is_some());
        assert!(policy("signers = []", Path::new("/")).unwrap_err().contains("accepts no signer"));
        let (folder, named) = (tempfile::tempdir().unwrap(), key());
        files::create_new(&folder.path().join("a.pub"), named.to_pem().as_bytes()).unwrap();
        let table = SignerTable { key: Some("a.pub".into()), ..SignerTable::default() };
        let strict = Policy::new("local", &[table], folder.path(), &version, Some(own.clone())).unwrap();
        assert!(strict.key(&own.hint()).is_none(), "where signers are named, only they count");
    }

    #[test]
    fn a_signer_that_is_not_exactly_one_thing_is_refused() {
        let of = |issuer: &str, identity: &str| {
            policy(&format!("[[signers]]\nissuer = \"{issuer}\"\nidentity = \"{identity}\"\n"), Path::new("/"))
        };
        assert!(of("https://i", "https://g/r/w.yml@refs/tags/*").unwrap_err().contains("not exact"));
        assert!(of("https://i", "https://g/v{version}/w.yml@refs/heads/main").unwrap_err().contains("before the ref"));
        assert!(of("https://i", "https://g/r/w.yml@{ref}").unwrap_err().contains("braces"));
        assert!(of("https://i", "").unwrap_err().contains("not exact"));
        assert!(of("http://i", "a@b").unwrap_err().contains("no https"));
        for wrong in ["", "issuer = \"https://i\"", "key = \"a\"\nidentity = \"b\"", "key = \"absent.pub\""] {
            let told = policy(&format!("[[signers]]\n{wrong}\n"), Path::new("/")).unwrap_err();
            assert!(told.contains("target `staging`: its signer 1"), "{told}");
        }
        assert!(policy("[[signers]]\nkeys = \"a\"\n", Path::new("/")).unwrap_err().contains("unknown field"));
    }
}
