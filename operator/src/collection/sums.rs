//! Nodes, added up.

use litemap::LiteMap;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::quantity::quantity;
use crate::kubernetes::{Metadata, Versioned};

const GIBIBYTE: f64 = 1_073_741_824.0;

#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Sums {
    pub(super) total: u64,
    pub(super) ready: u64,
    cores: f64,
    bytes: f64,
}

/// What counts of every node, by its name.
#[derive(Default)]
pub(super) struct Nodes {
    known: LiteMap<String, Share>,
    /// Those of which nothing can be read.
    unknown: u64,
}

/// What one node adds to the sums.
struct Share {
    is_ready: bool,
    cores: f64,
    bytes: f64,
}

impl Nodes {
    pub(super) fn put(&mut self, node: Node) {
        let status = node.status.unwrap_or_default();
        let capacity = status.capacity.unwrap_or_default();
        let number = |of: &str| capacity.get(of).and_then(Value::as_str).and_then(quantity).unwrap_or_default();
        let share = Share {
            is_ready: status.conditions.iter().flatten().any(is_ready),
            cores: number("cpu"),
            bytes: number("memory"),
        };
        self.known.insert(node.metadata.name, share);
    }

    pub(super) fn remove(&mut self, node: &Node) {
        self.known.remove(&node.metadata.name);
    }

    pub(super) fn put_unknown(&mut self) {
        self.unknown += 1;
    }

    pub(super) fn sums(&self) -> Sums {
        let mut sums = Sums { total: self.known.len() as u64 + self.unknown, ..Sums::default() };
        for share in self.known.values() {
            sums.ready += u64::from(share.is_ready);
            sums.cores += share.cores;
            sums.bytes += share.bytes;
        }
        sums
    }
}

impl Sums {
    /// In cores.
    pub(super) fn cpu(&self) -> String {
        rounded(self.cores)
    }

    /// Like `62.5Gi`.
    pub(super) fn memory(&self) -> String {
        format!("{}Gi", rounded(self.bytes / GIBIBYTE))
    }
}

fn is_ready(condition: &Condition) -> bool {
    condition.name == "Ready" && condition.status == "True"
}

/// To one decimal, and none where it is zero.
fn rounded(number: f64) -> String {
    ((number * 10.0).round() / 10.0).to_string()
}

/// What is read of a node; its images and addresses, which are most of it, are not.
#[derive(Deserialize)]
pub(super) struct Node {
    metadata: Metadata,
    status: Option<Status>,
}

impl Versioned for Node {
    fn version(&self) -> &str {
        &self.metadata.resource_version
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    capacity: Option<Map<String, Value>>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    name: String,
    status: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, status: &Value) -> Node {
        serde_json::from_value(serde_json::json!({"metadata": {"name": name}, "status": status})).unwrap()
    }

    #[test]
    fn nodes_add_up_and_those_that_are_ready_are_told() {
        let mut nodes = Nodes::default();
        let all = [
            ("a", "4", "16777216Ki", "False"),
            ("b", "3500m", "8Gi", "False"),
            ("c", "4", "512Mi", "Unknown"),
            ("a", "4", "16777216Ki", "True"),
            ("gone", "1", "1Gi", "True"),
        ];
        for (name, cpu, memory, ready) in all {
            nodes.put(node(
                name,
                &serde_json::json!({
                    "capacity": {"cpu": cpu, "memory": memory},
                    "conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": ready}],
                }),
            ));
        }
        nodes.remove(&node("gone", &Value::Null));
        nodes.put_unknown();
        let sums = nodes.sums();
        assert_eq!((sums.total, sums.ready), (4, 1));
        assert_eq!((sums.cpu(), sums.memory()), ("11.5".to_owned(), "24.5Gi".to_owned()));
    }
}
