//! What a deployment is told: by the target in `Cargo.toml`, and by the environment.
//!
//! `infrastructure/lib/inputs.ts` reads the same variables, and says what is wrong with them. Here they are only looked at as far as AWS
//! has to be asked about them.

use serde_json::Value;

use xtask::config::{Remote, Target};
use xtask::error::{Error, Exit};

use crate::deploy::host;

/// The variables that AWS is asked about. One that is not set, or cannot be what it should, is not there.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// `AWS_ACCOUNT_ID`.
    pub account: Option<String>,
    /// `CHARTS_CERTIFICATE_ARN`, where it is one that can be looked at.
    pub certificate: Option<String>,
    /// `CHARTS_HOSTED_ZONE_ID`.
    pub zone: Option<String>,
    /// `CHARTS_BREAK_GLASS`.
    pub break_glass: Vec<String>,
    /// `CHARTS_DOMAIN`; the host of the target's repository where it is not set.
    pub domain: String,
    stack: Option<String>,
}

impl Inputs {
    /// Reads them.
    pub fn read(target: &Target, variable: impl Fn(&str) -> Option<String>) -> Self {
        // A workflow passes a variable that nobody has set as an empty one.
        let said = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
        let break_glass = said("CHARTS_BREAK_GLASS").unwrap_or_default();
        let break_glass = break_glass.split(|character: char| character.is_whitespace() || character == ',');
        Inputs {
            account: said("AWS_ACCOUNT_ID"),
            certificate: said("CHARTS_CERTIFICATE_ARN").filter(|arn| arn.starts_with("arn:aws:acm:us-east-1:")),
            zone: said("CHARTS_HOSTED_ZONE_ID"),
            break_glass: break_glass.filter(|arn| !arn.is_empty()).map(str::to_owned).collect(),
            domain: said("CHARTS_DOMAIN").unwrap_or_else(|| host(&target.repository).to_owned()),
            stack: said("CHARTS_STACK"),
        }
    }

    /// The stack that the app makes a template of.
    pub fn stack(&self, remote: &Remote) -> String {
        self.stack.clone().unwrap_or_else(|| remote.stack.clone())
    }

    /// What is deployed must be what releases to the target publish into.
    pub fn contradiction(&self, target: &Target, remote: &Remote, template: &Value) -> Option<Error> {
        let wrong = |variable: &str, ours: &str, theirs: &str| {
            Error::new(
                Exit::Workspace,
                format!("{variable} leads to {ours}, and releases to `{}` go to {theirs}", target.name),
            )
            .remedy(format!("unset {variable}, or correct the target in Cargo.toml"))
        };
        if let Some(stack) = self.stack.as_ref().filter(|stack| **stack != remote.stack) {
            return Some(wrong("CHARTS_STACK", stack, &remote.stack));
        }
        // Servers that stand in for AWS's own give the repository at another address than DNS would.
        let url = template["Outputs"]["RepositoryUrl"]["Value"].as_str().unwrap_or_default();
        let differs = url != target.repository && !remote.endpoints.stand_in();
        differs.then(|| wrong("CHARTS_DOMAIN", url, &target.repository))
    }
}
