//! `skydht demo --stay`: keeps the network running for other commands.

use std::sync::Arc;

use super::{DemoRun, Report, Stay, print};
use crate::access::about;
use crate::api::auth::Guard;
use crate::api::{ApiState, Server, bind};
use crate::cli::{Common, Demo};
use crate::commands::config::ConfigReport;
use crate::condition::Condition;
use crate::dmsg::{dht_address, join_command};
use crate::failure::{Code, Failure, Result};
use crate::local::Local;
use crate::output;
use crate::signals::Signals;
use crate::state_dir::StateDir;
use crate::temporary_dir::TemporaryDir;

/// Serves the control API of the first node until a signal arrives.
pub(super) async fn stay(
    common: &Common,
    args: &Demo,
    show: DemoRun,
    mut report: Report,
    signals: &mut Signals,
) -> Result<()> {
    let dir = TemporaryDir::new("demo")?;
    let state = StateDir::new(dir.path());
    let listener = bind(args.api_listen).await?;
    let first = &show.network.nodes[0];
    let listen = match first.local_addr() {
        Some(addr) => addr.to_string(),
        None => dht_address(&first.key()),
    };
    let local = Local::new(
        first.clone(),
        about(&show.config, first.key(), listen),
        Condition::default(),
    );
    let config = ConfigReport {
        schema: ConfigReport::SCHEMA.into(),
        path: None,
        settings: Vec::new(),
    };
    let shared = Arc::new(ApiState::new(local, config));
    let addr = listener
        .local_addr()
        .map_err(|error| Failure::new(Code::Local, error))?;
    let guard = Guard::new(state.token_for_node()?, addr, &[], shared.sessions.clone());
    let server = Server::start(listener, Arc::clone(&shared), guard)?;
    let announced = state.announce(server.addr(), first.key());
    let api = announced.url();
    let here = format!("skydht --state-dir {}", dir.path().display());
    let mut next = vec![
        format!("{here} status"),
        format!("{here} put 'hello' --salt greeting"),
        format!("{here} get self --salt greeting"),
    ];
    if let Some(relays) = &show.network.relays {
        next.push(join_command(&relays.discovery()));
    }
    report.stay = Some(Stay {
        api: api.to_owned(),
        token_file: state.token_file(),
        next: next.clone(),
    });
    print(common, &report)?;
    if !common.json {
        output::line(format_args!(
            "{} nodes stay up until Ctrl-C\napi   {} (token in {})\nnext  {}",
            show.network.nodes.len(),
            api,
            state.token_file().display(),
            next.join("\n      ")
        ))?;
    }
    tokio::select! {
        _ = signals.next() => {}
        () = shared.stop.notified() => {}
    }
    let stop = async {
        server.stop().await;
        show.network.stop_all().await;
    };
    signals.unless_again(stop).await
}
