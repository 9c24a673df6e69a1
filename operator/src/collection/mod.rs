//! What the kube9 dashboard shows of the cluster: how many there are of everything, and what the nodes have.
//!
//! Whatever the size of the cluster, memory stays the same: of most kinds one object is asked for, and with it how many
//! more there are; nodes come in pages and are added up as they come. All counts are taken or none is told.

mod quantity;
mod sums;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::backoff;
use crate::failure::Failure;
use crate::kubernetes::{Client, Form, List, REQUEST_TIMEOUT, Read};
use crate::progress::Job;
use crate::serve::Context;
use crate::status::{ConfigMaps, Content, Target};
use crate::text::rfc_3339;
use sums::{Node, Sums};

/// Where the dashboard looks.
const CONFIG_MAP_NAME: &str = "kube9-dashboard-data";
const KEY: &str = "dashboard";

/// A node tells all its images, so a page of them is half a megabyte.
const NODES_PER_PAGE: u32 = 50;

const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What is counted, under the names of the dashboard.
const WORKLOADS: [(&str, &str); 7] = [
    ("deployments", "/apis/apps/v1/deployments"),
    ("statefulsets", "/apis/apps/v1/statefulsets"),
    ("daemonsets", "/apis/apps/v1/daemonsets"),
    ("replicasets", "/apis/apps/v1/replicasets"),
    ("jobs", "/apis/batch/v1/jobs"),
    ("cronjobs", "/apis/batch/v1/cronjobs"),
    ("pods", "/api/v1/pods"),
];

/// Counts for ever, in intervals.
pub(crate) async fn collect(client: Client, context: Arc<Context>) {
    let Context { config, clock, progress, metrics, .. } = &*context;
    let config_maps = ConfigMaps::new(client.clone(), &config.namespace);
    let Some(interval) = config.collection_interval else {
        // What an earlier configuration left behind would be shown as if it were true.
        if let Err(failure) = config_maps.delete(CONFIG_MAP_NAME, REQUEST_TIMEOUT).await {
            tracing::warn!(%failure, "cannot remove the counts of an earlier configuration");
        }
        return;
    };
    // The status comes first, and with it whose it is.
    clock.sleep(FIRST_PAUSE).await;
    loop {
        progress.turn_to_lead(config.leader_election).await;
        let pause = match collect_once(&client, &config_maps, &context).await {
            Ok(()) => {
                progress.job_runs(Job::Collection);
                progress.collected(clock.uptime());
                interval
            }
            Err(failure) => {
                tracing::warn!(%failure, "cannot count the cluster");
                metrics.job_failed(Job::Collection, failure.class);
                progress.not_collected();
                let asked_for = failure.retry_after;
                let failures = progress.job_failed(Job::Collection, failure, clock.uptime());
                backoff::pause(failures, backoff::random_fraction(), asked_for)
            }
        };
        clock.sleep(pause).await;
    }
}

async fn collect_once(client: &Client, config_maps: &ConfigMaps, context: &Context) -> Result<(), Failure> {
    let counts = Counts::take(client).await?;
    let text = format!("{:#}", counts.dashboard(context.calendar()));
    let content = Content { name: CONFIG_MAP_NAME, component: "dashboard", data: [(KEY, text.as_str())].into() };
    let facts = context.progress.facts();
    config_maps.apply(&content, facts.owner(), &Target::Any, REQUEST_TIMEOUT).await.map(drop)
}

#[derive(Debug, Default)]
struct Counts {
    namespaces: u64,
    /// In the order of `WORKLOADS`.
    workloads: [u64; WORKLOADS.len()],
    nodes: Sums,
}

impl Counts {
    async fn take(client: &Client) -> Result<Self, Failure> {
        let mut counts = Self { namespaces: client.count("/api/v1/namespaces").await?, ..Self::default() };
        for (number, (_, path)) in counts.workloads.iter_mut().zip(WORKLOADS) {
            *number = client.count(path).await?;
        }
        let list = List {
            path: "/api/v1/nodes".to_owned(),
            label_selector: None,
            field_selector: None,
            most: NODES_PER_PAGE,
            form: Form::JSON,
        };
        // One that cannot be read is one nevertheless.
        client.list(&list, &mut |node: Read<Node>| counts.nodes.add(&node.unwrap_or_default())).await?;
        Ok(counts)
    }

    fn dashboard(&self, now: Timestamp) -> Value {
        let workloads = WORKLOADS.iter().zip(self.workloads).map(|((name, _), number)| (*name, number));
        let time = rfc_3339(now);
        json!({
            "namespaceCount": self.namespaces,
            "workloads": workloads.collect::<std::collections::BTreeMap<_, _>>(),
            "nodes": {
                "totalNodes": self.nodes.total,
                "readyNodes": self.nodes.ready,
                "cpuCapacity": self.nodes.cpu(),
                "memoryCapacity": self.nodes.memory(),
            },
            "operatorMetrics": {
                "collectorsRunning": 1,
                // Namespaces, workloads, and four figures of the nodes.
                "dataPointsCollected": 1 + WORKLOADS.len() + 4,
                "lastCollectionTime": time,
            },
            "lastUpdated": time,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_dashboard_has_every_field_kube9_shows() {
        let counts = Counts { namespaces: 4, workloads: [1, 2, 3, 4, 5, 6, 7], nodes: Sums::default() };
        let expected = json!({
            "namespaceCount": 4,
            "workloads": {
                "deployments": 1, "statefulsets": 2, "daemonsets": 3, "replicasets": 4, "jobs": 5, "cronjobs": 6, "pods": 7,
            },
            "nodes": {"totalNodes": 0, "readyNodes": 0, "cpuCapacity": "0", "memoryCapacity": "0Gi"},
            "operatorMetrics": {
                "collectorsRunning": 1,
                "dataPointsCollected": 12,
                "lastCollectionTime": "2026-08-03T12:00:00Z",
            },
            "lastUpdated": "2026-08-03T12:00:00Z",
        });
        assert_eq!(counts.dashboard("2026-08-03T12:00:00Z".parse().unwrap()), expected);
    }
}
