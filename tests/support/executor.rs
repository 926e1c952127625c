//! One thread that drives every host of a test, step by step; what runs for a host can be killed with it.

use std::{cell::RefCell, rc::Rc};

use futures_channel::mpsc;
use futures_executor::{LocalPool, LocalSpawner};
use futures_util::{
    StreamExt,
    future::{AbortHandle, LocalBoxFuture, abortable},
    task::LocalSpawnExt,
};

/// The thread.
pub(crate) struct Executor {
    pool: RefCell<LocalPool>,
    spawner: LocalSpawner,
}

/// What runs for one life of one host.
pub(crate) struct Life {
    tasks: mpsc::UnboundedSender<LocalBoxFuture<'static, ()>>,
    end: AbortHandle,
}

impl Executor {
    pub(crate) fn new() -> Rc<Self> {
        let pool = LocalPool::new();
        let spawner = pool.spawner();
        Rc::new(Self { pool: RefCell::new(pool), spawner })
    }

    /// Runs a future to its end.
    pub(crate) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.pool.borrow_mut().run_until(future)
    }

    /// Lets everything run that can.
    pub(crate) fn run(&self) {
        self.pool.borrow_mut().run_until_stalled();
    }

    /// Begins a life.
    pub(crate) fn begin(&self) -> Life {
        let (tasks, receiver) = mpsc::unbounded::<LocalBoxFuture<'static, ()>>();
        let (running, end) = abortable(receiver.for_each_concurrent(None, |task| task));
        // It ends with the host, which is no failure.
        let running = async move {
            let _ = running.await;
        };
        self.spawner.spawn_local(running).expect("the executor runs");
        Life { tasks, end }
    }
}

impl Life {
    /// Begins a task, which runs when the executor does.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        self.tasks.unbounded_send(Box::pin(task)).expect("the host lives");
    }

    /// Drops whatever is under way.
    pub(crate) fn kill(&self) {
        self.end.abort();
    }
}
