//! Changes as lines for people.

use std::fmt::Write;

use anstyle::{AnsiColor, Style};
use serde_json::Value;

use crate::deploy::change::{Action, Change, Changes, Difference};

/// Longer values are cut: a policy of a hundred lines is in the template.
const WIDTH_MAX: usize = 160;

/// One line for each resource, and below it one for each value that differs.
pub fn changes(changes: &Changes) -> String {
    let mut text = String::new();
    for change in &changes.resources {
        let Change { resource, kind, action, loses, .. } = change;
        let (style, sign, word) = sign(*action);
        let loss = if *loses { "  <- users would lose their charts" } else { "" };
        let _ = writeln!(text, "{style}{sign} {word:<8}{style:#} {kind} {resource}{loss}");
        change.differences.iter().for_each(|difference| line(&mut text, difference));
    }
    if !changes.template.is_empty() {
        let (style, sign, word) = sign(Action::Modify);
        let _ = writeln!(text, "{style}{sign} {word:<8}{style:#} the template");
        changes.template.iter().for_each(|difference| line(&mut text, difference));
    }
    text
}

/// How many resources something happens to, in words.
pub fn count(changes: &Changes) -> String {
    let counted = [Action::Add, Action::Modify, Action::Replace, Action::Delete, Action::Abandon]
        .into_iter()
        .filter_map(|action| {
            let count = changes.resources.iter().filter(|change| change.action == action).count();
            (count > 0).then(|| format!("{count} to {}", sign(action).2))
        });
    let counted: Vec<String> = counted.collect();
    if counted.is_empty() { "only outputs or descriptions".into() } else { counted.join(", ") }
}

fn sign(action: Action) -> (Style, char, &'static str) {
    let colour = |colour: AnsiColor| colour.on_default().bold();
    match action {
        Action::Add => (colour(AnsiColor::Green), '+', "add"),
        Action::Modify => (colour(AnsiColor::Cyan), '~', "modify"),
        Action::Replace => (colour(AnsiColor::Red), '!', "replace"),
        Action::Delete => (colour(AnsiColor::Red), '-', "delete"),
        Action::Abandon => (colour(AnsiColor::Yellow), '-', "abandon"),
    }
}

fn line(text: &mut String, difference: &Difference) {
    let Difference { path, before, after } = difference;
    let shown = |value: &Option<Value>| value.as_ref().map_or_else(|| "(nothing)".into(), short);
    let _ = writeln!(text, "    {path}: {} -> {}", shown(before), shown(after));
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(WIDTH_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::deploy::change::compare;

    #[test]
    fn every_change_is_a_line_and_a_loss_says_so() {
        let bucket = |name: &str| json!({"Type": "AWS::S3::Bucket", "Properties": {"BucketName": name}});
        let before = json!({"Resources": {"Bucket": bucket("a"), "Alarm": {"Type": "AWS::CloudWatch::Alarm"}}});
        let replaced = ["Bucket".to_owned()].into();
        let found = compare(&before, &json!({"Resources": {"Bucket": bucket("b")}}), &replaced);
        let text = anstream::adapter::strip_str(&changes(&found)).to_string();
        assert_eq!(
            text,
            "! replace  AWS::S3::Bucket Bucket  <- users would lose their charts\n    \
             Properties.BucketName: \"a\" -> \"b\"\n- delete   AWS::CloudWatch::Alarm Alarm\n"
        );
        assert_eq!(count(&found), "1 to replace, 1 to delete");
    }

    #[test]
    fn a_long_value_is_cut() {
        assert!(short(&json!("x".repeat(1000))).len() < 200);
    }
}
