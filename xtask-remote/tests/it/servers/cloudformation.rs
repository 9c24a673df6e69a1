//! CloudFormation as AWS describes it: a fake before a fake, for moto knows neither events of resources, nor rollbacks, nor most of the
//! infrastructure's types.
//!
//! Everything that it says of a stack comes from the template that was sent, and what AWS would not begin with is refused. Templates become
//! real where a release needs that: buckets are made on versitygw, and a distribution by moto's CloudFront, with the template's own
//! configuration. Everything else is only kept. It shows what a deployment depends on: states, events, outputs, the order of resources,
//! creations and updates that fail and go back, and that take their time. It replaces nothing (what would be is refused), and does not apply
//! bucket policies: those are evaluated by tests beside the infrastructure itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::edge::decoded;
use super::fault::Dialect;
use super::moto::Moto;
use super::proxy::{Answer, Asked, Proxy, Way};
use super::versitygw::{REGION, Versitygw};
use crate::support::free_port;
use change_set::ChangeSet;
use made::{Made, Maker};
use template::{Refusal, Template, World, invalid};

mod change_set;
mod made;
mod template;

const STACK: &str = "AWS::CloudFormation::Stack";
/// CloudFormation's user guide, "Stack status codes": what an update can begin at.
const UPDATABLE: [&str; 5] =
    ["CREATE_COMPLETE", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE"];
/// What can be deleted although something is under way.
const DELETABLE: [&str; 3] = ["CREATE_IN_PROGRESS", "DELETE_IN_PROGRESS", "REVIEW_IN_PROGRESS"];

/// A running fake; what is not for CloudFormation goes to moto.
pub struct CloudFormation {
    /// Faults are injected here, for every service of AWS but S3.
    pub proxy: Proxy,
    state: Arc<Mutex<State>>,
}

struct State {
    maker: Maker,
    stacks: BTreeMap<String, Stack>,
    /// Reasons by logical id or type.
    failing: BTreeMap<String, String>,
    takes: Duration,
    events: usize,
    asked: Vec<Asked>,
    /// The one stack that the caller may look at, where there is only one.
    allowed: Option<String>,
}

#[derive(Clone, Default)]
struct Stack {
    id: String,
    status: String,
    template: Template,
    /// By logical id.
    made: BTreeMap<String, Made>,
    outputs: Vec<(String, String)>,
    events: Vec<Event>,
    /// What is under way, and until when.
    under_way: Option<(Instant, Work)>,
    change_sets: BTreeMap<String, ChangeSet>,
}

/// What happened to a resource, or to the stack.
#[derive(Clone)]
pub struct Event {
    id: usize,
    /// A logical id.
    pub resource: String,
    pub kind: String,
    pub status: String,
    pub reason: String,
    time: jiff::Timestamp,
}

#[derive(Clone)]
enum Work {
    Create,
    Update(Template),
    GoBack,
    Delete,
}

impl CloudFormation {
    pub fn before(moto: &Moto, store: &Arc<Versitygw>) -> Self {
        let state = State {
            maker: Maker { moto: moto.clone(), store: Arc::clone(store) },
            stacks: BTreeMap::new(),
            failing: BTreeMap::new(),
            takes: Duration::ZERO,
            events: 0,
            asked: Vec::new(),
            allowed: None,
        };
        let (state, moto) = (Arc::new(Mutex::new(state)), moto.clone());
        let shared = Arc::clone(&state);
        let route = move |asked: &mut Asked| {
            shared.lock().unwrap().asked.push(asked.clone());
            moto.claim(asked);
            let ours = asked.header("authorization").is_some_and(|signed| signed.contains("/cloudformation/"));
            if ours { Way::Here(shared.lock().unwrap().answer(asked)) } else { Way::To(moto.port) }
        };
        CloudFormation { proxy: Proxy::with(free_port(), Dialect::Aws, route, |_, answer| answer), state }
    }

    /// From now on resources of that type or logical id cannot be made or changed.
    pub fn fail(&self, what: &str, reason: &str) {
        self.state.lock().unwrap().failing.insert(what.into(), reason.into());
    }

    /// From now on the caller has rights on that stack alone.
    pub fn allow_only(&self, stack: &str) {
        self.state.lock().unwrap().allowed = Some(stack.into());
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
        let mut state = self.state.lock().unwrap();
        let id = state.new_id(stack);
        let stack = state.stacks.entry(stack.into()).or_insert_with(|| Stack { id, ..Stack::default() });
        stack.status = status.into();
    }

    /// The state of a stack, if there is one.
    pub fn status(&self, stack: &str) -> Option<String> {
        let mut state = self.state.lock().unwrap();
        state.go_on();
        state.stacks.get(stack).map(|stack| stack.status.clone())
    }

    /// The template that is deployed.
    pub fn template(&self, stack: &str) -> Value {
        self.state.lock().unwrap().stacks[stack].template.value().clone()
    }

    /// All that happened to a stack, the oldest first.
    pub fn events(&self, stack: &str) -> Vec<Event> {
        self.state.lock().unwrap().stacks[stack].events.clone()
    }

    /// Every request so far, in order, those for other services, too.
    pub fn asked(&self) -> Vec<Asked> {
        self.state.lock().unwrap().asked.clone()
    }

    /// The names of a stack's change sets.
    pub fn change_sets(&self, stack: &str) -> Vec<String> {
        self.state.lock().unwrap().stacks[stack].change_sets.keys().cloned().collect()
    }

    /// How often a stack was created, updated or deleted, or tried to be.
    pub fn writes(&self) -> usize {
        self.state.lock().unwrap().events
    }
}

/// A request's fields by their names.
type Form = BTreeMap<String, String>;

impl State {
    fn answer(&mut self, asked: &Asked) -> Answer {
        self.go_on();
        let form = form(&asked.body);
        let action = form.get("Action").map_or("", String::as_str);
        match self.act(action, &form) {
            Ok(body) => {
                let body = format!("<{action}Response><{action}Result>{body}</{action}Result></{action}Response>");
                Answer::new(200, "text/xml", body)
            }
            Err((code, message)) => {
                let status = if code == "AccessDenied" { 403 } else { 400 };
                let (code, message) = (element("Code", code), element("Message", &escaped(&message)));
                let body = format!("<ErrorResponse><Error><Type>Sender</Type>{code}{message}</Error></ErrorResponse>");
                Answer::new(status, "text/xml", body)
            }
        }
    }

    fn act(&mut self, action: &str, form: &Form) -> Result<String, Refusal> {
        let name = form.get("StackName").map_or("", String::as_str);
        // Stacks are asked for by their ids, too.
        let name = name.split('/').nth(1).unwrap_or(name);
        if self.allowed.as_ref().is_some_and(|allowed| allowed != name) {
            let who = format!("arn:aws:sts::{}:assumed-role/somebody/session", self.maker.moto.account);
            return Err(("AccessDenied", format!("User: {who} is not authorized to perform: cloudformation:{action}")));
        }
        let absent = |words: &str| invalid(words.replace("{}", name));
        match action {
            "CreateStack" => self.create(name, form),
            "UpdateStack" => self.update(name, form),
            "DeleteStack" => self.delete(name),
            "ContinueUpdateRollback" => self.resume(name),
            "CreateChangeSet" => self.create_change_set(name, form),
            "DescribeChangeSet" => self.change_set(name, form).map(ChangeSet::told),
            "DeleteChangeSet" => self.delete_change_set(name, form),
            "DescribeStacks" => self.known(name).map(described).ok_or(absent("Stack with id {} does not exist")),
            "DescribeStackEvents" => self.known(name).map(happened).ok_or(absent("Stack [{}] does not exist")),
            "GetTemplate" => {
                let text = |stack: &Stack| element("TemplateBody", &escaped(&stack.template.text));
                self.known(name).map(text).ok_or(absent("Stack with id {} does not exist"))
            }
            _ => Err(("InvalidAction", format!("the fake does not know {action}"))),
        }
    }

    fn known(&self, name: &str) -> Option<&Stack> {
        self.stacks.get(name)
    }

    fn create(&mut self, name: &str, form: &Form) -> Result<String, Refusal> {
        let template = wanted(form, &[])?;
        if self.stacks.contains_key(name) {
            return Err(("AlreadyExistsException", format!("Stack [{name}] already exists")));
        }
        let id = self.new_id(name);
        self.stacks.insert(name.into(), Stack { id: id.clone(), template, ..Stack::default() });
        self.begin(name, "CREATE_IN_PROGRESS", Work::Create);
        Ok(element("StackId", &id))
    }

    fn update(&mut self, name: &str, form: &Form) -> Result<String, Refusal> {
        let template = wanted(form, &[])?;
        let Some(stack) = self.stacks.get(name) else {
            return Err(invalid(format!("Stack [{name}] does not exist")));
        };
        let id = stack.id.clone();
        if !UPDATABLE.contains(&stack.status.as_str()) {
            return Err(invalid(format!("Stack:{id} is in {} state and can not be updated.", stack.status)));
        }
        if stack.template.value() == template.value() {
            return Err(invalid("No updates are to be performed."));
        }
        let other = template.other_types(&stack.template);
        if !other.is_empty() {
            return Err(invalid(change_set::other_types(&other)));
        }
        self.stacks.get_mut(name).unwrap().change_sets.values_mut().for_each(|made| made.obsolete = true);
        self.begin(name, "UPDATE_IN_PROGRESS", Work::Update(template));
        Ok(element("StackId", &id))
    }

    /// Only of a stack that could be updated: nothing here makes a stack by a change set.
    fn create_change_set(&mut self, name: &str, form: &Form) -> Result<String, Refusal> {
        let change_set = change_set::name(form)?;
        if form.get("ChangeSetType").is_some_and(|kind| kind != "UPDATE") {
            return Err(("InvalidAction", "the fake only knows change sets of the type UPDATE".into()));
        }
        let template = wanted(form, &["ChangeSetName", "ChangeSetType"])?;
        let Some(stack) = self.stacks.get_mut(name) else {
            return Err(invalid(format!("Stack [{name}] does not exist")));
        };
        let id = stack.id.clone();
        if !UPDATABLE.contains(&stack.status.as_str()) {
            return Err(invalid(format!("Stack:{id} is in {} state and can not be updated.", stack.status)));
        }
        if stack.change_sets.contains_key(&change_set) {
            return Err((
                "AlreadyExistsException",
                format!("ChangeSet {change_set} cannot be created due to a mismatch with existing attribute Template"),
            ));
        }
        let made = ChangeSet::of(&change_set, &id, &stack.template, &template);
        let told = element("Id", &made.id) + &element("StackId", &id);
        stack.change_sets.insert(change_set, made);
        Ok(told)
    }

    fn change_set(&mut self, name: &str, form: &Form) -> Result<&mut ChangeSet, Refusal> {
        let change_set = change_set::name(form)?;
        let Some(stack) = self.stacks.get_mut(name) else {
            return Err(invalid(format!("Stack [{name}] does not exist")));
        };
        let missing = ("ChangeSetNotFound", format!("ChangeSet [{change_set}] does not exist"));
        stack.change_sets.get_mut(&change_set).ok_or(missing)
    }

    /// One that is not there is deleted already.
    fn delete_change_set(&mut self, name: &str, form: &Form) -> Result<String, Refusal> {
        let change_set = change_set::name(form)?;
        let Some(stack) = self.stacks.get_mut(name) else {
            return Err(invalid(format!("Stack [{name}] does not exist")));
        };
        stack.change_sets.remove(&change_set);
        Ok(String::new())
    }

    fn delete(&mut self, name: &str) -> Result<String, Refusal> {
        let Some(Stack { id, status, .. }) = self.stacks.get(name) else { return Ok(String::new()) };
        if status.ends_with("_IN_PROGRESS") && !DELETABLE.contains(&status.as_str()) {
            return Err(invalid(format!("Stack [{id}] cannot be deleted while in status {status}")));
        }
        self.begin(name, "DELETE_IN_PROGRESS", Work::Delete);
        Ok(String::new())
    }

    fn resume(&mut self, name: &str) -> Result<String, Refusal> {
        let Some(Stack { id, status, .. }) = self.stacks.get(name) else {
            return Err(invalid(format!("Stack [{name}] does not exist")));
        };
        if status != "UPDATE_ROLLBACK_FAILED" {
            return Err(invalid(format!("Stack:{id} is in {status} state and can not continue to roll back.")));
        }
        self.begin(name, "UPDATE_ROLLBACK_IN_PROGRESS", Work::GoBack);
        Ok(String::new())
    }

    fn begin(&mut self, name: &str, status: &str, work: Work) {
        self.note_stack(name, status, "User Initiated");
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
                Work::GoBack => self.note_stack(&name, "UPDATE_ROLLBACK_COMPLETE", ""),
                Work::Delete => self.finish_deletion(&name),
            }
        }
    }

    fn finish_creation(&mut self, name: &str) {
        let template = self.stacks[name].template.clone();
        let all: BTreeSet<String> = template.resources().keys().cloned().collect();
        let Err(failed) = self.build(name, &template, &all) else {
            self.tell_outputs(name);
            return self.note_stack(name, "CREATE_COMPLETE", "");
        };
        let reason = format!("The following resource(s) failed to create: [{failed}]. Rollback requested by user.");
        self.note_stack(name, "ROLLBACK_IN_PROGRESS", &reason);
        let is_gone = self.take_away(name, &template, &all, &["Retain"]);
        self.note_stack(name, if is_gone { "ROLLBACK_COMPLETE" } else { "ROLLBACK_FAILED" }, "");
    }

    fn finish_update(&mut self, name: &str, template: Template) {
        let before = self.stacks[name].clone();
        let (old, new) = (before.template.resources(), template.resources());
        let differs: BTreeSet<String> = new.keys().filter(|id| old.get(*id) != new.get(*id)).cloned().collect();
        if let Err(failed) = self.build(name, &template, &differs) {
            let reason = format!("The following resource(s) failed to update: [{failed}].");
            return self.go_back(name, &before, &template, &differs, &reason);
        }
        let left: BTreeSet<String> = before.made.keys().filter(|id| !new.contains_key(*id)).cloned().collect();
        if !left.is_empty() {
            self.note_stack(name, "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", "");
            // What cannot be deleted stays, and the update is complete.
            self.take_away(name, &before.template, &left, &["Retain", "RetainExceptOnCreate"]);
            self.stacks.get_mut(name).unwrap().made.retain(|id, _| !left.contains(id));
        }
        self.stacks.get_mut(name).unwrap().template = template;
        self.tell_outputs(name);
        self.note_stack(name, "UPDATE_COMPLETE", "");
    }

    /// Makes everything what it was before an update.
    fn go_back(&mut self, name: &str, before: &Stack, template: &Template, tried: &BTreeSet<String>, reason: &str) {
        self.note_stack(name, "UPDATE_ROLLBACK_IN_PROGRESS", reason);
        let made = &self.stacks[name].made;
        let (changed, new): (BTreeSet<String>, BTreeSet<String>) =
            tried.iter().filter(|id| made.contains_key(*id)).cloned().partition(|id| before.made.contains_key(id));
        let changed = changed.into_iter().filter(|id| made[id].properties != before.made[id].properties).collect();
        let is_back = self.build(name, &before.template, &changed).is_ok();
        let is_gone = self.take_away(name, template, &new, &["Retain"]);
        let status = if is_back && is_gone { "UPDATE_ROLLBACK_COMPLETE" } else { "UPDATE_ROLLBACK_FAILED" };
        self.note_stack(name, status, "");
    }

    fn finish_deletion(&mut self, name: &str) {
        let template = self.stacks[name].template.clone();
        let all: BTreeSet<String> = self.stacks[name].made.keys().cloned().collect();
        if self.take_away(name, &template, &all, &["Retain", "RetainExceptOnCreate"]) {
            self.stacks.remove(name);
        } else {
            self.note_stack(name, "DELETE_FAILED", "");
        }
    }

    /// Makes or changes resources, each when all that it needs is there. What is under way when one fails is given up, and all of
    /// these are named.
    fn build(&mut self, name: &str, template: &Template, wanted: &BTreeSet<String>) -> Result<(), String> {
        let order = template.in_order().unwrap();
        let mut waiting: Vec<&String> = order.iter().filter(|id| wanted.contains(*id)).collect();
        let mut under_way: Vec<&String> = Vec::new();
        loop {
            let is_open = |id: &&String, open: &[&String]| template.needs(id).iter().any(|need| open.contains(&need));
            let open: Vec<&String> = waiting.iter().chain(&under_way).copied().collect();
            let (rest, ready): (Vec<&String>, Vec<&String>) = waiting.iter().partition(|id| is_open(id, &open));
            ready.iter().for_each(|id| self.note_begun(name, template, id));
            under_way.extend(ready);
            waiting = rest;
            // What others wait for comes first: then what nobody waits for is still under way when something fails.
            let urgency = |id: &&String| {
                let waited = waiting.iter().filter(|other| template.needs(other).contains(*id)).count();
                (self.failing(template, id).is_some(), waited)
            };
            let Some(next) = (0..under_way.len()).max_by_key(|at| urgency(&under_way[*at])) else { return Ok(()) };
            let id = under_way.remove(next);
            if let Err(reason) = self.build_one(name, template, id) {
                self.note_failed(name, template, id, &reason);
                let verb = if self.stacks[name].status.starts_with("CREATE") { "creation" } else { "update" };
                under_way
                    .iter()
                    .for_each(|id| self.note_failed(name, template, id, &format!("Resource {verb} cancelled")));
                under_way.insert(0, id);
                return Err(under_way.into_iter().cloned().collect::<Vec<_>>().join(", "));
            }
        }
    }

    fn build_one(&mut self, name: &str, template: &Template, id: &str) -> Result<(), String> {
        if let Some(reason) = self.failing(template, id) {
            return Err(reason);
        }
        let stack = &self.stacks[name];
        let names = Names { stack, name, account: &self.maker.moto.account };
        let (known, properties) = (stack.made.get(id), template.properties(id, &names));
        let verb = if known.is_some() { "UPDATE" } else { "CREATE" };
        let policy = template.resources()[id]["DeletionPolicy"].as_str().unwrap_or("Delete").to_owned();
        let made = self.maker.make(&format!("{name}-{id}"), template.kind(id), properties, known)?;
        self.stacks.get_mut(name).unwrap().made.insert(id.into(), Made { policy, ..made });
        self.note(name, id, template.kind(id), &format!("{verb}_COMPLETE"), "");
        Ok(())
    }

    /// Deletes resources, each after all that need it, but those whose policy lets them stay; says whether all that were to go are gone.
    fn take_away(&mut self, name: &str, template: &Template, ids: &BTreeSet<String>, staying: &[&str]) -> bool {
        let mut all_gone = true;
        for id in template.in_order().unwrap().iter().rev().filter(|id| ids.contains(*id)) {
            let Some(made) = self.stacks[name].made.get(id).cloned() else { continue };
            if staying.contains(&made.policy.as_str()) {
                self.note(name, id, &made.kind, "DELETE_SKIPPED", "");
            } else if let Err(reason) = self.maker.remove(&made) {
                self.note(name, id, &made.kind, "DELETE_FAILED", &reason);
                all_gone = false;
                continue;
            } else {
                self.note(name, id, &made.kind, "DELETE_COMPLETE", "");
            }
            self.stacks.get_mut(name).unwrap().made.remove(id);
        }
        all_gone
    }

    fn failing(&self, template: &Template, id: &str) -> Option<String> {
        self.failing.get(id).or_else(|| self.failing.get(template.kind(id))).cloned()
    }

    fn tell_outputs(&mut self, name: &str) {
        let stack = &self.stacks[name];
        let outputs = stack.template.outputs(&Names { stack, name, account: &self.maker.moto.account });
        self.stacks.get_mut(name).unwrap().outputs = outputs;
    }

    fn new_id(&mut self, name: &str) -> String {
        self.events += 1;
        format!("arn:aws:cloudformation:{REGION}:{}:stack/{name}/{}", self.maker.moto.account, self.events)
    }

    fn note_begun(&mut self, name: &str, template: &Template, id: &str) {
        let verb = if self.stacks[name].made.contains_key(id) { "UPDATE" } else { "CREATE" };
        self.note(name, id, template.kind(id), &format!("{verb}_IN_PROGRESS"), "");
    }

    fn note_failed(&mut self, name: &str, template: &Template, id: &str, reason: &str) {
        let verb = if self.stacks[name].made.contains_key(id) { "UPDATE" } else { "CREATE" };
        self.note(name, id, template.kind(id), &format!("{verb}_FAILED"), reason);
    }

    fn note_stack(&mut self, name: &str, status: &str, reason: &str) {
        self.stacks.get_mut(name).unwrap().status = status.into();
        self.note(name, name, STACK, status, reason);
    }

    fn note(&mut self, name: &str, resource: &str, kind: &str, status: &str, reason: &str) {
        self.events += 1;
        let (resource, kind, status, reason) = (resource.into(), kind.into(), status.into(), reason.into());
        let time = jiff::Timestamp::now();
        let event = Event { id: self.events, resource, kind, status, reason, time };
        self.stacks.get_mut(name).unwrap().events.push(event);
    }
}

