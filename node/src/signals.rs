//! The signals that end a process: all of them in order, the second one immediately.

use std::fs;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::{Code, Failure, Result};

/// SIGHUP, SIGINT, SIGQUIT and SIGTERM. Each is a wish for a clean stop: a terminal that closes, a
/// key, a service manager. Nothing is loaded again: a restart is quick, and peers are remembered.
pub(crate) struct Signals(Vec<(&'static str, Signal)>);

impl Signals {
    /// From now on, these signals no longer end the process by themselves.
    pub(crate) fn new() -> Result<Self> {
        let mut kinds = vec![
            ("SIGINT", SignalKind::interrupt()),
            ("SIGQUIT", SignalKind::quit()),
            ("SIGTERM", SignalKind::terminate()),
        ];
        // Under `nohup` the process outlives its terminal.
        if !is_ignored(SignalKind::hangup()) {
            kinds.push(("SIGHUP", SignalKind::hangup()));
        }
        let listened = kinds.into_iter().map(|(name, kind)| {
            signal(kind).map(|signal| (name, signal)).map_err(|error| {
                let text = format!("cannot listen for {name}: {error}");
                Failure::new(Code::Local, text)
            })
        });
        listened.collect::<Result<_>>().map(Self)
    }

    /// The name of the next one.
    pub(crate) async fn next(&mut self) -> &'static str {
        std::future::poll_fn(|cx| {
            for (name, signal) in &mut self.0 {
                if signal.poll_recv(cx).is_ready() {
                    return std::task::Poll::Ready(*name);
                }
            }
            std::task::Poll::Pending
        })
        .await
    }

    /// What `stop` gives, unless another signal comes first.
    ///
    /// # Errors
    /// The second signal.
    pub(crate) async fn unless_again<T>(&mut self, stop: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            stopped = stop => Ok(stopped),
            name = self.next() => {
                let text = format!("stopped immediately by a second signal ({name})");
                Err(Failure::new(Code::Local, text))
            }
        }
    }
}

/// Whether the parent process has told the system to ignore a signal. Where the system
/// does not say it in this way, it has not.
fn is_ignored(kind: SignalKind) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let bit = kind.as_raw_value().saturating_sub(1);
    ignored_signals(&status).is_some_and(|mask| mask >> bit & 1 == 1)
}

fn ignored_signals(status: &str) -> Option<u64> {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    u64::from_str_radix(mask?.trim(), 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ignored_signals_are_read_from_the_processs_status() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored_signals(status), Some(0x1001));
        assert_eq!(ignored_signals("Name:\tx\n"), None);
        assert_eq!(ignored_signals("SigIgn:\tz\n"), None);
    }
}
