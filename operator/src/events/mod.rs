//! The cluster's events: what is told of them, and the store that keeps them longer than the API server does.
//!
//! Without the store, whoever asks is answered from the API server. With it, `follow` watches, `queue` holds what came
//! until it is written, and `store` is the file. Each replica has its own, since any of them may be asked.

mod event;
mod follow;
mod keep;
mod queue;
mod record;
mod redaction;
mod store;

use std::path::PathBuf;

use jiff::Timestamp;
use serde_json::{Value, json};

pub(crate) use event::Event;
pub(crate) use follow::keep;
pub(crate) use keep::Retention;
pub(crate) use record::Record;
pub(crate) use store::{Store, list};

/// Of the store, if it is switched on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) place: Place,
    pub(crate) retention: Retention,
}

/// Where the store is, and how much room it has there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) folder: PathBuf,
    pub(crate) bytes: u64,
}

/// Which events somebody asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) namespace: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) limit: usize,
    pub(crate) offset: usize,
}

impl Filter {
    /// The answer as kube9 reads it, and how many events there are that nobody can read.
    pub(crate) fn page(&self, rows: &[Value], total: usize, skipped: usize) -> Value {
        let mut pagination =
            json!({"total": total, "limit": self.limit, "offset": self.offset, "returned": rows.len()});
        if skipped > 0 {
            pagination["skipped"] = json!(skipped);
        }
        json!({"events": rows, "pagination": pagination})
    }
}
