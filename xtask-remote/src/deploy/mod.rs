//! `deploy-infra`: bucket, distribution and DNS from nothing, or from whatever state an earlier run left them in.
//!
//! There is no state file: the stack is looked at, the CDK app's template is compared with the deployed one, and only a difference is
//! deployed. Nothing is changed before every check has passed. Users' DNS moves last: where charts are adopted from elsewhere, the stack
//! is first made without its records, filled, and then completed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Serialize;
use serde_json::Value;

use xtask::chart::index::FILE;
use xtask::chart::repository;
use xtask::chart::store::Store;
use xtask::config::{Remote, Target};
use xtask::connector::DeployOptions;
use xtask::error::{Error, Exit, Result};
use xtask::ui;

use crate::aws::Aws;
use crate::s3::Bucket;

pub mod adopt;
pub mod app;
pub mod change;
pub mod inputs;
pub mod preflight;
pub mod show;
pub mod stack;

use adopt::Adoption;
use app::{App, Assembly};
use change::{Change, Changes, RECORDS};
use inputs::Inputs;
use preflight::Caller;
use stack::{Seen, Stack, StackState};

/// The output that names the role which may deploy.
const DEPLOY_ROLE: &str = "DeployRoleArn";

/// What a run found and did, for `--json`.
#[derive(Debug, Serialize)]
pub struct Outcome {
    stack: String,
    region: String,
    /// CloudFormation's word for the stack's state; empty where there is none, and `UNKNOWN` where nobody could ask.
    status: String,
    /// Whether anything was changed.
    changed: bool,
    /// What differed before.
    changes: Changes,
    /// Whether the first, empty index was put.
    first_index: bool,
    /// How many versions were, or would be, adopted.
    adopted: usize,
    outputs: BTreeMap<String, String>,
}

impl Outcome {
    /// Of a run that has changed nothing yet.
    fn of(remote: &Remote, status: String, changes: Changes) -> Self {
        let Remote { stack, region, .. } = remote.clone();
        let outputs = BTreeMap::new();
        Outcome { stack, region, status, changed: false, changes, first_index: false, adopted: 0, outputs }
    }
}

/// Runs the command.
///
/// # Errors
/// A check fails (all that do are told at once, and nothing was changed); the caller says no; AWS refuses.
pub fn run(root: &Path, target: &Target, remote: &Remote, options: &DeployOptions) -> Result<Outcome> {
    let deployment = Deployment::new(root, target, remote, options)?;
    if options.plan && !deployment.aws.has_credentials() {
        return deployment.plan_blindly();
    }
    let survey = deployment.survey()?;
    if options.plan { Ok(deployment.planned(survey)) } else { deployment.carry_out(survey) }
}

/// The host of a URL, without its port.
fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or_default()
}

struct Deployment<'a> {
    target: &'a Target,
    remote: &'a Remote,
    options: &'a DeployOptions,
    inputs: Inputs,
    app: App,
    /// Where templates are made.
    folder: PathBuf,
    aws: Rc<Aws>,
}

/// All that was found before anything is changed.
struct Survey {
    assembly: Assembly,
    seen: Seen,
    changes: Changes,
    caller: Caller,
    adoption: Option<Adoption>,
    lacks_index: bool,
}

impl<'a> Deployment<'a> {
    fn new(root: &Path, target: &'a Target, remote: &'a Remote, options: &'a DeployOptions) -> Result<Self> {
        let inputs = Inputs::read(target, |name| std::env::var(name).ok());
        let app = App::new(root).told("CHARTS_STACK", &inputs.stack(remote)).told("CHARTS_DOMAIN", &inputs.domain);
        let folder = root.join("target/xtask/infrastructure");
        Ok(Deployment { target, remote, options, inputs, app, folder, aws: Rc::new(Aws::new(remote)?) })
    }

    /// What a survey found, for whoever wants no more.
    fn planned(&self, survey: Survey) -> Outcome {
        let adopted = survey.adoption.as_ref().map_or(0, Adoption::versions);
        let Seen { status, outputs, .. } = survey.seen;
        Outcome { adopted, outputs, ..Outcome::of(self.remote, status, survey.changes) }
    }

