//! A chart repository as people read it: a front page, and further pages for the versions that no longer fit on it.
//!
//! Versions are numbered from the oldest, and pages hold fifty of them, so that a page that is full stays as it is: a release writes the
//! front page, and one of fifty releases moves the oldest fifty from there to a page of their own. Nothing on a page depends on where it is
//! read or on the day, and what is not known is left out. What stands on a page of a version never changes unless what the index says of it
//! does: it is marked by that, so that it can be taken over from an older page, and nothing of all other versions has to be read. No script, no style and no address of elsewhere is in it: the strictest
//! Content-Security-Policy holds.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::changes::Changes;
use crate::html::{Html, is_web, put};
use crate::index::Entry;
use signatures::put_signatures;

pub use overview::{Chart, overview};
pub use signatures::Signer;

/// The name of the front page.
pub const FRONT: &str = "index.html";
/// The name of a chart's front page, where it is one of several that the front page leads to: no other chart can have a page of that name.
pub fn front_of(chart: &str) -> String {
    format!("{chart}-versions-newest.html")
}

/// The name of the style sheet.
pub const STYLE: &str = "page.css";
/// What `STYLE` holds.
pub const STYLE_SHEET: &str = include_str!("page.css");
/// What browsers are told to refuse: everything but our own style sheet and pictures.
pub const POLICY: &str =
    "default-src 'none'; img-src 'self'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How many versions a page holds that is full. The front page has as many to twice as many, where there are as many.
const FULL: usize = 50;
/// What pages are written by: others, of another xtask, may write the same otherwise.
pub const WRITTEN_BY: [&str; 4] =
    [include_str!("mod.rs"), include_str!("signatures.rs"), include_str!("../changes.rs"), include_str!("../html.rs")];

/// The annotation of an entry that names its image (`RELEASED_IMAGE` of xtask), and Artifact Hub's, which lists platforms as well.
const IMAGE: &str = "release/image";
const IMAGES: &str = "artifacthub.io/images";

/// What the pages of one chart say.
#[derive(Debug, Default)]
pub struct Site<'a> {
    /// The URL of the repository, without a slash at the end.
    pub repository: &'a str,
    /// The chart's name.
    pub chart: &'a str,
    /// Whether it is one of several that have pages, to which an overview leads.
    pub is_one_of_several: bool,
    /// Where the same chart is in a registry, without the version: `oci://…`. A repository without TLS has one without it.
    pub oci: Option<String>,
    /// The name of a picture beside the pages.
    pub icon: Option<&'a str>,
    /// The version that is recommended: the highest stable one that is listed.
    pub newest: Option<String>,
    /// Who is accepted as signer of that version; nobody where it is not signed.
    pub signers: Vec<Signer>,
    /// Every version that was published, the oldest first.
    pub versions: Vec<Version<'a>>,
    /// Other charts of the repository, each with the version that is listed first.
    pub others: Vec<(&'a str, &'a str)>,
}

/// A version that was published.
#[derive(Clone, Debug)]
pub struct Version<'a> {
    /// Its entry, as the index has it.
    pub entry: Cow<'a, Entry>,
    /// Why it was taken out of the index, where it was.
    pub yanked: Option<String>,
    /// What stands for all that its article is made of; empty where that is never taken over.
    pub mark: String,
    /// Its article, as another page has it.
    pub article: Option<String>,
    /// What is known of it beside that.
    pub known: Option<Known>,
}

/// What is known of a version beside its entry in the index.
#[derive(Clone, Debug)]
pub struct Known {
    /// The whole entry.
    pub entry: Entry,
    /// How many bytes the archive has.
    pub size: u64,
    /// What changed.
    pub changes: Option<Changes>,
    /// Who signed it.
    pub signers: Vec<String>,
}

impl Version<'_> {
    /// The whole entry, as far as it is known.
    fn whole(&self) -> &Entry {
        self.known.as_ref().map_or(&self.entry, |known| &known.entry)
    }
}

/// A file of the site, and what stands for its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// A digest of its content.
    pub digest: String,
}

