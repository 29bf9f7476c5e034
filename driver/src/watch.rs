//! Watching an item: a stream of its versions.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use skydht_core::item::Seq;
use skydht_core::node::{Command, GetError, GetOutcome, GetRequest, OperationError, Outcome};

use crate::dht::{Dht, Operation, mismatch};

/// One operation of a watch takes no longer; the next one follows.
const ROUND: Duration = Duration::from_secs(600);

impl Dht {
    /// Waits for a version of an item that is newer than `after`: for a higher sequence. Without
    /// `after` the first version that is found will do. A deletion is a version whose item
    /// [reads as deleted](skydht_core::item::Item::reads_as_deleted).
    ///
    /// Two holders are asked to answer when something newer comes, full nodes first; the version
    /// itself is read from the nearest holders, as [`Dht::get`] does. What is replaced in the
    /// meantime is left out. Ends at the request's timeout, else at the configuration's.
    ///
    /// Cancel-safe: a drop ends the search.
    ///
    /// # Errors
    /// See [`GetError`]; [`OperationError::Timeout`] when nothing newer came in time.
    pub async fn next_version(
        &self,
        request: GetRequest,
        after: Option<Seq>,
    ) -> Result<GetOutcome, GetError> {
        match self.run(Command::Watch { request, after })?.await? {
            Outcome::Watch(result) => result,
            other => Err(mismatch(&other).into()),
        }
    }

    /// Every version of an item that is newer than `after` and than those before, as
    /// [`Dht::next_version`] finds them, without end. To go on after an interruption, pass the
    /// sequence of the last version seen.
    #[must_use]
    pub fn watch(&self, mut request: GetRequest, after: Option<Seq>) -> Watch {
        request.timeout = Some(ROUND);
        Watch {
            dht: Some(self.clone()),
            request,
            after,
            operation: None,
        }
    }
}

/// The versions of an item, see [`Dht::watch`]. An error is the last thing that comes: the node
/// stops, has too much to do to begin, or the request is impossible. Dropped, it ends the search.
pub struct Watch {
    /// None after the end.
    dht: Option<Dht>,
    request: GetRequest,
    after: Option<Seq>,
    operation: Option<Operation>,
}

impl Watch {
    /// The next version. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<GetOutcome, GetError>> {
        std::future::poll_fn(|cx| self.poll_version(cx)).await
    }

    /// The sequence of the version that came last.
    #[must_use]
    pub const fn after(&self) -> Option<Seq> {
        self.after
    }

    fn poll_version(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<GetOutcome, GetError>>> {
        loop {
            let Some(dht) = &self.dht else {
                return Poll::Ready(None);
            };
            let operation = match &mut self.operation {
                Some(operation) => operation,
                None => {
                    let (request, after) = (self.request.clone(), self.after);
                    match dht.run(Command::Watch { request, after }) {
                        Ok(operation) => self.operation.insert(operation),
                        Err(error) => return self.end(error.into()),
                    }
                }
            };
            let outcome = ready!(Pin::new(operation).poll(cx));
            self.operation = None;
            match outcome {
                Ok(Outcome::Watch(Ok(found))) => {
                    self.after = Some(found.item.seq);
                    return Poll::Ready(Some(Ok(found)));
                }
                Ok(Outcome::Watch(Err(GetError::Operation(OperationError::Timeout)))) => {}
                Ok(Outcome::Watch(Err(error))) => return self.end(error),
                Ok(other) => return self.end(mismatch(&other).into()),
                Err(error) => return self.end(error.into()),
            }
        }
    }

    fn end(&mut self, error: GetError) -> Poll<Option<Result<GetOutcome, GetError>>> {
        self.dht = None;
        Poll::Ready(Some(Err(error)))
    }
}

impl futures::Stream for Watch {
    type Item = Result<GetOutcome, GetError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_version(cx)
    }
}
