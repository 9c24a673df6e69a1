//! Kubeconfigs, as kubectl reads them: in several files, the first that names something is the one that counts.
//!
//! What would be needed and is not understood, such as a program that prints credentials, is an error.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::tls::{Identity, Trust};
use super::{Access, Tls, Token, address, reread, yaml};

/// One of the files. What it names relatively is beside it.
struct Document {
    folder: PathBuf,
    content: Value,
}

pub(super) fn read(files: &[PathBuf]) -> Result<Access, String> {
    let documents = load(files)?;
    access(&documents).map_err(|reason| {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        format!("{reason}, in the kubeconfig {}", files.join(":"))
    })
}

/// A list may name files that are not there, but not only such.
fn load(files: &[PathBuf]) -> Result<Vec<Document>, String> {
    let mut documents = Vec::new();
    let mut missing = Vec::new();
    for file in files {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                missing.push(reread::unreadable(file, &error));
                continue;
            }
            Err(error) => return Err(reread::unreadable(file, &error)),
        };
        let contents = yaml::documents(&text).map_err(|reason| format!("{} is no YAML: {reason}", file.display()))?;
        let folder = file.parent().unwrap_or(Path::new(""));
        documents.extend(contents.into_iter().map(|content| Document { folder: folder.to_owned(), content }));
    }
    if documents.is_empty() && !missing.is_empty() { Err(missing.join("; ")) } else { Ok(documents) }
}

fn access(documents: &[Document]) -> Result<Access, String> {
    let current = documents.iter().find_map(|document| text(&document.content, "current-context").transpose());
    let current = current.ok_or("there is no current-context; `kubectl config use-context NAME` chooses one")??;
    let context = Entry::find(documents, "contexts", "context", current)?
        .ok_or_else(|| format!("there is no context {current:?}"))?;
    let name = context.text("cluster")?.ok_or_else(|| format!("the context {current:?} names no cluster"))?;
    let cluster =
        Entry::find(documents, "clusters", "cluster", name)?.ok_or_else(|| format!("there is no cluster {name:?}"))?;
    let user = match context.text("user")? {
        Some(name) => Entry::find(documents, "users", "user", name)?,
        None => None,
    };
    let server = address(cluster.text("server")?.ok_or_else(|| format!("the cluster {name:?} has no server"))?)?;
    cluster.refuse(
        &["proxy-url"],
        "a proxy, which the operator does not use; give it an address that it can reach itself",
    )?;
    let trust = if server.starts_with("http:") { Trust::Plaintext } else { cluster.trust()? };
    let tls = Tls {
        trust,
        name: cluster.text("tls-server-name")?.map(str::to_owned),
        identity: user.as_ref().map(Entry::identity).transpose()?.flatten(),
    };
    let token = user.as_ref().map(Entry::token).transpose()?.flatten();
    if let (Some(user), None) = (&user, &token) {
        user.refuse(
            &LOGINS,
            "a login, which the operator does not do; give it a token, a tokenFile or a client certificate",
        )?;
    }
    if let Some(user) = &user {
        user.refuse(&OTHERS, "another user to act as, which the operator does not do; give it a token of that user")?;
    }
    Ok(Access { server, tls, token })
}

/// Ways to get at credentials that are for people.
const LOGINS: [&str; 4] = ["exec", "auth-provider", "username", "password"];

const OTHERS: [&str; 4] = ["as", "as-uid", "as-groups", "as-user-extra"];

/// A cluster, user or context.
struct Entry<'documents> {
    title: String,
    folder: &'documents Path,
    content: &'documents Value,
}

impl<'documents> Entry<'documents> {
    fn find(documents: &'documents [Document], list: &str, field: &str, name: &str) -> Result<Option<Self>, String> {
        for document in documents {
            let entries = match &document.content[list] {
                Value::Array(entries) => entries.as_slice(),
                Value::Null => &[],
                _ => return Err(format!("{list} is not a list")),
            };
            if let Some(entry) = entries.iter().find(|entry| entry["name"] == name) {
                let title = format!("the {field} {name:?}");
                return Ok(Some(Self { title, folder: &document.folder, content: &entry[field] }));
            }
        }
        Ok(None)
    }