/// Brings versions into the order in which they are numbered: that in which they were made, which a new one does not change.
pub fn number(versions: &mut [Version<'_>]) {
    // A day and a time without its zone: others' machines may have had another one, and order is all that this is for.
    let made = |version: &Version<'_>| {
        version.entry.created.as_deref().and_then(|created| created.get(..19)).unwrap_or_default().to_owned()
    };
    versions.sort_by_cached_key(made);
}

/// How many pages there are beside the front page.
pub fn full_pages(site: &Site<'_>) -> usize {
    (site.versions.len() / FULL).saturating_sub(1)
}

/// The name of the chart's front page.
fn front_name(site: &Site<'_>) -> Cow<'static, str> {
    if site.is_one_of_several { front_of(site.chart).into() } else { FRONT.into() }
}

/// The name of a page, whose numbers begin with 1, the oldest.
pub fn name(site: &Site<'_>, number: usize) -> String {
    format!("{}-versions-{number}.html", site.chart)
}

/// A page of versions that no longer fit on the front page. It is full, and is numbered as `name` says.
pub fn full(site: &Site<'_>, number: usize) -> String {
    let mut html = Html::default();
    let first = (number - 1) * FULL;
    let versions = &site.versions[on_page(site, Some(number))];
    let title = format!("{}: versions {} to {}", site.chart, first + 1, first + FULL);
    put_head(site, &title, &title, &[], &mut html);
    put_skip("versions", &mut html);
    put!(html, "<header>\n<h1>{}</h1>\n", site.chart);
    put!(html, "<p>Versions {} to {}, {}. ", first + 1, first + FULL, span(versions));
    put!(html, "<a href=\"./{}\">How to install the newest</a></p>\n</header>\n", front_name(site));
    put!(html, "<main>\n<h2 id=\"versions\">Versions</h2>\n");
    put_versions(site, versions, &mut html);
    put!(html, "<nav aria-label=\"Pages\">\n<ul>\n");
    let newer = if number < full_pages(site) { name(site, number + 1).into() } else { front_name(site) };
    put!(html, "<li><a href=\"./{}\" rel=\"prev\">Newer versions</a></li>\n", newer);
    if number > 1 {
        put!(html, "<li><a href=\"./{}\" rel=\"next\">Older versions</a></li>\n", name(site, number - 1));
    }
    put!(html, "</ul>\n</nav>\n</main>\n</body>\n</html>\n");
    html.into_text()
}

/// The front page. It notes the digest of every other part: whoever reads it knows which of them are as they should be.
pub fn front(site: &Site<'_>, parts: &[Part]) -> String {
    let mut html = Html::default();
    let pages = full_pages(site);
    let newest = site.versions.iter().rev().find(|version| site.newest.as_deref() == Some(&version.entry.version));
    let about = newest.or(site.versions.last()).map(|version| Fields::of(version.whole())).unwrap_or_default();
    put_head(site, &format!("{}: Helm chart", site.chart), about.description.text(), parts, &mut html);
    put_skip("versions", &mut html);
    put!(html, "<header>\n");
    if let Some(icon) = site.icon {
        put!(html, "<img src=\"./{}\" alt=\"\" width=\"64\" height=\"64\">\n", icon);
    }
    put!(html, "<h1>{}</h1>\n<p>{}</p>\n", site.chart, about.description.text());
    put_links(&about, &mut html);
    if site.is_one_of_several {
        put!(html, "<p><a href=\"./{}\">All charts here</a></p>\n", FRONT);
    }
    put!(html, "</header>\n<main>\n");
    put_install(site, &mut html);
    put_signatures(site, newest, &mut html);
    put!(html, "<section aria-labelledby=\"versions\">\n<h2 id=\"versions\">Versions</h2>\n");
    if site.versions.is_empty() {
        put!(html, "<p>Nothing was published yet.</p>\n");
    }
    put_versions(site, &site.versions[on_page(site, None)], &mut html);
    put!(html, "</section>\n");
    if pages > 0 {
        put!(html, "<nav aria-labelledby=\"older\">\n<h2 id=\"older\">Older versions</h2>\n<ul>\n");
        for number in (1..=pages).rev() {
            let versions = &site.versions[on_page(site, Some(number))];
            let (name, digest) = (name(site, number), digest_of(&name(site, number), parts));
            put!(html, "<li><a href=\"./{}\" data-digest=\"{}\">{}</a></li>\n", name, digest, span(versions));
        }
        put!(html, "</ul>\n</nav>\n");
    }
    put_end(&site.others, &mut html);
    html.into_text()
}

/// What ends a front page: other charts, and where Helm reads.
fn put_end(others: &[(&str, &str)], html: &mut Html) {
    if !others.is_empty() {
        put!(html, "<section aria-labelledby=\"others\">\n<h2 id=\"others\">Other charts here</h2>\n<ul>\n");
        for (chart, version) in others {
            put!(html, "<li>{} {}</li>\n", chart, version);
        }
        put!(html, "</ul>\n</section>\n");
    }
    put!(
        html,
        "</main>\n<footer>\n<p>Helm reads the same from <a href=\"./index.yaml\">index.yaml</a>.</p>\n</footer>\n"
    );
    put!(html, "</body>\n</html>\n");
}

/// The parts that a front page notes: the names, and the digests that they had when it was written.
pub fn noted(front: &str) -> HashMap<&str, &str> {
    let links = front.split("href=\"./").skip(1).filter_map(|link| link.split_once("\" data-digest=\""));
    links.filter_map(|(name, rest)| Some((name, rest.split_once('"')?.0))).collect()
}

/// The articles of a page by their marks.
pub fn articles(page: &str) -> HashMap<&str, &str> {
    const END: &str = "</article>\n";
    let articles = page.match_indices("<article ").filter_map(|(at, _)| {
        let article = &page[at..at + page[at..].find(END)? + END.len()];
        let (attributes, _) = article.split_once('>')?;
        let (_, mark) = attributes.split_once(" data-mark=\"")?;
        Some((mark.strip_suffix('"')?, article))
    });
    articles.collect()
}

/// The numbers of the versions on the page of that number: the front page has none.
pub fn on_page(site: &Site<'_>, number: Option<usize>) -> std::ops::Range<usize> {
    match number {
        Some(number) => (number - 1) * FULL..number * FULL,
        None => full_pages(site) * FULL..site.versions.len(),
    }
}

/// The versions that a page shows as yanked.
///
/// A text of others cannot say so: it holds no element.
pub fn yanked(page: &str) -> impl Iterator<Item = &str> {
    const YANKED: &str = "<strong>Yanked:</strong>";
    let articles = page.split("<article id=\"").skip(1).filter_map(|article| article.split_once('"'));
    articles
        .filter(|(_, rest)| rest.split("</article>").next().is_some_and(|rest| rest.contains(YANKED)))
        .map(|(version, _)| version)
}

fn digest_of<'p>(name: &str, parts: &'p [Part]) -> &'p str {
    parts.iter().find(|part| part.name == name).map_or("", |part| &part.digest)
}

