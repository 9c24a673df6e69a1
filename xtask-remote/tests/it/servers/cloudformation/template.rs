//! A template as CloudFormation reads it before it does anything, and what its functions become.
//!
//! Texts of refusals: those that people report of the real service. What a template may hold beside what is known here is refused, too,
//! in words of our own, rather than overlooked.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde_json::{Map, Value};

/// An error's code and message.
pub type Refusal = (&'static str, String);

/// CloudFormation's user guide, "Quotas": what fits into a request.
const BYTES_MAX: usize = 51_200;
const SECTIONS: [&str; 6] = ["AWSTemplateFormatVersion", "Description", "Mappings", "Metadata", "Outputs", "Resources"];
const PARTS: [&str; 6] = ["DeletionPolicy", "DependsOn", "Metadata", "Properties", "Type", "UpdateReplacePolicy"];
/// CloudFormation's API reference, "CreateStack": these want to be acknowledged.
const ACKNOWLEDGED: [&str; 8] =
    ["AccessKey", "Group", "InstanceProfile", "ManagedPolicy", "Policy", "Role", "User", "UserToGroupAddition"];
const NAMES_IN_IAM: [&str; 5] = ["GroupName", "InstanceProfileName", "ManagedPolicyName", "RoleName", "UserName"];

/// Every type that is known, and what `Fn::GetAtt` gives of it: the types' own pages, "Return values".
const TYPES: [(&str, &[&str]); 14] = [
    ("AWS::CloudFront::Distribution", &["DomainName", "Id"]),
    ("AWS::CloudFront::MonitoringSubscription", &[]),
    ("AWS::CloudFront::OriginAccessControl", &["Id"]),
    ("AWS::CloudFront::ResponseHeadersPolicy", &["Id", "LastModifiedTime"]),
    ("AWS::CloudWatch::Alarm", &["Arn"]),
    ("AWS::CloudWatch::Dashboard", &[]),
    ("AWS::IAM::OIDCProvider", &["Arn"]),
    ("AWS::IAM::Role", &["Arn", "RoleId"]),
    ("AWS::Route53::RecordSet", &[]),
    ("AWS::S3::Bucket", &["Arn", "DomainName", "DualStackDomainName", "RegionalDomainName", "WebsiteURL"]),
    ("AWS::S3::BucketPolicy", &[]),
    ("AWS::SNS::Subscription", &["Arn"]),
    ("AWS::SNS::Topic", &["TopicArn", "TopicName"]),
    ("AWS::SNS::TopicPolicy", &[]),
];

/// A template that CloudFormation would begin with.
#[derive(Clone, Default)]
pub struct Template {
    pub text: String,
    value: Value,
}

/// What functions may ask for.
pub trait World {
    /// A pseudo parameter.
    fn parameter(&self, name: &str) -> Option<String>;
    /// What `Ref` gives of a resource that is made.
    fn reference(&self, resource: &str) -> String;
    /// What `Fn::GetAtt` gives of it.
    fn attribute(&self, resource: &str, name: &str) -> String;
}

/// A place where a template names something, and the attribute of it that is wanted.
#[derive(Debug, PartialEq, Eq)]
struct Mention {
    name: String,
    attribute: Option<String>,
}

impl Template {
    /// Reads a template, which the CDK CLI sends as YAML.
    ///
    /// # Errors
    /// CloudFormation would not begin with it.
    pub fn read(text: &str, capabilities: &[&str]) -> Result<Self, Refusal> {
        if text.len() > BYTES_MAX {
            return Err(invalid(format!(
                "1 validation error detected: Value '{text}' at 'templateBody' failed to satisfy constraint: Member must have \
                 length less than or equal to {BYTES_MAX}"
            )));
        }
        let value = serde_yaml::from_str(text).map_err(|_| invalid("Template format error: YAML not well-formed."))?;
        let template = Template { text: text.into(), value };
        template.check_form()?;
        template.check_mentions()?;
        template.in_order()?;
        template.check_capabilities(capabilities)?;
        Ok(template)
    }

    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The resources by their logical ids.
    pub fn resources(&self) -> &Map<String, Value> {
        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.value["Resources"].as_object().unwrap_or(&NONE)
    }

    fn section(&self, name: &str) -> impl Iterator<Item = (&String, &Value)> {
        self.value[name].as_object().into_iter().flatten()
    }

    fn check_form(&self) -> Result<(), Refusal> {
        let unknown: Vec<&str> = keys(&self.value).filter(|key| !SECTIONS.contains(key)).collect();
        if !unknown.is_empty() {
            return Err(invalid(format!("Invalid template property or properties [{}]", unknown.join(", "))));
        }
        if self.resources().is_empty() {
            return Err(invalid("Template format error: At least one Resources member must be defined."));
        }
        for (id, resource) in self.resources() {
            if !resource["Type"].is_string() {
                return Err(invalid(format!(
                    "Template format error: [/Resources/{id}] Every Resources object must contain a Type member."
                )));
            }
            if let Some(unknown) = keys(resource).find(|key| !PARTS.contains(key)) {
                return Err(invalid(format!("Invalid template resource property '{unknown}'")));
            }
        }
        let kinds: BTreeSet<&str> = self.resources().keys().map(|id| self.kind(id)).collect();
        let unknown: Vec<&str> = kinds.into_iter().filter(|kind| attributes(kind).is_none()).collect();
        if !unknown.is_empty() {
            return Err(invalid(format!(
                "Template format error: Unrecognized resource types: [{}]",
                unknown.join(", ")
            )));
        }
        Ok(())
    }

    /// Everything that is named must be there.
    fn check_mentions(&self) -> Result<(), Refusal> {
        let unresolved = |section: &str| -> Result<Vec<String>, Refusal> {
            let mut mentions = Vec::new();
            self.section(section).try_for_each(|(_, part)| self.mentions(part, &mut mentions))?;
            if section == "Resources" {
                let waited = self.resources().values().flat_map(waits_for);
                mentions.extend(waited.map(|name| Mention { name, attribute: None }));
            }
            mentions.iter().try_for_each(|mention| self.check_attribute(mention))?;
            let is_known = |name: &str| is_pseudo(name) || self.resources().contains_key(name);
            let names: BTreeSet<String> = mentions.into_iter().map(|mention| mention.name).collect();
            Ok(names.into_iter().filter(|name| !is_known(name)).collect())
        };
        let (resources, outputs) = (unresolved("Resources")?, unresolved("Outputs")?);
        if !resources.is_empty() {
            let names = resources.join(", ");
            return Err(invalid(format!(
                "Template format error: Unresolved resource dependencies [{names}] in the Resources block of the template"
            )));
        }
        if !outputs.is_empty() {
            let names = outputs.join(", ");
            return Err(invalid(format!(
                "Unresolved resource dependencies [{names}] in the Outputs block of the template"
            )));
        }
        Ok(())
    }

    fn check_attribute(&self, mention: &Mention) -> Result<(), Refusal> {
        let Mention { name, attribute: Some(attribute) } = mention else { return Ok(()) };
        if !self.resources().contains_key(name) {
            return Err(invalid(format!(
                "Template error: instance of Fn::GetAtt references undefined resource {name}"
            )));
        }
        let known = attributes(self.kind(name)).unwrap_or_default();
        if known.contains(&attribute.as_str()) {
            return Ok(());
        }
        Err(invalid(format!(
            "Template error: resource {name} does not support attribute type {attribute} in Fn::GetAtt"
        )))
    }

    fn check_capabilities(&self, given: &[&str]) -> Result<(), Refusal> {
        let kind = |resource: &Value| {
            resource["Type"].as_str().and_then(|kind| kind.strip_prefix("AWS::IAM::")).map(str::to_owned)
        };
        let ours =
            self.resources().values().filter(|one| kind(one).is_some_and(|kind| ACKNOWLEDGED.contains(&kind.as_str())));
        let is_named = |resource: &&Value| keys(&resource["Properties"]).any(|key| NAMES_IN_IAM.contains(&key));
        let (named, unnamed): (Vec<&Value>, Vec<&Value>) = ours.partition(is_named);
        let lacking = match (named.is_empty(), unnamed.is_empty()) {
            (false, _) if !given.contains(&"CAPABILITY_NAMED_IAM") => "CAPABILITY_NAMED_IAM",
            (_, false) if !given.contains(&"CAPABILITY_IAM") && !given.contains(&"CAPABILITY_NAMED_IAM") => {
                "CAPABILITY_IAM"
            }
            _ => return Ok(()),
        };
        Err(("InsufficientCapabilitiesException", format!("Requires capabilities : [{lacking}]")))
    }

    /// A resource's type.
    pub fn kind(&self, id: &str) -> &str {
        self.resources()[id]["Type"].as_str().unwrap()
    }

    /// What is of another type here than in another template.
    pub fn other_types(&self, other: &Template) -> Vec<String> {
        let ids = self
            .resources()
            .keys()
            .filter(|id| other.resources().get(*id).is_some_and(|_| other.kind(id) != self.kind(id)));
        ids.cloned().collect()
    }

    /// Whether a value of a template names one of these resources.
    pub fn names(&self, value: &Value, resources: &BTreeSet<String>) -> bool {
        let mut mentions = Vec::new();
        self.mentions(value, &mut mentions).ok();
        mentions.iter().any(|mention| resources.contains(&mention.name))
    }

    /// What must be there before a resource is made.
    pub fn needs(&self, id: &str) -> BTreeSet<String> {
        let mut mentions = Vec::new();
        // A function that is not known was refused before.
        self.mentions(&self.resources()[id]["Properties"], &mut mentions).ok();
        let named = mentions.into_iter().map(|mention| mention.name).filter(|name| !is_pseudo(name));
        named.chain(waits_for(&self.resources()[id])).collect()
    }

    /// The resources, each after all that it needs.
    ///
    /// # Errors
    /// Some need each other.
    pub fn in_order(&self) -> Result<Vec<String>, Refusal> {
        let mut open: BTreeMap<&str, BTreeSet<String>> =
            self.resources().keys().map(|id| (id.as_str(), self.needs(id))).collect();
        let mut order: Vec<String> = Vec::new();
        while !open.is_empty() {
            let ready = open.iter().find(|(_, needs)| needs.iter().all(|need| order.contains(need))).map(|(id, _)| *id);
            let Some(ready) = ready else {
                let names: Vec<&str> = circle(&open);
                return Err(invalid(format!("Circular dependency between resources: [{}]", names.join(", "))));
            };
            open.remove(ready);
            order.push(ready.into());
        }
        Ok(order)
    }

    /// The properties of a resource as they are when all that it needs is made.
    pub fn properties(&self, id: &str, world: &dyn World) -> Value {
        self.resolved(&self.resources()[id]["Properties"], world)
    }

    /// The outputs of a stack that is made.
    pub fn outputs(&self, world: &dyn World) -> Vec<(String, String)> {
        self.section("Outputs")
            .map(|(name, output)| (name.clone(), text(&self.resolved(&output["Value"], world))))
            .collect()
    }

    fn mentions(&self, value: &Value, found: &mut Vec<Mention>) -> Result<(), Refusal> {
        match (function(value), value) {
            (Some(("Ref", name)), _) => found.push(Mention { name: text(name), attribute: None }),
            (Some(("Fn::GetAtt", what)), _) => {
                let (name, attribute) = attribute_of(what);
                found.push(Mention { name, attribute: Some(attribute) });
            }
            (Some(("Fn::Sub", form)), _) => {
                let form = form.as_str().ok_or_else(|| invalid("Fn::Sub with a map is not known here"))?;
                found.extend(placeholders(form).into_iter().map(|(name, attribute)| Mention { name, attribute }));
            }
            (Some(("Fn::FindInMap", way)), _) => {
                if self.found_in_map(way, |inner| inner.as_str().map_or("aws".into(), str::to_owned)).is_none() {
                    return Err(invalid(format!("Template error: Unable to get mapping for {way}")));
                }
                self.mentions_below(way, found)?;
            }
            (Some(("Fn::Join", parts)), _) => self.mentions_below(parts, found)?,
            (Some((other, _)), _) => return Err(invalid(format!("Template error: {other} is not known here"))),
            (None, value) => self.mentions_below(value, found)?,
        }
        Ok(())
    }

    fn mentions_below(&self, value: &Value, found: &mut Vec<Mention>) -> Result<(), Refusal> {
        match value {
            Value::Array(values) => values.iter().try_for_each(|value| self.mentions(value, found)),
            Value::Object(fields) => fields.values().try_for_each(|value| self.mentions(value, found)),
            _ => Ok(()),
        }
    }

    fn found_in_map(&self, way: &Value, resolve: impl Fn(&Value) -> String) -> Option<&Value> {
        let [map, first, second] = way.as_array()?.as_slice() else { return None };
        self.value["Mappings"].get(resolve(map))?.get(resolve(first))?.get(resolve(second))
    }

    fn resolved(&self, value: &Value, world: &dyn World) -> Value {
        let named = |name: &str| world.parameter(name).unwrap_or_else(|| world.reference(name));
        match (function(value), value) {
            (Some(("Ref", name)), _) => named(&text(name)).into(),
            (Some(("Fn::GetAtt", what)), _) => {
                let (name, attribute) = attribute_of(what);
                world.attribute(&name, &attribute).into()
            }
            (Some(("Fn::Sub", form)), _) => {
                let fill = |form: String, (name, attribute): (String, Option<String>)| match attribute {
                    Some(attribute) => {
                        form.replace(&format!("${{{name}.{attribute}}}"), &world.attribute(&name, &attribute))
                    }
                    None => form.replace(&format!("${{{name}}}"), &named(&name)),
                };
                let form = text(form);
                placeholders(&form).into_iter().fold(form, fill).replace("${!", "${").into()
            }
            (Some(("Fn::Join", parts)), _) => {
                let parts = self.resolved_below(parts, world);
                let pieces: Vec<String> = parts[1].as_array().into_iter().flatten().map(text).collect();
                pieces.join(&text(&parts[0])).into()
            }
            (Some(("Fn::FindInMap", way)), _) => {
                let found = self.found_in_map(way, |inner| text(&self.resolved(inner, world)));
                found.cloned().unwrap_or_default()
            }
            (_, value) => self.resolved_below(value, world),
        }
    }

    fn resolved_below(&self, value: &Value, world: &dyn World) -> Value {
        let is_nothing = |value: &Value| value["Ref"] == "AWS::NoValue";
        match value {
            Value::Array(values) => {
                values.iter().filter(|value| !is_nothing(value)).map(|value| self.resolved(value, world)).collect()
            }
            Value::Object(fields) => {
                let given = fields.iter().filter(|(_, value)| !is_nothing(value));
                Value::Object(given.map(|(name, value)| (name.clone(), self.resolved(value, world))).collect())
            }
            other => other.clone(),
        }
    }
}

pub fn invalid(message: impl Into<String>) -> Refusal {
    ("ValidationError", message.into())
}

/// The attributes of a type, if it is known.
pub fn attributes(kind: &str) -> Option<&'static [&'static str]> {
    TYPES.iter().find(|(known, _)| *known == kind).map(|(_, attributes)| *attributes)
}

