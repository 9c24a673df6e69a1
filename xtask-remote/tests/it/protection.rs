//! What guards the repository: its files say what the guide and the workflows rely on, and `doctor` says whether GitHub does it.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use xtask::release::protection::{Guard, Home, Standing, look};
use xtask::sys::http::Anonymous;

use crate::folders::copy_tree;
use crate::servers::{Answer, Asked, Dialect, Proxy, Way};
use crate::support::{free_port, root};

const REPOSITORY: &str = "alto9/kube9-operator";
const HOME: &str = "https://github.com/alto9/kube9-operator";
const ADMINISTRATOR: &str = "an-administrators-token";

fn home(url: &str) -> Home<'_> {
    Home { url, said_by: "the crate's `repository`" }
}

/// GitHub's API as it answers about a repository: a fake.
struct GitHub {
    api: Proxy,
    state: Arc<Mutex<State>>,
}

/// A status, a header, and what is said.
type Refusal = (u16, Option<(&'static str, &'static str)>, &'static str);

/// What GitHub was told.
#[derive(Clone, Default)]
struct State {
    rulesets: Vec<Value>,
    /// By name: the settings that were put, and the refs that may deploy.
    environments: Vec<(String, Value)>,
    owners: Vec<Value>,
    /// What it answers to everything, where it does not answer as it should.
    refuses: Option<Refusal>,
}

impl GitHub {
    /// Where everything was applied that is in the workspace's files.
    fn with_everything() -> Self {
        let environments = files("environments").into_iter();
        let state = State {
            rulesets: files("rulesets").into_iter().map(|(_, ruleset)| ruleset).collect(),
            environments: environments.collect(),
            ..State::default()
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let route = move |asked: &mut Asked| Way::Here(shared.lock().unwrap().answer(asked));
        GitHub { api: Proxy::with(free_port(), Dialect::Registry, route, |_, answer| answer), state }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// What is said of each guard, by somebody with that token.
    fn told(&self, token: Option<&str>) -> Vec<Guard> {
        let api = self.api.url();
        let variables = |name: &str| match name {
            "GITHUB_API_URL" => Some(api.clone()),
            "GH_TOKEN" => token.map(str::to_owned),
            _ => None,
        };
        look(&root(), home(HOME), &somebody(), &variables).unwrap()
    }

    /// The one guard that is not in force, why, and what is to be done.
    #[track_caller]
    fn lacks(&self, what: &str, words: &str) {
        let told = self.told(Some(ADMINISTRATOR));
        let wrong: Vec<&Guard> = told.iter().filter(|guard| guard.standing != Standing::InForce).collect();
        let [Guard { what: named, standing: Standing::Lacking(why), remedies }] = &wrong[..] else {
            panic!("{told:?}")
        };
        assert!(named == what && why.join("; ").contains(words), "{named}: {why:?}");
        assert!(remedies.concat().contains("docs/new-account.md"), "{remedies:?}");
    }
}

impl State {
    fn answer(&self, asked: &Asked) -> Answer {
        let json = |status: u16, value: &Value| Answer::new(status, "application/json", value.to_string());
        if let Some((status, header, message)) = self.refuses {
            let mut answer = json(status, &json!({"message": message}));
            if let Some((name, value)) = header {
                answer = answer.with(name, value);
            }
            return answer;
        }
        assert!(asked.header("user-agent").is_some(), "GitHub refuses whoever does not say who asks");
        let is_administrator = asked.header("authorization") == Some(&format!("Bearer {ADMINISTRATOR}"));
        let path = asked.path.split('?').next().unwrap();
        let found =
            path.strip_prefix(&format!("/repos/{REPOSITORY}/")).and_then(|path| self.find(path, is_administrator));
        found.map_or_else(|| json(404, &json!({"message": "Not Found"})), |value| json(200, &value))
    }

    fn find(&self, path: &str, is_administrator: bool) -> Option<Value> {
        if path == "rulesets" {
            let brief = |(number, one): (usize, &Value)| json!({"id": number, "name": one["name"], "target": one["target"], "enforcement": one["enforcement"]});
            return Some(self.rulesets.iter().enumerate().map(brief).collect());
        }
        if let Some(number) = path.strip_prefix("rulesets/") {
            let mut ruleset = self.rulesets.get(number.parse::<usize>().ok()?)?.clone();
            // Only whoever may change it is told who may pass.
            if !is_administrator {
                ruleset.as_object_mut().unwrap().remove("bypass_actors");
            }
            return Some(ruleset);
        }
        if path == "codeowners/errors" {
            return Some(json!({"errors": self.owners}));
        }
        let (name, rest) =
            path.strip_prefix("environments/")?.split_once('/').unwrap_or((path.strip_prefix("environments/")?, ""));
        let (_, known) = self.environments.iter().find(|(known, _)| known == name)?;
        if rest == "deployment-branch-policies" {
            return Some(json!({"total_count": known["refs"].as_array()?.len(), "branch_policies": known["refs"]}));
        }
        let team = |slug: &Value| json!({"type": "Team", "reviewer": {"id": 1, "name": "Maintainers", "slug": slug}});
        let reviewers: Vec<Value> = known["reviewers"].as_array()?.iter().map(team).collect();
        let mut rules = vec![json!({"id": 3, "type": "branch_policy"})];
        if !reviewers.is_empty() {
            let prevents = &known["settings"]["prevent_self_review"];
            rules.push(
                json!({"id": 1, "type": "required_reviewers", "prevent_self_review": prevents, "reviewers": reviewers}),
            );
        }
        Some(
            json!({"name": name, "protection_rules": rules, "deployment_branch_policy": known["settings"]["deployment_branch_policy"]}),
        )
    }
}

fn somebody() -> Anonymous {
    Anonymous::new(Duration::from_secs(10))
}

/// The JSON files of a folder in `.github`, by their names.
fn files(folder: &str) -> Vec<(String, Value)> {
    let mut files: Vec<_> =
        std::fs::read_dir(root().join(".github").join(folder)).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |path: &Path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    files.iter().map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(path))).collect()
}

#[test]
fn x7_doctor_finds_every_guard_of_the_repository_in_force_where_github_was_told_all_that_the_files_say() {
    let github = GitHub::with_everything();
    let told = github.told(Some(ADMINISTRATOR));
    let names: Vec<&str> = told.iter().map(|guard| guard.what.as_str()).collect();
    let rulesets = ["ruleset main", "ruleset new-tags", "ruleset release-branches", "ruleset tags"];
    assert_eq!(
        names,
        [&rulesets[..], &["environment infrastructure", "environment production", "CODEOWNERS"]].concat()
    );
    assert!(told.iter().all(|guard| guard.standing == Standing::InForce), "{told:?}");
}

#[test]
fn x7_doctor_says_which_guard_is_weaker_on_github_than_its_file_and_how() {
    let weaker = |what: &str, words: &str, change: &dyn Fn(&mut State)| {
        let github = GitHub::with_everything();
        github.change(change);
        github.lacks(what, words);
    };
    let ruleset = |state: &mut State, name: &str| state.rulesets.iter().position(|one| one["name"] == name).unwrap();
    weaker("ruleset main", r#"enforcement is "disabled" rather than "active""#, &|state| {
        let main = ruleset(state, "main");
        state.rulesets[main]["enforcement"] = json!("disabled");
    });
    weaker("ruleset main", "parameters.required_approving_review_count is 0 rather than 1", &|state| {
        let main = ruleset(state, "main");
        state.rulesets[main]["rules"][2]["parameters"]["required_approving_review_count"] = json!(0);
    });
    weaker("ruleset main", r#"required_status_checks has no {"context":"node""#, &|state| {
        let main = ruleset(state, "main");
        state.rulesets[main]["rules"][3]["parameters"]["required_status_checks"].as_array_mut().unwrap().pop();
    });
    weaker("ruleset tags", r#"rules has no "update""#, &|state| {
        let tags = ruleset(state, "tags");
        state.rulesets[tags]["rules"].as_array_mut().unwrap().pop();
    });
    weaker("ruleset tags", "bypass_actors has", &|state| {
        let tags = ruleset(state, "tags");
        state.rulesets[tags]["bypass_actors"] =
            json!([{"actor_id": 5, "actor_type": "RepositoryRole", "bypass_mode": "always"}]);
    });
    weaker("ruleset release-branches", "there is none of that name", &|state| {
        let branches = ruleset(state, "release branches");
        state.rulesets.remove(branches);
    });
    weaker("environment production", r#"refs has {"name":"main","type":"branch"}, too"#, &|state| {
        state.environments[1].1["refs"].as_array_mut().unwrap().push(json!({"name": "main", "type": "branch"}));
    });
    weaker("environment infrastructure", r#"reviewers has no "maintainers""#, &|state| {
        state.environments[0].1["reviewers"] = json!([]);
    });
    weaker("environment infrastructure", "there is none of that name", &|state| drop(state.environments.remove(0)));
    weaker("CODEOWNERS", "line 2: Unknown owner", &|state| {
        state.owners =
            vec![json!({"line": 2, "kind": "Unknown owner", "message": "Unknown owner: make sure the team exists"})];
    });
}