fn put_head(site: &Site<'_>, title: &str, description: &str, parts: &[Part], html: &mut Html) {
    put!(html, "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    put!(html, "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    put!(html, "<meta name=\"color-scheme\" content=\"light dark\">\n<title>{}</title>\n", title);
    if !description.is_empty() {
        put!(html, "<meta name=\"description\" content=\"{}\">\n", description);
    }
    put_resource("stylesheet", STYLE, parts, html);
    if let Some(icon) = site.icon {
        put_resource("icon", icon, parts, html);
    }
    put!(html, "</head>\n<body>\n");
}

/// Where the keyboard gets first.
fn put_skip(place: &str, html: &mut Html) {
    put!(html, "<a class=\"skip\" href=\"#{}\">To the {}</a>\n", place, place);
}

/// Only the front page notes digests: the others would have to be written anew for each.
fn put_resource(rel: &str, name: &str, parts: &[Part], html: &mut Html) {
    match digest_of(name, parts) {
        "" => put!(html, "<link rel=\"{}\" href=\"./{}\">\n", rel, name),
        digest => put!(html, "<link rel=\"{}\" href=\"./{}\" data-digest=\"{}\">\n", rel, name, digest),
    }
}

fn put_links(about: &Fields<'_>, html: &mut Html) {
    let places = std::iter::once(("Home", about.home.text()));
    let places = places.chain(about.sources.list().iter().map(|source| ("Source", source.text())));
    let mut seen = HashSet::new();
    let places: Vec<_> = places.filter(|(_, url)| is_web(url) && seen.insert(*url)).collect();
    if places.is_empty() {
        return;
    }
    put!(html, "<ul class=\"links\">\n");
    for (what, url) in places {
        put!(html, "<li>{}: <a href=\"{}\">{}</a></li>\n", what, url, url);
    }
    put!(html, "</ul>\n");
}

fn put_install(site: &Site<'_>, html: &mut Html) {
    let (chart, repository) = (site.chart, site.repository);
    // What people copy into a shell must hold nothing that a shell, or YAML, takes for more than a word.
    let Some(version) =
        site.newest.as_deref().filter(|version| [chart, repository, *version].iter().all(|text| is_word(text)))
    else {
        return;
    };
    put!(html, "<section aria-labelledby=\"install\">\n<h2 id=\"install\">Install</h2>\n");
    put!(html, "<p>The newest stable version is <strong>{}</strong>.</p>\n", version);
    let flags = format!("--version {version} --namespace {chart} --create-namespace");
    let helm = format!(
        "helm repo add {chart} {repository}\nhelm repo update {chart}\nhelm install {chart} {chart}/{chart} \\\n  {flags}"
    );
    put_way("Helm", &helm, html);
    if let Some(oci) = site.oci.as_deref().filter(|oci| is_word(oci)) {
        let plain = if repository.starts_with("http:") { " --plain-http" } else { "" };
        put_way("Helm, from a registry", &format!("helm install {chart} {oci} \\\n  {flags}{plain}"), html);
    }
    put_way("Flux", &flux(chart, repository, version), html);
    put_way("Argo CD", &argo_cd(chart, repository, version), html);
    put!(html, "</section>\n");
}

fn put_way(title: &str, text: &str, html: &mut Html) {
    // The first is what most people look for.
    match title {
        "Helm" => put!(html, "<details open=\"\">\n"),
        _ => put!(html, "<details>\n"),
    }
    put!(html, "<summary>{}</summary>\n<pre><code>{}</code></pre>\n</details>\n", title, text);
}

/// Flux's documentation, "HelmRepository" and "HelmRelease".
fn flux(chart: &str, repository: &str, version: &str) -> String {
    let object = |version: &str, kind: &str| {
        format!(
            "apiVersion: {version}\nkind: {kind}\nmetadata:\n  name: {chart}\n  namespace: flux-system\nspec:\n  interval: 1h\n"
        )
    };
    let source = object("source.toolkit.fluxcd.io/v1", "HelmRepository");
    let release = object("helm.toolkit.fluxcd.io/v2", "HelmRelease");
    format!(
        "{source}  url: {repository}\n---\n{release}  releaseName: {chart}\n  targetNamespace: {chart}\n  install:\n    \
         createNamespace: true\n  chart:\n    spec:\n      chart: {chart}\n      version: \"{version}\"\n      sourceRef:\n        \
         kind: HelmRepository\n        name: {chart}"
    )
}

/// Argo CD's documentation, "Helm" and "Application specification".
fn argo_cd(chart: &str, repository: &str, version: &str) -> String {
    format!(
        "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: {chart}\n  namespace: argocd\nspec:\n  project: default\n  \
         source:\n    repoURL: {repository}\n    chart: {chart}\n    targetRevision: \"{version}\"\n  destination:\n    \
         server: https://kubernetes.default.svc\n    namespace: {chart}\n  syncPolicy:\n    syncOptions:\n      - CreateNamespace=true"
    )
}

/// The newest first.
fn put_versions(site: &Site<'_>, versions: &[Version<'_>], html: &mut Html) {
    let mut seen = HashSet::new();
    for version in versions.iter().rev() {
        let text = &*version.entry.version;
        let is_first = seen.insert(text);
        match &version.article {
            // A page has one place for each version: of those that stand twice, the others have no name in it.
            Some(article) if is_first => html.write_again(article),
            _ => put_article(site, version, is_first, html),
        }
    }
}