fn keys(value: &Value) -> impl Iterator<Item = &str> {
    value.as_object().into_iter().flatten().map(|(key, _)| key.as_str())
}

/// A pseudo parameter, of which each has a value.
fn is_pseudo(name: &str) -> bool {
    ["AccountId", "NoValue", "Partition", "Region", "StackId", "StackName", "URLSuffix"]
        .iter()
        .any(|known| name.strip_prefix("AWS::") == Some(known))
}

/// A function and what it is given.
fn function(value: &Value) -> Option<(&str, &Value)> {
    let fields = value.as_object().filter(|fields| fields.len() == 1)?;
    let (name, given) = fields.iter().next()?;
    (name == "Ref" || name.starts_with("Fn::")).then_some((name.as_str(), given))
}

/// What `Fn::GetAtt` is given: a list, or a text with a dot.
fn attribute_of(what: &Value) -> (String, String) {
    if let Some((name, attribute)) = what.as_str().and_then(|what| what.split_once('.')) {
        return (name.into(), attribute.into());
    }
    (text(&what[0]), text(&what[1]))
}

/// What stands in braces: names, and attributes after a dot. `${!…}` is a text.
fn placeholders(form: &str) -> Vec<(String, Option<String>)> {
    let inner = form.split("${").skip(1).filter_map(|part| part.split_once('}')).map(|(inner, _)| inner);
    let split = |inner: &str| match inner.split_once('.') {
        Some((name, attribute)) => (name.to_owned(), Some(attribute.to_owned())),
        None => (inner.to_owned(), None),
    };
    inner.filter(|inner| !inner.starts_with('!')).map(split).collect()
}

fn waits_for(resource: &Value) -> Vec<String> {
    match &resource["DependsOn"] {
        Value::String(one) => vec![one.clone()],
        several => several.as_array().into_iter().flatten().map(text).collect(),
    }
}

/// Those that need each other, of those that cannot be ordered: what is left when everything is gone that nothing of them needs.
fn circle<'o>(open: &BTreeMap<&'o str, BTreeSet<String>>) -> Vec<&'o str> {
    let mut names: Vec<&str> = open.keys().copied().collect();
    loop {
        let is_needed = |name: &&str| names.iter().any(|other| open[other].contains(*name));
        let needed: Vec<&str> = names.iter().copied().filter(|name| is_needed(name)).collect();
        if needed.len() == names.len() {
            return names;
        }
        names = needed;
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
