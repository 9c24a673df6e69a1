//! Every page is held against a short list of what may be in it: what is not on that list would need an exception from the policy, or
//! came in by another way than the door.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::changes::Changes;

const CHART: &str = "demo";
const ELEMENTS: &str = "!doctype a article body code dd details div dl dt footer h1 h2 h3 h4 head header html img li link main meta nav p pre \
                        section strong summary time title ul";
const EMPTY_ELEMENTS: &str = "!doctype img link meta";
const ATTRIBUTES: &str = "alt aria-label aria-labelledby charset class content data-digest data-mark datetime height href id lang name \
                          open rel src width";

fn is_of(list: &str, name: &str) -> bool {
    list.split_whitespace().any(|known| known == name)
}

/// The tags of a page in their order, once it is known to be well-formed and to hold nothing that is not on the lists.
#[track_caller]
fn skeleton(page: &str) -> Vec<String> {
    let (mut tags, mut open, mut ids, mut targets, mut level) = (Vec::new(), Vec::new(), HashSet::new(), Vec::new(), 0);
    for piece in page.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a tag ends");
        assert!(!text.contains(['>', '\0']), "{piece}");
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop().as_deref(), Some(name), "elements are closed in their order");
            tags.push(format!("/{name}"));
            continue;
        }
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(is_of(ELEMENTS, name), "<{name}> is on no list");
        if let Some(number) = name.strip_prefix('h').and_then(|number| number.parse::<u8>().ok()) {
            assert!(number <= level + 1, "<{name}> after <h{level}>");
            level = number;
        }
        for (attribute, value) in attributes_of(attributes) {
            assert!(is_of(ATTRIBUTES, attribute), "{attribute} is on no list");
            match attribute {
                "id" => assert!(ids.insert(value.to_owned()), "{value} stands twice"),
                "href" | "src" => {
                    assert!(
                        value.starts_with("./") || value.starts_with('#') || (name == "a" && is_web(value)),
                        "{value}"
                    );
                    targets.extend(value.strip_prefix('#').map(str::to_owned));
                }
                "aria-labelledby" => targets.push(value.to_owned()),
                _ => {}
            }
        }
        tags.push(name.to_owned());
        if !is_of(EMPTY_ELEMENTS, name) {
            open.push(name.to_owned());
        }
    }
    assert!(open.is_empty() && page.starts_with("<!doctype html>"), "{open:?}");
    assert_eq!(targets.iter().find(|target| !ids.contains(*target)), None, "every place that is led to is there");
    tags
}

fn attributes_of(text: &str) -> Vec<(&str, &str)> {
    let mut rest = text.trim();
    let mut found = Vec::new();
    while !rest.is_empty() && rest != "html" {
        let (name, value) = rest.split_once("=\"").unwrap_or_else(|| panic!("{rest} is no attribute"));
        let (value, after) = value.split_once('"').expect("a value ends");
        found.push((name, value));
        rest = after.trim_start();
    }
    found
}

fn entry(fields: &Value) -> Entry {
    Entry::of(fields).unwrap()
}

fn usual(number: usize) -> Value {
    let (version, digest) = (format!("1.{}.{}", number / 10, number % 10), format!("{number:064x}"));
    let image = format!("ghcr.io/team/demo:{version}@sha256:{digest}");
    json!({
        "name": CHART, "version": version, "appVersion": version, "digest": digest, "description": "Shows things",
        "created": format!("2026-{:02}-{:02}T12:00:00Z", 1 + number / 28 % 12, 1 + number % 28), "kubeVersion": ">=1.25.0-0",
        "home": "https://example.com/demo", "sources": ["https://example.com/source"],
        "urls": [format!("https://charts.example.com/demo-{version}.tgz")],
        "annotations": {
            "release/image": image,
            "artifacthub.io/images": format!("- name: demo\n  image: {image}\n  platforms:\n  - linux/amd64\n  - linux/arm64\n"),
        },
    })
}

