//! The caches before a chart repository, and how they are told that something changed.
//!
//! Telling them is best effort: where it fails, users see the new index when the old one's `max-age` has passed, and so
//! does verification, which then waits for as long.

use std::time::Duration;

use crate::error::Result;

/// How long a cache may serve an index that it was not told to drop: the index's own `max-age`, and a little for clocks.
pub const STALE_FOR: Duration = Duration::from_secs(310);

/// A content delivery network.
pub trait Cdn {
    /// Drops paths (`/index.yaml`) from every cache, and waits until that is done. The same `reference` with the same paths is one
    /// request, however often it is made.
    ///
    /// # Errors
    /// The network refuses, cannot be reached, or does not finish in time.
    fn invalidate(&self, paths: &[String], reference: &str) -> Result<()>;
}
