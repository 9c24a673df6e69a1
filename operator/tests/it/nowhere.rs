//! An address where an API server should be and none is, for tests that need no more.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::operator::Operator;
use crate::port::Port;

pub(crate) struct Nowhere {
    kubeconfig: PathBuf,
    /// Where nobody listens.
    _port: Option<Port>,
}

impl Nowhere {
    pub(crate) fn new() -> Self {
        let port = Port::reserve();
        Self { kubeconfig: kubeconfig(port.number()), _port: Some(port) }
    }

    /// An address where something else is.
    pub(crate) fn at(port: u16) -> Self {
        Self { kubeconfig: kubeconfig(port), _port: None }
    }

    /// An operator that will not find what it looks for.
    pub(crate) fn operator(&self) -> Operator {
        Operator::new().with("KUBECONFIG", self.kubeconfig.to_str().unwrap())
    }
}

fn kubeconfig(port: u16) -> PathBuf {
    let content = json!({
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "clusters": [{"name": "test", "cluster": {"server": format!("http://127.0.0.1:{port}")}}],
        "users": [{"name": "test", "user": {}}],
    });
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{port}.kubeconfig"));
    fs::write(&path, content.to_string()).unwrap();
    path
}

impl Drop for Nowhere {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.kubeconfig);
    }
}
