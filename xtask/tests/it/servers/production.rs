//! Everything that a release to production meets, put together, and able to become again what it was.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::path::PathBuf;

use tempfile::TempDir;

use super::cloudfront::CloudFront;
use super::edge::Edge;
use super::moto::{Moto, Stack};
use super::proxy::{Dialect, Proxy};
use super::registry::Registry;
use super::versitygw::{REGION, Versitygw};

/// Running servers, joined as production's are.
pub struct Production {
    /// The bucket itself, for a look past every proxy.
    pub store: Versitygw,
    /// What publishers take for S3.
    pub s3: Proxy,
    /// What publishers take for CloudFront and CloudFormation.
    pub aws: CloudFront,
    pub moto: Moto,
    pub edge: Edge,
    pub registry: Registry,
    docker: TempDir,
}

/// What was in the bucket and in the registry.
pub struct Kept {
    store: TempDir,
    registry: TempDir,
}

impl Production {
    /// An empty place; nothing (said once) where a server is not installed.
    pub fn start() -> Option<Self> {
        const BUCKET: &str = "charts-123456789012";
        let store = Versitygw::start(BUCKET)?;
        let registry = Registry::start()?;
        let edge = Edge::before(&store);
        let moto = Moto::start(&Stack { name: "charts".into(), bucket: BUCKET.into(), repository: edge.url() })?;
        let aws = CloudFront::before(&moto, Some(edge.caches()));
        let s3 = Proxy::before(store.port, Dialect::S3);
        let docker = tempfile::tempdir().unwrap();
        std::fs::write(docker.path().join("config.json"), registry.docker_config()).unwrap();
        Some(Production { store, s3, aws, moto, edge, registry, docker })
    }

    /// The lines of a manifest that make this place a target. `more` says who builds and who scans.
    pub fn target(&self, name: &str, image: &str, more: &str) -> String {
        let table = format!("workspace.metadata.release.targets.{name}");
        let (aws, s3) = (self.aws.proxy.url(), self.s3.url());
        format!(
            "\n[{table}]\nimage = \"{}/{image}\"\nrepository = \"{}\"\nstack = \"charts\"\nregion = \"{REGION}\"\n\
             plain-http-registry = true\n{more}\n\
             [{table}.endpoints]\ncloudformation = \"{aws}\"\ncloudfront = \"{aws}\"\ns3 = \"{s3}\"\n",
            self.registry.name(),
            self.edge.url(),
        )
    }

    /// What a publisher has in its environment: accounts, and the edge's authority.
    pub fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |path: PathBuf| path.display().to_string();
        vec![
            ("AWS_ACCESS_KEY_ID", self.store.credentials.access_key.clone()),
            ("AWS_SECRET_ACCESS_KEY", self.store.credentials.secret_key.clone()),
            ("AWS_CONFIG_FILE", "/dev/null".into()),
            ("AWS_EC2_METADATA_DISABLED", "true".into()),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".into()),
            ("DOCKER_CONFIG", path(self.docker.path().to_owned())),
            ("SSL_CERT_FILE", path(self.edge.authority())),
        ]
    }

    /// A copy of all that is published, to come back to.
    pub fn keep(&self) -> Kept {
        Kept { store: self.store.keep(), registry: self.registry.keep() }
    }

    /// Makes bucket and registry what they were, and all caches, records and faults empty.
    pub fn restore(&self, kept: &Kept) {
        self.store.restore(&kept.store);
        self.registry.restore(&kept.registry);
        self.edge.caches().invalidate(&["/*".into()]);
        self.edge.forget();
        self.aws.forget();
        for proxy in [&self.s3, &self.aws.proxy, &self.registry.proxy] {
            proxy.heal();
            proxy.forget();
        }
    }
}
