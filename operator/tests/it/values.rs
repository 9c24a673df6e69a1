//! The chart's values: what the README says of them, what the schema refuses, and what happens where they are missing.
//!
//! The README's table is made from `values.yaml`: `README_UPDATE=1` in the environment of its test writes it anew.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::helm::{self, Copy, Helm, Variant};
use crate::variants::{find, is_of_kubernetes, leaves};

const BEGIN: &str = "<!-- values -->\n";
const END: &str = "<!-- /values -->";
const VERSION: &str = "1.31.4";

#[test]
fn the_readmes_table_is_that_of_the_values() {
    let readme = helm::read("README.md");
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (_, after) = rest.split_once(END).unwrap();
    let expected = format!("{before}{BEGIN}{}{END}{after}", table());
    if std::env::var_os("README_UPDATE").is_some() {
        std::fs::write(helm::chart().join("README.md"), &expected).unwrap();
        return;
    }
    assert_eq!(
        readme, expected,
        "README_UPDATE=1 cargo test --package kube9-operator --test it -- readmes_table writes it"
    );
}

#[test]
fn every_value_is_explained_and_in_the_schema() {
    let documented = documented();
    for leaf in leaves(&helm::defaults()) {
        let is_explained = (1..=leaf.len()).any(|length| documented.iter().any(|(path, _)| path == &leaf[..length]));
        assert!(is_explained, "{} has no `# -- ` comment in values.yaml", leaf.join("."));
        let in_schema = (1..=leaf.len()).try_fold(schema(), |schema, length| {
            schema.get("properties").and_then(|properties| properties.get(&leaf[length - 1])).map(resolve)
        });
        // What is below quantities and labels is up to users.
        let is_open = leaf[0] == "resources" || is_of_kubernetes(&leaf);
        assert!(in_schema.is_some() || is_open, "{} is not in the schema", leaf.join("."));
    }
}

#[test]
fn the_schema_explains_every_value_and_knows_no_object_that_takes_anything() {
    check_schema("values", &schema());
}

/// What Kubernetes defines, and what belongs to others, is not ours to limit.
const OPEN: [&str; 14] = [
    "global",
    "aiConformance",
    "assessment",
    "events",
    "metrics",
    "prometheus",
    "trivy",
    "podSecurityContext",
    "securityContext",
    "valueFrom",
    "nodeAffinity",
    "podAffinity",
    "podAntiAffinity",
    "namespaceSelector",
];

fn check_schema(name: &str, schema: &Value) {
    for (key, value) in schema["properties"].as_object().into_iter().flatten() {
        let place = format!("{name}.{key}");
        let resolved = resolve(value);
        let description = [value, &resolved].into_iter().find_map(|schema| schema["description"].as_str());
        assert!(description.is_some_and(|text| text.len() > 5), "{place} has no description");
        let of_items = resolve(&resolved["items"]);
        for (place, schema) in [(place.clone(), &resolved), (format!("{place}[]"), &of_items)] {
            let is_object = schema["type"].to_string().contains("object");
            let is_limited = schema.get("additionalProperties").is_some();
            let is_open = OPEN.contains(&key.as_str()) || ["podSelector", "ipBlock", "claims"].contains(&key.as_str());
            let is_of_kubernetes = value["$ref"] == "#/definitions/objects";
            assert!(!is_object || is_limited || is_open || is_of_kubernetes, "{place} takes any key");
            check_schema(&place, schema);
        }
    }
}

#[test]
fn h4_a_misspelt_value_is_refused_by_its_name_wherever_it_stands() {
    let mut values = helm::defaults();
    let mut names = Vec::new();
    misspell(&mut values, "", &mut names);
    assert!(names.len() > 10, "{names:?}");
    for helm in Helm::all() {
        let refusal = helm.refusal(&helm::chart(), &values);
        for name in &names {
            assert!(refusal.contains(name), "{} does not complain about {name}: {refusal}", helm.name);
        }
    }
}

