//! What every part of the running operator stands on: what is known, which tasks there are and how they fail, which replica
//! writes, what time it is, and when to end.

mod backoff;
mod clock;
mod context;
mod failure;
mod owner;
pub(crate) mod retry;
mod role;
mod shutdown;
mod skew;
mod state;
mod task;

use std::time::Duration;

pub(crate) use backoff::pause;
pub(crate) use clock::Clock;
pub(crate) use context::Context;
pub(crate) use failure::{Class, Failure};
pub(crate) use owner::Owner;
pub(crate) use role::Role;
pub(crate) use shutdown::Shutdown;
pub(crate) use skew::Skew;
pub(crate) use state::{Answer, Finding, Server, State, Unavailable, Writes};
pub(crate) use task::{TROUBLESOME, Task, TaskState};
#[cfg(test)]
pub(crate) use {state::Collections, task::Trouble};

/// How often the loop has to show that it is alive, at least.
pub(crate) const HEARTBEAT: Duration = Duration::from_secs(5);
