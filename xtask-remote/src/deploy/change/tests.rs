use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Action, Changes, PRECIOUS, kind};

fn template() -> Value {
    json!({
        "Description": "charts",
        "Resources": {
            "Bucket": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "RetainExceptOnCreate",
                       "Properties": {"BucketName": "charts", "Tags": [{"Key": "a", "Value": "b"}]}},
            "Logs": {"Type": "AWS::S3::Bucket", "DeletionPolicy": "RetainExceptOnCreate", "Properties": {"BucketName": "logs"}},
            "Edge": {"Type": "AWS::CloudFront::Distribution", "Properties": {"DistributionConfig": {"Comment": "charts"}}},
            "Ipv4": {"Type": "AWS::Route53::RecordSet", "Properties": {"Name": "charts.example.com.", "Type": "A"}},
        },
        "Outputs": {"BucketName": {"Value": {"Ref": "Bucket"}}, "DistributionId": {"Value": {"Ref": "Edge"}}},
    })
}

fn changed(path: &[&str], value: Value) -> Value {
    let mut template = template();
    let place = path.iter().fold(&mut template, |place, name| &mut place[*name]);
    *place = value;
    template
}

fn without(resource: &str) -> Value {
    let mut template = template();
    template["Resources"].as_object_mut().unwrap().remove(resource);
    template
}

/// Where CloudFormation would replace nothing.
fn compare(deployed: &Value, wanted: &Value) -> Changes {
    super::compare(deployed, wanted, &BTreeSet::new())
}

/// Where it would replace these.
fn compare_with(deployed: &Value, wanted: &Value, replaced: &[&str]) -> Changes {
    super::compare(deployed, wanted, &replaced.iter().map(|id| (*id).to_owned()).collect())
}

fn actions(changes: &Changes) -> Vec<(&str, Action, bool)> {
    changes.resources.iter().map(|change| (change.resource.as_str(), change.action, change.loses)).collect()
}

#[test]
fn the_same_template_changes_nothing() {
    assert!(compare(&template(), &template()).is_empty());
}

#[test]
fn where_nothing_is_deployed_everything_is_added_and_nothing_lost() {
    let changes = compare(&Value::Null, &template());
    assert!(changes.resources.iter().all(|change| change.action == Action::Add) && changes.resources.len() == 4);
    assert!(changes.losses().is_empty() && changes.adds("AWS::Route53::RecordSet"));
}

#[test]
fn a_bucket_that_is_replaced_is_a_loss() {
    let wanted = changed(&["Resources", "Bucket", "Properties", "BucketName"], json!("other"));
    let changes = compare_with(&template(), &wanted, &["Bucket"]);
    assert_eq!(actions(&changes), [("Bucket", Action::Replace, true)]);
    assert_eq!(changes.resources[0].differences[0].path, "Properties.BucketName");
}

#[test]
fn what_is_replaced_because_of_something_else_is_shown_too() {
    let wanted = changed(&["Resources", "Logs", "Properties", "BucketName"], json!("other"));
    let changes = compare_with(&template(), &wanted, &["Edge", "Logs"]);
    assert_eq!(actions(&changes), [("Logs", Action::Replace, false), ("Edge", Action::Replace, true)]);
}

#[test]
fn another_logical_id_of_the_distribution_is_a_loss() {
    let mut wanted = without("Edge");
    wanted["Resources"]["Moved"] = template()["Resources"]["Edge"].clone();
    let changes = compare(&template(), &wanted);
    assert_eq!(actions(&changes), [("Moved", Action::Add, false), ("Edge", Action::Delete, true)]);
}

#[test]
fn a_bucket_that_leaves_the_stack_stays_behind_and_is_a_loss_all_the_same() {
    assert_eq!(actions(&compare(&template(), &without("Bucket"))), [("Bucket", Action::Abandon, true)]);
}

#[test]
fn the_bucket_for_logs_may_leave() {
    assert_eq!(actions(&compare(&template(), &without("Logs"))), [("Logs", Action::Abandon, false)]);
}

