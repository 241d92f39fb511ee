//! A request to stop a run. The run then starts no new object, and finishes the current request.

use tokio::sync::watch;

/// The receiving end of a stop request, which a run checks. It can be cloned. A stop request cannot be withdrawn.
#[derive(Clone, Debug)]
pub struct Interrupt {
    receiver: watch::Receiver<bool>,
}

/// The sending end of a stop request, which the signal handler uses.
#[derive(Debug)]
pub struct Interrupter {
    sender: watch::Sender<bool>,
}

/// Creates the two ends of a stop request.
pub fn pair() -> (Interrupter, Interrupt) {
    let (sender, receiver) = watch::channel(false);
    (Interrupter { sender }, Interrupt { receiver })
}

impl Interrupter {
    /// Asks the run to stop.
    pub fn interrupt(&self) {
        self.sender.send_replace(true);
    }
}

impl Interrupt {
    /// Returns `true` if a stop was requested.
    pub(crate) fn is_requested(&self) -> bool {
        *self.receiver.borrow()
    }

    /// Waits until a stop is requested. If the sending end is gone without a request, waits forever.
    pub(crate) async fn requested(&mut self) {
        if self.receiver.wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
