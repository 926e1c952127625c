//! Polls are answered in turns, so that where many wait for the same news the writers are not kept waiting by the readers: what
//! is written meanwhile is told by the same answers.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    rc::Rc,
};

use futures_channel::oneshot;

use crate::server::Server;

/// So many answers are begun in one turn of the event loop: few enough that requests and commits come in between them.
const AT_ONCE: usize = 4;

/// The turns.
#[derive(Default)]
pub(crate) struct Turns {
    begun: Cell<usize>,
    waiting: RefCell<VecDeque<oneshot::Sender<()>>>,
}

/// Waits for the turn to begin an answer: at once, unless others were before it in this turn of the event loop.
pub(super) async fn turn(server: &Rc<Server>) {
    let turns = &server.sync_turns;
    let begun = turns.begun.get();
    if server.is_stopping() {
        return;
    }
    if begun == 0 {
        server.spawn(go_on(Rc::clone(server)));
    }
    if begun < AT_ONCE {
        turns.begun.set(begun + 1);
        return;
    }
    let (sender, receiver) = oneshot::channel();
    turns.waiting.borrow_mut().push_back(sender);
    // The server ends with all who wait.
    let _ = receiver.await;
}

/// Lets those who wait begin, some in each turn of the event loop.
async fn go_on(server: Rc<Server>) {
    let turns = &server.sync_turns;
    while turns.begun.get() > 0 {
        server.ports.clock.sleep(0).await;
        for waiting in turns.next() {
            // One that has gone away needs no turn.
            let _ = waiting.send(());
        }
    }
}

impl Turns {
    fn next(&self) -> Vec<oneshot::Sender<()>> {
        let mut waiting = self.waiting.borrow_mut();
        let count = waiting.len().min(AT_ONCE);
        self.begun.set(count);
        waiting.drain(..count).collect()
    }
}
