//! Work that goes on beside requests: what handlers leave behind, and readers that follow the log for the server's life.

use std::{
    cell::RefCell,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_channel::mpsc;
use futures_util::{FutureExt, StreamExt, future::LocalBoxFuture};

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

/// Work that is done to its end, also where whoever waits for it goes away: what is left of it then is done in the background.
///
/// A commit that is given up halfway leaves memory behind the disk, and a tunnel that breaks gives up every request in it.
pub(crate) struct ToItsEnd<T: 'static> {
    work: Option<LocalBoxFuture<'static, T>>,
    background: Rc<Background>,
}

impl<T> ToItsEnd<T> {
    pub(crate) fn new(work: impl Future<Output = T> + 'static, background: Rc<Background>) -> Self {
        Self { work: Some(work.boxed_local()), background }
    }
}

impl<T> Future for ToItsEnd<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        let Some(work) = &mut self.work else { return Poll::Pending };
        let polled = work.poll_unpin(context);
        if polled.is_ready() {
            self.work = None;
        }
        polled
    }
}

impl<T> Drop for ToItsEnd<T> {
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            self.background.spawn(work.map(drop));
        }
    }
}
