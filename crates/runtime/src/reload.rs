//! Reading again at once what is followed anyway: files of secrets, the mapping file.

use std::{sync::LazyLock, time::Duration};

use tokio::sync::watch;

static ASKED: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));

/// Asks whoever follows a file to read it now.
pub(crate) fn ask() {
    ASKED.send_modify(|asked| *asked += 1);
}

/// When a file that is followed is read again: after a time, or as soon as SIGHUP asks for it.
#[derive(Debug)]
pub struct Rereads {
    asked: watch::Receiver<u64>,
    every: Duration,
}

impl Rereads {
    /// Every so often, from now on.
    #[must_use]
    pub fn every(every: Duration) -> Self {
        Self { asked: ASKED.subscribe(), every: every.max(Duration::from_millis(1)) }
    }

    /// Waits until it is time.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future starts the time anew.
    pub async fn due(&mut self) {
        // the sender is never dropped
        let _timed_out = tokio::time::timeout(self.every, self.asked.changed()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_that_is_read_seldom_is_read_at_once_where_that_is_asked_for() {
        let mut rereads = Rereads::every(Duration::from_secs(86_400));
        ask();
        tokio::time::timeout(Duration::from_secs(30), rereads.due()).await.unwrap();
        let mut often = Rereads::every(Duration::from_millis(1));
        often.due().await;
    }
}
