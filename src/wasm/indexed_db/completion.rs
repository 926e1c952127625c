//! How a transaction ended: waits for its own `complete` or `abort`, and keeps the reason of an abort.
//!
//! `commit()` is never called: in Firefox a request that fails after it leaves half a batch on the disk.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use futures_channel::oneshot;
use indexed_db_futures::{internals::SystemRepr, transaction::Transaction};
use wasm_bindgen::{JsCast, prelude::Closure};
use web_sys::IdbTransaction;

use super::failure::of_exception;
use crate::ports::StoreError;

type Listener = Closure<dyn FnMut()>;

/// Completes when the transaction has. Make it before the transaction's first request is awaited.
pub(in crate::wasm) struct Completion {
    transaction: IdbTransaction,
    outcome: oneshot::Receiver<Result<(), StoreError>>,
    listeners: [(&'static str, Listener); 2],
}

impl Completion {
    pub(in crate::wasm) fn of(transaction: &Transaction<'_>) -> Self {
        let transaction = IdbTransaction::clone(transaction.as_sys());
        let (sender, outcome) = oneshot::channel();
        let sender = Rc::new(RefCell::new(Some(sender)));
        let listener = |ended: fn(&IdbTransaction) -> Result<(), StoreError>| {
            let (sender, transaction) = (Rc::clone(&sender), transaction.clone());
            Closure::new(move || {
                if let Some(sender) = sender.borrow_mut().take() {
                    let _ = sender.send(ended(&transaction));
                }
            })
        };
        let listeners = [("complete", listener(|_| Ok(()))), ("abort", listener(|transaction| Err(abort_reason(transaction))))];
        for (event, closure) in &listeners {
            let _ = transaction.add_event_listener_with_callback(event, closure.as_ref().unchecked_ref());
        }
        Self { transaction, outcome, listeners }
    }
}

fn abort_reason(transaction: &IdbTransaction) -> StoreError {
    match transaction.error() {
        Some(exception) => of_exception(&exception),
        None => StoreError::Failed("the transaction was aborted".into()),
    }
}

impl Future for Completion {
    type Output = Result<(), StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let outcome = Pin::new(&mut self.outcome).poll(context);
        outcome.map(|sent| sent.unwrap_or_else(|_| Err(StoreError::Failed("the transaction never ended".into()))))
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        for (event, closure) in &self.listeners {
            let _ = self.transaction.remove_event_listener_with_callback(event, closure.as_ref().unchecked_ref());
        }
    }
}
