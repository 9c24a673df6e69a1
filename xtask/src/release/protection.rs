//! Whether GitHub guards the repository as its own files say: rulesets, environments and code owners.
//!
//! `.github/rulesets/*.json` are rulesets as GitHub's API takes them. `.github/environments/NAME.json` holds what its API wants in several
//! requests: `settings`, the teams of the `reviewers` by their names, and the `refs` that may deploy. `ask` asks and changes nothing;
//! `lacks` compares, pure. What GitHub does not tell is unknown, never taken for well.
//!
//! Formats: GitHub's documentation, "REST API endpoints for rules", "… for deployment environments", "… for deployment branch policies".

use std::path::Path;

use serde_json::{Value, json};

use crate::error::{Context, Error, Exit, Result};
use crate::release::github::Variables;
use crate::sys::files;
use crate::sys::http::{Anonymous, Answer};

const FOLDER: &str = ".github";
/// Applying the files again puts everything right.
const REMEDY: &str = "apply the files in .github/rulesets and .github/environments again, as docs/new-account.md says";

/// One thing that guards the repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// What it is.
    pub what: String,
    /// How it stands.
    pub standing: Standing,
    /// What to do.
    pub remedies: Vec<String>,
}

/// How a guard stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// GitHub does what the file says.
    InForce,
    /// GitHub does not: why, one reason each.
    Lacking(Vec<String>),
    /// GitHub does not tell, for this reason.
    Unknown(String),
}

/// Where the sources are.
#[derive(Clone, Copy, Debug)]
pub struct Home<'h> {
    /// The URL; empty where it is not said.
    pub url: &'h str,
    /// What says it, for people.
    pub said_by: &'static str,
}

/// Asks GitHub for every guard that the workspace in `root` has a file for; nothing where it has none.
///
/// # Errors
/// A file cannot be read.
pub fn look(root: &Path, home: Home<'_>, user: &Anonymous, variables: Variables) -> Result<Vec<Guard>> {
    let (rulesets, environments) = (wanted(root, "rulesets")?, wanted(root, "environments")?);
    if rulesets.is_empty() && environments.is_empty() {
        return Ok(Vec::new());
    }
    let github = match GitHub::new(home, user, variables) {
        Ok(github) => github,
        Err(unknown) => return Ok(vec![unknown.guard("repository".into())]),
    };
    let known = match github.list("rulesets?includes_parents=true&per_page=100") {
        Ok(known) => known,
        // Where the list is not told, nothing else would be either.
        Err(unknown) => return Ok(vec![unknown.guard(format!("repository {}", github.repository))]),
    };
    let mut guards = Vec::new();
    for (name, wanted) in &rulesets {
        guards.push(guard(format!("ruleset {name}"), github.ruleset(wanted, &known)));
    }
    for (name, wanted) in &environments {
        guards.push(guard(format!("environment {name}"), github.environment(name, wanted)));
    }
    if root.join(FOLDER).join("CODEOWNERS").is_file() {
        guards.push(guard("CODEOWNERS".into(), github.code_owners()));
    }
    Ok(guards)
}

/// What `actual` lacks of `wanted`, each with where it is. What GitHub says beyond that is its own affair, but in lists of exceptions:
/// one more of those is a hole.
pub fn lacks(wanted: &Value, actual: &Value) -> Vec<String> {
    let mut lacking = Vec::new();
    compare("", wanted, actual, &mut lacking);
    lacking
}

fn compare(path: &str, wanted: &Value, actual: &Value, lacking: &mut Vec<String>) {
    const EXCEPTIONS: [&str; 4] = ["bypass_actors", "exclude", "refs", "reviewers"];
    match (wanted, actual) {
        (Value::Object(wanted), Value::Object(actual)) => {
            for (name, value) in wanted {
                let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                compare(&path, value, actual.get(name).unwrap_or(&Value::Null), lacking);
            }
        }
        (Value::Array(wanted), Value::Array(actual)) => {
            let is_in = |one: &Value, list: &[Value]| list.iter().any(|other| lacks(one, other).is_empty());
            for one in wanted.iter().filter(|one| !is_in(one, actual)) {
                lacking.push(missing(path, one, actual));
            }
            let last = path.rsplit('.').next().unwrap_or(path);
            for more in actual
                .iter()
                .filter(|one| EXCEPTIONS.contains(&last) && !wanted.iter().any(|other| lacks(other, one).is_empty()))
            {
                lacking.push(format!("{path} has {more}, too"));
            }
        }
        _ if wanted == actual => {}
        (_, Value::Null) => lacking.push(format!("{path} is not {wanted}")),
        _ => lacking.push(format!("{path} is {actual} rather than {wanted}")),
    }
}