    fn text(&self, field: &str) -> Result<Option<&'documents str>, String> {
        text(self.content, field).map_err(|reason| format!("{reason} of {}", self.title))
    }

    /// A file that is named by a field, beside the kubeconfig unless the name is absolute.
    fn file(&self, field: &str) -> Result<Option<PathBuf>, String> {
        Ok(self.text(field)?.map(|path| self.folder.join(path)))
    }

    /// What stands in the field itself, as kubectl embeds files.
    fn embedded(&self, field: &str) -> Result<Option<Vec<u8>>, String> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let decoded = STANDARD.decode(text).map_err(|error| format!("{field} of {} is no base64: {error}", self.title));
        decoded.map(Some)
    }

    /// Either of the two.
    fn bytes(&self, field: &str) -> Result<Option<Vec<u8>>, String> {
        if let Some(embedded) = self.embedded(&format!("{field}-data"))? {
            return Ok(Some(embedded));
        }
        let Some(path) = self.file(field)? else { return Ok(None) };
        fs::read(&path).map(Some).map_err(|error| reread::unreadable(&path, &error))
    }

    fn trust(&self) -> Result<Trust, String> {
        match self.text("insecure-skip-tls-verify")? {
            Some("true") => return Ok(Trust::Unverified),
            Some("false") | None => {}
            Some(other) => return Err(format!("insecure-skip-tls-verify of {} is {other:?}", self.title)),
        }
        if let Some(authorities) = self.embedded("certificate-authority-data")? {
            return Trust::these(&authorities).map_err(|reason| format!("{reason}, in {}", self.title));
        }
        match self.file("certificate-authority")? {
            Some(path) => Trust::file(path),
            None => Trust::of_machine(),
        }
    }

    fn identity(&self) -> Result<Option<Identity>, String> {
        match (self.bytes("client-certificate")?, self.bytes("client-key")?) {
            (None, None) => Ok(None),
            (Some(certificates), Some(key)) => {
                Identity::new(&certificates, &key).map(Some).map_err(|reason| format!("{reason}, in {}", self.title))
            }
            _ => Err(format!("{} needs both a client-certificate and a client-key", self.title)),
        }
    }

    fn token(&self) -> Result<Option<Token>, String> {
        if let Some(token) = self.text("token")? {
            return Token::fixed(token).map(Some).map_err(|reason| format!("{reason}, in {}", self.title));
        }
        self.file("tokenFile")?.map(Token::file).transpose()
    }

    fn refuse(&self, fields: &[&str], meaning: &str) -> Result<(), String> {
        match fields.iter().find(|field| !is_empty(&self.content[**field])) {
            Some(field) => Err(format!("{field} of {} asks for {meaning}", self.title)),
            None => Ok(()),
        }
    }
}

