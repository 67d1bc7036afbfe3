//! Threads for what would hold up readings on the runtime's own: encoding pages and exports, and compressing.

use std::io;

use tokio::runtime::{Builder, Runtime};

use super::problem::{Kind, Problem};

/// Of the threads, as the log shows it.
const NAME: &str = "rest-worker";
/// They give way to the threads that carry readings.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 5;

/// A pool of a few threads, and a queue before it.
pub(super) struct Workers(Option<Runtime>);

/// Work that panicked; the panic stands in the log.
#[derive(Debug)]
pub(super) struct Lost;

impl Workers {
    /// As many as half of the cores, at least one.
    pub(super) fn start() -> io::Result<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let runtime = Builder::new_current_thread()
            .max_blocking_threads((cores / 2).max(1))
            .thread_name(NAME)
            .on_thread_start(|| {
                // Of this thread, on Linux; elsewhere it would be of the process.
                #[cfg(target_os = "linux")]
                let _ = rustix::process::setpriority_process(None, NICENESS);
            })
            .build()?;
        Ok(Self(Some(runtime)))
    }

    /// Waits for a thread, and for what it makes.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Lost> {
        let runtime = self.0.as_ref().ok_or(Lost)?;
        runtime.spawn_blocking(work).await.map_err(|_| Lost)
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Waiting for the threads is not allowed on those of another runtime.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl From<Lost> for Problem {
    fn from(_: Lost) -> Self {
        let detail = "The answer could not be made: look for the request id in the service's log.";
        Self::new(Kind::Internal, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_by_a_thread_of_its_own_and_a_panic_is_survived() {
        let workers = Workers::start().unwrap();
        let name = || std::thread::current().name().map(str::to_owned);
        assert_eq!(workers.run(name).await.unwrap().as_deref(), Some(NAME));
        let panicked = workers.run(|| assert_eq!(1, 2)).await;
        assert!(panicked.is_err());
        assert_eq!(workers.run(|| 7).await.unwrap(), 7);
    }
}
