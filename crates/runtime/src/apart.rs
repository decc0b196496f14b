//! Work on threads of its own.

use std::{io, panic::resume_unwind};

use tokio::{
    runtime::{Builder, Runtime},
    task::JoinHandle,
};

/// Ends with what runs on it, without waiting for what blocks its threads.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// Runs `work`, and the tasks it spawns, on `threads` threads of their own: what waits for a disk there holds up nobody else, and
/// what wakes one another there wakes no other thread. What it spawned ends with it. A panic in it is one of the task that is
/// given back; ending that task ends the work.
///
/// # Errors
///
/// The threads cannot be had.
pub fn spawn_apart<T: Send + 'static>(
    name: &str,
    threads: usize,
    work: impl Future<Output = T> + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    let runtime = Builder::new_multi_thread().worker_threads(threads.max(1)).thread_name(name).enable_all().build()?;
    let running = tokio_util::task::AbortOnDropHandle::new(runtime.spawn(work));
    let threads = Threads(Some(runtime));
    Ok(tokio::spawn(async move {
        let _threads = threads;
        match running.await {
            Ok(done) => done,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => resume_unwind(panic),
                // nobody else ends it
                Err(_cancelled) => std::future::pending().await,
            },
        }
    }))
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread, time::Duration};

    use super::*;

    #[tokio::test]
    async fn what_blocks_there_holds_up_nobody_here() {
        let (go_on, waits) = mpsc::channel::<()>();
        let blocked = spawn_apart("apart", 1, async move {
            let spawned = tokio::spawn(async { thread::current().name().map(str::to_string) });
            let name = spawned.await.unwrap();
            waits.recv().unwrap();
            name
        });
        let blocked = blocked.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(!blocked.is_finished());
        go_on.send(()).unwrap();
        assert_eq!(blocked.await.unwrap().unwrap(), "apart");
    }

    #[tokio::test]
    async fn a_panic_is_the_tasks_and_an_end_ends_the_work() {
        let panics = spawn_apart("apart", 1, async { panic!("asked to") }).unwrap();
        let ended: Result<(), _> = panics.await;
        assert!(ended.unwrap_err().is_panic());

        let (alive, dropped) = tokio::sync::oneshot::channel::<()>();
        let waits = spawn_apart("apart", 1, async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        });
        waits.unwrap().abort();
        assert!(dropped.await.is_err(), "what it held is gone");
    }
}