/// Adds a key that nobody knows to every object that has keys.
fn misspell(value: &mut Value, place: &str, names: &mut Vec<String>) {
    let Some(members) = value.as_object_mut().filter(|members| !members.is_empty()) else { return };
    members.iter_mut().for_each(|(key, value)| misspell(value, &format!("{place}{key}-"), names));
    // The names of resources are up to the cluster, and a name of its own shows in the message.
    let is_open = is_of_kubernetes(&[place.split('-').next().unwrap_or_default().to_owned()]);
    if !is_open && !["resources-requests-", "resources-limits-"].contains(&place) {
        names.push(format!("{place}typo"));
        members.insert(format!("{place}typo"), json!("x"));
    }
}

#[test]
fn h4_a_value_of_the_wrong_type_is_refused_by_its_name() {
    let mut values = Map::new();
    let paths: Vec<Vec<String>> =
        leaves(&helm::defaults()).into_iter().filter(|path| !is_of_kubernetes(path)).collect();
    for path in &paths {
        let default = helm::defaults();
        // Nothing takes a number with a fraction, and no quantity a list.
        let wrong = if path[0] == "resources" { json!([]) } else { json!(0.5) };
        let wrong = if find(&default, path) == Some(&json!(true)) { json!("yes") } else { wrong };
        put(&mut values, path, wrong);
    }
    for helm in Helm::all() {
        let refusal = helm.refusal(&helm::chart(), &Value::Object(values.clone()));
        for path in &paths {
            let is_named = [path.join("."), format!("/{}'", path.join("/"))].iter().any(|name| refusal.contains(name));
            assert!(is_named, "{} does not complain about {}: {refusal}", helm.name, path.join("."));
        }
    }
}

#[test]
fn h4_a_value_that_could_not_work_is_refused() {
    let refused = [
        (json!({"argocd": {"namspace": "gitops"}}), "namspace"),
        (json!({"argocd": {"api": {"baseUrl": "argocd.example"}}}), "baseUrl"),
        (json!({"argocd": {"api": {"timeoutMs": 999}}}), "timeoutMs"),
        (json!({"argocd": {"api": {"token": {"existingSecret": "a/b"}}}}), "existingSecret"),
        (json!({"replicas": 0}), "replicas"),
        (json!({"podDisruptionBudget": {"maxUnavailable": "half"}}), "maxUnavailable"),
        (json!({"podDisruptionBudget": {"minAvailable": "101%"}}), "minAvailable"),
        (json!({"serviceMonitor": {"interval": "30"}}), "interval"),
        (json!({"serviceMonitor": {"scrapeTimeout": "10 s"}}), "scrapeTimeout"),
        (json!({"networkPolicy": {"apiServerCIDRs": ["10.96.0.1"]}}), "apiServerCIDRs"),
        (json!({"networkPolicy": {"apiServerPorts": []}}), "apiServerPorts"),
        (json!({"networkPolicy": {"ingressFrom": [{"podSelektor": {}}]}}), "podSelektor"),
        (json!({"viewerRole": {"subjects": [{"kind": "Team", "name": "a"}]}}), "subjects"),
        (json!({"commonLabels": {"app.kubernetes.io/instance": "x"}}), "app.kubernetes.io/instance"),
        (json!({"commonLabels": {"team": 1}}), "team"),
        (json!({"podLabels": {"app.kubernetes.io/name": "x"}}), "app.kubernetes.io/name"),
        (json!({"extraEnv": [{"name": "LOG_LEVEL", "value": "debug"}]}), "extraEnv"),
        (json!({"tolerations": [{"efect": "NoSchedule"}]}), "efect"),
        (json!({"imagePullSecrets": ["registry"]}), "imagePullSecrets"),
        (json!({"eventStore": {"sizeLimitMegabytes": 15}}), "sizeLimitMegabytes"),
        (
            json!({"eventStore": {"sizeLimitMegabytes": 1024, "persistence": {"enabled": true}}}),
            "the claim needs 1127Mi",
        ),
        (json!({"eventStore": {"persistence": {"enabled": true, "size": "281Mi"}}}), "persistence.size is 281Mi"),
        (json!({"eventStore": {"persistence": {"enabled": true, "size": "295M"}}}), "sizeLimitMegabytes is 256"),
        (json!({"eventStore": {"persistence": {"size": "1gi"}}}), "size"),
        (json!({"global": {"imageRegistry": "https://registry.example"}}), "imageRegistry"),
        (json!({"replicas": 2, "eventStore": {"enabled": true, "persistence": {"enabled": true}}}), "replicas: 1"),
    ];
    for helm in Helm::all() {
        for (values, named) in &refused {
            let refusal = helm.refusal(&helm::chart(), values);
            assert!(refusal.contains(named), "{} {values}: {refusal}", helm.name);
        }
    }
}