#[test]
fn x7_what_github_does_not_tell_is_unknown_and_says_why_and_is_never_taken_for_well() {
    let github = GitHub::with_everything();
    let unknown = |told: &[Guard], why: &str, remedy: &str| {
        let [Guard { standing: Standing::Unknown(said), remedies, .. }] = told else { panic!("{told:?}") };
        assert!(said.contains(why) && remedies.concat().contains(remedy), "{said}: {remedies:?}");
    };
    // A stranger sees rules, and not who may pass them.
    for guard in github.told(None) {
        match (guard.what.starts_with("ruleset "), &guard.standing) {
            (true, Standing::Unknown(why)) => {
                assert!(why.contains("who may bypass them is told only to those"), "{why}");
            }
            (false, Standing::InForce) => {}
            _ => panic!("{guard:?}"),
        }
    }
    let limit = Some(("x-ratelimit-remaining", "0"));
    for (refuses, token, why, remedy) in [
        ((403, limit, "API rate limit exceeded for 192.0.2.1."), None, "rate limit", "GH_TOKEN"),
        ((429, Some(("retry-after", "60")), "secondary rate limit"), Some("t"), "status 429", "in an hour"),
        (
            (403, None, "Resource not accessible by personal access token"),
            Some("t"),
            "not accessible",
            "administration",
        ),
        ((401, None, "Bad credentials"), Some("t"), "Bad credentials", "token"),
        ((404, None, "Not Found"), None, "no repository of that name", "GH_TOKEN"),
        ((502, None, "Server Error"), None, "status 502", "GH_TOKEN"),
    ] {
        github.change(|state| state.refuses = Some(refuses));
        unknown(&github.told(token), why, remedy);
    }
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let silent =
        look(&root(), home(HOME), &somebody(), &|name| (name == "GITHUB_API_URL").then(|| nowhere.clone())).unwrap();
    unknown(&silent, "GitHub does not answer", "the network");
    unknown(
        &look(&root(), home("https://example.com/x"), &somebody(), &|_| None).unwrap(),
        "none of GitHub's",
        "GITHUB_REPOSITORY",
    );
}