/// A member of a list that is not there as it should be; what of it differs, where one of its type is there.
fn missing(path: &str, wanted: &Value, actual: &[Value]) -> String {
    let same = |other: &&Value| wanted["type"].is_string() && other["type"] == wanted["type"];
    match actual.iter().find(same) {
        Some(other) => format!("{path} {}: {}", wanted["type"], lacks(wanted, other).join("; ")),
        None if wanted["type"].is_string() => format!("{path} has no {}", wanted["type"]),
        None => format!("{path} has no {wanted}"),
    }
}

/// The JSON files of a folder by their names without the ending, in order.
fn wanted(root: &Path, folder: &str) -> Result<Vec<(String, Value)>> {
    let folder = root.join(FOLDER).join(folder);
    let Ok(entries) = std::fs::read_dir(&folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let json = paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    let read = json.map(|path| {
        let bytes = files::read(path)?.unwrap_or_default();
        let value = serde_json::from_slice(&bytes);
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok((name, value.context(Exit::Workspace, || format!("{} is not JSON", path.display()))?))
    });
    read.collect()
}

/// What GitHub did not tell, and what would make it.
struct Unknown {
    why: String,
    remedy: String,
}

impl Unknown {
    fn guard(self, what: String) -> Guard {
        Guard { what, standing: Standing::Unknown(self.why), remedies: vec![self.remedy] }
    }
}

fn guard(what: String, asked: Result<Vec<String>, Unknown>) -> Guard {
    match asked {
        Ok(lacking) if lacking.is_empty() => Guard { what, standing: Standing::InForce, remedies: Vec::new() },
        Ok(lacking) => Guard { what, standing: Standing::Lacking(lacking), remedies: vec![REMEDY.into()] },
        Err(unknown) => unknown.guard(what),
    }
}

/// GitHub's API, as it answers about one repository.
struct GitHub<'u> {
    user: &'u Anonymous,
    api: String,
    repository: String,
    token: Option<String>,
}

impl<'u> GitHub<'u> {
    fn new(Home { url, said_by }: Home<'_>, user: &'u Anonymous, variables: Variables) -> Result<Self, Unknown> {
        let set = |name: &str| variables(name).filter(|value| !value.is_empty());
        let named = url
            .strip_prefix("https://github.com/")
            .map(|path| path.trim_end_matches('/').trim_end_matches(".git").to_owned());
        let Some(repository) = set("GITHUB_REPOSITORY").or(named) else {
            let why = match url {
                "" => format!("{said_by} names none of GitHub's"),
                _ => format!("{said_by} is none of GitHub's: {url}"),
            };
            return Err(Unknown { why, remedy: "set GITHUB_REPOSITORY to OWNER/NAME".into() });
        };
        let api = set("GITHUB_API_URL").unwrap_or_else(|| "https://api.github.com".into());
        Ok(GitHub { user, api, repository, token: set("GITHUB_TOKEN").or_else(|| set("GH_TOKEN")) })
    }

    /// What GitHub says at a path below the repository; nothing where there is nothing.
    fn get(&self, path: &str) -> Result<Option<Value>, Unknown> {
        let url = format!("{}/repos/{}/{path}", self.api, self.repository);
        let authorization = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let mut headers = vec![
            ("accept", "application/vnd.github+json"),
            ("user-agent", "xtask"),
            ("x-github-api-version", "2022-11-28"),
        ];
        headers.extend(authorization.as_deref().map(|value| ("authorization", value)));
        let answer = self.user.get(&url, &headers).map_err(|error| silent(&error))?;
        match answer.status {
            200 => serde_json::from_slice(&answer.body).map(Some).map_err(|error| Unknown {
                why: format!("{url} answers what is no JSON: {error}"),
                remedy: "check GITHUB_API_URL".into(),
            }),
            404 => Ok(None),
            _ => Err(self.refused(&answer)),
        }
    }

    fn refused(&self, answer: &Answer) -> Unknown {
        let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let said = body["message"].as_str().unwrap_or_default();
        let is_limit = answer.header("x-ratelimit-remaining") == Some("0") || answer.header("retry-after").is_some();
        let why = format!("GitHub answers status {}: {said}", answer.status);
        let remedy = match (is_limit, &self.token) {
            (true, None) => "put a token into GH_TOKEN: whoever has none may ask 60 times an hour",
            (true, Some(_)) => "ask again in an hour",
            (false, None) => "put a token into GH_TOKEN that may read the repository",
            (false, Some(_)) => "use a token that may read the repository's administration, or none for a public one",
        };
        Unknown { why, remedy: remedy.into() }
    }

    fn list(&self, path: &str) -> Result<Vec<Value>, Unknown> {
        match self.get(path)? {
            Some(Value::Array(list)) => Ok(list),
            _ => Err(Unknown {
                why: "GitHub knows no repository of that name, or shows it to nobody without the right to see it"
                    .into(),
                remedy: "check GITHUB_REPOSITORY, or put a token into GH_TOKEN that may read the repository".into(),
            }),
        }
    }

