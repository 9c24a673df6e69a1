//! How the recommended version's signatures are checked, by a command for each accepted signer.
//!
//! Only the front page says so: were it said of each version, all pages would have to be written anew when a signer joins.

use super::{Fields, IMAGE, IMAGES, Site, Version, is_word, platforms, put_way};
use crate::html::{Html, put};

/// Who is accepted as signer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signer {
    /// A public key: its file, as the project's sources have it.
    Key(String),
    /// An identity that certificates are given to.
    Identity {
        /// Who vouches for it.
        issuer: String,
        /// The certificate's subject, with `{version}` in place of the version.
        subject: String,
        /// The repository whose workflow it is, where it is one on GitHub: the run has to be its own, too.
        repository: Option<String>,
    },
}

impl Signer {
    /// Its name, and by what cosign 3.1 is told to accept it for a version. Nothing where a shell would take that for more than words.
    fn accepted(&self, version: &str) -> Option<(String, String)> {
        match self {
            // A key's signatures are in no transparency log.
            Signer::Key(file) => is_word(file).then(|| (file.clone(), format!("--key {file} --insecure-ignore-tlog"))),
            Signer::Identity { issuer, subject, repository } => {
                let subject = subject.replace("{version}", version);
                let mut flags = format!("--certificate-oidc-issuer {issuer} \\\n  --certificate-identity {subject}");
                if let Some(repository) = repository {
                    flags += &format!(" \\\n  --certificate-github-workflow-repository {repository}");
                }
                // The repository is a part of the subject.
                (is_word(issuer) && is_word(&subject)).then_some((subject, flags))
            }
        }
    }
}

pub(super) fn put_signatures(site: &Site<'_>, newest: Option<&Version<'_>>, html: &mut Html) {
    let Some((newest, fields)) = newest.map(|newest| (newest, Fields::of(newest.whole()))) else { return };
    let (image, version) = (fields.annotation(IMAGE), &*newest.entry.version);
    let signers: Vec<_> = site.signers.iter().filter_map(|signer| signer.accepted(version)).collect();
    if signers.is_empty() || !is_word(image) || !is_word(version) {
        return;
    }
    put!(html, "<section aria-labelledby=\"signatures\">\n<h2 id=\"signatures\">Verify the signatures</h2>\n");
    put!(html, "<p>Image and chart of {} are signed. cosign 3.1 or newer checks that", version);
    if signers.len() > 1 {
        put!(html, "; one of these signers is enough");
    }
    if site.signers.iter().any(|signer| matches!(signer, Signer::Key(_))) {
        put!(html, ". A key's file is in the project's sources");
    }
    put!(html, ".</p>\n");
    let plain = if site.repository.starts_with("http:") { " --allow-http-registry" } else { "" };
    for (name, flags) in signers {
        let flags = format!("{flags}{plain}");
        put!(html, "<h3>Signed by {}</h3>\n", name);
        let mut signed = format!("cosign verify {flags} \\\n  {image}");
        if let Some(chart) = site.oci.as_deref().filter(|oci| is_word(oci)) {
            let chart = chart.trim_start_matches("oci://");
            signed += &format!("\ncosign verify {flags} \\\n  {chart}:{}", version.replace('+', "_"));
        }
        put_way("Signatures", &signed, html);
        let provenance = format!("cosign verify-attestation --type slsaprovenance1 {flags} \\\n  {image}");
        put_way("Where the image is from (provenance)", &provenance, html);
        if let Some(sbom) = sbom(image, &flags, fields.annotation(IMAGES)) {
            put_way("What is in the image (SBOM, in CycloneDX)", &sbom, html);
        }
    }
    put!(html, "</section>\n");
}

/// A bill of materials is of the image of one platform, whose digest only the registry knows.
fn sbom(image: &str, flags: &str, images: &str) -> Option<String> {
    let (name, _) = image.split_once('@')?;
    let (_, architecture) = platforms(images).first()?.split_once('/')?;
    let architecture = architecture.split('/').next()?;
    let found = format!("{{{{if eq .Platform.Architecture \"{architecture}\"}}}}{{{{.Digest}}}}{{{{end}}}}");
    Some(format!(
        "platform=$(docker buildx imagetools inspect {image} \\\n  --format '{{{{range .Manifest.Manifests}}}}{found}{{{{end}}}}')\n\
         cosign verify-attestation --type cyclonedx {flags} \\\n  {name}@$platform |\n  jq '.payload | @base64d | fromjson | .predicate'"
    ))
}
