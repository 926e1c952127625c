//! Work that goes on beside requests: what handlers leave behind, and readers that follow the log for the server's life.

use std::cell::RefCell;

use futures_channel::mpsc;
use futures_util::{StreamExt, future::LocalBoxFuture};

/// A piece of work.
pub(crate) type Task = LocalBoxFuture<'static, ()>;

/// Tasks on their way to whoever drives them.
pub(crate) struct Background {
    sender: mpsc::UnboundedSender<Task>,
    receiver: RefCell<Option<mpsc::UnboundedReceiver<Task>>>,
}

impl Default for Background {
    fn default() -> Self {
        let (sender, receiver) = mpsc::unbounded();
        Self { sender, receiver: RefCell::new(Some(receiver)) }
    }
}

impl Background {
    /// Leaves a task to whoever drives [`Background::run`].
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // After the end nothing is begun any more.
        let _ = self.sender.unbounded_send(Box::pin(task));
    }

    /// Drives all tasks, until [`Background::close`] was called and they have ended. A second call returns at once.
    pub(crate) async fn run(&self) {
        let receiver = self.receiver.take();
        if let Some(tasks) = receiver {
            tasks.for_each_concurrent(None, |task| task).await;
        }
    }

    /// Takes no more tasks.
    pub(crate) fn close(&self) {
        self.sender.close_channel();
    }
}