    /// The plan of somebody without credentials, as it is on a pull request: what there would be, and not what that changes.
    fn plan_blindly(&self) -> Result<Outcome> {
        self.app.prepare().map_err(together)?;
        let made = self.app.start(&self.folder.join("all"))?;
        let assembly = made.finish(&self.inputs.stack(self.remote)).map_err(together)?;
        if let Some(contradiction) = self.inputs.contradiction(self.target, self.remote, &assembly.template) {
            return Err(contradiction);
        }
        let changes = change::compare(&Value::Null, &assembly.template, &BTreeSet::new());
        self.show(&changes);
        let stack = &self.remote.stack;
        ui::note("Unknown", format_args!("what of that is in stack {stack} already: there are no AWS credentials"));
        Ok(Outcome::of(self.remote, "UNKNOWN".into(), changes))
    }

    /// Looks at everything, on this machine and beyond; all problems come together.
    fn survey(&self) -> Result<Survey> {
        let mut problems = Problems::default();
        let prepared = problems.keep_all(self.app.prepare());
        // It makes the template while AWS is asked.
        let synthesis = prepared.and_then(|()| problems.keep(self.app.start(&self.folder.join("all"))));
        let caller = problems.keep(preflight::caller(&self.aws));
        let seen = caller.as_ref().and_then(|caller| self.look_at_account(caller, &mut problems));
        let assembly = synthesis.and_then(|made| problems.keep_all(made.finish(&self.inputs.stack(self.remote))));
        if let Some(assembly) = &assembly {
            problems.add(self.inputs.contradiction(self.target, self.remote, &assembly.template));
        }
        let adoption = self.options.adopt_from.as_ref();
        let adoption = adoption.and_then(|from| problems.keep(Adoption::plan(from, &self.target.repository)));
        let (Some(assembly), Some(seen), Some(caller)) = (assembly, seen, caller) else { return Err(problems.told()) };
        let deployed = self.deployed(&seen, &mut problems);
        let replaced = self.replaced(&seen, &deployed, &assembly.template, &mut problems);
        let changes = change::compare(&deployed, &assembly.template, &replaced);
        self.show(&changes);
        if !self.options.allow_replace {
            changes.losses().into_iter().for_each(|change| problems.add(Some(loss(change))));
        }
        let is_whole = self.look_at_buckets(&deployed, &assembly.template, &mut problems);
        // Nothing where it cannot be known; what is in the way of that is a problem already.
        let listed = match seen.standing {
            StackState::Ready | StackState::Stuck if is_whole => problems.keep(self.listed()),
            StackState::Ready | StackState::Stuck => None,
            _ => Some(None),
        };
        let sends_users = changes.adds(RECORDS) && self.options.adopt_from.is_none();
        if sends_users && listed.is_some_and(|versions| versions.unwrap_or_default() == 0) {
            problems.keep(preflight::nothing_public_yet(self.target));
        }
        let lacks_index = listed == Some(None);
        if lacks_index {
            problems.add(self.nobody_to_put_the_index(&seen, &caller).err());
        }
        problems.none_or(Survey { assembly, seen, changes, caller, adoption, lacks_index })
    }

    /// The checks that need no template.
    fn look_at_account(&self, caller: &Caller, problems: &mut Problems) -> Option<Seen> {
        let Inputs { account, certificate, zone, domain, .. } = &self.inputs;
        if let Some(account) = account.as_ref().filter(|account| **account != caller.account) {
            problems.add(Some(
                Error::new(
                    Exit::Environment,
                    format!("the credentials are those of account {}, and AWS_ACCOUNT_ID is {account}", caller.account),
                )
                .because(format!("AWS says that the caller is {}", caller.arn))
                .remedy("use credentials of that account (AWS_PROFILE), or correct AWS_ACCOUNT_ID"),
            ));
            // Whatever else would be said is about another account.
            return None;
        }
        if let Some(certificate) = certificate {
            problems.keep(preflight::certificate(&self.aws, certificate, domain));
        }
        if let Some(zone) = zone {
            problems.keep(preflight::zone(&self.aws, zone, domain));
        }
        let stack = Stack::new(&self.aws);
        let seen = problems.keep(stack.look())?;
        let name = &self.remote.stack;
        match seen.standing {
            StackState::Busy if self.options.plan || !problems.is_empty() => {
                problems.add(Some(stack::busy(name, &seen)));
                None
            }
            StackState::Busy => problems.keep(stack.settle(seen)),
            StackState::HalfDeleted => {
                problems.add(Some(
                    Error::new(Exit::Conflict, format!("stack {name} was deleted half way: {}", seen.status))
                        .because(stack.failures(None).unwrap_or_default())
                        .remedy(format!(
                            "end it: aws cloudformation delete-stack --region {} --stack-name {name}",
                            self.remote.region
                        ))
                        .remedy(
                            "then retry the command: it says how the bucket, which stayed, comes into the new stack",
                        ),
                ));
                None
            }
            _ => Some(seen),
        }
    }

