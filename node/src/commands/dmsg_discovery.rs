//! `skydht dmsg-discovery`.

use serde::Serialize;

use crate::cli::{Common, DmsgDiscoveryArgs};
use crate::dmsg::{DiscoveryService, join_command};
use crate::exit::Exit;
use crate::failure::{Code, Failure, Result};
use crate::signals::Signals;
use crate::{logging, output};

/// What a discovery says of itself when it is up.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    url: String,
    test_mode: bool,
    next: Vec<String>,
}

/// Runs a DMSG discovery until a signal.
pub(crate) async fn run(common: &Common, args: DmsgDiscoveryArgs) -> Result<Exit> {
    let filter = common.log.as_deref().unwrap_or("info");
    logging::start(filter).map_err(|error| Failure::new(Code::Usage, error))?;
    let mut signals = Signals::new()?;
    let service = DiscoveryService::start(args.addr, args.test_mode).await?;
    announce(common, &service)?;
    let name = signals.next().await;
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

fn announce(common: &Common, service: &DiscoveryService) -> Result<()> {
    let url = service.url();
    let report = Report {
        schema: "skydht.dmsg-discovery/1",
        test_mode: service.is_in_test_mode(),
        next: vec![
            format!("skydht dmsg-server --discovery {url} --listen 127.0.0.1:8081"),
            join_command(&url),
        ],
        url,
    };
    if common.json {
        return output::json(&report);
    }
    let mode = if report.test_mode {
        "test: servers may be on loopback"
    } else {
        "production: servers on loopback are refused"
    };
    output::line(format_args!(
        "skydht {} DMSG discovery\nurl        {}\nmode       {mode}\nentries    in memory, gone when it stops\nnext       {}",
        env!("CARGO_PKG_VERSION"),
        report.url,
        report.next.join("\n           "),
    ))
}
