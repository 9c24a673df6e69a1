//! Nodes, added up one by one.

use serde::Deserialize;

use super::quantity::quantity;

const GIBIBYTE: f64 = 1_073_741_824.0;

#[derive(Debug, Default)]
pub(super) struct Sums {
    pub(super) total: u64,
    pub(super) ready: u64,
    cores: f64,
    bytes: f64,
}

impl Sums {
    pub(super) fn add(&mut self, node: &Node) {
        let Some(status) = &node.status else {
            self.total += 1;
            return;
        };
        self.total += 1;
        self.ready += u64::from(status.conditions.iter().flatten().any(is_ready));
        let capacity = status.capacity.as_ref();
        let number = |text: Option<&String>| text.and_then(|text| quantity(text)).unwrap_or_default();
        self.cores += number(capacity.and_then(|capacity| capacity.cpu.as_ref()));
        self.bytes += number(capacity.and_then(|capacity| capacity.memory.as_ref()));
    }

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

/// What counts of a node; its images and addresses, which are most of it, are not kept.
#[derive(Default, Deserialize)]
pub(super) struct Node {
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Status {
    capacity: Option<Capacity>,
    conditions: Option<Vec<Condition>>,
}

#[derive(Deserialize)]
struct Capacity {
    cpu: Option<String>,
    memory: Option<String>,
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

    #[test]
    fn nodes_add_up_and_those_that_are_ready_are_told() {
        let mut sums = Sums::default();
        for (cpu, memory, ready) in [("4", "16777216Ki", "True"), ("3500m", "8Gi", "False"), ("4", "512Mi", "Unknown")]
        {
            let node = serde_json::json!({"status": {
                "capacity": {"cpu": cpu, "memory": memory},
                "conditions": [{"type": "DiskPressure", "status": "True"}, {"type": "Ready", "status": ready}],
            }});
            sums.add(&serde_json::from_value(node).unwrap());
        }
        sums.add(&serde_json::from_str("{}").unwrap());
        assert_eq!((sums.total, sums.ready), (4, 1));
        assert_eq!((sums.cpu(), sums.memory()), ("11.5".to_owned(), "24.5Gi".to_owned()));
    }
}