#[test]
fn where_nothing_is_promised_nobody_is_asked_and_a_file_that_is_no_json_is_named() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(look(folder.path(), home(HOME), &somebody(), &|_| panic!("nothing is to be asked")).unwrap(), []);
    std::fs::create_dir_all(folder.path().join(".github/rulesets")).unwrap();
    copy_tree(&root().join(".github/rulesets"), &folder.path().join(".github/rulesets"));
    std::fs::write(folder.path().join(".github/rulesets/tags.json"), "{").unwrap();
    let error = look(folder.path(), home(HOME), &somebody(), &|_| None).unwrap_err();
    assert!(error.what.ends_with("rulesets/tags.json is not JSON"), "{error}");
}

/// The names of a workflow's checks, but of those whose failure is no one else's.
fn checks(workflow: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join(".github/workflows").join(workflow)).unwrap();
    let workflow: Value = serde_yaml::from_str(&text).unwrap();
    let jobs = workflow["jobs"].as_object().unwrap().values().filter(|job| job["continue-on-error"] != true);
    let names = |job: &Value| match job["strategy"]["matrix"]["part"].as_array() {
        Some(parts) if job["name"] == "${{ matrix.part }}" => parts.clone(),
        _ => vec![job["name"].clone()],
    };
    jobs.flat_map(names).map(|name| name.as_str().unwrap().to_owned()).collect()
}

