//! Watching an item: a stream of its versions.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use skydht_core::item::Seq;
use skydht_core::node::{Command, GetError, GetOutcome, GetRequest, OperationError, Outcome};

use crate::dht::{Dht, Operation, mismatch};

/// Timeout of one operation of a watch; another one follows.
const ROUND_TIMEOUT: Duration = Duration::from_secs(600);

impl Dht {
    /// Waits for a version of an item with a sequence above `after`. Without `after`, any version
    /// will do. A deletion is a version whose item [reads as
    /// deleted](skydht_core::item::Item::reads_as_deleted).
    ///
    /// Two holders, full nodes first, are asked to answer when a newer version arrives; the version
    /// itself is then read from the nearest holders, as by [`Dht::get`]. Versions that are replaced
    /// in the meantime are skipped. Ends at the request's timeout, or else at the configuration's.
    ///
    /// Cancel-safe: dropping the future ends the query.
    ///
    /// # Errors
    /// See [`GetError`]; [`OperationError::Timeout`] if no newer version arrived in time.
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

    /// Returns an endless stream of versions of an item, each newer than `after` and than the one
    /// before, as [`Dht::next_version`] finds them. To continue after an interruption, pass the
    /// sequence of the last version.
    #[must_use]
    pub fn watch(&self, mut request: GetRequest, after: Option<Seq>) -> Watch {
        request.timeout = Some(ROUND_TIMEOUT);
        Watch {
            dht: Some(self.clone()),
            request,
            after,
            operation: None,
        }
    }
}

/// The versions of an item, see [`Dht::watch`]. Ends after the first error: the node stops, is too
/// busy to start an operation, or the request is invalid. Dropping it ends the query.
pub struct Watch {
    /// `None` after the end.
    dht: Option<Dht>,
    request: GetRequest,
    after: Option<Seq>,
    operation: Option<Operation>,
}

impl Watch {
    /// Returns the next version. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<GetOutcome, GetError>> {
        std::future::poll_fn(|cx| self.poll_version(cx)).await
    }

    /// Returns the sequence of the last version.
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
