//! CloudFormation as AWS describes it: a fake before a fake, for moto knows neither events of resources, nor rollbacks, nor most of the
//! infrastructure's types.
//!
//! Templates become real where a release needs that: buckets are made on versitygw, a distribution by moto's CloudFront. Everything else
//! is only kept. It shows what a deployment depends on: states, events, outputs, creations and updates that fail and go back, and that
//! take their time. It checks no template, replaces nothing, and does not apply bucket policies: those are evaluated by tests beside the
//! infrastructure itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use super::edge::decoded;
use super::fault::Dialect;
use super::moto::Moto;
use super::proxy::{Answer, Asked, Proxy, Way};
use super::versitygw::Versitygw;
use crate::support::free_port;

pub const ACCOUNT: &str = "123456789012";
/// Those of which there is a name in one place of the world only.
const BUCKET: &str = "AWS::S3::Bucket";
const DISTRIBUTION: &str = "AWS::CloudFront::Distribution";

/// A running fake; what is not for CloudFormation goes to moto.
pub struct CloudFormation {
    /// Faults are injected here, for every service of AWS but S3.
    pub proxy: Proxy,
    state: Arc<Mutex<State>>,
}

struct State {
    moto: Arc<Moto>,
    store: Arc<Versitygw>,
    stacks: BTreeMap<String, Stack>,
    /// Reasons by logical id or type.
    failing: BTreeMap<String, String>,
    takes: Duration,
    events: usize,
}

#[derive(Clone, Default)]
struct Stack {
    status: String,
    template: String,
    /// By logical id.
    made: BTreeMap<String, Made>,
    events: Vec<Event>,
    /// What is under way, and until when.
    under_way: Option<(Instant, Work)>,
}

#[derive(Clone)]
struct Made {
    kind: String,
    physical: String,
    policy: String,
}

#[derive(Clone)]
struct Event {
    id: usize,
    resource: String,
    kind: String,
    status: String,
    reason: String,
    time: jiff::Timestamp,
}

#[derive(Clone)]
enum Work {
    Create,
    Update(String),
    Delete,
}

impl CloudFormation {
    pub fn before(moto: &Arc<Moto>, store: &Arc<Versitygw>) -> Self {
        let state = State {
            moto: Arc::clone(moto),
            store: Arc::clone(store),
            stacks: BTreeMap::new(),
            failing: BTreeMap::new(),
            takes: Duration::ZERO,
            events: 0,
        };
        let (state, port) = (Arc::new(Mutex::new(state)), moto.port);
        let shared = Arc::clone(&state);
        let route = move |asked: &mut Asked| {
            let ours = asked.header("authorization").is_some_and(|signed| signed.contains("/cloudformation/"));
            if ours { Way::Here(shared.lock().unwrap().answer(asked)) } else { Way::To(port) }
        };
        CloudFormation { proxy: Proxy::with(free_port(), Dialect::Aws, route, |_, answer| answer), state }
    }

    /// From now on resources of that type or logical id cannot be made or changed.
    pub fn fail(&self, what: &str, reason: &str) {
        self.state.lock().unwrap().failing.insert(what.into(), reason.into());
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.state.lock().unwrap().failing.clear();
    }

    /// From now on everything takes that long, what is under way included.
    pub fn slow_down(&self, takes: Duration) {
        let mut state = self.state.lock().unwrap();
        state.takes = takes;
        for stack in state.stacks.values_mut() {
            stack.under_way = stack.under_way.take().map(|(_, work)| (Instant::now() + takes, work));
        }
    }

    /// Puts a stack into a state, whatever it was in.
    pub fn put_in(&self, stack: &str, status: &str) {
        self.state.lock().unwrap().stacks.entry(stack.into()).or_default().status = status.into();
    }

    /// The state of a stack, if there is one.
    pub fn status(&self, stack: &str) -> Option<String> {
        let mut state = self.state.lock().unwrap();
        state.go_on();
        state.stacks.get(stack).map(|stack| stack.status.clone())
    }

    /// The template that is deployed.
    pub fn template(&self, stack: &str) -> Value {
        parsed(&self.state.lock().unwrap().stacks[stack].template)
    }

