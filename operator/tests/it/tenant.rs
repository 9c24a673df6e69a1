//! One test's part of the cluster: a namespace with everything that the chart makes, and the operator's token.
//!
//! Whatever the operator writes there is kept, and when the test is over the extension's rules are applied to all of it.

use std::fs;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::TryStreamExt;
use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, ServiceAccount};
use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::chart::{self, Rendered};
use crate::cluster::Cluster;
use crate::consumer::{self, Mode, Verdict};
use crate::operator::Operator;
use crate::wait::{seconds, until, until_true};

pub(crate) const CONFIG_MAP: &str = "kube9-operator-status";
const ACCOUNT: &str = "kube9-operator";

pub(crate) struct Tenant<'cluster> {
    pub(crate) cluster: &'cluster Cluster,
    pub(crate) namespace: String,
    pub(crate) chart: Rendered,
    written: Arc<Mutex<Vec<ConfigMap>>>,
}

impl<'cluster> Tenant<'cluster> {
    /// A new namespace, where the operator may do what its chart lets it do. Events are asked of the API server; tests that
    /// are about keeping them say so.
    pub(crate) fn new(cluster: &'cluster Cluster) -> Self {
        Self::with_chart(cluster, &["--set", "eventStore.enabled=false"], |rendered| rendered)
    }

    /// The same with values, as options of `helm template`, and with a chart that was tampered with.
    pub(crate) fn with_chart(
        cluster: &'cluster Cluster,
        options: &[&str],
        tamper: impl FnOnce(Rendered) -> Rendered,
    ) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let chart = tamper(Rendered::new(cluster, &namespace, options));
        let place = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        chart::create(cluster, &place);
        // Nobody asks for the Service, about whose address the API server warns in an event now and then.
        let objects = chart.0.iter().filter(|object| object["kind"] != "Service");
        objects.for_each(|object| chart::create(cluster, object));
        let written = Arc::new(Mutex::new(Vec::new()));
        cluster.spawn(record(cluster.admin.clone(), namespace.clone(), Arc::clone(&written)));
        let tenant = Self { cluster, namespace, chart, written };
        tenant.issue_token();
        tenant
    }

    /// Puts a token of the chart's service account where the operator reads it.
    pub(crate) fn issue_token(&self) {
        let accounts: Api<ServiceAccount> = Api::namespaced(self.cluster.admin.clone(), &self.namespace);
        let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}})).unwrap();
        let parameters = PostParams::default();
        let token = self.cluster.run(accounts.create_token_request(ACCOUNT, &parameters, &request)).unwrap();
        fs::write(self.token_file(), token.status.unwrap().token).unwrap();
    }

    /// A token is worth nothing when the account it was made for is gone, even if another has its name.
    pub(crate) fn revoke_token(&self) {
        let account = self.chart.of_kind("ServiceAccount").next().unwrap();
        chart::delete(self.cluster, account);
        chart::create(self.cluster, account);
    }

    fn token_file(&self) -> PathBuf {
        self.cluster.directory().join(format!("{}.token", self.namespace))
    }

    pub(crate) fn grant(&self) {
        self.bindings().for_each(|binding| chart::create(self.cluster, binding));
    }

    pub(crate) fn revoke(&self) {
        self.bindings().for_each(|binding| chart::delete(self.cluster, binding));
    }

    fn bindings(&self) -> impl Iterator<Item = &Value> {
        self.chart.of_kind("RoleBinding").chain(self.chart.of_kind("ClusterRoleBinding"))
    }

    /// As a user does who wants no operator for a while; no other pod is to follow then.
    pub(crate) fn scale_down(&self) {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments", self.namespace);
        let patch = kube::api::Patch::Merge(json!({"spec": {"replicas": 0}}));
        let request =
            kube::core::Request::new(path).patch(ACCOUNT, &kube::api::PatchParams::default(), &patch).unwrap();
        self.cluster.run(self.cluster.admin.request::<Value>(request)).unwrap();
    }

    /// What the extension would show now.
    pub(crate) fn verdict(&self) -> Verdict {
        consumer::verdict(self.config_map().as_ref(), Timestamp::now())
    }

    /// What it would have shown after each write of the operator so far.
    pub(crate) fn verdicts(&self) -> Vec<Verdict> {
        let written = self.written.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let at = |config_map: &ConfigMap| status(config_map).updated();
        written.iter().map(|config_map| consumer::verdict(Some(config_map), at(config_map))).collect()
    }

    pub(crate) fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.cluster.admin.clone(), &self.namespace)
    }

    pub(crate) fn config_map(&self) -> Option<ConfigMap> {
        self.find(CONFIG_MAP)
    }

    pub(crate) fn find(&self, name: &str) -> Option<ConfigMap> {
        self.cluster.run(self.config_maps().get_opt(name)).unwrap()
    }

    /// Makes a ConfigMap, as somebody else.
    pub(crate) fn put(&self, name: &str, data: &Value) {
        let config_map = serde_json::from_value(json!({"metadata": {"name": name}, "data": data})).unwrap();
        self.cluster.run(self.config_maps().create(&PostParams::default(), &config_map)).unwrap();
    }

    /// Whether the chart tells the operator not to count.
    pub(crate) fn collects_nothing(&self) -> bool {
        self.chart.environment().contains(&("COLLECTION_ENABLED".to_owned(), "false".to_owned()))
    }

    pub(crate) fn delete_config_map(&self) {
        self.cluster.run(self.config_maps().delete(CONFIG_MAP, &DeleteParams::default())).unwrap();
        until_true("the ConfigMap is gone", seconds(5), || self.config_map().is_none());
    }

    /// The status as kube9 reads it, when there is one.
    pub(crate) fn status(&self) -> Option<Status> {
        self.config_map().map(|config_map| status(&config_map))
    }

    #[track_caller]
    pub(crate) fn wait_for_status(&self) -> Status {
        until("there is a status", seconds(10), || self.status())
    }

    /// The status, once it belongs to the Deployment.
    #[track_caller]
    pub(crate) fn wait_for_owned_status(&self) -> Status {
        let owned = || self.config_map().filter(|config_map| !config_map.owner_references().is_empty());
        status(&until("the status belongs to the Deployment", seconds(10), owned))
    }

    /// The operator as the chart configures it, talking to the API server.
    pub(crate) fn operator(&self) -> Operator {
        self.operator_through(&self.cluster.url())
    }

    /// The same, talking to a server that stands before it.
    pub(crate) fn operator_through(&self, server: &str) -> Operator {
        let operator = Operator::new();
        let operator =
            self.chart.environment().iter().fold(operator, |operator, (name, value)| operator.with(name, value));
        operator
            .with("POD_NAME", &self.namespace)
            .with("KUBECONFIG", self.kubeconfig(server).to_str().unwrap())
            .with("POD_NAMESPACE", &self.namespace)
            .with("DB_PATH", self.data_folder().to_str().unwrap())
    }

    /// What stands for the pod's volume.
    pub(crate) fn data_folder(&self) -> PathBuf {
        let folder = self.cluster.directory().join(format!("{}.data", self.namespace));
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn kubeconfig(&self, server: &str) -> PathBuf {
        let path = self.cluster.directory().join(format!("{}.kubeconfig", self.namespace));
        let authority = self.cluster.certificate_authority();
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": authority}}],
            "users": [{"name": "test", "user": {"tokenFile": self.token_file()}}],
        });
        let text = kubeconfig.to_string();
        // Another operator may be reading it.
        if fs::read_to_string(&path).ok().as_ref() != Some(&text) {
            fs::write(&path, text).unwrap();
        }
        path
    }
}

