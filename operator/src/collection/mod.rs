//! What the kube9 dashboard shows of the cluster: how many there are of everything, and what the nodes have.
//!
//! Each kind is counted once, by one object and how many more there are, and then watched by metadata alone: what comes and
//! goes is added and taken away. So a change shows within seconds, an idle cluster costs nothing, and memory does not
//! follow the size of the cluster, but for a line for each node. All counts are known or none is told.
//!
//! kube9 shows these counts in place of its own, so they go when nobody keeps them up to date any more.

mod quantity;
mod sums;

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::kubernetes::{Change, Client, Feed, Follower, Form, List, Object, REQUEST_TIMEOUT, Versioned};
use crate::runtime::{Class, Context, Failure, HEARTBEAT, Owner, Shutdown, TROUBLESOME, Task, retry};
use crate::status::{ConfigMaps, Content, Target};
use crate::time::{Timestamp, rfc_3339};
use sums::{Node, Nodes, Sums};

/// Where the dashboard looks.
const CONFIG_MAP_NAME: &str = "kube9-dashboard-data";
const KEY: &str = "dashboard";

/// A node tells all its images, so a page of them is half a megabyte.
const NODES_PER_PAGE: u32 = 50;

const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The shortest time between two writes, whatever changes.
const BETWEEN_WRITES: Duration = Duration::from_secs(15);

/// While the status takes leave, and no longer.
const LEAVE: Duration = Duration::from_millis(1500);

/// What is counted, under the names of the dashboard.
const NAMESPACES: &str = "/api/v1/namespaces";
const WORKLOADS: [(&str, &str); 7] = [
    ("deployments", "/apis/apps/v1/deployments"),
    ("statefulsets", "/apis/apps/v1/statefulsets"),
    ("daemonsets", "/apis/apps/v1/daemonsets"),
    ("replicasets", "/apis/apps/v1/replicasets"),
    ("jobs", "/apis/batch/v1/jobs"),
    ("cronjobs", "/apis/batch/v1/cronjobs"),
    ("pods", "/api/v1/pods"),
];

/// Namespaces, workloads, and four figures of the nodes.
const DATA_POINTS: u64 = 1 + WORKLOADS.len() as u64 + 4;

/// Counts until the shutdown, and takes the counts away then.
pub(crate) async fn collect(client: Client, context: Arc<Context>, shutdown: &Shutdown) {
    let config_maps = ConfigMaps::new(client.clone(), &context.config.pod.namespace);
    let Some(interval) = context.config.collection_interval else {
        // What an earlier configuration left behind would be shown as if it were true.
        if let Err(failure) = config_maps.delete(CONFIG_MAP_NAME, None, REQUEST_TIMEOUT).await {
            tracing::warn!(%failure, "cannot remove the counts of an earlier configuration");
        }
        return;
    };
    let collector = Collector {
        client,
        config_maps,
        context,
        interval,
        known: RefCell::default(),
        changed: Notify::new(),
        written: RefCell::default(),
    };
    tokio::select! {
        () = collector.run() => {}
        () = shutdown.requested() => {}
    }
    let written = collector.written.take();
    if let Some(uid) = written {
        collector.take_away(Some(&uid), LEAVE).await;
    }
}

struct Collector {
    client: Client,
    config_maps: ConfigMaps,
    context: Arc<Context>,
    /// The longest time between two counts of all.
    interval: Duration,
    known: RefCell<Known>,
    changed: Notify,
    /// The uid of the ConfigMap, if this replica wrote it last.
    written: RefCell<Option<String>>,
}

/// What the watches know.
#[derive(Default)]
struct Known {
    /// Namespaces, and then in the order of `WORKLOADS`.
    kinds: [Option<u64>; 1 + WORKLOADS.len()],
    nodes: Option<Nodes>,
}

impl Collector {
    async fn run(&self) {
        // The status comes first, and with it whose it is.
        self.context.clock.sleep(FIRST_PAUSE).await;
        loop {
            retry::until_success(&self.context, Task::Collection, async || self.lead().await).await;
        }
    }

