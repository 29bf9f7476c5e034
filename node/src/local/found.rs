//! Services and transports, from records stored on this node or on another full node.

use std::time::Duration;

use skydht_core::key::PublicKey;
use skydht_discovery::index::ServiceQuery;
use skydht_discovery::record::{Service, ServiceKind};
use skydht_discovery::service::{Answer, Call};
use skydht_discovery::{BaseUrl, Exchange as _};
use tokio::time::timeout;

use crate::api::schema::{ServicesBody, TransportsBody};
use crate::dmsg::Carrier;
use crate::failure::{Code, Failure, Result};
use crate::http::Exchanger;
use crate::local::Local;
use crate::report::{ServicesReport, TransportsReport};

/// Longest wait for another full node.
const PATIENCE: Duration = Duration::from_secs(5);
/// Maximum number of full nodes that are asked, one after the other.
const MOST_ASKED: usize = 4;

impl Local {
    /// Returns the services of a type: from this node's records if it is a full node, else from a
    /// connected DMSG server, which is one.
    pub(crate) async fn services(&self, body: &ServicesBody) -> Result<ServicesReport> {
        if body.kind.is_empty() {
            return Err(Failure::new(Code::Usage, "`type` is empty"));
        }
        let dht = self.dht(None).await?;
        let is_full = dht.snapshot().await?.full_node;
        if !is_full && let Some((from, services)) = self.services_elsewhere(body).await {
            return Ok(ServicesReport {
                schema: ServicesReport::SCHEMA.into(),
                from: Some(from),
                complete: true,
                services,
            });
        }
        let index = self.condition().record_index().read(&dht).await?;
        let query = ServiceQuery {
            kind: ServiceKind::of(&body.kind),
            country: body.country.clone(),
            version: body.version.clone(),
        };
        let services = index.services(&query).cloned().collect();
        Ok(ServicesReport {
            schema: ServicesReport::SCHEMA.into(),
            from: None,
            complete: is_full && index.is_complete(),
            services,
        })
    }

    async fn services_elsewhere(&self, body: &ServicesBody) -> Option<(PublicKey, Vec<Service>)> {
        let carrier = self.condition().carrier()?;
        let exchanger = Exchanger {
            clock: self.condition().clock().clone(),
            dialer: carrier.dialer()?,
        };
        let call = Call::List {
            kind: ServiceKind::of(&body.kind),
            version: body.version.clone(),
            country: body.country.clone(),
            quantity: None,
        };
        for server in Carrier::connected(carrier).into_iter().take(MOST_ASKED) {
            let Ok(base) = format!("dmsg://{server}:80").parse::<BaseUrl>() else {
                continue;
            };
            let mut request = call.write();
            let Ok(uri) = base.join(request.uri()) else {
                continue;
            };
            *request.uri_mut() = uri;
            let answer = timeout(PATIENCE, exchanger.exchange(request)).await;
            if let Ok(Ok(response)) = answer
                && let Ok(Answer::List(services)) = Answer::read(&call, &response)
            {
                return Some((server, services));
            }
        }
        None
    }

    /// Returns the transports of a visor, or the one with an id, from this node's records.
    pub(crate) async fn transports(&self, body: &TransportsBody) -> Result<TransportsReport> {
        let dht = self.dht(None).await?;
        let is_full = dht.snapshot().await?.full_node;
        let index = self.condition().record_index().read(&dht).await?;
        let transports = match (&body.edge, &body.id) {
            (Some(edge), None) => index.transports_of(edge).map(Into::into).collect(),
            (None, Some(id)) => index.transport(id).into_iter().map(Into::into).collect(),
            _ => {
                let text = "name `edge` or `id`, and not both";
                return Err(Failure::new(Code::Usage, text));
            }
        };
        Ok(TransportsReport {
            schema: TransportsReport::SCHEMA.into(),
            complete: is_full && index.is_complete(),
            transports,
        })
    }
}