    /// How often a stack was created, updated or deleted, or tried to be.
    pub fn writes(&self) -> usize {
        self.state.lock().unwrap().events
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.go_on();
        let form = form(&asked.body);
        let action = form.get("Action").map_or("", String::as_str);
        let name = form.get("StackName").map_or("", String::as_str);
        // Stacks are asked for by their ids, too.
        let name = name.split('/').nth(1).unwrap_or(name).to_owned();
        let template = form.get("TemplateBody").cloned().unwrap_or_default();
        let result = match action {
            "CreateStack" => self.create(&name, template),
            "UpdateStack" => self.update(&name, template),
            "DeleteStack" => self.delete(&name),
            "ContinueUpdateRollback" => self.resume(&name),
            "DescribeStacks" => self.known(&name).map(|stack| described(&name, stack)),
            "DescribeStackEvents" => self.known(&name).map(|stack| events(&name, stack)),
            "GetTemplate" => self.known(&name).map(|stack| element("TemplateBody", &escaped(&stack.template))),
            _ => Err(("InvalidAction", format!("the fake does not know {action}"))),
        };
        match result {
            Ok(body) => {
                let body = format!("<{action}Response><{action}Result>{body}</{action}Result></{action}Response>");
                Answer::new(200, "text/xml", body)
            }
            Err((code, message)) => {
                let (code, message) = (element("Code", code), element("Message", &escaped(&message)));
                let body = format!("<ErrorResponse><Error><Type>Sender</Type>{code}{message}</Error></ErrorResponse>");
                Answer::new(400, "text/xml", body)
            }
        }
    }

    fn known(&self, name: &str) -> Result<&Stack, (&'static str, String)> {
        self.stacks.get(name).ok_or_else(|| ("ValidationError", format!("Stack with id {name} does not exist")))
    }

    fn create(&mut self, name: &str, template: String) -> Result<String, (&'static str, String)> {
        if self.stacks.contains_key(name) {
            return Err(("AlreadyExistsException", format!("Stack [{name}] already exists")));
        }
        self.stacks.insert(name.into(), Stack { template, ..Stack::default() });
        self.begin(name, "CREATE_IN_PROGRESS", Work::Create);
        Ok(element("StackId", &id(name)))
    }

    fn update(&mut self, name: &str, template: String) -> Result<String, (&'static str, String)> {
        let stack = self.known(name)?;
        let ready = stack.status.ends_with("_COMPLETE") && stack.status != "ROLLBACK_COMPLETE";
        if !ready {
            let message = format!("Stack:{} is in {} state and can not be updated.", id(name), stack.status);
            return Err(("ValidationError", message));
        }
        if parsed(&stack.template) == parsed(&template) {
            return Err(("ValidationError", "No updates are to be performed.".into()));
        }
        self.begin(name, "UPDATE_IN_PROGRESS", Work::Update(template));
        Ok(element("StackId", &id(name)))
    }

    fn delete(&mut self, name: &str) -> Result<String, (&'static str, String)> {
        if self.stacks.contains_key(name) {
            self.begin(name, "DELETE_IN_PROGRESS", Work::Delete);
        }
        Ok(String::new())
    }

    fn resume(&mut self, name: &str) -> Result<String, (&'static str, String)> {
        if self.known(name)?.status != "UPDATE_ROLLBACK_FAILED" {
            return Err(("ValidationError", "there is nothing to continue".into()));
        }
        self.note(name, name, "AWS::CloudFormation::Stack", "UPDATE_ROLLBACK_COMPLETE", "");
        Ok(String::new())
    }

    fn begin(&mut self, name: &str, status: &str, work: Work) {
        self.note(name, name, "AWS::CloudFormation::Stack", status, "User Initiated");
        let ready = Instant::now() + self.takes;
        self.stacks.get_mut(name).unwrap().under_way = Some((ready, work));
        self.go_on();
    }

    /// Ends what has had its time.
    fn go_on(&mut self) {
        let now = Instant::now();
        let done: Vec<(String, Work)> = self
            .stacks
            .iter_mut()
            .filter_map(|(name, stack)| {
                stack.under_way.take_if(|(ready, _)| *ready <= now).map(|(_, work)| (name.clone(), work))
            })
            .collect();
        for (name, work) in done {
            match work {
                Work::Create => self.finish_creation(&name),
                Work::Update(template) => self.finish_update(&name, template),
                Work::Delete => self.finish_deletion(&name),
            }
        }
    }

    fn finish_creation(&mut self, name: &str) {
        let resources = resources(&self.stacks[name].template);
        if self.make(name, &resources, "CREATE") {
            return self.note(name, name, "AWS::CloudFormation::Stack", "CREATE_COMPLETE", "");
        }
        self.note(name, name, "AWS::CloudFormation::Stack", "ROLLBACK_IN_PROGRESS", "a resource failed to create");
        let made = std::mem::take(&mut self.stacks.get_mut(name).unwrap().made);
        for (resource, made) in made {
            self.take_away(name, &resource, &made, made.policy == "Retain");
        }
        self.note(name, name, "AWS::CloudFormation::Stack", "ROLLBACK_COMPLETE", "");
    }

