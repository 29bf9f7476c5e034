//! `skydht doctor`: diagnoses a node. A running node is asked; otherwise its surroundings are
//! checked, with the same loader, files and sockets as in `skydht run`.

mod machine;
mod network;
mod report;

use std::time::Duration;

pub(crate) use report::DoctorReport;
use report::{Examination, Subject};

use crate::api::client::Client;
use crate::cli::Common;
use crate::commands::configuration;
use crate::config::Settings;
use crate::failure::{Code, Result};
use crate::report::{StatusReport, Verdict};
use crate::state_dir::StateDir;
use crate::{keys, private_file};

/// Runs all checks. Each request to a peer ends after `patience`.
pub(crate) async fn examine(common: &Common, patience: Duration) -> DoctorReport {
    let mut found = Examination::default();
    let loaded = match configuration(common, []) {
        Ok(loaded) => loaded,
        Err(failure) => {
            let cause = "the configuration cannot be used";
            found.failed(
                Subject::Configuration,
                cause,
                &failure,
                "skydht config check",
            );
            return found.into();
        }
    };
    let path = loaded.path.as_ref().map(|path| path.display().to_string());
    let path = path.unwrap_or_else(|| "no file, all defaults".into());
    found.fine(Subject::Configuration, path);
    for warning in &loaded.warnings {
        let cause = "the configuration holds something odd";
        let remedy = "skydht config check";
        found.bad(
            Subject::Configuration,
            Verdict::Yellow,
            cause,
            warning,
            remedy,
        );
    }
    let settings = &loaded.settings;
    let state = match settings.state() {
        Ok(state) => state,
        Err(failure) => {
            let cause = "there is no state directory";
            let remedy = "skydht doctor --state-dir DIR";
            found.failed(Subject::StateDir, cause, &failure, remedy);
            return found.into();
        }
    };
    machine::state_dir(&mut found, &state);
    if state.is_taken() {
        found.running = true;
        node(&mut found, &state).await;
        return found.into();
    }
    key(&mut found, settings);
    machine::ports(&mut found, settings);
    machine::open_files(&mut found, settings);
    machine::storage(&mut found, settings);
    network::examine(&mut found, settings, &state, patience).await;
    let dir = private_file::quoted(state.path());
    found.bad(
        Subject::Node,
        Verdict::Yellow,
        "no node runs on this state directory",
        state.path().display(),
        format_args!("skydht run --state-dir {dir}"),
    );
    found.into()
}

/// Adds the status of a running node.
async fn node(found: &mut Examination, state: &StateDir) {
    let status: Result<StatusReport> = async {
        let endpoint = state.endpoint()?;
        let endpoint = endpoint.ok_or_else(|| {
            let text = "it has written no address: --api-listen off, or it has just been started";
            crate::failure::Failure::new(Code::Unreachable, text)
                .hint("start it with --api-listen IP:PORT, so that it can be asked")
        })?;
        let client = Client::new(&endpoint.url, || state.token())?;
        client.get("/status").await
    }
    .await;
    match status {
        Ok(status) => found.node(status),
        Err(failure) => {
            let cause = "a node runs, but its control API does not answer";
            found.failed(Subject::Node, cause, &failure, "skydht status");
        }
    }
}

/// Checks the node's key.
fn key(found: &mut Examination, settings: &Settings) {
    let secret = keys::from_environment().and_then(|secret| match secret {
        Some(secret) => Ok(Some((secret, keys::SECRET_KEY_VARIABLE.to_owned()))),
        None => {
            let file = settings.key_file()?;
            if settings.key_file.is_none() && keys::is_to_be_made(&file) {
                return Ok(None);
            }
            let secret = keys::load(&file)?;
            Ok(Some((secret, file.display().to_string())))
        }
    });
    match secret {
        Ok(Some((secret, place))) => {
            let public = secret.public();
            found.key = Some(public);
            found.fine(Subject::Key, format_args!("{public} ({place})"));
        }
        Ok(None) => found.fine(Subject::Key, "made at the first start"),
        Err(failure) => {
            let cause = "the secret key cannot be used";
            found.failed(Subject::Key, cause, &failure, "skydht keygen FILE");
        }
    }
}
