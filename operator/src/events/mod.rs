//! The cluster's events: what is told of them, and the store that keeps them longer than the API server does.
//!
//! Without the store, whoever asks is answered from the API server. With it, `follow` watches, and `store` is the file, on a
//! thread of its own. Each replica has its own, since any of them may be asked.

mod event;
mod follow;
mod keep;
mod record;
mod redaction;
mod store;

use serde_json::{Value, json};

use crate::time::Timestamp;

pub(crate) use event::Event;
pub(crate) use follow::keep;
pub(crate) use record::Record;
pub(crate) use store::{Store, list};

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