    fn finish_update(&mut self, name: &str, template: String) {
        let before = self.stacks[name].clone();
        let (old, new) = (resources(&before.template), resources(&template));
        let differs: Map<String, Value> = new
            .iter()
            .filter(|(id, resource)| old.get(*id) != Some(*resource))
            .map(|(id, one)| (id.clone(), one.clone()))
            .collect();
        if !self.make(name, &differs, "UPDATE") {
            self.note(
                name,
                name,
                "AWS::CloudFormation::Stack",
                "UPDATE_ROLLBACK_IN_PROGRESS",
                "a resource failed to update",
            );
            let made = self.stacks[name].made.clone();
            for (resource, made) in made.iter().filter(|(resource, _)| !before.made.contains_key(*resource)) {
                self.take_away(name, resource, made, false);
            }
            self.stacks.get_mut(name).unwrap().made = before.made;
            return self.note(name, name, "AWS::CloudFormation::Stack", "UPDATE_ROLLBACK_COMPLETE", "");
        }
        for (resource, made) in before.made.iter().filter(|(resource, _)| !new.contains_key(*resource)) {
            self.take_away(name, resource, made, made.policy.starts_with("Retain"));
            self.stacks.get_mut(name).unwrap().made.remove(resource);
        }
        self.stacks.get_mut(name).unwrap().template = template;
        self.note(name, name, "AWS::CloudFormation::Stack", "UPDATE_COMPLETE", "");
    }

    fn finish_deletion(&mut self, name: &str) {
        let stack = self.stacks.remove(name).unwrap();
        for (resource, made) in &stack.made {
            let stays = made.policy.starts_with("Retain");
            if !stays && made.kind == BUCKET {
                self.remove_bucket(&made.physical);
            }
            let _ = resource;
        }
    }

    /// Makes or changes resources, and says whether all went well.
    fn make(&mut self, name: &str, resources: &Map<String, Value>, verb: &str) -> bool {
        for (resource, wanted) in resources {
            let kind = wanted["Type"].as_str().unwrap().to_owned();
            let verb = if self.stacks[name].made.contains_key(resource) { verb } else { "CREATE" };
            self.note(name, resource, &kind, &format!("{verb}_IN_PROGRESS"), "");
            let reason = self.failing.get(resource).or_else(|| self.failing.get(&kind)).cloned();
            let made = reason.map_or_else(|| self.make_one(name, resource, wanted), Err);
            match made {
                Ok(physical) => {
                    let policy = wanted["DeletionPolicy"].as_str().unwrap_or("Delete").to_owned();
                    let made = Made { kind: kind.clone(), physical, policy };
                    self.stacks.get_mut(name).unwrap().made.insert(resource.clone(), made);
                    self.note(name, resource, &kind, &format!("{verb}_COMPLETE"), "");
                }
                Err(reason) => {
                    self.note(name, resource, &kind, &format!("{verb}_FAILED"), &reason);
                    // As AWS has it: what was under way beside it is given up.
                    self.note(
                        name,
                        "Beside",
                        "AWS::IAM::Role",
                        &format!("{verb}_FAILED"),
                        "Resource creation cancelled",
                    );
                    return false;
                }
            }
        }
        true
    }

    fn make_one(&mut self, name: &str, resource: &str, wanted: &Value) -> Result<String, String> {
        let known = self.stacks[name].made.get(resource).map(|made| made.physical.clone());
        let properties = &wanted["Properties"];
        match (wanted["Type"].as_str().unwrap(), known) {
            (_, Some(physical)) => Ok(physical),
            (BUCKET, None) => {
                let bucket = properties["BucketName"].as_str().unwrap();
                let there = self.store.ask("HEAD", &format!("/{bucket}"), "", b"").send().unwrap().status == 200;
                if there {
                    return Err(format!("{bucket} already exists"));
                }
                self.store.make_bucket(bucket);
                Ok(bucket.into())
            }
            (DISTRIBUTION, None) => Ok(self.moto.make_distribution()),
            ("AWS::IAM::Role", None) => Ok(properties["RoleName"].as_str().unwrap_or(resource).into()),
            (_, None) => Ok(resource.into()),
        }
    }

