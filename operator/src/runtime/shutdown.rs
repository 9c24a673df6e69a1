//! The wish to stop: SIGTERM from the kubelet, SIGINT from a terminal.
//!
//! It is hooked before anything else is done, since the kubelet may change its mind while we still start.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Can be asked by everybody, any number of times.
#[derive(Clone)]
pub(crate) struct Shutdown {
    requested: watch::Receiver<bool>,
}

impl Shutdown {
    /// From here on a signal no longer ends the process by itself.
    pub(crate) fn hook() -> io::Result<Self> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (request, requested) = watch::channel(false);
        tokio::spawn(async move {
            let name = tokio::select! {
                _ = terminate.recv() => "SIGTERM",
                _ = interrupt.recv() => "SIGINT",
            };
            tracing::info!(signal = name, "shutting down");
            request.send_replace(true);
        });
        Ok(Self { requested })
    }

    /// Waits for the wish to stop, and returns at once when it has been uttered before.
    pub(crate) async fn requested(&self) {
        // The only error is that the sender is gone, which happens after the wish or when the runtime ends.
        let _ = self.requested.clone().wait_for(|requested| *requested).await;
    }

    pub(crate) fn is_requested(&self) -> bool {
        *self.requested.borrow()
    }
}