#[test]
fn where_the_stack_names_no_bucket_all_buckets_are_kept() {
    let mut deployed = template();
    deployed["Outputs"].as_object_mut().unwrap().remove("BucketName");
    assert_eq!(actions(&compare(&deployed, &without("Logs"))), [("Logs", Action::Abandon, true)]);
}

#[test]
fn another_type_under_the_same_id_is_a_loss() {
    let wanted = changed(&["Resources", "Edge", "Type"], json!("AWS::S3::Bucket"));
    assert_eq!(actions(&compare(&template(), &wanted)), [("Edge", Action::Replace, true)]);
}

#[test]
fn what_is_no_longer_said_is_shown_as_taken_away() {
    let changes = compare(&template(), &without("Ipv4"));
    assert_eq!(actions(&changes), [("Ipv4", Action::Delete, false)]);
    let mut wanted = template();
    wanted["Resources"]["Bucket"]["Properties"].as_object_mut().unwrap().remove("Tags");
    let changes = compare(&template(), &wanted);
    let [difference] = &changes.resources[0].differences[..] else { panic!("{changes:?}") };
    assert_eq!((difference.path.as_str(), &difference.after), ("Properties.Tags", &None));
}

#[test]
fn a_member_that_comes_into_a_list_is_the_only_one_shown() {
    let tags = json!([{"Key": "new", "Value": "n"}, {"Key": "a", "Value": "b"}]);
    let changes = compare(&template(), &changed(&["Resources", "Bucket", "Properties", "Tags"], tags));
    let [difference] = &changes.resources[0].differences[..] else { panic!("{changes:?}") };
    assert_eq!((difference.path.as_str(), &difference.before), ("Properties.Tags[]", &None));
}

#[test]
fn an_output_that_changes_is_seen() {
    let changes = compare(&template(), &changed(&["Outputs", "More"], json!({"Value": "x"})));
    assert!(changes.resources.is_empty() && changes.template[0].path == "Outputs.More");
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i8>().prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c]", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn any_template() -> impl Strategy<Value = Value> {
    let kind = prop::sample::select(vec!["AWS::S3::Bucket", "AWS::CloudFront::Distribution", "AWS::IAM::Role"]);
    let resource =
        (kind, any_value()).prop_map(|(kind, value)| json!({"Type": kind, "Properties": {"BucketName": value}}));
    prop::collection::btree_map("[A-D]", resource, 0..4)
        .prop_map(|resources| json!({"Resources": Value::Object(resources.into_iter().collect())}))
}

proptest! {
    #[test]
    fn templates_differ_exactly_where_a_change_is_found(before in any_template(), after in any_template()) {
        prop_assert_eq!(compare(&before, &after).is_empty(), before == after);
    }

    #[test]
    fn no_bucket_or_distribution_goes_without_a_loss(
        before in any_template(), after in any_template(), replaced in prop::collection::btree_set("[A-D]", 0..4)
    ) {
        let changes = super::compare(&before, &after, &replaced);
        let lost: BTreeSet<&str> = changes.losses().iter().map(|change| change.resource.as_str()).collect();
        for (name, old) in before["Resources"].as_object().unwrap() {
            let new = &after["Resources"][name];
            let stays = kind(old) == kind(new) && !replaced.contains(name);
            prop_assert_eq!(lost.contains(name.as_str()), PRECIOUS.contains(&kind(old)) && !stays, "{}", name);
        }
    }

    #[test]
    fn what_one_way_adds_the_other_way_takes(before in any_template(), after in any_template()) {
        let names = |changes: &Changes, wanted: &[Action]| -> BTreeSet<String> {
            changes.resources.iter().filter(|change| wanted.contains(&change.action)).map(|change| change.resource.clone()).collect()
        };
        let (there, back) = (compare(&before, &after), compare(&after, &before));
        prop_assert_eq!(names(&there, &[Action::Add]), names(&back, &[Action::Delete, Action::Abandon]));
    }
}
