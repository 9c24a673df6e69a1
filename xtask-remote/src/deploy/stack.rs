//! The CloudFormation stack as it stands: its state, its template, what went wrong with it, and the ways out of a state that nothing can be
//! deployed over.
//!
//! States: CloudFormation's user guide, "Stack status codes". A template comes back as the YAML that the CDK CLI sent.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime};

use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::ProvideErrorMetadata;
use aws_sdk_cloudformation::types::{
    Capability, ChangeSetStatus, ChangeSetType, Replacement, StackEvent, TemplateStage,
};
use serde_json::Value;

use xtask::error::{Context, Error, Exit, Result};
use xtask::sys::failpoints::announce;
use xtask::ui;

use crate::aws::{Aws, explain, outputs};

/// As long as a deployment itself may take.
const PATIENCE: Duration = Duration::from_secs(3600);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How long CloudFormation may think about a change set; a few seconds are usual.
const QUESTION_LIMIT: Duration = Duration::from_secs(180);
/// How it begins to say that a template changes nothing.
const NO_CHANGES: &str = "The submitted information didn't contain changes";

/// What can be done with a stack in a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StackState {
    /// There is none.
    Absent,
    /// It can be changed.
    Ready,
    /// Its first creation failed or was never begun: it holds nothing, and has to go first.
    Stillborn,
    /// Something is under way.
    Busy,
    /// An update failed, and going back failed, too.
    Stuck,
    /// Its deletion failed half way.
    HalfDeleted,
}

impl StackState {
    fn of(status: &str) -> Self {
        match status {
            "DELETE_COMPLETE" => StackState::Absent,
            "REVIEW_IN_PROGRESS" | "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED" => StackState::Stillborn,
            "UPDATE_ROLLBACK_FAILED" => StackState::Stuck,
            "DELETE_FAILED" => StackState::HalfDeleted,
            _ if status.ends_with("_IN_PROGRESS") => StackState::Busy,
            _ => StackState::Ready,
        }
    }
}

/// A stack that was looked at.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What can be done with it.
    pub standing: StackState,
    /// CloudFormation's word for its state; empty where there is none.
    pub status: String,
    /// Its outputs.
    pub outputs: BTreeMap<String, String>,
    /// Whether CloudFormation refuses to delete it.
    pub is_protected: bool,
}

/// The stack of a target.
pub struct Stack<'a> {
    aws: &'a Aws,
    client: Client,
    name: &'a str,
}

impl<'a> Stack<'a> {
    /// The stack that `aws` is a connection to; asks nothing yet.
    pub fn new(aws: &'a Aws) -> Self {
        Stack { aws, client: aws.cloudformation(), name: &aws.remote().stack }
    }

    /// Looks at it.
    ///
    /// # Errors
    /// CloudFormation does not answer, or not to this caller.
    pub fn look(&self) -> Result<Seen> {
        let Some(stack) = self.aws.stack(&format!("cannot look at stack {}", self.name))? else {
            let (status, outputs) = (String::new(), BTreeMap::new());
            return Ok(Seen { standing: StackState::Absent, status, outputs, is_protected: false });
        };
        let status = stack.stack_status().map(|status| status.as_str().to_owned()).unwrap_or_default();
        let is_protected = stack.enable_termination_protection().unwrap_or_default();
        Ok(Seen { standing: StackState::of(&status), status, outputs: outputs(&stack), is_protected })
    }

    /// The template that is deployed.
    ///
    /// # Errors
    /// It cannot be had, or is not one.
    pub fn template(&self) -> Result<Value> {
        let what = || format!("cannot read the template of stack {}", self.name);
        let request = self.client.get_template().stack_name(self.name).template_stage(TemplateStage::Original);
        let answer = self.aws.wait(request.send()).map_err(|error| explain(&what(), &error))?;
        serde_yaml::from_str(answer.template_body().unwrap_or_default()).context(Exit::Repository, what)
    }

    /// The logical ids of what CloudFormation would, or may, replace if that template were deployed: a change set tells, and is deleted
    /// again.
    ///
    /// # Errors
    /// CloudFormation refuses the template, or the question from this caller.
    pub fn replaced(&self, wanted: &Value) -> Result<BTreeSet<String>> {
        // Of this run alone. What a run that was killed left becomes obsolete with the stack's next change, and is in nobody's way.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let name = format!("xtask-{}-{}", std::process::id(), now.as_nanos());
        announce("ask", &format_args!("what a change of stack {} would replace", self.name));
        let request = self.client.create_change_set().stack_name(self.name).change_set_name(&name);
        let request = request.change_set_type(ChangeSetType::Update).capabilities(Capability::CapabilityNamedIam);
        let created = self.aws.wait(request.template_body(wanted.to_string()).send());
        created.map_err(|error| explain(&self.unknown(), &error))?;
        let replaced = self.replaced_by(&name);
        let request = self.client.delete_change_set().stack_name(self.name).change_set_name(&name);
        if let Err(error) = self.aws.wait(request.send()) {
            ui::warn(explain(&format!("cannot delete change set {name} of stack {}", self.name), &error));
        }
        replaced
    }

