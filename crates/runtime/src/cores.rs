//! Work that keeps a core busy.

use std::{sync::Arc, thread};

use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::{self, JoinError},
};

/// Runs work that is long for an async task on threads of its own, as many at once as there are cores: more would not
/// be faster, and each thread keeps memory.
#[derive(Debug, Clone)]
pub struct Cores(Arc<Semaphore>);

impl Cores {
    /// As many as the runtime works on.
    #[must_use]
    pub fn all() -> Self {
        Self::limited(available())
    }

    /// Half of them, at least one: work that is not to hold up the rest of the process.
    #[must_use]
    pub fn half() -> Self {
        Self::limited((available() / 2).max(1))
    }

    fn limited(cores: usize) -> Self {
        Self(Arc::new(Semaphore::new(cores)))
    }

    /// Waits for a core, does the work there and returns what came of it.
    ///
    /// # Errors
    ///
    /// The work panicked, or the runtime is shutting down.
    ///
    /// # Cancel safety
    ///
    /// Dropped while it waits, the work is not done; dropped later, it is done and its result is lost.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        // never closed, so there is always a permit to wait for
        let core = self.0.clone().acquire_owned().await.ok();
        task::spawn_blocking(move || {
            let _core = core;
            work()
        })
        .await
    }
}

/// As many as the runtime has threads: on a machine shared with others, `TOKIO_WORKER_THREADS` says how many that is.
fn available() -> usize {
    let of_machine = |_none| thread::available_parallelism().map_or(2, usize::from);
    Handle::try_current().map_or_else(of_machine, |runtime| runtime.metrics().num_workers())
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[tokio::test]
    async fn no_more_work_runs_at_once_than_there_are_cores() {
        let (cores, running, most) = (Cores::limited(2), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = task::JoinSet::new();
        for number in 0..20 {
            let (cores, running, most) = (cores.clone(), running.clone(), most.clone());
            tasks.spawn(async move {
                let work = move || {
                    most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    thread::sleep(std::time::Duration::from_millis(2));
                    running.fetch_sub(1, Ordering::SeqCst);
                    number
                };
                cores.run(work).await.unwrap()
            });
        }
        let mut done = tasks.join_all().await;
        done.sort_unstable();
        assert_eq!(done, (0..20).collect::<Vec<_>>());
        assert_eq!(most.load(Ordering::SeqCst), 2);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 3)]
    async fn there_are_as_many_as_the_runtime_has_threads() {
        assert_eq!(Cores::all().0.available_permits(), 3);
        assert_eq!(Cores::half().0.available_permits(), 1);
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_core_back() {
        let cores = Cores::limited(1);
        assert!(cores.run(|| panic!("on purpose")).await.is_err());
        assert_eq!(cores.run(|| 1).await.unwrap(), 1);
    }
}