/// What functions of a template become in a stack.
struct Names<'s> {
    stack: &'s Stack,
    name: &'s str,
    account: &'s str,
}

impl World for Names<'_> {
    fn parameter(&self, name: &str) -> Option<String> {
        let value = match name.strip_prefix("AWS::")? {
            "AccountId" => self.account,
            "Partition" => "aws",
            "Region" => REGION,
            "StackId" => &self.stack.id,
            "StackName" => self.name,
            "URLSuffix" => "amazonaws.com",
            _ => return None,
        };
        Some(value.to_owned())
    }

    fn reference(&self, resource: &str) -> String {
        self.stack.made[resource].physical.clone()
    }

    fn attribute(&self, resource: &str, name: &str) -> String {
        self.stack.made[resource].attributes[name].clone()
    }
}

/// The template of a request, if CloudFormation would begin with it; `more` are fields of this one action.
fn wanted(form: &Form, more: &[&str]) -> Result<Template, Refusal> {
    const KNOWN: [&str; 6] = ["Action", "Capabilities", "ClientRequestToken", "StackName", "TemplateBody", "Version"];
    let is_known = |name: &str, value: &str| match name {
        // An empty list.
        _ if value.is_empty() => true,
        // What CloudFormation does where nothing is said.
        "DeploymentConfig.Mode" => value == "STANDARD",
        _ => KNOWN.iter().chain(more).any(|known| *known == name.split('.').next().unwrap()),
    };
    if let Some((name, value)) = form.iter().find(|(name, value)| !is_known(name, value)) {
        return Err(("InvalidAction", format!("the fake does not know {name} {value}")));
    }
    let given = form.iter().filter(|(name, _)| name.starts_with("Capabilities.member."));
    let given: Vec<&str> = given.map(|(_, value)| value.as_str()).collect();
    Template::read(form.get("TemplateBody").map_or("", String::as_str), &given)
}

