//! A chart repository as everybody sees it: over HTTP, without credentials, through its caches. It can be read, and nothing else.
//!
//! What compiles the code of strangers has no business with credentials. What it reads may be some minutes old, which is enough to decide
//! what is to be built: whoever publishes looks again at the store itself.

use std::collections::BTreeMap;
use std::time::Duration;

use xtask::chart::store::{Object, Revision, Store, Write};
use xtask::config::Target;
use xtask::error::{Error, Exit, Result};
use xtask::oci::sha256_hex;
use xtask::sys::http::Anonymous;
use xtask::sys::retry::{Failure, retry};

use crate::tls;

/// A target's repository, for everybody.
#[derive(Debug)]
pub struct Public {
    user: Anonymous,
    repository: String,
}

impl Public {
    /// Asks nothing yet.
    pub fn new(target: &Target) -> Self {
        Public { user: tls::anonymous(target.timeout()), repository: target.repository.clone() }
    }

    fn refused(&self, what: &str) -> Error {
        Error::new(Exit::Usage, format!("{} cannot be {what} without credentials", self.repository))
            .remedy("leave --public out")
    }
}

impl Store for Public {
    fn starts_empty(&self) -> bool {
        false
    }

    fn get(&self, name: &str) -> Result<Option<Object>> {
        const ATTEMPTS: usize = 4;
        const FIRST_PAUSE: Duration = Duration::from_millis(400);
        let url = format!("{}/{name}", self.repository);
        let unreadable = |why: String| Error::new(Exit::Repository, format!("cannot read {url}")).because(why);
        retry(ATTEMPTS, FIRST_PAUSE, || match self.user.get(&url, &[]) {
            Ok(answer) if answer.status == 200 => {
                let digest = sha256_hex(&answer.body);
                Ok(Some(Object { bytes: answer.body, revision: Revision(digest.clone()), version: digest }))
            }
            Ok(answer) if answer.status == 404 => Ok(None),
            Ok(answer) if answer.status >= 500 || answer.status == 429 => {
                Err(Failure::Passing(unreadable(format!("status {}", answer.status)).remedy("retry the command")))
            }
            Ok(answer) => Err(Failure::Final(unreadable(format!("status {}", answer.status)))),
            Err(error) => {
                let why = error.why.unwrap_or(error.what);
                Err(Failure::Passing(unreadable(why).remedy("check the network, and retry the command")))
            }
        })
    }

    /// Nobody is told what lies beside the index.
    fn list(&self, _: &str) -> Result<BTreeMap<String, u64>> {
        Ok(BTreeMap::new())
    }

    fn put_new(&self, _: &str, _: &[u8]) -> Result<Write> {
        Err(self.refused("written to"))
    }

    fn replace(&self, _: &str, _: &Revision, _: &[u8]) -> Result<Write> {
        Err(self.refused("written to"))
    }
}
