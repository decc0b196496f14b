//! Threads for mapping alone: an event that takes long to map holds up others like it, and no sender that waits for an answer.

use std::io;

use tokio::runtime::{Builder, Handle, Runtime};

/// A runtime of its own. It ends with what holds it, wherever that is dropped; calls are to have ended by then.
#[derive(Debug)]
pub(crate) struct Threads {
    handle: Handle,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Threads {
    /// Half as many as the runtime has that this is called in, at least one: the others answer senders.
    ///
    /// # Errors
    ///
    /// The system gives no thread.
    pub(crate) fn for_mapping() -> io::Result<Self> {
        let half = (Handle::current().metrics().num_workers() / 2).max(1);
        let runtime = Builder::new_multi_thread().worker_threads(half).thread_name("mapping").enable_all().build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Where work is given to them.
    pub(crate) fn handle(&self) -> &Handle {
        &self.handle
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        // to wait for them is refused inside another runtime
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn work_is_done_on_threads_of_its_own_and_they_end_inside_of_another_runtime() {
        let threads = Threads::for_mapping().unwrap();
        assert_eq!(threads.handle().metrics().num_workers(), 2);
        let name = threads.handle().spawn(async { thread::current().name().map(str::to_string) });
        assert_eq!(name.await.unwrap().as_deref(), Some("mapping"));
        let endless = threads.handle().spawn(std::future::pending::<()>());
        drop(threads);
        assert!(endless.await.unwrap_err().is_cancelled());
    }

    #[tokio::test]
    async fn on_one_core_there_is_one() {
        assert_eq!(Threads::for_mapping().unwrap().handle().metrics().num_workers(), 1);
    }
}
