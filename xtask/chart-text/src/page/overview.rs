//! The front page of a repository of several charts, each of which has pages of its own.
//!
//! It says of each what its newest version says in the index, and nothing of records: whichever chart is released, all it takes is the index.

use super::{Fields, Site, front_of, put_end, put_head, put_skip};
use crate::html::{Html, put};
use crate::index::Entry;

/// A chart that has pages.
#[derive(Clone, Copy, Debug)]
pub struct Chart<'a> {
    /// Its name.
    pub name: &'a str,
    /// The entry of the recommended version, or else of the newest; nothing where none is listed.
    pub newest: Option<&'a Entry>,
}

/// The page that leads to all others. `others` are charts without pages, each with the version that is listed first.
pub fn overview(repository: &str, charts: &[Chart<'_>], others: &[(&str, &str)]) -> String {
    let mut html = Html::default();
    put_head(&Site::default(), "Helm charts", "", &[], &mut html);
    put_skip("charts", &mut html);
    put!(html, "<header>\n<h1>Helm charts</h1>\n<p>The chart repository {}</p>\n</header>\n<main>\n", repository);
    put!(html, "<section aria-labelledby=\"charts\">\n<h2 id=\"charts\">Charts</h2>\n");
    for chart in charts {
        put_chart(chart, &mut html);
    }
    put!(html, "</section>\n");
    put_end(others, &mut html);
    html.into_text()
}

fn put_chart(Chart { name, newest }: &Chart<'_>, html: &mut Html) {
    let Some(newest) = newest else {
        put!(html, "<article>\n<h3>{}</h3>\n<p>No version is listed.</p>\n</article>\n", name);
        return;
    };
    let fields = Fields::of(newest);
    put!(html, "<article>\n<h3><a href=\"./{}\">{}</a></h3>\n", front_of(name), name);
    if !fields.description.text().is_empty() {
        put!(html, "<p>{}</p>\n", fields.description.text());
    }
    put!(html, "<dl>\n<div><dt>Newest</dt><dd>{}</dd></div>\n", newest.version);
    if !fields.app_version.text().is_empty() {
        put!(html, "<div><dt>Application</dt><dd>{}</dd></div>\n", fields.app_version.text());
    }
    put!(html, "</dl>\n</article>\n");
}
