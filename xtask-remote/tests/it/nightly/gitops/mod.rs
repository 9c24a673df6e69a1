//! What Flux and Argo CD make of what was published: their own programs read it, by the texts that the page offers for copying.

mod argo_cd;
mod flux;

use std::sync::LazyLock;

use serde_json::Value;

use crate::support::{Demo, World, yaml_documents};

/// Two stable versions, a yanked one and a pre-release, signed, with a page, and served.
struct Published(World);

static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    let demo = Demo::new().that_signs();
    demo.show_page();
    for version in ["1.0.0", NEWEST, YANKED, PRE_RELEASE] {
        demo.xtask(&["release", version]).ok();
    }
    demo.xtask(&["release", "yank", YANKED, "--reason", "loses events"]).ok();
    Published(World::new(demo))
});

const NEWEST: &str = "1.0.1";
const YANKED: &str = "1.1.0";
const PRE_RELEASE: &str = "2.0.0-rc.1";

impl Published {
    fn demo(&self) -> &Demo {
        &self.0.demo
    }

    fn archive(&self, version: &str) -> Vec<u8> {
        self.demo().snapshot().remove(&format!("demo-{version}.tgz")).unwrap()
    }

    /// The objects that the page offers under this title.
    fn offered(&self, title: &str) -> Vec<Value> {
        let page = self.demo().read("target/published/index.html");
        let (_, text) = page.split_once(&format!("<summary>{title}</summary>\n<pre><code>")).unwrap();
        let (text, _) = text.split_once("</code>").unwrap();
        yaml_documents(&text.replace("&quot;", "\"").replace("&#39;", "'"))
    }
}