    /// Counts for as long as this replica is the one that writes.
    async fn lead(&self) -> Result<(), Failure> {
        let clock = &self.context.clock;
        while !self.context.may_write() {
            clock.sleep(HEARTBEAT).await;
        }
        if self.context.state().failures(Task::Collection) == TROUBLESOME {
            self.written.take();
            self.take_away(None, REQUEST_TIMEOUT).await;
        }
        let failure = tokio::select! {
            failure = self.watch() => failure,
            failure = self.publish() => failure,
            () = self.deposed() => {
                // It is the other one's by now.
                self.written.take();
                return Ok(());
            }
        };
        self.context.update(|state| state.collections.failures += 1);
        Err(failure)
    }

    /// Returns when another replica may write.
    async fn deposed(&self) {
        while self.context.may_write() {
            self.context.clock.sleep(HEARTBEAT).await;
        }
    }

    /// Keeps what is known up to date until something fails.
    async fn watch(&self) -> Failure {
        self.known.replace(Known::default());
        let workload = |index: usize| self.count(index + 1, WORKLOADS[index].1);
        tokio::select! {
            failure = self.count(0, NAMESPACES) => failure,
            failure = workload(0) => failure,
            failure = workload(1) => failure,
            failure = workload(2) => failure,
            failure = workload(3) => failure,
            failure = workload(4) => failure,
            failure = workload(5) => failure,
            failure = workload(6) => failure,
            failure = self.add_nodes() => failure,
        }
    }

    /// Writes what is known, when it changed, until something fails.
    async fn publish(&self) -> Failure {
        let clock = &self.context.clock;
        let mut last: Option<(Counts, Duration)> = None;
        loop {
            let counts = self.known.borrow().counts();
            let due = last.as_ref().map_or(Duration::ZERO, |(_, time)| *time + self.interval);
            match counts {
                Some(counts) if clock.uptime() >= due || last.as_ref().is_none_or(|(last, _)| *last != counts) => {
                    if let Err(failure) = self.write(&counts).await {
                        return failure;
                    }
                    let now = clock.uptime();
                    self.context.update(|state| {
                        state.task_runs(Task::Collection);
                        state.collected(now);
                    });
                    last = Some((counts, now));
                    clock.sleep(BETWEEN_WRITES.min(self.interval)).await;
                }
                _ => tokio::select! {
                    () = self.changed.notified() => {}
                    () = clock.sleep(due.saturating_sub(clock.uptime())), if last.is_some() => {}
                },
            }
        }
    }

    async fn write(&self, counts: &Counts) -> Result<(), Failure> {
        let state = self.context.state();
        let collected = (state.collections.successes + 1) * DATA_POINTS;
        let text = format!("{:#}", counts.dashboard(self.context.calendar(), collected));
        let content = Content { name: CONFIG_MAP_NAME, component: "dashboard", data: &[(KEY, &text)] };
        let pod = &self.context.config.pod;
        // With the pod, so that a node that is lost does not leave the counts behind.
        let pod = pod.uid.as_ref().map(|uid| Owner::pod(&pod.name, uid));
        let owner = pod.as_ref().or(state.owner());
        let written = self.config_maps.apply(&content, owner, &Target::Any, REQUEST_TIMEOUT).await?;
        self.written.replace(Some(written.identity.uid));
        Ok(())
    }

    async fn take_away(&self, uid: Option<&str>, limit: Duration) {
        match self.config_maps.delete(CONFIG_MAP_NAME, uid, limit).await {
            Ok(()) => tracing::info!("the counts for the dashboard are taken away"),
            Err(failure) => tracing::warn!(%failure, "cannot take the counts for the dashboard away"),
        }
    }
}

impl Collector {
    /// Follows a kind until something fails, and begins anew from time to time, in case that a watch missed something.
    async fn keep<T>(&self, feed: Feed<T>, mut follower: impl Follower<T>) -> Failure
    where
        T: Versioned + serde::de::DeserializeOwned,
    {
        let clock = &self.context.clock;
        loop {
            tokio::select! {
                failure = feed.follow(&mut follower) => match failure.class {
                    Class::Expired => clock.sleep(FIRST_PAUSE).await,
                    _ => return failure,
                },
                () = clock.sleep(self.interval) => {}
            }
        }
    }

    async fn count(&self, index: usize, path: &str) -> Failure {
        let feed = self.feed(List::all(path, 1, Form::METADATA), true);
        self.keep(feed, Counter { collector: self, index }).await
    }

    async fn add_nodes(&self) -> Failure {
        let list = List::all("/api/v1/nodes", NODES_PER_PAGE, Form::JSON);
        self.keep(self.feed(list, false), Adder { collector: self, listed: None }).await
    }