    /// The template that is deployed; nothing where a first deployment is to come.
    fn deployed(&self, seen: &Seen, problems: &mut Problems) -> Value {
        match seen.standing {
            StackState::Ready | StackState::Stuck => {
                problems.keep(Stack::new(&self.aws).template()).unwrap_or_default()
            }
            _ => Value::Null,
        }
    }

    /// What CloudFormation would replace. It is not asked about a stack that an update left stuck: that comes after the way back.
    fn replaced(&self, seen: &Seen, deployed: &Value, wanted: &Value, problems: &mut Problems) -> BTreeSet<String> {
        if seen.standing != StackState::Ready || deployed == wanted {
            return BTreeSet::new();
        }
        let replaced = Stack::new(&self.aws).replaced(wanted);
        if !self.options.plan {
            return problems.keep(replaced).unwrap_or_default();
        }
        // Whoever only looks may have no right to ask.
        replaced.unwrap_or_else(|error| {
            ui::note("Unknown", format_args!("which of the changes would replace a resource: {error}"));
            BTreeSet::new()
        })
    }

    /// A bucket that the stack is to make must not be there yet, and one that it has made must be. False where one is gone.
    fn look_at_buckets(&self, deployed: &Value, wanted: &Value, problems: &mut Problems) -> bool {
        let made = preflight::buckets(deployed);
        let mut is_whole = true;
        for (id, name) in preflight::buckets(wanted) {
            let is_made = made.iter().any(|(_, known)| *known == name);
            match problems.keep(preflight::bucket(&self.aws, &name)) {
                Some(preflight::Name::Free) if is_made => {
                    is_whole = false;
                    problems.add(Some(preflight::gone(&name, self.remote)));
                }
                Some(standing) if !is_made => problems.add(preflight::in_the_way(&name, &id, standing)),
                _ => {}
            }
        }
        is_whole
    }

    /// How many versions the bucket's index lists; nothing where there is no index.
    fn listed(&self) -> Result<Option<usize>> {
        let store = Bucket::new(Rc::clone(&self.aws));
        if store.version(FILE)?.is_none() {
            return Ok(None);
        }
        Ok(Some(repository::read(&store)?.index()?.size().0))
    }

    /// The bucket lets nobody put a first index but these.
    fn nobody_to_put_the_index(&self, seen: &Seen, caller: &Caller) -> Result<()> {
        if caller.is_one_of(&self.guardians(seen)) {
            return Ok(());
        }
        let role = seen.outputs.get(DEPLOY_ROLE);
        let taken = role.map(|role| self.aws.in_role(role).and_then(|aws| preflight::caller(&aws)));
        if matches!(taken, Some(Ok(_))) {
            return Ok(());
        }
        let why = taken.and_then(Result::err).and_then(|error| error.why);
        Err(Error::new(Exit::Environment, format!("{} may not put the first index into the bucket", caller.arn))
            .because(why.unwrap_or_else(|| "the bucket lets only break-glass principals and the deploy role do that".into()))
            .remedy("put the ARN of the role or user that you are into CHARTS_BREAK_GLASS, now and at every later deployment"))
    }

    fn guardians(&self, seen: &Seen) -> Vec<String> {
        self.inputs.break_glass.iter().chain(seen.outputs.get(DEPLOY_ROLE)).cloned().collect()
    }

    fn show(&self, changes: &Changes) {
        let text = show::changes(changes);
        match (self.options.plan, changes.is_empty()) {
            (true, true) => {
                ui::note("Unchanged", format_args!("stack {} is what infrastructure/ describes", self.remote.stack));
            }
            (false, true) => {}
            (true, false) if !self.options.json => ui::drawn_result(text.trim_end()),
            _ => ui::drawn_aside(text.trim_end()),
        }
    }

