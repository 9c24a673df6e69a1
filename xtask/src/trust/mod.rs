//! What makes a release believable: statements about digests, who signed them, and whether that signer is accepted.
//!
//! Nothing here trusts a label, a tag or a name. What is said of an image or a chart is an in-toto statement (`statement`) about its
//! digest, signed in a DSSE envelope inside a Sigstore bundle (`bundle`), which cosign and `gh` read, too. `policy` says who may sign
//! for a target, `verify` who did. What is stated is made by `sbom`, `provenance` and `vex`; `signer` signs it, with a `key` or by
//! `cosign`. Bundles lie beside their subject as OCI referrers (`attachments`). Signatures differ from run to run, so bytes of bundles are
//! never compared: what counts is whether one valid bundle of an accepted signer is there.

pub mod attachments;
pub mod bundle;
pub mod cosign;
pub mod key;
pub mod policy;
pub mod provenance;
pub mod sbom;
pub mod signer;
pub mod statement;
pub mod verify;
pub mod vex;
