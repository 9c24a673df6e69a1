//! The page that people see at the repository's address: served as a rehearsal, and looked at by a real browser.

#![expect(clippy::disallowed_methods, reason = "tests set up files of their own")]

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use xtask::chart::page::POLICY;
use xtask::sys::http::{Anonymous, Answer};

use crate::products;
use crate::support::{Demo, Run};

/// A repository of that many versions, of which one was yanked, and whose texts try to be more than texts. A workflow signs them.
fn repository(count: usize) -> Demo {
    let demo = Demo::in_memory();
    demo.show_page();
    demo.sign_since("1.0.0");
    let identity = "https://github.com/team/demo/.github/workflows/release.yml@refs/tags/v{version}";
    let signers = format!("signers = [{{ issuer = \"https://issuer.example\", identity = \"{identity}\" }}]\n");
    demo.write("Cargo.toml", demo.read("Cargo.toml") + &signers);
    let url = demo.url();
    let entry = |number: usize| {
        let (version, digest) = (format!("1.{}.{}", number / 10, number % 10), format!("{number:064x}"));
        let image = format!("ghcr.io/team/demo:{version}@sha256:{digest}");
        let images = format!("- name: demo\n  image: {image}\n  platforms:\n  - linux/amd64\n  - linux/arm64\n");
        json!({
            "apiVersion": "v2", "name": "demo", "version": version, "appVersion": version, "digest": digest,
            "description": "Shows <script>alert(1)</script> & \"more\"", "home": "https://example.com/demo",
            "created": format!("{}-{:02}-{:02}T12:00:00Z", 1997 + number / 336, 1 + number / 28 % 12, 1 + number % 28),
            "kubeVersion": ">=1.25.0-0", "urls": [format!("{url}/demo-{version}.tgz")],
            "annotations": {"release/image": image, "artifacthub.io/images": images},
        })
    };
    let yanked = json!({"reason": "it <b>loses</b> data", "entry": entry(count).to_string()}).to_string();
    let entries: Vec<Value> = (0..count).rev().map(entry).collect();
    let stranger = json!({"version": "0.1.0", "name": "other", "appVersion": 1, "urls": null});
    let index = json!({
        "apiVersion": "v1", "generated": "2026-01-01T00:00:00Z", "entries": {"demo": entries, "other": [stranger]},
        "annotations": {format!("yanked/demo-1.{}.{}", count / 10, count % 10): yanked},
    });
    demo.write("target/published/index.yaml", index.to_string());
    let changes = "### Added\n\n- `serve` shows a page\n- what it [shows](https://example.com) is <b>text</b>\n";
    for number in [0, count - 1] {
        let signers = ["<b>ann</b>"];
        let record =
            json!({"entry": entry(number), "size": 10, "platforms": {}, "changes": changes, "signers": signers});
        demo.write(&format!("target/published/demo-1.{}.{}.json", number / 10, number % 10), record.to_string());
    }
    demo.write(
        "chart/icon.svg",
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 8 8\"><path fill=\"#1f4fd8\" d=\"M0 0h8v8H0z\"/></svg>\n",
    );
    demo
}

fn get(url: &str) -> Answer {
    Anonymous::new(Duration::from_secs(10)).get(url, &[]).unwrap()
}

/// What the page leads to at this address, without what is only marked in it.
fn targets(page: &str) -> BTreeSet<&str> {
    let pieces = page.split([' ', '\n', '>']);
    let values = pieces.filter_map(|piece| piece.strip_prefix("href=\"").or_else(|| piece.strip_prefix("src=\"")));
    values.filter_map(|value| value.split('"').next()?.strip_prefix("./")).collect()
}

