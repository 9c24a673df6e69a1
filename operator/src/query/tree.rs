//! The resource tree of an application, from Argo CD itself. kube9 wants its failures in a form of their own.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Flags, Refusal, read};
use crate::argocd::api::{Api, ApiError, Application, Code};
use crate::config::{self, ArgoCd, environment};
use crate::output::{print_in_ascii, refuse_with};
use crate::text::plain;

pub(crate) const FLAGS: [&str; 2] = ["--namespace", "--format"];

/// Reads what is asked for.
pub(crate) fn application(name: Option<&str>, flags: &Flags) -> Result<Application, String> {
    let name = name.ok_or("`query argocd resource-tree get` needs the name of an application")?;
    let known = config::object_name(name).ok_or_else(|| format!("no application can be named {name:?}"))?;
    let namespace = read(flags, "--namespace", "the name of a namespace", config::label)?;
    read(flags, "--format", "json", |word| (word == "json").then_some(()))?;
    Ok(Application { name: known, namespace })
}

/// Answers, and says whether that went well.
pub(crate) fn run(application: &Application) -> ExitCode {
    match super::wait_for(tree(application)) {
        Ok(tree) => print_in_ascii(&tree),
        Err(error) => refuse(&error),
    }
}

pub(crate) fn refuse_arguments(message: String) -> ExitCode {
    refuse(&ApiError { code: Code::InvalidArgument, message, details: String::new() })
}

fn refuse(ApiError { code, message, details }: &ApiError) -> ExitCode {
    let (word, exit) = code.word_and_exit();
    let mut refusal = json!({"ok": false, "code": word, "message": plain(message)});
    if !details.is_empty() {
        refusal["details"] = json!(plain(details));
    }
    refuse_with(exit, &refusal)
}

/// The tree as JSON.
async fn tree(application: &Application) -> Result<String, ApiError> {
    let settings = ArgoCd::read(environment).map_err(Refusal::from)?;
    let api = Api::new(&settings)?;
    let found = if settings.api.address.is_none() { found().await? } else { None };
    api.tree(found.as_deref(), application).await
}

/// Where the operator found Argo CD, as its status says.
async fn found() -> Result<Option<String>, Refusal> {
    let status = super::status(super::client()?).await?;
    let namespace = |argocd: &Value| config::label(argocd["namespace"].as_str()?);
    Ok(namespace(&status["argocd"]))
}

impl From<Refusal> for ApiError {
    fn from(Refusal { error, details }: Refusal) -> Self {
        Self { code: Code::Internal, message: error, details }
    }
}
