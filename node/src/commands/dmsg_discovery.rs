//! `skydht dmsg-discovery`: runs a DMSG discovery.

use std::path::Path;

use serde::Serialize;
use skydht_discovery::dmsg::Stats;
use tokio_rustls::TlsAcceptor;

use crate::cli::{Common, DmsgDiscoveryArgs};
use crate::dmsg::{DiscoveryService, OfferedServices, join_command};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::http::{CertificateError, acceptor};
use crate::path_text::shown;
use crate::signals::Signals;
use crate::supervisor::Supervisor;
use crate::{keys, logging, output};

/// Start-up message of a discovery.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    url: String,
    /// URL of the discovery over DMSG.
    #[serde(skip_serializing_if = "Option::is_none")]
    dmsg_url: Option<String>,
    test_mode: bool,
    /// Whether it is a service discovery, too.
    services: bool,
    /// Whether it is a transport discovery, too.
    transports: bool,
    /// Whether it is an address resolver, too.
    addresses: bool,
    next: Vec<String>,
}

/// Runs a DMSG discovery until a signal arrives.
pub(crate) async fn run(common: &Common, args: DmsgDiscoveryArgs) -> Result<Exit> {
    let filter = common.log.as_deref().unwrap_or("info");
    logging::start(filter).map_err(|error| Failure::new(Code::Usage, error))?;
    let mut signals = Signals::new()?;
    let supervisor = Supervisor::from_environment();
    let secret = args.key_file.as_deref().map(keys::load).transpose()?;
    let tls = secured(args.tls_cert.as_deref(), args.tls_key.as_deref())?;
    let offered = OfferedServices {
        services: args.services,
        transports: args.transports,
        addresses: args.addresses,
    };
    let mut service = DiscoveryService::start(args.addr, args.test_mode, offered, tls).await?;
    if let Some(secret) = secret {
        service.start_over_dmsg(secret, args.dmsg_server)?;
    }
    announce(common, &service)?;
    let words = || {
        let Stats {
            entries, servers, ..
        } = service.stats();
        format!("{entries} entries, {servers} of them servers")
    };
    supervisor.ready(&words()).await;
    let kept = supervisor
        .clone()
        .keep(|| std::future::ready(Some(words())));
    let name = tokio::select! {
        name = signals.next() => name,
        () = kept => signals.next().await,
    };
    supervisor.stopping().await;
    tracing::info!("stopping because of {name}; a second signal stops immediately");
    let stats = signals.unless_again(service.stop()).await?;
    tracing::info!(
        requests = stats.requests,
        entries = stats.entries,
        servers = stats.servers,
        "stopped"
    );
    Ok(Exit::Ok)
}

/// Returns the TLS acceptor if certificate files are configured.
pub(super) fn secured(chain: Option<&Path>, key: Option<&Path>) -> Result<Option<TlsAcceptor>> {
    let (Some(chain), Some(key)) = (chain, key) else {
        return Ok(None);
    };
    let acceptor = acceptor(chain, key).map_err(|error| {
        let (file, why) = match error {
            CertificateError::Chain(why) => (chain, why),
            CertificateError::Key(why) => (key, why),
            CertificateError::Pair(why) => (chain, format!("with {}: {why}", shown(key))),
        };
        let failure = Failure::new(Code::Local, format_args!("{}: {why}", shown(file)));
        failure.hint("--tls-cert takes a PEM file with the certificate and those above it, --tls-key one with its private key")
    })?;
    Ok(Some(acceptor))
}

fn announce(common: &Common, service: &DiscoveryService) -> Result<()> {
    let (url, offered) = (service.url(), service.offered());
    let report = Report {
        schema: "skydht.dmsg-discovery/1",
        dmsg_url: service.dmsg_url(),
        test_mode: service.is_in_test_mode(),
        services: offered.services,
        transports: offered.transports,
        addresses: offered.addresses,
        next: vec![
            format!("skydht dmsg-server --discovery {url} --listen 127.0.0.1:8081"),
            join_command(&url),
        ],
        url,
    };
    if common.json {
        return output::json(&report);
    }
    let over_dmsg = report.dmsg_url.as_ref();
    let over_dmsg = over_dmsg.map_or_else(String::new, |url| format!(" and {url}"));
    let mode = if report.test_mode {
        "test: servers may be on loopback"
    } else {
        "production: servers on loopback are refused"
    };
    let beside = [
        (report.services, "services  ", "/api/services"),
        (report.transports, "transports", "/transports"),
        (report.addresses, "addresses ", "/resolve"),
    ];
    let mut services = String::new();
    for (_, name, path) in beside.iter().filter(|(is_offered, ..)| *is_offered) {
        services.push_str(&format!("\n{name} {}{path}", report.url));
    }
    output::line(format_args!(
        "skydht {} DMSG discovery\nurl        {}{over_dmsg}{services}\nmode       {mode}\nentries    in memory, gone when it stops\nnext       {}",
        env!("CARGO_PKG_VERSION"),
        report.url,
        report.next.join("\n           "),
    ))
}