    /// Does all that is to be done, in an order that never sends users to an empty bucket.
    fn carry_out(&self, survey: Survey) -> Result<Outcome> {
        let Survey { assembly, seen, changes, caller, adoption, lacks_index } = survey;
        let stack = Stack::new(&self.aws);
        let deploys = !changes.is_empty() || seen.standing == StackState::Stuck;
        if (deploys || lacks_index) && !self.agreed(&changes)? {
            return Err(Error::new(Exit::Failure, "nothing was changed: the answer was no"));
        }
        stack.recover(&seen)?;
        if seen.standing == StackState::Stuck && !self.options.allow_replace {
            let (deployed, wanted) = (stack.template()?, &assembly.template);
            let changes = change::compare(&deployed, wanted, &stack.replaced(wanted)?);
            Problems(changes.losses().into_iter().map(loss).collect()).none_or(())?;
        }
        let is_new = matches!(seen.standing, StackState::Absent | StackState::Stillborn);
        if is_new && adoption.is_some() && changes.adds(RECORDS) {
            ui::status("Deploying", "all but the records, until the charts are there");
            self.deploy(&self.without_records()?)?;
        }
        let is_there = !is_new || adoption.is_some();
        let adopted = match &adoption {
            Some(adoption) if is_there => self.adopt(adoption, &caller)?,
            _ => false,
        };
        if deploys {
            ui::status("Deploying", format_args!("stack {}: {}", self.remote.stack, show::count(&changes)));
            self.deploy(&assembly)?;
        }
        let first_index = self.put_first_index(&caller)?;
        let now = stack.look()?;
        let changed = deploys || adopted || first_index;
        if changed {
            ui::status(
                "Deployed",
                format_args!("{}; stack {} is in {}", self.target.repository, self.remote.stack, now.status),
            );
        } else {
            ui::note("Unchanged", "everything is as described; no byte was changed");
        }
        let adopted = adoption.as_ref().map_or(0, Adoption::versions);
        Ok(Outcome {
            changed,
            first_index,
            adopted,
            outputs: now.outputs,
            ..Outcome::of(self.remote, now.status, changes)
        })
    }

    fn agreed(&self, changes: &Changes) -> Result<bool> {
        if self.options.yes {
            return Ok(true);
        }
        let what = if changes.is_empty() { "put the first index".into() } else { show::count(changes) };
        ui::confirm(&format!(
            "Deploy stack {} in account {} ({what})?",
            self.remote.stack,
            self.inputs.account.as_deref().unwrap_or_default()
        ))
    }

    fn without_records(&self) -> Result<Assembly> {
        let made = self.app.clone().told("CHARTS_DNS", "off").start(&self.folder.join("without-records"))?;
        made.finish(&self.inputs.stack(self.remote)).map_err(together)
    }

    /// Deploys, and where that fails says what failed, why, and what is there now.
    fn deploy(&self, assembly: &Assembly) -> Result<()> {
        let stack = Stack::new(&self.aws);
        let before = stack.newest_event()?;
        let deployed = ui::step("the deployment", || self.app.deploy(assembly, self.remote));
        deployed.map_err(|error| self.explained(&stack, before.as_deref(), error))
    }

    fn explained(&self, stack: &Stack<'_>, before: Option<&str>, error: Error) -> Error {
        let name = &self.remote.stack;
        let failed = stack.failures(before).unwrap_or_default();
        let now = match stack.look() {
            Ok(seen) => state(name, &seen),
            Err(error) => format!("how stack {name} stands is not known: {}", error.what),
        };
        let why = if failed.is_empty() { error.why.unwrap_or(error.what) } else { failed };
        Error::new(Exit::Failure, format!("stack {name} could not be deployed"))
            .because(format!("{why}\n{now}"))
            .remedy("remove the reason that AWS gives, then retry the command: nothing has to be cleaned up by hand")
    }

    fn adopt(&self, adoption: &Adoption, caller: &Caller) -> Result<bool> {
        ui::status("Adopting", format_args!("{} versions", adoption.versions()));
        let store = self.guardians_store(caller)?;
        ui::step("the adoption", || adoption.carry_out(&store))
    }

    /// Never over one that is there. True where there was none.
    fn put_first_index(&self, caller: &Caller) -> Result<bool> {
        // The stack's outputs may be others than those that were read before it was deployed.
        let aws = Rc::new(Aws::new(self.remote)?);
        if Bucket::new(aws).get(FILE)?.is_some() {
            return Ok(false);
        }
        repository::put_first(&self.guardians_store(caller)?)?;
        ui::status("Put", format_args!("the first {FILE}, which lists nothing yet"));
        Ok(true)
    }