#[test]
fn branches_that_releases_are_made_from_want_a_review_and_every_check_of_ci() {
    for (name, ruleset) in files("rulesets").into_iter().filter(|(_, ruleset)| ruleset["target"] == "branch") {
        let rules = ruleset["rules"].as_array().unwrap();
        let rule = |kind: &str| rules.iter().find(|rule| rule["type"] == kind).unwrap()["parameters"].clone();
        let wanted = rule("required_status_checks")["required_status_checks"].as_array().unwrap().clone();
        let wanted: BTreeSet<String> =
            wanted.iter().map(|check| check["context"].as_str().unwrap().to_owned()).collect();
        assert_eq!(wanted, checks("ci.yml"), "{name}");
        let review = rule("pull_request");
        assert_eq!(
            (&review["required_approving_review_count"], &review["require_code_owner_review"]),
            (&json!(1), &json!(true))
        );
        assert_eq!((&ruleset["bypass_actors"], &ruleset["enforcement"]), (&json!([]), &json!("active")), "{name}");
        assert!(rules.iter().any(|rule| rule["type"] == "non_fast_forward"), "{name}");
    }
}

#[test]
fn the_guide_applies_every_file_and_every_variable_of_a_deployment_belongs_to_its_environment() {
    let guide = std::fs::read_to_string(root().join("docs/new-account.md")).unwrap();
    for words in [
        "for file in .github/rulesets/*.json",
        ".github/environments/$name.json",
        "for name in production infrastructure",
    ] {
        assert!(guide.contains(words), "`{words}` is not in the guide");
    }
    let environments: Vec<String> = files("environments").into_iter().map(|(name, _)| name).collect();
    assert_eq!(environments, ["infrastructure", "production"]);
    let workflow = std::fs::read_to_string(root().join(".github/workflows/deploy-infrastructure.yml")).unwrap();
    let told = workflow
        .split(['{', '}'])
        .filter_map(|part| part.trim().strip_prefix("vars.").or(part.trim().strip_prefix("secrets.")));
    let told: BTreeSet<&str> = told.filter(|name| name.starts_with("CHARTS_")).collect();
    assert!(told.len() > 5, "{told:?}");
    let step = guide.split("**Secrets and variables**").nth(1).unwrap().split("\n5. ").next().unwrap();
    for line in step.lines().filter(|line| line.contains("gh secret set") || line.contains("gh variable set")) {
        let is_of_environment = line.contains("--env infrastructure");
        assert!(
            is_of_environment || !line.contains("CHARTS_"),
            "whoever may change a repository's variable changes production: {line}"
        );
    }
    for owner in [".github/CODEOWNERS", "SECURITY.md"] {
        assert!(root().join(owner).is_file(), "{owner}");
    }
}

#[test]
fn x7_doctor_to_production_asks_github_and_fails_where_a_guard_is_not_in_force() {
    let Some(production) = crate::servers::Production::new() else { return };
    let folder = production.demo.root().join(".github");
    std::fs::create_dir_all(&folder).unwrap();
    copy_tree(&root().join(".github"), &folder);
    let github = GitHub::with_everything();
    let doctor = |token: &str| {
        let mut command = production.command(&["doctor", "--to", "production", "--json"]);
        command.env("GITHUB_API_URL", github.api.url()).env("GITHUB_REPOSITORY", REPOSITORY).env("GH_TOKEN", token);
        crate::support::Run::of(command)
    };
    let standing = |run: &crate::support::Run, what: &str| {
        let findings = run.json().as_array().unwrap().clone();
        findings.iter().find(|finding| finding["what"] == what).unwrap()["standing"].as_str().unwrap().to_owned()
    };
    assert_eq!(standing(&doctor(ADMINISTRATOR), "ruleset main"), "found");
    assert_eq!(standing(&doctor("somebody's"), "ruleset main"), "unknown");
    github.change(|state| state.rulesets.clear());
    let weak = doctor(ADMINISTRATOR);
    assert_eq!(standing(&weak, "ruleset main"), "missing");
    assert!(weak.code == Some(4) && weak.stderr.contains("ruleset main"), "{}", weak.stderr);
    assert_eq!(standing(&weak, "environment production"), "found");
}