    fn ruleset(&self, wanted: &Value, known: &[Value]) -> Result<Vec<String>, Unknown> {
        let same = |one: &&Value| one["name"] == wanted["name"] && one["target"] == wanted["target"];
        let Some(found) = known.iter().find(same) else { return Ok(vec!["there is none of that name".into()]) };
        let Some(actual) = self.get(&format!("rulesets/{}", found["id"]))? else {
            return Ok(vec!["it was deleted just now".into()]);
        };
        let mut wanted = wanted.clone();
        // Who may pass is told only to those who may change it.
        let is_told = actual["bypass_actors"].is_array();
        let hidden =
            wanted.as_object_mut().and_then(|wanted| if is_told { None } else { wanted.remove("bypass_actors") });
        let lacking = lacks(&wanted, &actual);
        if lacking.is_empty() && hidden.is_some() {
            let why = "its rules are in force; who may bypass them is told only to those who may change them".into();
            return Err(Unknown { why, remedy: "put an administrator's token into GH_TOKEN".into() });
        }
        Ok(lacking)
    }

    fn environment(&self, name: &str, wanted: &Value) -> Result<Vec<String>, Unknown> {
        let path = format!("environments/{name}");
        let Some(told) = self.get(&path)? else { return Ok(vec!["there is none of that name".into()]) };
        let policies = self.get(&format!("{path}/deployment-branch-policies?per_page=100"))?.unwrap_or_default();
        let rule = |kind: &str| {
            let rules = told["protection_rules"].as_array().into_iter().flatten();
            rules.into_iter().find(|rule| rule["type"] == kind).cloned().unwrap_or_default()
        };
        let reviewing = rule("required_reviewers");
        let reviewers = reviewing["reviewers"].as_array().into_iter().flatten();
        // A team has a short name, a person a login.
        let name =
            |one: &'_ Value| one["reviewer"]["slug"].as_str().or(one["reviewer"]["login"].as_str()).map(str::to_owned);
        let reviewers: Vec<String> = reviewers.filter_map(name).collect();
        let actual = json!({
            "reviewers": reviewers,
            "settings": {
                "wait_timer": rule("wait_timer")["wait_timer"].as_u64().unwrap_or_default(),
                "prevent_self_review": reviewing["prevent_self_review"],
                "deployment_branch_policy": told["deployment_branch_policy"],
            },
            "refs": policies["branch_policies"].as_array().cloned().unwrap_or_default(),
        });
        Ok(lacks(wanted, &actual))
    }

    /// GitHub reads the file by rules of its own: a team that may not write owns nothing.
    fn code_owners(&self) -> Result<Vec<String>, Unknown> {
        let Some(told) = self.get("codeowners/errors")? else { return Ok(vec!["GitHub finds no such file".into()]) };
        let errors = told["errors"].as_array().into_iter().flatten();
        let said =
            |error: &Value| format!("line {}: {}", error["line"], error["message"].as_str().unwrap_or_default().trim());
        Ok(errors.map(said).collect())
    }
}

fn silent(error: &Error) -> Unknown {
    let why = error.why.as_ref().unwrap_or(&error.what);
    Unknown { why: format!("GitHub does not answer: {why}"), remedy: "check the network, and GITHUB_API_URL".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_github_adds_is_its_own_affair_and_what_it_lacks_is_named() {
        let wanted = json!({"target": "tag", "rules": [{"type": "update"}, {"type": "pull_request", "parameters": {"count": 1}}]});
        let whole = json!({"id": 7, "target": "tag", "rules": [
            {"type": "pull_request", "parameters": {"count": 1, "more": true}}, {"type": "update"}, {"type": "creation"},
        ]});
        assert_eq!(lacks(&wanted, &whole), Vec::<String>::new());
        let weak = json!({"target": "tag", "rules": [{"type": "pull_request", "parameters": {"count": 0}}]});
        assert_eq!(
            lacks(&wanted, &weak),
            [r#"rules has no "update""#, r#"rules "pull_request": parameters.count is 0 rather than 1"#]
        );
    }

    #[test]
    fn one_more_exception_is_a_hole() {
        let wanted = json!({"bypass_actors": [{"actor_id": 5}], "refs": [{"name": "v*"}], "exclude": []});
        let actual = json!({"bypass_actors": [{"actor_id": 5}, {"actor_id": 2}], "refs": [{"name": "v*"}, {"name": "*"}], "exclude": ["refs/heads/x"]});
        let lacking = lacks(&wanted, &actual);
        assert_eq!(lacking.len(), 3, "{lacking:?}");
        assert_eq!(lacking[0], r#"bypass_actors has {"actor_id":2}, too"#);
    }
}