fn put_article(site: &Site<'_>, version: &Version<'_>, is_first: bool, html: &mut Html) {
    let text = &*version.entry.version;
    if !is_word(text) || !is_first {
        put!(html, "<article>\n<h3>{}</h3>\n", text);
    } else if version.mark.is_empty() {
        put!(html, "<article id=\"{}\">\n<h3><a href=\"#{}\">{}</a></h3>\n", text, text, text);
    } else {
        let mark = &version.mark;
        put!(html, "<article id=\"{}\" data-mark=\"{}\">\n<h3><a href=\"#{}\">{}</a></h3>\n", text, mark, text, text);
    }
    put_version(site, version, html);
    put!(html, "</article>\n");
}

fn put_version(site: &Site<'_>, version: &Version<'_>, html: &mut Html) {
    let (entry, known) = (version.whole(), version.known.as_ref());
    let fields = Fields::of(entry);
    if let Some(reason) = &version.yanked {
        put!(html, "<p class=\"yanked\"><strong>Yanked:</strong> {}</p>\n", reason);
    }
    if fields.deprecated.text() == "true" {
        put!(html, "<p class=\"yanked\"><strong>Deprecated</strong></p>\n");
    }
    put!(html, "<dl>\n");
    if let Some(day) = day(entry) {
        put!(html, "<div><dt>Date</dt><dd><time datetime=\"{}\">{}</time></dd></div>\n", day, day);
    }
    put_fact("Application", fields.app_version.text(), html);
    put_fact("Kubernetes", fields.kube_version.text(), html);
    let archive = Archive::of(site, entry, &fields);
    if let Some(archive) = &archive {
        put!(html, "<div><dt>Archive</dt><dd><a href=\"{}\">{}</a>", archive.url, archive.name);
        if let Some(known) = known {
            put!(html, ", {}", size_in_words(known.size));
        }
        put!(html, "</dd></div>\n");
    }
    put_code("SHA-256", entry.sha256().unwrap_or_default(), html);
    let (image, digest) = fields.annotation(IMAGE).rsplit_once('@').unwrap_or_default();
    put_code("Image", image, html);
    put_code("Digest", digest, html);
    put_fact("Platforms", &platforms(fields.annotation(IMAGES)).join(", "), html);
    put_fact("Signed by", &known.map(|known| known.signers.join(", ")).unwrap_or_default(), html);
    put!(html, "</dl>\n");
    if let Some(changes) = known.and_then(|known| known.changes.as_ref()).filter(|_| is_word(&entry.version)) {
        put!(html, "<details>\n<summary>Changes in {}</summary>\n", entry.version);
        changes.put(html);
        put!(html, "</details>\n");
    }
    if let Some(check) = archive.and_then(|archive| archive.check(entry)) {
        put!(html, "<details>\n<summary>Verify {}</summary>\n<pre><code>{}</code></pre>\n", entry.version, check);
        if !digest.is_empty() {
            put!(html, "<p>The chart names its image by the digest above, so that no other one is pulled.</p>\n");
        }
        put!(html, "</details>\n");
    }
}

