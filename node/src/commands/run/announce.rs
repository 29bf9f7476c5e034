//! The start-up message of `skydht run`.

use std::path::{Path, PathBuf};

use serde::Serialize;
use skydht_core::key::PublicKey;

use crate::cli::Common;
use crate::dmsg::join_command;
use crate::failure::Result;
use crate::{output, path_text};

/// The start-up message.
#[derive(Serialize)]
pub(super) struct Report<'a> {
    pub(super) schema: &'static str,
    pub(super) key: PublicKey,
    pub(super) full_node: bool,
    /// "tcp" or "dmsg".
    pub(super) transport: &'static str,
    pub(super) listen: String,
    /// What the start still waits for; `None` if the node is running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) waits_for: Option<String>,
    /// Address that peers are asked to dial, on TCP.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) advertise: Option<String>,
    /// URL of the DMSG discovery in use.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) discovery: Option<String>,
    /// URL of the gateway for old visors.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gateway: Option<String>,
    /// URL of the gateway on DMSG.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) gateway_on_dmsg: Option<String>,
    /// Address of the DMSG server for its clients.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) dmsg_server: Option<String>,
    pub(super) api: Option<String>,
    #[serde(serialize_with = "path_text::optional")]
    pub(super) token_file: Option<PathBuf>,
    #[serde(serialize_with = "path_text::optional")]
    pub(super) config: Option<PathBuf>,
    #[serde(serialize_with = "path_text::serialize")]
    pub(super) state_dir: &'a Path,
    #[serde(
        serialize_with = "path_text::optional",
        skip_serializing_if = "Option::is_none"
    )]
    pub(super) journal: Option<PathBuf>,
    pub(super) bootstrap: usize,
    pub(super) remembered: usize,
    pub(super) next: Vec<String>,
}

/// Returns suggested next commands; for a DMSG server, how a visor connects to it.
pub(super) fn next_commands(common: &Common, server_on: Option<&str>) -> Vec<String> {
    let mut options = String::new();
    if let Some(config) = &common.config {
        options.push_str(&format!(" --config {}", config.display()));
    }
    if let Some(dir) = &common.state_dir {
        options.push_str(&format!(" --state-dir {}", dir.display()));
    }
    let visor = server_on.map(join_command);
    let own = [
        format!("skydht{options} status"),
        format!("skydht{options} put 'hello' --salt greeting"),
        format!("skydht{options} get self --salt greeting"),
    ];
    visor.into_iter().chain(own).collect()
}

pub(super) fn announce(report: &Report<'_>, json: bool) -> Result<()> {
    if json {
        return output::json(report);
    }
    let role = match (&report.dmsg_server, report.full_node) {
        (Some(_), _) => "DMSG server and full node",
        (None, true) => "full node",
        (None, false) => "node",
    };
    let listening = match &report.advertise {
        Some(what) => format!(
            "{} ({}, advertised: {what})",
            report.listen, report.transport
        ),
        None => format!("{} (discovery: {})", report.listen, discovery(report)),
    };
    let waits = report.waits_for.as_ref();
    let waits = waits.map_or_else(String::new, |what| format!("\nwaits for  {what}"));
    let server = report.dmsg_server.as_ref();
    let server = server.map_or_else(String::new, |at| format!("\nclients    {at}"));
    let gateway = report.gateway.as_ref();
    let mut gateway = gateway.map_or_else(String::new, |at| format!("\ngateway    {at}"));
    if let Some(url) = &report.gateway_on_dmsg {
        gateway.push_str(&format!(" and {url}"));
    }
    let api = match (&report.api, &report.token_file) {
        (Some(url), Some(file)) => format!("{url} (token in {})", file.display()),
        _ => "off".into(),
    };
    let config = report.config.as_ref().map_or_else(
        || "none, all defaults".into(),
        |path| path.display().to_string(),
    );
    let journal = report.journal.as_ref().map_or_else(String::new, |path| {
        format!("\njournal    {}", path.display())
    });
    output::line(format_args!(
        "skydht {} {role}\nkey        {}\nlistening  {listening}{server}{gateway}{waits}\napi        {api}\npeers      {} configured, {} remembered\nconfig     {config}\nstate      {}{journal}\nnext       {}",
        env!("CARGO_PKG_VERSION"),
        report.key,
        report.bootstrap,
        report.remembered,
        report.state_dir.display(),
        report.next.join("\n           "),
    ))
}

fn discovery<'r>(report: &'r Report<'_>) -> &'r str {
    let discovery = report.discovery.as_deref();
    discovery.unwrap_or("none, servers as configured")
}
