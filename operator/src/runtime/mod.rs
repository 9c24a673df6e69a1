//! What every part of the running operator stands on: what is known, which tasks there are and how they fail, which replica
//! writes, what time it is, and when to end.

pub(crate) mod backoff;
mod clock;
mod context;
mod failure;
mod metrics;
mod owner;
mod process;
pub(crate) mod retry;
mod shutdown;
mod skew;
mod state;

pub(crate) use clock::Clock;
pub(crate) use context::Context;
pub(crate) use failure::{Class, Failure};
pub(crate) use owner::Owner;
pub(crate) use shutdown::Shutdown;
pub(crate) use skew::Skew;
pub(crate) use state::*;