    /// The bucket, for somebody who may put a first index.
    fn guardians_store(&self, caller: &Caller) -> Result<Bucket> {
        let seen = Stack::new(&self.aws).look()?;
        let aws = match seen.outputs.get(DEPLOY_ROLE) {
            Some(role) if !caller.is_one_of(&self.guardians(&seen)) => self.aws.in_role(role)?,
            _ => Aws::new(self.remote)?,
        };
        Ok(Bucket::new(Rc::new(aws)))
    }
}

/// The problem of a change that would cost users their charts.
fn loss(change: &Change) -> Error {
    let (why, care) = if change.kind == RECORDS {
        ("without it users do not find the charts: CHARTS_DNS and CHARTS_DOMAIN decide", "when they are led elsewhere")
    } else {
        (
            "the bucket holds every chart, and the distribution is where users' DNS leads",
            "with a copy of the bucket at hand",
        )
    };
    Error::new(Exit::Conflict, format!("{} {} would be replaced, or leave the stack", change.kind, change.resource))
        .because(why)
        .remedy("undo the change of infrastructure/ or of the inputs that does this")
        .remedy(format!("or, {care}: the same command with --allow-replace"))
}

/// What is there now, in words.
fn state(name: &str, seen: &Seen) -> String {
    let status = &seen.status;
    match seen.standing {
        StackState::Absent => format!("There is no stack {name} now."),
        StackState::Stillborn => {
            format!("Stack {name} is in {status}: what was made was removed again, and the next run begins anew.")
        }
        StackState::Ready if status.contains("ROLLBACK") => {
            format!("Stack {name} is in {status}: all is as it was before.")
        }
        StackState::Ready => format!("Stack {name} is in {status}."),
        StackState::Busy => format!("Stack {name} is still in {status}: the next run waits for its end."),
        StackState::Stuck => {
            format!("Stack {name} is in {status}: going back failed, too, and the next run resumes that.")
        }
        StackState::HalfDeleted => format!("Stack {name} is in {status}."),
    }
}

/// What is in the way, gathered.
#[derive(Default)]
struct Problems(Vec<Error>);

impl Problems {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn add(&mut self, problem: Option<Error>) {
        self.0.extend(problem);
    }

    fn keep<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }

    fn keep_all<T>(&mut self, result: Result<T, Vec<Error>>) -> Option<T> {
        result.map_err(|errors| self.0.extend(errors)).ok()
    }

    fn none_or<T>(self, value: T) -> Result<T> {
        if self.is_empty() { Ok(value) } else { Err(self.told()) }
    }

    fn told(self) -> Error {
        together(self.0)
    }
}

/// One error of several problems, each with its reason; the ways out follow in the same order.
fn together(mut problems: Vec<Error>) -> Error {
    if problems.len() == 1
        && let Some(only) = problems.pop()
    {
        return only;
    }
    let exit = problems.first().map_or(Exit::Failure, |first| first.exit);
    let line = |(number, problem): (usize, &Error)| {
        let why = problem
            .why
            .as_ref()
            .map(|why| format!("\n   {}", why.trim_end().replace('\n', "\n   ")))
            .unwrap_or_default();
        format!("{}. {}{why}", number + 1, problem.what)
    };
    let lines: Vec<String> = problems.iter().enumerate().map(line).collect();
    let told = Error::new(exit, format!("{} things are in the way, and nothing was changed", problems.len()))
        .because(lines.join("\n"));
    let several = problems.iter().enumerate();
    let remedies = several
        .flat_map(|(number, problem)| problem.remedies.iter().map(move |remedy| format!("{}. {remedy}", number + 1)));
    remedies.fold(told, Error::remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_numbered_and_so_are_their_remedies() {
        let one = Error::new(Exit::Environment, "no node").remedy("get it");
        let two = Error::new(Exit::Conflict, "a bucket").because("it is there").remedy("import it").remedy("or not");
        let told = together(vec![one, two]);
        assert_eq!(told.exit, Exit::Environment);
        assert_eq!(told.why.unwrap(), "1. no node\n2. a bucket\n   it is there");
        assert_eq!(told.remedies, ["1. get it", "2. import it", "2. or not"]);
        assert_eq!(together(vec![Error::new(Exit::Busy, "alone")]).what, "alone");
    }

    #[test]
    fn the_host_of_an_address_is_its_name_alone() {
        assert_eq!(host("https://charts.example.com/more"), "charts.example.com");
        assert_eq!(host("https://localhost:1234"), "localhost");
    }
}
