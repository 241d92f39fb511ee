//! A request to stop: no new object is started, the current request finishes.

use tokio::sync::watch;

/// Tells a run to stop. Cloned freely; never taken back.
#[derive(Clone, Debug)]
pub struct Interrupt {
    receiver: watch::Receiver<bool>,
}

/// The other end: whoever hears the signal.
#[derive(Debug)]
pub struct Interrupter {
    sender: watch::Sender<bool>,
}

/// Makes a pair.
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
    /// Whether a stop was asked for.
    pub fn is_requested(&self) -> bool {
        *self.receiver.borrow()
    }

    /// Waits until a stop is asked for; for ever where nobody can ask any more.
    pub async fn requested(&mut self) {
        if self.receiver.wait_for(|requested| *requested).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