fn text<'value>(value: &'value Value, field: &str) -> Result<Option<&'value str>, String> {
    match &value[field] {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        _ => Err(format!("{field} is not a text")),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tls::tests::authority;
    use super::*;

    struct Folder(tempfile::TempDir);

    impl Folder {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn put(&self, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
            let path = self.0.path().join(name);
            fs::write(&path, text).unwrap();
            path
        }

        /// A kubeconfig with one of everything.
        fn config(&self, cluster: &Value, user: &Value) -> PathBuf {
            let config = json!({
                "apiVersion": "v1", "kind": "Config", "preferences": {}, "current-context": "here",
                "contexts": [{"name": "here", "context": {"cluster": "home", "user": "ann", "namespace": "shop"}}],
                "clusters": [{"name": "home", "cluster": cluster}],
                "users": [{"name": "ann", "user": user}],
            });
            self.put("config", serde_yaml::to_string(&config).unwrap())
        }

        fn complaint(&self, cluster: &Value, user: &Value) -> String {
            read(&[self.config(cluster, user)]).err().unwrap()
        }
    }

    fn plain() -> Value {
        json!({"server": "http://127.0.0.1:8001/"})
    }

    #[test]
    fn what_is_named_relatively_is_beside_the_file() {
        let folder = Folder::new();
        folder.put("ca.pem", authority().pem());
        folder.put("token", "secret\n");
        let cluster = json!({"server": "https://example.com/k8s/c-1/", "certificate-authority": "ca.pem"});
        let access = read(&[folder.config(&cluster, &json!({"tokenFile": "token"}))]).unwrap();
        assert_eq!(access.server, "https://example.com/k8s/c-1");
        assert_eq!(access.token.unwrap().header(), "Bearer secret");
        assert!(matches!(access.tls.trust, Trust::File(_)));
    }

    #[test]
    fn what_is_embedded_wins_over_what_is_named() {
        let folder = Folder::new();
        let cluster = json!({
            "server": "https://example.com",
            "certificate-authority": "/nowhere",
            "certificate-authority-data": STANDARD.encode(authority().pem()),
            "tls-server-name": "elsewhere.example.com",
        });
        let access = read(&[folder.config(&cluster, &json!({"token": "secret", "tokenFile": "/nowhere"}))]).unwrap();
        assert_eq!(access.token.unwrap().header(), "Bearer secret");
        assert_eq!(access.tls.name.as_deref(), Some("elsewhere.example.com"));
        let blind = json!({"server": "https://example.com", "insecure-skip-tls-verify": true});
        assert!(matches!(read(&[folder.config(&blind, &json!({}))]).unwrap().tls.trust, Trust::Unverified));
    }

    #[test]
    fn of_several_files_the_first_that_names_something_counts() {
        let folder = Folder::new();
        let first = folder.put(
            "first",
            "current-context: \nusers:\n- name: ann\n  user: {token: first}\n---\ncurrent-context: here\n",
        );
        let second = folder.config(&plain(), &json!({"token": "second"}));
        let missing = folder.0.path().join("missing");
        let access = read(&[missing.clone(), first, second]).unwrap();
        assert_eq!(access.server, "http://127.0.0.1:8001");
        assert_eq!(access.token.unwrap().header(), "Bearer first");
        assert!(read(&[missing]).err().unwrap().contains("missing"));
    }

    #[test]
    fn a_login_that_the_operator_cannot_do_is_refused_with_what_to_do_instead() {
        let folder = Folder::new();
        let exec = json!({"exec": {"command": "aws", "apiVersion": "client.authentication.k8s.io/v1"}});
        for user in [exec, json!({"auth-provider": {"name": "oidc"}}), json!({"username": "ann", "password": "x"})] {
            let complaint = folder.complaint(&plain(), &user);
            let field = user.as_object().unwrap().keys().next().unwrap();
            assert!(complaint.starts_with(&format!("{field} of the user \"ann\" asks for a login")), "{complaint}");
            assert!(complaint.contains("give it a token") && complaint.contains("config"), "{complaint}");
        }
        assert!(folder.complaint(&plain(), &json!({"token": "a", "as": "bob"})).contains("as of the user"));
        let proxied = json!({"server": "https://example.com", "proxy-url": "socks5://localhost"});
        assert!(folder.complaint(&proxied, &json!({})).contains("proxy-url"));
        // A token is enough, whatever else there is.
        let both = json!({"token": "a", "exec": {"command": "aws"}, "as-groups": []});
        assert!(read(&[folder.config(&plain(), &both)]).is_ok());
    }

    #[test]
    fn a_kubeconfig_that_cannot_be_used_says_why() {
        let folder = Folder::new();
        let https = |more: &Value| {
            let mut cluster = json!({"server": "https://example.com"});
            cluster.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            cluster
        };
        let mistakes = [
            (json!({}), json!({}), "has no server"),
            (json!({"server": "example.com:443"}), json!({}), "must be https://"),
            (https(&json!({"certificate-authority": "/nowhere"})), json!({}), "cannot read /nowhere"),
            (https(&json!({"certificate-authority-data": "%"})), json!({}), "is no base64"),
            (https(&json!({"certificate-authority-data": STANDARD.encode("hi")})), json!({}), "no certificate"),
            (https(&json!({"insecure-skip-tls-verify": "perhaps"})), json!({}), "perhaps"),
            (plain(), json!({"tokenFile": "/nowhere"}), "cannot read /nowhere"),
            (plain(), json!({"token": ["a"]}), "token is not a text of the user \"ann\""),
            (plain(), json!({"token": "a\nb"}), "characters that none can have"),
            (plain(), json!({"client-certificate-data": "aGk="}), "needs both"),
            (plain(), json!({"client-certificate-data": "aGk=", "client-key-data": "aGk="}), "no certificate"),
        ];
        for (cluster, user, words) in mistakes {
            let complaint = folder.complaint(&cluster, &user);
            assert!(complaint.contains(words), "{complaint} does not say {words}");
        }
        for (content, words) in [
            ("", "no current-context"),
            ("current-context: a", "no context \"a\""),
            ("current-context: a\ncontexts: b", "contexts is not a list"),
            ("a: [", "is no YAML"),
            ("current-context: a\ncontexts: [{name: a, context: {cluster: b}}]", "no cluster \"b\""),
        ] {
            let complaint = read(&[folder.put("config", content)]).err().unwrap();
            assert!(complaint.contains(words), "{complaint} does not say {words}");
        }
    }
}