fn put_fact(name: &str, value: &str, html: &mut Html) {
    if !value.is_empty() {
        put!(html, "<div><dt>{}</dt><dd>{}</dd></div>\n", name, value);
    }
}

fn put_code(name: &str, value: &str, html: &mut Html) {
    if !value.is_empty() {
        put!(html, "<div><dt>{}</dt><dd><code>{}</code></dd></div>\n", name, value);
    }
}

/// An archive that can be fetched.
struct Archive<'a> {
    /// As the entry has it, but that what stands beside the index is found from everywhere.
    url: Cow<'a, str>,
    name: &'a str,
}

impl<'a> Archive<'a> {
    fn of(site: &Site<'_>, entry: &Entry, fields: &'a Fields<'_>) -> Option<Self> {
        let url = fields.urls.list().first()?.text();
        let name = url.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(&url[..0]);
        let url = match url {
            _ if is_web(url) => Cow::Borrowed(url),
            // Helm takes what has no scheme for a path below the repository.
            _ if is_word(url) && !url.contains(':') => {
                Cow::Owned(format!("{}/{}", site.repository, url.trim_start_matches('/')))
            }
            _ => return None,
        };
        (!name.is_empty() && !entry.version.is_empty()).then_some(Archive { url, name })
    }

    /// What compares its content with the digest, in a shell.
    fn check(&self, entry: &Entry) -> Option<String> {
        let sha256 = entry
            .sha256()
            .filter(|digest| digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        let (url, name) = (&self.url, self.name);
        (is_word(url)).then(|| format!("curl -fLO {url}\necho \"{sha256}  {name}\" | sha256sum --check"))
    }
}

/// Whether a text is one word to a shell, to YAML and in an address.
fn is_word(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"+-./:@_".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphanumeric()) && text.bytes().all(plain)
}