    fn take_away(&mut self, name: &str, resource: &str, made: &Made, stays: bool) {
        if !stays && made.kind == BUCKET {
            self.remove_bucket(&made.physical);
        }
        let status = if stays { "DELETE_SKIPPED" } else { "DELETE_COMPLETE" };
        self.note(name, resource, &made.kind, status, "");
    }

    fn remove_bucket(&self, bucket: &str) {
        self.store.ask("DELETE", &format!("/{bucket}"), "", b"").send().unwrap().is(204);
    }

    fn note(&mut self, name: &str, resource: &str, kind: &str, status: &str, reason: &str) {
        self.events += 1;
        let stack = self.stacks.get_mut(name).unwrap();
        if kind == "AWS::CloudFormation::Stack" {
            stack.status = status.into();
        }
        let (resource, kind, status, reason) = (resource.into(), kind.into(), status.into(), reason.into());
        let time = jiff::Timestamp::now();
        stack.events.push(Event { id: self.events, resource, kind, status, reason, time });
    }
}

fn described(name: &str, stack: &Stack) -> String {
    let empty = ["ROLLBACK_COMPLETE", "REVIEW_IN_PROGRESS", "CREATE_IN_PROGRESS"].contains(&stack.status.as_str());
    let template = parsed(&stack.template);
    let outputs = template["Outputs"].as_object().filter(|_| !empty).into_iter().flatten().map(|(key, output)| {
        let value = resolved(&output["Value"], stack);
        element("member", &(element("OutputKey", key) + &element("OutputValue", &escaped(&value))))
    });
    let outputs = element("Outputs", &outputs.collect::<String>());
    let fields = [
        ("StackId", id(name)),
        ("StackName", name.into()),
        ("StackStatus", stack.status.clone()),
        ("CreationTime", TIME.into()),
    ];
    let fields: String = fields.iter().map(|(name, value)| element(name, value)).collect();
    element("Stacks", &element("member", &(fields + &outputs)))
}

const TIME: &str = "2026-01-01T00:00:00Z";

/// Newest first.
fn events(name: &str, stack: &Stack) -> String {
    let event = |event: &Event| {
        let fields = [
            ("StackId", id(name)),
            ("EventId", event.id.to_string()),
            ("StackName", name.into()),
            ("LogicalResourceId", event.resource.clone()),
            ("PhysicalResourceId", if event.resource == name { id(name) } else { event.resource.clone() }),
            ("ResourceType", event.kind.clone()),
            ("Timestamp", event.time.to_string()),
            ("ResourceStatus", event.status.clone()),
            ("ResourceStatusReason", event.reason.clone()),
        ];
        let given = fields.iter().filter(|(_, value)| !value.is_empty());
        element("member", &given.map(|(name, value)| element(name, &escaped(value))).collect::<String>())
    };
    element("StackEvents", &stack.events.iter().rev().map(event).collect::<String>())
}

/// What the infrastructure's outputs are made of.
fn resolved(value: &Value, stack: &Stack) -> String {
    let physical =
        |resource: &Value| stack.made.get(resource.as_str().unwrap()).map_or("gone", |made| &made.physical).to_owned();
    if let Some(text) = value.as_str() {
        return text.into();
    }
    if value["Ref"].is_string() {
        return physical(&value["Ref"]);
    }
    let [resource, attribute] = &value["Fn::GetAtt"].as_array().unwrap()[..] else { panic!("{value}") };
    let (name, kind) = (physical(resource), stack.made.get(resource.as_str().unwrap()).map_or("", |made| &made.kind));
    match (kind, attribute.as_str().unwrap()) {
        (BUCKET, "Arn") => format!("arn:aws:s3:::{name}"),
        ("AWS::IAM::Role", "Arn") => format!("arn:aws:iam::{ACCOUNT}:role/{name}"),
        (DISTRIBUTION, "DomainName") => format!("{}.cloudfront.invalid", name.to_lowercase()),
        (kind, attribute) => format!("{attribute} of {kind}"),
    }
}

fn resources(template: &str) -> Map<String, Value> {
    parsed(template)["Resources"].as_object().cloned().unwrap_or_default()
}

/// The CDK CLI sends YAML.
fn parsed(template: &str) -> Value {
    serde_yaml::from_str(template).unwrap()
}

fn id(name: &str) -> String {
    format!("arn:aws:cloudformation:us-east-1:{ACCOUNT}:stack/{name}/1")
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body).replace('+', " ");
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), decoded(value)))
        .collect()
}

fn element(name: &str, content: &str) -> String {
    format!("<{name}>{content}</{name}>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