#[test]
fn no_further_variable_can_be_one_that_the_chart_sets_itself() {
    let Some(helm) = Helm::usual() else { return };
    let mut ours = BTreeSet::from(["HEALTH_PORT".to_owned()]);
    for variant in Variant::all().into_iter().filter(|variant| variant.values.get("extraEnv").is_none()) {
        let rendered = helm.render(&helm::chart(), &variant, VERSION);
        let variables = rendered.one("Deployment")["spec"]["template"]["spec"]["containers"][0]["env"].clone();
        ours.extend(variables.as_array().unwrap().iter().map(|variable| variable["name"].as_str().unwrap().to_owned()));
    }
    let name = &schema()["properties"]["extraEnv"]["items"]["properties"]["name"];
    let refused: Vec<&str> = name["not"]["enum"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(refused, ours.iter().collect::<Vec<_>>());
}

/// An upgrade with `--reuse-values` brings the defaults of the chart before instead of those of this one, whatever it lacks.
#[test]
fn h4_values_that_an_older_chart_did_not_have_are_as_if_they_had_their_defaults() {
    let nothing = json!({});
    let keys = helm::defaults().as_object().unwrap().clone().into_iter();
    let has_parts = |key: &str, value: &Value| value.is_object() && !is_of_kubernetes(&[key.to_owned()]);
    let hollow: Map<String, Value> =
        keys.filter(|(key, value)| has_parts(key, value)).map(|(key, _)| (key, json!({}))).collect();
    for helm in Helm::all() {
        let plain = |values: &Value| {
            let copy = Copy::new();
            copy.write("values.yaml", &values.to_string());
            let variant = Variant { values: json!({}), ..Variant::all().remove(0) };
            helm.render(copy.path(), &variant, VERSION)
        };
        let mut expected = plain(&helm::defaults());
        expected.0.iter_mut().for_each(remove_open);
        for values in [&nothing, &Value::Object(hollow.clone())] {
            let mut rendered = plain(values);
            let on_linux =
                |object: &&Value| object.to_string().contains(r#""nodeSelector":{"kubernetes.io/os":"linux"}"#);
            assert_eq!(rendered.0.iter().filter(on_linux).count(), 2, "{} {values}", helm.name);
            rendered.0.iter_mut().for_each(remove_open);
            assert_eq!(rendered.0, expected.0, "{} {values}", helm.name);
        }
    }
}

/// Whoever had no resources goes on without, and what nobody says is left to the operator.
fn remove_open(object: &mut Value) {
    let spec = if object["kind"] == "Deployment" { "/spec/template/spec" } else { "/spec" };
    let Some(container) = object.pointer_mut(&format!("{spec}/containers/0")) else { return };
    container.as_object_mut().unwrap().remove("resources");
    let settings = operators_defaults();
    let variables = container["env"].as_array_mut().unwrap();
    variables.retain(|variable| {
        let name = variable["name"].as_str().unwrap();
        !settings.iter().any(|(setting, default)| setting == name && variable["value"] == **default)
    });
}

/// A user reads `values.yaml`; the operator would do the same if the chart said nothing.
#[test]
fn a_default_of_the_chart_is_the_operators_own() {
    let Some(helm) = Helm::usual() else { return };
    let rendered = helm.render(&helm::chart(), &Variant::all()[0], VERSION);
    let operators = operators_defaults();
    let mut compared = 0;
    for (name, value) in rendered.environment() {
        // This one is the chart's own decision: it brings a volume.
        let own = operators.iter().find(|(setting, _)| *setting == name && name != "EVENT_STORE");
        if let Some((_, default)) = own {
            assert_eq!(value, *default, "{name}: values.yaml and the operator's README disagree");
            compared += 1;
        }
    }
    assert!(compared > 10, "{operators:?}");
}

/// The table of the operator's README, which a test of its own holds against the code.
fn operators_defaults() -> Vec<(String, String)> {
    let readme = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/README.md")).unwrap();
    let cell = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let rows = readme.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix('|')?.split_once('`'));
    rows.map(|(name, rest)| (name.to_owned(), cell(rest.rsplit('|').next().unwrap_or_default()))).collect()
}

/// The keys of a value that has a comment, and the comment.
fn documented() -> Vec<(Vec<String>, String)> {
    let text = helm::read("values.yaml");
    let mut found = Vec::new();
    let mut path: Vec<String> = Vec::new();
    let mut comment: Option<String> = None;
    for line in text.lines() {
        let content = line.trim_start();
        let depth = (line.len() - content.len()) / 2;
        if let Some(start) = content.strip_prefix("# -- ") {
            comment = Some(start.to_owned());
        } else if let (Some(more), Some(comment)) = (content.strip_prefix("# "), &mut comment) {
            comment.push_str(&format!(" {more}"));
        } else if let Some((key, _)) = content.split_once(':').filter(|(key, _)| !key.starts_with(['#', '-'])) {
            path.truncate(depth);
            path.push(key.to_owned());
            found.extend(comment.take().map(|comment| (path.clone(), comment)));
        }
    }
    found
}

fn table() -> String {
    let defaults = helm::defaults();
    let mut rows: Vec<String> = documented()
        .into_iter()
        .map(|(path, comment)| {
            let default = find(&defaults, &path).unwrap();
            format!("| `{}` | {} | `{default}` | {comment} |\n", path.join("."), kind(default, &path))
        })
        .collect();
    rows.sort();
    format!("| Key | Type | Default | Description |\n|-----|------|---------|-------------|\n{}", rows.concat())
}

/// As others' charts call it; where the default does not tell, the schema does.
fn kind(default: &Value, path: &[String]) -> String {
    let named = |name: &str| {
        match name {
            "boolean" => "bool",
            "integer" => "int",
            "array" => "list",
            other => other,
        }
        .to_owned()
    };
    let types = path.iter().try_fold(schema(), |schema, key| Some(resolve(schema["properties"].get(key)?)));
    match default {
        Value::Null => {
            let types = types.unwrap()["type"].clone();
            let types = types.as_array().unwrap().iter().filter_map(Value::as_str).filter(|name| *name != "null");
            types.map(named).collect::<Vec<_>>().join(" or ")
        }
        Value::Bool(_) => "bool".to_owned(),
        Value::Number(_) => "int".to_owned(),
        Value::String(_) => "string".to_owned(),
        Value::Array(_) => "list".to_owned(),
        Value::Object(_) => "object".to_owned(),
    }
}

fn schema() -> Value {
    serde_json::from_str(&helm::read("values.schema.json")).unwrap()
}

/// A part of the schema, or the definition that it names.
fn resolve(part: &Value) -> Value {
    match part["$ref"].as_str() {
        Some(name) => schema().pointer(name.strip_prefix('#').unwrap()).unwrap().clone(),
        None => part.clone(),
    }
}

fn put(values: &mut Map<String, Value>, path: &[String], value: Value) {
    match path {
        [key] => drop(values.insert(key.clone(), value)),
        [key, rest @ ..] => {
            let below = values.entry(key.clone()).or_insert_with(|| json!({}));
            put(below.as_object_mut().unwrap(), rest, value);
        }
        [] => {}
    }
}