#[test]
fn h14_h11_the_page_is_served_with_all_that_it_leads_to_and_what_an_index_says_is_text() {
    let demo = repository(120);
    let _served = demo.serve();
    let url = demo.url();
    let front = get(&format!("{url}/"));
    assert_eq!((front.status, front.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert_eq!(front.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(front.header("content-security-policy"), Some(POLICY));
    let page = String::from_utf8(front.body).unwrap();
    for text in ["<script", "<b>", "onclick", "style="] {
        assert!(!page.contains(text), "{text} in\n{page}");
    }
    for text in [
        "Shows &lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;more&quot;",
        "<strong>Yanked:</strong> it &lt;b&gt;loses&lt;/b&gt; data",
        "<li><code>serve</code> shows a page</li>",
        "is &lt;b&gt;text&lt;/b&gt;</li>",
        "<dt>Signed by</dt><dd>&lt;b&gt;ann&lt;/b&gt;</dd>",
        "--version 1.11.9 ",
        &format!("helm repo add demo {url}\n"),
        "--certificate-identity https://github.com/team/demo/.github/workflows/release.yml@refs/tags/v1.11.9 ",
    ] {
        assert!(page.contains(text), "{text} is not in\n{page}");
    }
    let led = targets(&page);
    assert_eq!(led, ["demo-versions-1.html", "icon.svg", "index.yaml", "page.css"].into());
    for name in led {
        let found = get(&format!("{url}/{name}"));
        assert_eq!((found.status, found.header("x-content-type-options")), (200, Some("nosniff")), "{name}");
    }
    let older = String::from_utf8(get(&format!("{url}/demo-versions-1.html")).body).unwrap();
    assert!(older.contains("demo-1.0.0.tgz</a>, 10 bytes"), "what is recorded is told");
    assert_eq!(get(&format!("{url}/demo-versions-2.html")).status, 404);
    assert_eq!(get(&format!("{url}/index.yaml")).body, std::fs::read(demo.published().join("index.yaml")).unwrap());
}

#[test]
fn h14_a_picture_that_is_none_is_told_and_charts_are_served_all_the_same() {
    let demo = repository(1);
    demo.write("chart/icon.svg", "404: Not Found");
    let mut serve = demo.command(&["serve"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let url = format!("{}/index.yaml", demo.url());
    assert!(crate::support::wait_until(Duration::from_secs(10), || crate::support::http_status(&url) == Some(200)));
    serve.kill().unwrap();
    let said = Run::from(serve.wait_with_output().unwrap()).stderr;
    assert!(said.contains("chart/icon.svg is not an image that the chart's page can show"), "{said}");
}

/// Two charts of one repository, one of which has a picture.
fn several() -> Demo {
    let demo = Demo::in_memory();
    products::split(&demo, &[], &["db", "web"]);
    demo.show_page();
    demo.write("charts/web/icon.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"/>\n");
    demo.commit("with a picture");
    demo.xtask(&["release", "db"]).ok();
    demo.xtask(&["release", "web", "minor"]).ok();
    demo
}

#[test]
fn h14_x3_each_of_several_charts_has_a_page_and_the_repositorys_own_leads_to_them() {
    let demo = several();
    let before = demo.snapshot();
    assert_eq!(demo.xtask(&["release", "db", "--json"]).ok().json()["changed"], false);
    assert!(demo.snapshot() == before, "a byte changed");
    let _served = demo.serve();
    let page = |name: &str| String::from_utf8(get(&format!("{}/{name}", demo.url())).body).unwrap();
    let front = page("");
    assert_eq!(
        targets(&front),
        ["db-versions-newest.html", "index.yaml", "page.css", "web-versions-newest.html"].into()
    );
    assert!(front.find("<dd>1.0.0</dd>") < front.find("<dd>1.1.0</dd>"), "{front}");
    let web = page("web-versions-newest.html");
    assert_eq!(targets(&web), ["index.html", "index.yaml", "page.css", "web-icon.svg"].into());
    assert!(web.contains("helm install web web/web ") && web.contains("id=\"1.1.0\""), "{web}");
    assert_eq!(get(&format!("{}/web-icon.svg", demo.url())).header("content-type"), Some("image/svg+xml"));
    std::fs::remove_file(demo.published().join("index.html")).unwrap();
    std::fs::write(demo.published().join("db-versions-newest.html"), "<h1>Gone</h1>").unwrap();
    let report = demo.xtask(&["doctor", "db", "--repair", "--yes", "--json"]).ok().json();
    assert!(report["found"][0]["why"].as_str().unwrap().contains("db-versions-newest.html, index.html"), "{report}");
    assert!(demo.snapshot() == before, "what leads to all is made again by whichever is repaired");
}

mod nightly {
    use std::path::{Path, PathBuf};
    use std::process::Command;

    use super::*;
    use crate::support::{on_path, root, scrubbed, skipped, tool};

    /// A browser, Node to lead it, and the rules of axe.
    fn tools() -> Option<(PathBuf, PathBuf, PathBuf)> {
        let browsers = ["chromium-headless-shell", "chromium", "google-chrome"];
        let Some(browser) = browsers.into_iter().find_map(on_path) else {
            skipped("there is no Chromium on PATH");
            return None;
        };
        Some((browser, tool("node")?, tool("axe.min.js")?))
    }

    fn look(folder: &Path, url: &str) -> Option<Value> {
        let (browser, node, axe) = tools()?;
        let mut command: Command = scrubbed(node.to_str().unwrap());
        let script = root().join("xtask-remote/tests/it/page/look.mjs");
        command.arg(script).args([&browser, &axe]).arg(folder).arg(url);
        Some(Run::of(command).ok().json())
    }

    #[test]
    fn h14_what_leads_to_the_pages_of_several_charts_is_for_everybody_too() {
        let demo = several();
        let _served = demo.serve();
        let Some(seen) = look(demo.root(), &format!("{}/", demo.url())) else { return };
        for view in seen["views"].as_array().unwrap() {
            assert_eq!((&view["violations"], &view["overflow"]), (&json!([]), &json!(0)), "{}", view["name"]);
        }
        assert_eq!((&seen["complaints"], &seen["keyboard"]["first"]), (&json!([]), &json!("To the charts")));
    }

    #[test]
    fn h14_a_real_browser_shows_ten_thousand_versions_at_once_to_everybody() {
        let demo = repository(10_000);
        let _served = demo.serve();
        let pictures = std::env::var_os("PAGE_PICTURES").map_or_else(|| demo.root().join("pictures"), PathBuf::from);
        std::fs::create_dir_all(&pictures).unwrap();
        for path in ["/", "/demo-versions-7.html"] {
            let Some(seen) = look(&pictures, &format!("{}{path}", demo.url())) else { return };
            let views = seen["views"].as_array().unwrap();
            let names: BTreeSet<&str> = views.iter().map(|view| view["name"].as_str().unwrap()).collect();
            assert_eq!(names, ["dark-desktop", "dark-phone", "light-desktop", "light-phone"].into());
            for view in views {
                assert_eq!(view["violations"], json!([]), "axe, {path} {}", view["name"]);
                assert_eq!(view["overflow"], 0, "{path} {} is wider than the screen", view["name"]);
                assert!(view["passes"].as_u64().unwrap() > 15, "axe looked at nothing: {view}");
            }
            assert_eq!(seen["complaints"], json!([]), "{path}: what the browser has to say, such as of the policy");
            assert_ne!(views[0]["background"], views[2]["background"], "dark is another colour");
            assert_eq!(seen["keyboard"]["first"], "To the versions");
            assert_eq!(seen["keyboard"]["folds"], true, "{path}: Enter opens and closes what can be folded");
            let ready = seen["ready"].as_f64().unwrap();
            println!("{path} is ready after {ready} ms");
            assert!(ready < 100.0, "{path} is ready after {ready} ms");
        }
    }
}