    fn unknown(&self) -> String {
        format!("cannot ask what a change of stack {} would replace", self.name)
    }

    fn replaced_by(&self, change_set: &str) -> Result<BTreeSet<String>> {
        let (started, mut pause) = (Instant::now(), Duration::from_millis(250));
        let (mut replaced, mut page) = (BTreeSet::new(), None);
        loop {
            let request = self.client.describe_change_set().stack_name(self.name).change_set_name(change_set);
            let answer = self.aws.wait(request.set_next_token(page.take()).send());
            let answer = answer.map_err(|error| explain(&self.unknown(), &error))?;
            let reason = answer.status_reason().unwrap_or("AWS gave no reason");
            match answer.status() {
                Some(ChangeSetStatus::CreateComplete) => {
                    let changes = answer.changes().iter().filter_map(|change| change.resource_change());
                    let others = changes.filter(|change| is_replaced(change.replacement()));
                    replaced.extend(others.filter_map(|change| change.logical_resource_id()).map(str::to_owned));
                    page = answer.next_token().map(str::to_owned);
                    if page.is_none() {
                        return Ok(replaced);
                    }
                }
                // What differs may be nothing to CloudFormation.
                Some(ChangeSetStatus::Failed) if reason.starts_with(NO_CHANGES) => return Ok(replaced),
                Some(ChangeSetStatus::CreatePending | ChangeSetStatus::CreateInProgress)
                    if started.elapsed() < QUESTION_LIMIT =>
                {
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(PAUSE_MAX);
                }
                status => {
                    let status = status.map_or("no state", ChangeSetStatus::as_str);
                    return Err(Error::new(Exit::Repository, self.unknown())
                        .because(format!("the change set is in {status}: {reason}"))
                        .remedy("correct the template where AWS refuses it; else retry the command"));
                }
            }
        }
    }

    /// Waits until nothing is under way, and says how it stands then.
    ///
    /// # Errors
    /// It takes more than an hour.
    pub fn settle(&self, mut seen: Seen) -> Result<Seen> {
        let (started, mut pause) = (Instant::now(), Duration::from_millis(500));
        if seen.standing == StackState::Busy {
            ui::note("Waiting", format_args!("for what is under way in stack {}: {}", self.name, seen.status));
        }
        while seen.standing == StackState::Busy {
            if started.elapsed() > PATIENCE {
                return Err(
                    busy(self.name, &seen).because(format!("it has been for {} minutes", PATIENCE.as_secs() / 60))
                );
            }
            std::thread::sleep(pause);
            pause = (pause * 2).min(PAUSE_MAX);
            seen = self.look()?;
        }
        Ok(seen)
    }

    /// Makes a stack that nothing can be deployed over one that something can, where that loses nothing.
    ///
    /// # Errors
    /// AWS refuses.
    pub fn recover(&self, seen: &Seen) -> Result<()> {
        match seen.standing {
            StackState::Stillborn => {
                ui::note(
                    "Removing",
                    format_args!("what a creation that failed left: stack {} in {}", self.name, seen.status),
                );
                if seen.is_protected {
                    self.unprotect()?;
                }
                announce("delete", &format_args!("stack {}", self.name));
                let deleted = self.aws.wait(self.client.delete_stack().stack_name(self.name).send());
                deleted.map_err(|error| explain(&format!("cannot delete stack {}", self.name), &error))?;
            }
            StackState::Stuck => {
                ui::note("Resuming", format_args!("the way back of an update that failed: stack {}", self.name));
                announce("roll back", &format_args!("stack {}", self.name));
                let resumed = self.aws.wait(self.client.continue_update_rollback().stack_name(self.name).send());
                resumed.map_err(|error| explain(&format!("cannot roll stack {} back", self.name), &error))?;
            }
            _ => return Ok(()),
        }
        let now = self.settle(self.look()?)?;
        match now.standing {
            StackState::Absent | StackState::Ready => Ok(()),
            _ => Err(Error::new(Exit::Repository, format!("stack {} is in {}", self.name, now.status))
                .because(self.failures(None)?)
                .remedy("remove the reason that AWS gives, then retry the command")),
        }
    }