fn day(entry: &Entry) -> Option<&str> {
    let day = entry.created.as_deref()?.get(..10)?;
    let digits = |part: &str, length: usize| part.len() == length && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = day.split('-').collect();
    matches!(parts[..], [year, month, day] if digits(year, 4) && digits(month, 2) && digits(day, 2)).then_some(day)
}

/// The first and the last of some versions, and when they were made.
fn span(versions: &[Version<'_>]) -> String {
    let (Some(first), Some(last)) = (versions.first(), versions.last()) else { return String::new() };
    let days = day(&first.entry).zip(day(&last.entry)).map(|(first, last)| format!(" ({first} to {last})"));
    format!("{} to {}{}", first.entry.version, last.entry.version, days.unwrap_or_default())
}

fn size_in_words(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} kB", bytes.div_ceil(1_000)),
        _ => format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10),
    }
}

/// The platforms of a chart's image, as Artifact Hub's annotation lists them; of several images nothing is said.
fn platforms(images: &str) -> Vec<&str> {
    let mut lists = images.split("platforms:").skip(1);
    let (Some(list), None) = (lists.next(), lists.next()) else { return Vec::new() };
    let items = list.lines().skip(1).map_while(|line| line.trim().strip_prefix("- "));
    items.map(|item| item.trim_matches(['"', '\''])).filter(|item| item.contains('/') && is_word(item)).collect()
}

/// What is shown of an entry. Those of others may hold anything: what has not the shape that Helm wants is left out.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Fields<'a> {
    #[serde(borrow)]
    app_version: Loose<'a>,
    #[serde(borrow)]
    description: Loose<'a>,
    #[serde(borrow)]
    home: Loose<'a>,
    #[serde(borrow)]
    kube_version: Loose<'a>,
    #[serde(borrow)]
    deprecated: Loose<'a>,
    #[serde(borrow)]
    urls: Loose<'a>,
    #[serde(borrow)]
    sources: Loose<'a>,
    #[serde(borrow)]
    annotations: Loose<'a>,
}

impl<'a> Fields<'a> {
    fn of(entry: &'a Entry) -> Self {
        serde_json::from_str(entry.json()).unwrap_or_default()
    }

    fn annotation(&self, name: &str) -> &str {
        match &self.annotations {
            Loose::Map(members) => members.get(name).map_or("", Loose::text),
            _ => "",
        }
    }
}

/// A value of any shape.
#[derive(Default)]
enum Loose<'a> {
    #[default]
    Nothing,
    Text(Cow<'a, str>),
    List(Vec<Loose<'a>>),
    Map(BTreeMap<Cow<'a, str>, Loose<'a>>),
}

impl<'a> Loose<'a> {
    fn text(&self) -> &str {
        if let Loose::Text(text) = self { text } else { "" }
    }

    fn list(&self) -> &[Loose<'a>] {
        if let Loose::List(list) = self { list } else { &[] }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Loose<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LooseVisitor)
    }
}

struct LooseVisitor;

impl<'de> Visitor<'de> for LooseVisitor {
    type Value = Loose<'de>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Loose::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Loose::Text(text.to_owned().into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Loose::Text(value.to_string().into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Loose::Text(value.to_string().into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Loose::Text(value.to_string().into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Loose::Text(value.to_string().into()))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Loose::Nothing)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = sequence.next_element()? {
            list.push(item);
        }
        Ok(Loose::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = map.next_entry()? {
            members.insert(name, value);
        }
        Ok(Loose::Map(members))
    }
}

mod overview;
mod signatures;
#[cfg(test)]
mod tests;