fn listed<'a>(entries: impl IntoIterator<Item = Value>) -> Vec<Version<'a>> {
    let version = |fields: Value| {
        let entry = entry(&fields);
        Version {
            mark: format!("m{}", entry.version),
            entry: Cow::Owned(entry),
            yanked: None,
            article: None,
            known: None,
        }
    };
    entries.into_iter().map(version).collect()
}

/// What is known of a version beside an entry.
fn known(fields: &Value, changes: &str) -> Option<Known> {
    let changes = Some(Changes::parse(changes));
    Some(Known { entry: entry(fields), size: 14_321, changes, signers: vec!["a workflow".into()] })
}

fn site(versions: Vec<Version<'_>>) -> Site<'_> {
    let newest = versions.last().map(|version| version.entry.version.to_string());
    Site {
        repository: "https://charts.example.com",
        chart: CHART,
        icon: Some("icon.svg"),
        newest,
        versions,
        ..Site::default()
    }
}

/// Every page by its name.
fn pages(site: &Site<'_>) -> BTreeMap<String, String> {
    let full = (1..=full_pages(site)).map(|number| (name(site, number), full(site, number)));
    let mut pages: BTreeMap<String, String> = full.collect();
    let part = |(name, page): (&String, &String)| Part { name: name.clone(), digest: format!("{:x}", page.len()) };
    let front = front(site, &pages.iter().map(part).collect::<Vec<_>>());
    pages.insert(FRONT.into(), front);
    pages
}

#[test]
fn a_page_says_all_that_is_known_of_a_version() {
    let mut known = site(listed([usual(1), usual(2)]));
    known.versions[0].yanked = Some("it \"loses\" <data>".into());
    known.versions[1].known = self::known(&usual(2), "### Added\n- more\n");
    // What a short entry leaves out.
    let kept = ["name", "version", "digest", "created", "urls"].map(|name| (name, usual(2)[name].clone()));
    known.versions[1].entry =
        Cow::Owned(entry(&serde_json::Map::from_iter(kept.map(|(name, value)| (name.to_owned(), value))).into()));
    known.oci = Some("oci://ghcr.io/team/charts/demo".into());
    known.others = vec![("other", "0.1.0")];
    let page = &pages(&known)[FRONT];
    let tags = skeleton(page);
    assert_eq!(tags.iter().filter(|tag| *tag == "article").count(), 2);
    assert_eq!(yanked(page).collect::<Vec<_>>(), ["1.0.1"]);
    let digest = format!("{:064x}", 2);
    for said in [
        "<a href=\"#1.0.2\">1.0.2</a>",
        "<time datetime=\"2026-01-03\">2026-01-03</time>",
        "<dt>Application</dt><dd>1.0.2</dd>",
        "<dt>Kubernetes</dt><dd>&gt;=1.25.0-0</dd>",
        "<a href=\"https://charts.example.com/demo-1.0.2.tgz\">demo-1.0.2.tgz</a>, 15 kB",
        &format!("<dt>SHA-256</dt><dd><code>{digest}</code>"),
        "<code>ghcr.io/team/demo:1.0.2</code>",
        &format!("<dt>Digest</dt><dd><code>sha256:{digest}</code>"),
        "<dt>Platforms</dt><dd>linux/amd64, linux/arm64</dd>",
        "<dt>Signed by</dt><dd>a workflow</dd>",
        "<h4>Added</h4>\n<ul>\n<li>more</li>",
        &format!("echo &quot;{digest}  demo-1.0.2.tgz&quot; | sha256sum --check"),
        "<strong>Yanked:</strong> it &quot;loses&quot; &lt;data&gt;",
        "helm repo add demo https://charts.example.com\n",
        "helm install demo demo/demo \\\n  --version 1.0.2 ",
        "helm install demo oci://ghcr.io/team/charts/demo \\\n  --version 1.0.2",
        "  url: https://charts.example.com\n",
        "    repoURL: https://charts.example.com\n",
        "<li>other 0.1.0</li>",
        "<img src=\"./icon.svg\" alt=\"\"",
    ] {
        assert!(page.contains(said), "{said} is not in\n{page}");
    }
    assert!(page.find("id=\"1.0.2\"") < page.find("id=\"1.0.1\""), "the newest stands first");
}

#[test]
fn each_of_several_charts_has_pages_of_its_own_and_an_overview_leads_to_them() {
    let mut one = site(listed((0..100).map(usual)));
    one.is_one_of_several = true;
    let front = front(&one, &[]);
    skeleton(&front);
    assert!(front.contains("<a href=\"./index.html\">All charts here</a>"), "{front}");
    let older = full(&one, 1);
    skeleton(&older);
    assert_eq!(older.matches("href=\"./demo-versions-newest.html\"").count(), 2, "{older}");
    assert!(!older.contains("index.html"), "{older}");

    let mut hostile = usual(2);
    hostile["description"] = "</p><script>alert(1)</script>".into();
    let newest = entry(&hostile);
    let charts = [Chart { name: "demo", newest: Some(&newest) }, Chart { name: "web", newest: None }];
    let page = overview("https://charts.example.com", &charts, &[("other", "0.1.0")]);
    skeleton(&page);
    for said in [
        "<a href=\"./demo-versions-newest.html\">demo</a>",
        "&lt;script&gt;",
        "<dt>Newest</dt><dd>1.0.2</dd>",
        "<h3>web</h3>\n<p>No version is listed.</p>",
        "<li>other 0.1.0</li>",
    ] {
        assert!(page.contains(said), "{said} is not in\n{page}");
    }
    assert_eq!(yanked(&page).next(), None);
}

#[test]
fn each_accepted_signer_has_the_commands_that_check_the_newest_version() {
    let mut signed = site(listed([usual(1), usual(2)]));
    assert!(!pages(&signed)[FRONT].contains("cosign"), "nobody signs");
    let identity = |issuer: &str| Signer::Identity {
        issuer: issuer.into(),
        subject: "https://github.com/team/demo/.github/workflows/release.yml@refs/tags/v{version}".into(),
        repository: Some("team/demo".into()),
    };
    signed.signers = vec![Signer::Key("keys/ann.pub".into()), identity("https://issuer.example")];
    signed.oci = Some("oci://ghcr.io/team/charts/demo".into());
    let page = &pages(&signed)[FRONT];
    skeleton(page);
    let image = format!("ghcr.io/team/demo:1.0.2@sha256:{:064x}", 2);
    let key = "--key keys/ann.pub --insecure-ignore-tlog";
    for said in [
        "one of these signers is enough",
        &format!("cosign verify {key} \\\n  {image}\n"),
        &format!("cosign verify {key} \\\n  ghcr.io/team/charts/demo:1.0.2<"),
        &format!("cosign verify-attestation --type slsaprovenance1 {key} \\\n  {image}<"),
        &format!("imagetools inspect {image} \\\n"),
        &format!("cosign verify-attestation --type cyclonedx {key} \\\n  ghcr.io/team/demo:1.0.2@$platform |"),
        "cosign verify --certificate-oidc-issuer https://issuer.example \\\n  --certificate-identity \
         https://github.com/team/demo/.github/workflows/release.yml@refs/tags/v1.0.2 \\\n  \
         --certificate-github-workflow-repository team/demo \\\n",
    ] {
        assert!(page.contains(said), "{said} is not in\n{page}");
    }
    signed.signers = vec![Signer::Key("keys/$(reboot).pub".into()), identity("https://a;reboot")];
    assert!(!pages(&signed)[FRONT].contains("reboot"), "no shell is offered more than words");
    signed.signers = vec![identity("https://issuer.example")];
    signed.newest = Some("1.0.1".into());
    let older = &pages(&signed)[FRONT];
    assert!(older.contains("@refs/tags/v1.0.1 ") && !older.contains("@refs/tags/v1.0.2"), "{older}");
}

#[test]
fn what_is_not_known_is_left_out() {
    let bare = site(listed([json!({"name": CHART, "version": "1.0.0"})]));
    let page = &pages(&bare)[FRONT];
    skeleton(page);
    assert!(page.contains("<dl>\n</dl>\n</article>"), "{page}");
    let nothing = pages(&site(Vec::new()));
    assert!(nothing[FRONT].contains("Nothing was published yet.") && !nothing[FRONT].contains("Install"));
    skeleton(&nothing[FRONT]);
}

#[test]
fn entries_of_strangers_are_shown_as_far_as_they_have_the_shape_of_entries() {
    let digest = "0".repeat(64);
    let cases = [
        (json!({"version": "1", "appVersion": 1.5}), "<dd>1.5</dd>", true),
        (json!({"version": "1", "urls": null, "annotations": null, "sources": {"a": 1}}), "<h3>", true),
        (
            json!({"version": "1", "urls": ["charts/a-1.tgz"]}),
            "href=\"https://charts.example.com/charts/a-1.tgz\"",
            true,
        ),
        (json!({"version": "1", "urls": ["javascript:alert(1)/a.tgz"]}), "javascript", false),
        (json!({"version": "1", "home": "javascript:alert(1)"}), "javascript", false),
        (json!({"version": "1", "urls": ["https://x/$(reboot).tgz"], "digest": digest}), "curl", false),
        (json!({"version": "1", "urls": ["https://x/a.tgz"], "digest": "short"}), "curl", false),
        (json!({"version": "1", "created": "yesterday, of course"}), "<time", false),
        (json!({"version": "a b\" onclick=\"x", "digest": "1"}), "id=\"a", false),
        (json!({"version": "1", "deprecated": true}), "<strong>Deprecated</strong>", true),
        (
            json!({"version": "1", "annotations": {"artifacthub.io/images": "platforms:\n- a/b\nplatforms:\n- c/d"}}),
            "a/b",
            false,
        ),
    ];
    for (fields, text, expected) in cases {
        let page = &pages(&site(listed([fields.clone()])))[FRONT];
        skeleton(page);
        assert_eq!(page.contains(text), expected, "{fields}");
    }
    let twice = site(listed([usual(1), usual(1)]));
    skeleton(&pages(&twice)[FRONT]);
}

#[test]
fn nothing_is_offered_to_a_shell_that_is_more_than_a_word() {
    for hostile in ["1.0.0;reboot", "$(reboot)", "-x", "", "a b", "a\nb", "`a`"] {
        let mut site = site(listed([usual(1)]));
        site.newest = Some(hostile.into());
        assert!(!pages(&site)[FRONT].contains("helm install"), "{hostile}");
    }
}

#[test]
fn of_ten_thousand_versions_a_release_writes_one_page_or_two_and_the_newest_stands_in_the_first_30_kb() {
    let mut grown = site(listed((0..9_999).map(usual)));
    let before = pages(&grown);
    grown.versions.extend(listed([usual(9_999)]));
    grown.versions[9_999].known = known(&usual(9_999), &"- changed\n".repeat(50_000));
    let after = pages(&grown);
    assert_eq!(after.len(), 200);
    let written: Vec<&String> = after.keys().filter(|name| before.get(*name) != after.get(*name)).collect();
    assert_eq!(
        written,
        ["demo-versions-198.html", "demo-versions-199.html", FRONT],
        "the newest full page, and the one that leads to it"
    );
    let front = &after[FRONT];
    let newest = &front[front.find("id=\"1.999.9\"").unwrap()..];
    assert!(front.len() - newest.len() + newest.find("</dl>").unwrap() < 30_000);
}

#[test]
fn a_version_keeps_its_place_when_it_is_yanked_and_the_order_is_that_in_which_versions_were_made() {
    let created = |version: &str, created: &str| json!({"version": version, "created": created});
    let mut versions = listed([
        created("2.0.0", "2026-03-01T00:00:00Z"),
        created("1.0.1", "2026-04-01T00:00:00Z"),
        created("1.0.0", "2026-01-01T00:00:00.5+02:00"),
        json!({"version": "0.1.0"}),
    ]);
    versions[2].yanked = Some("no".into());
    number(&mut versions);
    let order: Vec<&str> = versions.iter().map(|version| &*version.entry.version).collect();
    assert_eq!(order, ["0.1.0", "1.0.0", "2.0.0", "1.0.1"]);
}

#[test]
fn a_front_page_knows_which_parts_are_as_they_should_be() {
    let site = site(listed((0..120).map(usual)));
    let parts = [STYLE, "icon.svg", "demo-versions-1.html"]
        .map(|name| Part { name: name.into(), digest: name.len().to_string() });
    let front = front(&site, &parts);
    let expected: HashMap<&str, &str> = parts.iter().map(|part| (&*part.name, &*part.digest)).collect();
    assert_eq!(noted(&front), expected);
    skeleton(&front);
}

#[test]
fn an_article_is_taken_over_as_it_stands_on_another_page() {
    let mut all = site(listed((0..120).map(usual)));
    all.versions[100].known = known(&usual(100), "- a `b`\n");
    all.versions[3].yanked = Some("</article>\n".into());
    let before = pages(&all);
    let stand: HashMap<&str, &str> = before.values().flat_map(|page| articles(page)).collect();
    assert_eq!(stand.len(), 120);
    let mut again = site(listed((0..120).map(|number| json!({"version": usual(number)["version"], "name": CHART}))));
    for (version, whole) in again.versions.iter_mut().zip(&all.versions) {
        version.article = Some(stand[&*version.mark].to_owned());
        version.entry = Cow::Owned(Entry::clone(&whole.entry));
    }
    assert_eq!(pages(&again), before);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_a_text_holds_it_is_shown_as_text(hostile in "[ -~\n\\u{0}\\u{7f}\\u{202e}\\u{fffe}ü]{0,40}|<script>x</script>|\"><img src=x onerror=x>|--></title>") {
        let with = |text: &str| {
            let mut fields = usual(1);
            fields["description"] = text.into();
            fields["appVersion"] = format!("x{text}").into();
            fields["annotations"]["release/image"] = format!("x{text}@y{}", text.replace('@', "")).into();
            let mut site = site(listed([fields.clone()]));
            site.versions[0].yanked = Some(text.into());
            site.versions[0].known = known(&fields, "- a\n");
            site.others = vec![("a", "1")];
            pages(&site).remove(FRONT).unwrap()
        };
        let (harmless, shown) = (with("text"), with(&hostile));
        // Only a description that is empty leaves something out.
        let without = |page: &str| skeleton(page).into_iter().filter(|tag| tag != "meta").collect::<Vec<_>>();
        prop_assert_eq!(without(&shown), without(&harmless));
        let kept: String = hostile.chars().map(|one| if crate::html::is_forbidden(one) { '\u{fffd}' } else { one }).collect();
        let reason = shown.split_once("<strong>Yanked:</strong> ").unwrap().1.split_once("</p>").unwrap().0;
        prop_assert_eq!(crate::html::unescaped(reason), kept);
    }

    #[test]
    fn a_new_version_changes_at_most_two_pages_that_were_there(count in 0..260usize) {
        let mut grown = site(listed((0..count).map(usual)));
        let before = pages(&grown);
        grown.versions.extend(listed([usual(count)]));
        let after = pages(&grown);
        let changed = before.iter().filter(|(name, page)| after.get(*name) != Some(page)).count();
        prop_assert!(changed <= 2, "{changed} pages");
        let shown: usize = after.values().map(|page| page.matches("<article").count()).sum();
        prop_assert_eq!(shown, count + 1, "every version has one place");
        for page in after.values() {
            skeleton(page);
        }
    }
}
