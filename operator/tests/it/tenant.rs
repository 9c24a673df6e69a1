//! One test's part of the cluster: a namespace, the operator's service account in it, and nothing else it may touch.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use jiff::Timestamp;
use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{Api, DeleteParams, PostParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::cluster::Cluster;
use crate::operator::Operator;
use crate::wait::{seconds, until, until_true};

pub(crate) const CONFIG_MAP: &str = "kube9-operator-status";
const ACCOUNT: &str = "kube9-operator";

pub(crate) struct Tenant<'cluster> {
    pub(crate) cluster: &'cluster Cluster,
    pub(crate) namespace: String,
    token: String,
}

impl<'cluster> Tenant<'cluster> {
    /// A new namespace, where the operator may do what its chart lets it do.
    pub(crate) fn new(cluster: &'cluster Cluster) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let namespace = format!("test-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        let token = cluster.run(async {
            let namespaces: Api<Namespace> = Api::all(cluster.admin.clone());
            create(&namespaces, json!({"metadata": {"name": namespace}})).await;
            let accounts: Api<ServiceAccount> = Api::namespaced(cluster.admin.clone(), &namespace);
            create(&accounts, json!({"metadata": {"name": ACCOUNT}})).await;
            let roles: Api<Role> = Api::namespaced(cluster.admin.clone(), &namespace);
            create(&roles, role()).await;
            let request: TokenRequest = serde_json::from_value(json!({"spec": {"audiences": []}})).unwrap();
            let token = accounts.create_token_request(ACCOUNT, &PostParams::default(), &request).await.unwrap();
            token.status.unwrap().token
        });
        let tenant = Self { cluster, namespace, token };
        tenant.grant();
        tenant
    }

    pub(crate) fn grant(&self) {
        self.cluster.run(create(&self.bindings(), binding(&self.namespace)));
    }

    pub(crate) fn revoke(&self) {
        self.cluster.run(self.bindings().delete(ACCOUNT, &DeleteParams::default())).unwrap();
    }

    fn bindings(&self) -> Api<RoleBinding> {
        Api::namespaced(self.cluster.admin.clone(), &self.namespace)
    }

    pub(crate) fn config_maps(&self) -> Api<ConfigMap> {
        Api::namespaced(self.cluster.admin.clone(), &self.namespace)
    }

    pub(crate) fn config_map(&self) -> Option<ConfigMap> {
        self.cluster.run(self.config_maps().get_opt(CONFIG_MAP)).unwrap()
    }

    pub(crate) fn delete_config_map(&self) {
        self.cluster.run(self.config_maps().delete(CONFIG_MAP, &DeleteParams::default())).unwrap();
        until_true("the ConfigMap is gone", seconds(5), || self.config_map().is_none());
    }

    /// The status as kube9 reads it, when there is one.
    pub(crate) fn status(&self) -> Option<Status> {
        self.config_map().map(|config_map| Status(serde_json::from_str(&config_map.data.unwrap()["status"]).unwrap()))
    }

    #[track_caller]
    pub(crate) fn wait_for_status(&self) -> Status {
        until("there is a status", seconds(10), || self.status())
    }

    /// The operator in its default configuration, talking to the API server.
    pub(crate) fn operator(&self) -> Operator {
        self.operator_through(&self.cluster.url())
    }

    /// The same, talking to a server that stands before it.
    pub(crate) fn operator_through(&self, server: &str) -> Operator {
        Operator::new()
            .with("KUBECONFIG", self.kubeconfig(server).to_str().unwrap())
            .with("POD_NAMESPACE", &self.namespace)
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
            "users": [{"name": "test", "user": {"token": self.token}}],
        });
        fs::write(&path, kubeconfig.to_string()).unwrap();
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

    pub(crate) fn updated(&self) -> Timestamp {
        self.0["lastUpdate"].as_str().unwrap().parse().unwrap()
    }
}

async fn create<K>(api: &Api<K>, object: Value)
where
    K: Clone + std::fmt::Debug + DeserializeOwned + serde::Serialize,
{
    let object: K = serde_json::from_value(object).unwrap();
    api.create(&PostParams::default(), &object).await.unwrap();
}

fn role() -> Value {
    json!({
        "metadata": {"name": ACCOUNT},
        "rules": [{
            "apiGroups": [""],
            "resources": ["configmaps"],
            "resourceNames": [CONFIG_MAP],
            "verbs": ["create", "patch"],
        }],
    })
}

fn binding(namespace: &str) -> Value {
    json!({
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": ACCOUNT},
        "subjects": [{"kind": "ServiceAccount", "name": ACCOUNT, "namespace": namespace}],
    })
}