    /// Lets a stack be deleted that holds nothing: it was protected before anything was made.
    fn unprotect(&self) -> Result<()> {
        announce("unprotect", &format_args!("stack {}", self.name));
        let request = self.client.update_termination_protection().stack_name(self.name);
        let changed = self.aws.wait(request.enable_termination_protection(false).send());
        changed.map(drop).map_err(|error| explain(&format!("cannot let stack {} be deleted", self.name), &error))
    }

    /// The id of the newest event; nothing where there is no stack.
    ///
    /// # Errors
    /// CloudFormation does not answer.
    pub fn newest_event(&self) -> Result<Option<String>> {
        Ok(self.events()?.first().and_then(StackEvent::event_id).map(str::to_owned))
    }

    /// What failed after an event, a line each, in the order in which it did. What was only given up because of it is left out.
    ///
    /// # Errors
    /// CloudFormation does not answer.
    pub fn failures(&self, since: Option<&str>) -> Result<String> {
        let events = self.events()?;
        let newer = events.iter().take_while(|event| since.is_none() || event.event_id() != since);
        let mut failed: Vec<String> = newer.filter_map(failure).collect();
        failed.reverse();
        Ok(failed.join("\n"))
    }

    fn events(&self) -> Result<Vec<StackEvent>> {
        match self.aws.wait(self.client.describe_stack_events().stack_name(self.name).send()) {
            Ok(answer) => Ok(answer.stack_events().to_vec()),
            Err(error) if error.code() == Some("ValidationError") => Ok(Vec::new()),
            Err(error) => Err(explain(&format!("cannot read what happened to stack {}", self.name), &error)),
        }
    }
}

/// `Conditional` is what CloudFormation says where only the deployment itself can tell: then nobody may rely on a resource to stay.
fn is_replaced(replacement: Option<&Replacement>) -> bool {
    matches!(replacement, Some(Replacement::True | Replacement::Conditional))
}

/// The error of a stack that something else is being done to.
pub fn busy(name: &str, seen: &Seen) -> Error {
    Error::new(Exit::Busy, format!("something is under way in stack {name}: {}", seen.status))
        .remedy("retry the command when it has ended; cargo xtask deploy-infra --yes waits for it")
}

/// A resource that failed, and what AWS said.
fn failure(event: &StackEvent) -> Option<String> {
    let status = event.resource_status()?.as_str();
    let (resource, kind) = (event.logical_resource_id()?, event.resource_type()?);
    let reason = event.resource_status_reason().unwrap_or("AWS gave no reason");
    // "Resource creation cancelled": it was under way when another one failed.
    let own = status.ends_with("_FAILED") && kind != "AWS::CloudFormation::Stack" && !reason.contains("cancelled");
    own.then(|| format!("{resource} ({kind}): {reason}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_its_way() {
        for (status, standing) in [
            ("CREATE_COMPLETE", StackState::Ready),
            ("UPDATE_COMPLETE", StackState::Ready),
            ("UPDATE_ROLLBACK_COMPLETE", StackState::Ready),
            ("IMPORT_COMPLETE", StackState::Ready),
            ("UPDATE_FAILED", StackState::Ready),
            ("ROLLBACK_COMPLETE", StackState::Stillborn),
            ("ROLLBACK_FAILED", StackState::Stillborn),
            ("REVIEW_IN_PROGRESS", StackState::Stillborn),
            ("UPDATE_ROLLBACK_FAILED", StackState::Stuck),
            ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", StackState::Busy),
            ("ROLLBACK_IN_PROGRESS", StackState::Busy),
            ("DELETE_IN_PROGRESS", StackState::Busy),
            ("DELETE_FAILED", StackState::HalfDeleted),
            ("DELETE_COMPLETE", StackState::Absent),
        ] {
            assert_eq!(StackState::of(status), standing, "{status}");
        }
    }

    #[test]
    fn only_the_resource_that_failed_by_itself_is_named() {
        let event = |resource: &str, kind: &str, status: &str, reason: &str| {
            let event = StackEvent::builder().logical_resource_id(resource).resource_type(kind);
            event.resource_status(status.into()).resource_status_reason(reason).build()
        };
        let failed = failure(&event("Edge", "AWS::CloudFront::Distribution", "CREATE_FAILED", "no such certificate"));
        assert_eq!(failed.unwrap(), "Edge (AWS::CloudFront::Distribution): no such certificate");
        assert!(failure(&event("Role", "AWS::IAM::Role", "CREATE_FAILED", "Resource creation cancelled")).is_none());
        assert!(failure(&event("s", "AWS::CloudFormation::Stack", "UPDATE_FAILED", "x")).is_none());
        assert!(failure(&event("Role", "AWS::IAM::Role", "CREATE_COMPLETE", "")).is_none());
    }
}