/// The status document, with an eye for what tests ask of it.
#[derive(Debug, PartialEq)]
pub(crate) struct Status(pub(crate) Value);

impl Status {
    pub(crate) fn health(&self) -> &str {
        self.0["health"].as_str().unwrap()
    }

    /// As the extension's user has it, with some room for a busy machine.
    pub(crate) fn is_of_now(&self) -> bool {
        Timestamp::now().duration_since(self.updated()).abs().as_secs() <= 15
    }

    pub(crate) fn updated(&self) -> Timestamp {
        self.0["lastUpdate"].as_str().unwrap().parse().unwrap()
    }
}

fn status(config_map: &ConfigMap) -> Status {
    Status(serde_json::from_str(&config_map.data.as_ref().unwrap()["status"]).unwrap())
}

impl Drop for Tenant<'_> {
    /// Whatever a test was about: nothing that the operator wrote may mislead the extension.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        for config_map in self.written.lock().unwrap().iter() {
            assert_eq!(consumer::faults(config_map), Vec::<String>::new(), "{config_map:#?}");
        }
        let basic: Vec<Verdict> = self.verdicts().into_iter().filter(|verdict| verdict.mode == Mode::Basic).collect();
        assert_eq!(basic, []);
    }
}

/// Keeps every status that the operator writes, for as long as the cluster is there.
async fn record(admin: Client, namespace: String, written: Arc<Mutex<Vec<ConfigMap>>>) {
    let api: Api<ConfigMap> = Api::namespaced(admin, &namespace);
    let parameters = WatchParams::default().fields(&format!("metadata.name={CONFIG_MAP}"));
    let mut version = "0".to_owned();
    loop {
        if let Ok(stream) = api.watch(&parameters, &version).await {
            let mut stream = pin!(stream);
            while let Ok(Some(event)) = stream.try_next().await {
                if let WatchEvent::Added(config_map) | WatchEvent::Modified(config_map) = event {
                    version = config_map.resource_version().unwrap();
                    if is_ours(&config_map) {
                        written.lock().unwrap().push(config_map);
                    }
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether the operator is the one who wrote the status, by the API server's own account.
fn is_ours(config_map: &ConfigMap) -> bool {
    config_map.managed_fields().iter().any(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| fields.0.to_string()).unwrap_or_default();
        entry.manager.as_deref() == Some("kube9-operator") && fields.contains("f:status")
    })
}
