//! A node in this process, and what can be asked of it: by the control API, and by commands
//! that join for one operation.

use std::time::Instant;

use skydht_core::id::Target;
use skydht_core::key::PublicKey;
use skydht_core::node::{GetError, OperationError, PutError, Snapshot};
use skydht_driver::{Dht, Stopped};

use crate::api::schema::{GetBody, PingBody, PutRequest};
use crate::failure::{self, Code, Failure, Result};
use crate::report::{
    About, GetReport, ItemsReport, PeersReport, PingReport, PutReport, StatusReport,
};

/// A node in this process.
#[derive(Clone)]
pub(crate) struct Local {
    dht: Dht,
    about: About,
    started: Instant,
}

impl From<Stopped> for Box<Failure> {
    fn from(stopped: Stopped) -> Self {
        Failure::new(Code::ShuttingDown, stopped)
    }
}

impl Local {
    /// A node that has just been started.
    pub(crate) fn new(dht: Dht, about: About) -> Self {
        Self {
            dht,
            about,
            started: Instant::now(),
        }
    }

    /// The node.
    pub(crate) fn dht(&self) -> &Dht {
        &self.dht
    }

    /// Its key.
    pub(crate) fn key(&self) -> PublicKey {
        self.dht.key()
    }

    /// Signs and publishes.
    pub(crate) async fn put(&self, request: &PutRequest) -> Result<PutReport> {
        let (salt, value, options) = request.read()?;
        let target = Target::of(&self.key(), salt.as_bytes());
        let put = self.dht.put(salt, value, options).await;
        let renewed = async {
            let items = self.dht.own_items().await.ok()?;
            items.into_iter().find(|item| item.target == target)
        };
        match put {
            Ok(outcome) => {
                let mut report = PutReport::new(&outcome);
                report.renewed = request.wants_renewal() && renewed.await.is_some();
                Ok(report)
            }
            Err(PutError::Operation(OperationError::NoPeers)) if request.wants_renewal() => {
                Err(match renewed.await {
                    Some(item) => failure::kept(item.seq),
                    None => OperationError::NoPeers.into(),
                })
            }
            Err(error) => {
                let renewed = request.wants_renewal() && renewed.await.is_some();
                Err(failure::put_failed(&error, request, renewed))
            }
        }
    }

    /// Reads. A value that came too late for its policy is in the failure's details.
    pub(crate) async fn get(&self, body: &GetBody) -> Result<GetReport> {
        match self.dht.get(body.read(self.key())?).await {
            Ok(outcome) => Ok(GetReport::new(&outcome, true)),
            Err(GetError::Timeout {
                best: Some(best), ..
            }) => {
                let report = GetReport::new(&best, false);
                Err(Failure::new(
                    Code::Partial,
                    "timed out before the policy was met; this is the best value found so far",
                )
                .details(&report))
            }
            Err(error) => Err(failure::get_failed(&error, body)),
        }
    }

    /// A sign of life.
    pub(crate) async fn ping(&self, body: &PingBody) -> Result<PingReport> {
        let outcome = self.dht.ping(body.pk, body.addr).await?;
        Ok(PingReport::new(self.key().id(), body.pk, &outcome))
    }

    /// How it is.
    pub(crate) async fn status(&self) -> Result<StatusReport> {
        let snapshot = self.snapshot().await?;
        Ok(StatusReport::new(
            &snapshot,
            &self.dht.transport_stats(),
            &self.about,
            self.started.elapsed(),
        ))
    }

    /// Whom it knows.
    pub(crate) async fn peers(&self) -> Result<PeersReport> {
        let peers = self.dht.peers().await?;
        Ok(PeersReport::new(
            &self.snapshot().await?,
            &peers,
            self.about.k,
        ))
    }

    /// What it keeps renewed.
    pub(crate) async fn items(&self) -> Result<ItemsReport> {
        Ok(ItemsReport::new(self.key(), &self.dht.own_items().await?))
    }

    async fn snapshot(&self) -> Result<Snapshot> {
        Ok(self.dht.snapshot().await?)
    }
}