    fn feed<T>(&self, list: List<T>, is_counted: bool) -> Feed<T> {
        Feed { client: self.client.clone(), clock: self.context.clock.clone(), list, is_counted }
    }
}

/// Counts what comes and goes of one kind.
struct Counter<'collector> {
    collector: &'collector Collector,
    index: usize,
}

impl Follower<Object> for Counter<'_> {
    fn tell(&mut self, change: Change<Object>) {
        let count = &mut self.collector.known.borrow_mut().kinds[self.index];
        let before = *count;
        match change {
            Change::Counted(number) => *count = Some(number),
            Change::New(_) => *count = count.map(|count| count + 1),
            Change::Gone(_) => *count = count.map(|count| count.saturating_sub(1)),
            _ => {}
        }
        if *count != before {
            self.collector.changed.notify_one();
        }
    }
}

/// Keeps what counts of every node.
struct Adder<'collector> {
    collector: &'collector Collector,
    /// What a list brings, as long as there is one.
    listed: Option<Nodes>,
}

impl Follower<Node> for Adder<'_> {
    fn tell(&mut self, change: Change<Node>) {
        let listed = &mut self.listed;
        if let Change::Skipped(reason) = &change {
            self.collector.context.skipped(Task::Collection, reason);
        }
        let known = &mut self.collector.known.borrow_mut().nodes;
        match change {
            Change::Listing => *listed = Some(Nodes::default()),
            Change::Listed => *known = listed.take(),
            Change::Put(node) | Change::New(node) => {
                listed.as_mut().unwrap_or_else(|| known.get_or_insert_default()).put(node);
            }
            Change::Gone(node) => known.get_or_insert_default().remove(&node),
            // One that cannot be read is one nevertheless.
            Change::Skipped(_) => listed.iter_mut().for_each(Nodes::put_unknown),
            Change::Watching | Change::Counted(_) | Change::Same => return,
        }
        self.collector.changed.notify_one();
    }
}

impl Known {
    /// Nothing as long as anything is not known.
    fn counts(&self) -> Option<Counts> {
        let [namespaces, workloads @ ..] = &self.kinds;
        let mut counts =
            Counts { namespaces: (*namespaces)?, workloads: [0; WORKLOADS.len()], nodes: self.nodes.as_ref()?.sums() };
        for (count, known) in counts.workloads.iter_mut().zip(workloads) {
            *count = (*known)?;
        }
        Some(counts)
    }
}

#[derive(Debug, Clone, Default, PartialEq)]
struct Counts {
    namespaces: u64,
    /// In the order of `WORKLOADS`.
    workloads: [u64; WORKLOADS.len()],
    nodes: Sums,
}

impl Counts {
    /// As kube9 reads it, with how many figures there have been in all.
    fn dashboard(&self, now: Timestamp, collected: u64) -> Value {
        let time = rfc_3339(now);
        let mut dashboard = json!({
            "namespaceCount": self.namespaces,
            "workloads": {},
            "nodes": {
                "totalNodes": self.nodes.total,
                "readyNodes": self.nodes.ready,
                "cpuCapacity": self.nodes.cpu(),
                "memoryCapacity": self.nodes.memory(),
            },
            "operatorMetrics": {
                "collectorsRunning": 1,
                "dataPointsCollected": collected,
                "lastCollectionTime": time,
            },
            "lastUpdated": time,
        });
        for ((name, _), number) in WORKLOADS.into_iter().zip(self.workloads) {
            dashboard["workloads"][name] = json!(number);
        }
        dashboard
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
                "dataPointsCollected": 24,
                "lastCollectionTime": "2026-08-03T12:00:00Z",
            },
            "lastUpdated": "2026-08-03T12:00:00Z",
        });
        assert_eq!(counts.dashboard("2026-08-03T12:00:00Z".parse().unwrap(), 2 * DATA_POINTS), expected);
    }

    #[test]
    fn nothing_is_told_before_all_is_known() {
        let mut known = Known { kinds: [Some(1); 1 + WORKLOADS.len()], nodes: None };
        assert_eq!(known.counts(), None);
        known.nodes = Some(Nodes::default());
        assert!(known.counts().is_some());
        known.kinds[7] = None;
        assert_eq!(known.counts(), None);
    }
}
