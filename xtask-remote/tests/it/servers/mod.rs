//! What production is made of, on this machine: an object store, a registry, an edge, CloudFront's API, and what goes wrong before them.
//!
//! Every server is a value: it is ready when its constructor returns, listens on loopback alone, on a port of its own, and ends,
//! with everything it kept, when the value is dropped or the test process dies. What is real and what is a fake:
//!
//! | value | real | fake |
//! |---|---|---|
//! | `Versitygw` | S3 with signatures, checksums, conditional writes, versions | |
//! | `Registry` | the distribution project's registry, with and without authentication | the token service that joins both |
//! | `Buildkit` | BuildKit's daemon | |
//! | `ApiServer` | Kubernetes' API server with etcd | controllers and nodes: there are none |
//! | `Node` | Kubernetes of one node, whose pods run | kube-proxy, DNS: there are none |
//! | `Laboratory` | Trivy | its database |
//! | `Sigstore` | Fulcio, Rekor on files, the timestamp authority | GitHub's issuer of tokens |
//! | `Moto` | | CloudFormation's stacks as far as releases read them, CloudFront's API, STS, ACM, Route 53; one process for all tests, an account for each |
//! | `Kms` | the signatures (OpenSSL's) | AWS's KMS as far as a key signs: moto signs the digest of what is a digest already |
//! | `CloudFormation` | the buckets that it makes (on `Versitygw`) | stacks and all that is said of them, from the templates that are sent; a distribution (`Moto`'s) |
//! | `CloudFront` | | invalidations that take time, and are replayed, as AWS says |
//! | `Edge` | | CloudFront's cache |
//! | `Proxy` and `Edge` | | every fault |

mod account;
#[cfg(target_os = "linux")]
mod api_server;
mod buildkit;
mod child;
pub mod client;
mod cloudformation;
mod cloudfront;
mod edge;
mod fault;
mod front;
mod kms;
mod laboratory;
mod moto;
#[cfg(target_os = "linux")]
mod node;
mod observer;
mod production;
mod proxy;
mod registry;
pub mod rights;
mod signature;
mod sigstore;
mod versitygw;
mod whole;

pub use account::{Account, STACK, packages};
#[cfg(target_os = "linux")]
pub use api_server::ApiServer;
pub use buildkit::Buildkit;
pub use child::{Served, folder};
pub use cloudfront::CloudFront;
pub use edge::{Edge, HEADERS, KeptCaches, Signpost};
pub use fault::{Dialect, Fault, Faults, Gate, Met, When};
pub use kms::Kms;
pub use laboratory::Laboratory;
pub use moto::{Moto, Stack, ask as ask_aws};
#[cfg(target_os = "linux")]
pub use node::Node;
pub use observer::{Observed, Observer, Publication, Watch};
pub use production::{IMAGE, Production, SIGNING_KEY};
pub use proxy::{Answer, Asked, Proxy, Way};
pub use registry::{PASSWORD, Packages, Registry, USER};
pub use signature::Credentials;
pub use sigstore::Sigstore;
pub use versitygw::Versitygw;
#[cfg(target_os = "linux")]
pub use whole::RELEASE as RELEASE_TO_PRODUCTION;
pub use whole::Whole;