fn described(stack: &Stack) -> String {
    let output = |(key, value): &(String, String)| {
        element("member", &(element("OutputKey", key) + &element("OutputValue", &escaped(value))))
    };
    let outputs = element("Outputs", &stack.outputs.iter().map(output).collect::<String>());
    let fields = [
        ("StackId", stack.id.as_str()),
        ("StackName", stack.id.split('/').nth(1).unwrap()),
        ("StackStatus", &stack.status),
        ("CreationTime", TIME),
    ];
    let fields: String = fields.iter().map(|(name, value)| element(name, value)).collect();
    element("Stacks", &element("member", &(fields + &outputs)))
}

const TIME: &str = "2026-01-01T00:00:00Z";

/// Newest first.
fn happened(stack: &Stack) -> String {
    let name = stack.id.split('/').nth(1).unwrap();
    let physical = |resource: &str| match stack.made.get(resource) {
        Some(made) => made.physical.clone(),
        None if resource == name => stack.id.clone(),
        None => String::new(),
    };
    let event = |event: &Event| {
        let fields = [
            ("StackId", stack.id.clone()),
            ("EventId", event.id.to_string()),
            ("StackName", name.into()),
            ("LogicalResourceId", event.resource.clone()),
            ("PhysicalResourceId", physical(&event.resource)),
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

fn form(body: &[u8]) -> Form {
    let text = String::from_utf8_lossy(body).replace('+', " ");
    text.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (decoded(name), decoded(value)))
        .collect()
}

fn element(name: &str, content: &str) -> String {
    format!("<{name}>{content}</{name}>")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
