//! The resource tree of an application, from Argo CD itself. kube9 wants its failures in a form of their own.

use serde_json::Value;

use super::{Flags, Refusal, read};
use crate::argocd::api::{Api, Application, Refused};
use crate::config::{self, ArgoCd, environment};
use crate::kubernetes;

pub(super) fn application(name: Option<&str>, flags: &Flags) -> Result<Application, String> {
    let name = name.ok_or("`query argocd resource-tree get` needs the name of an application")?;
    let known = config::object_name(name).ok_or_else(|| format!("no application can be named {name:?}"))?;
    let namespace = read(flags, "--namespace", "the name of a namespace", config::label)?;
    read(flags, "--format", "json", |word| (word == "json").then_some(()))?;
    Ok(Application { name: known, namespace })
}

/// The tree as JSON.
pub(super) async fn tree(application: &Application) -> Result<String, Refusal> {
    let settings = ArgoCd::read(environment)?;
    let api = Api::new(&settings)?;
    let found = if settings.api.address.is_none() { found().await? } else { None };
    Ok(api.tree(found.as_deref(), application).await?)
}

/// Where the operator found Argo CD, as its status says.
async fn found() -> Result<Option<String>, Refusal> {
    let status = super::status(kubernetes::client().map_err(super::no_access)?).await?;
    let namespace = |argocd: &Value| config::label(argocd["namespace"].as_str()?);
    Ok(namespace(&status["argocd"]))
}

impl From<Refused> for Refusal {
    fn from(Refused { code, message, details }: Refused) -> Self {
        Self { code: Some(code), error: message, details }
    }
}
