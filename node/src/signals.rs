//! Signals that stop the process: the first one cleanly, a second one immediately; and signals that
//! are ignored. In a process started with [`WITH_STDIN`], the end of stdin counts as a signal.

use std::fs;
use std::io::Read as _;
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::failure::{Code, Failure, Result};

/// Environment variable of a process that must not outlive its parent: it stops when its stdin
/// ends.
pub(crate) const WITH_STDIN: &str = "_SKYDHT_STOP_WITH_STDIN";

/// Signals within this time count as one: a service manager, `timeout` or a key that is held down
/// sends several, to the process and to its group.
const ONE_REQUEST: Duration = Duration::from_secs(1);

/// Ignores SIGXFSZ, so that a file that reaches the size limit (`ulimit -f`) is a failed write, as
/// on a full disk, and does not end the process.
pub(crate) fn survive_file_size_limit() -> Result<()> {
    let failed = |error| {
        Failure::new(
            Code::Local,
            format_args!("cannot listen for SIGXFSZ: {error}"),
        )
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .map_err(failed)?;
    let _context = runtime.enter();
    // A registered handler stays in effect even if its stream is dropped.
    let limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(limit).map(drop).map_err(failed)
}

/// SIGHUP, SIGINT, SIGQUIT and SIGTERM, each of which requests a clean stop: a terminal that
/// closes, a key, a service manager. SIGHUP does not reload the configuration: a restart is quick,
/// and peers are remembered. SIGUSR1 and SIGUSR2 are ignored.
pub(crate) struct Signals {
    listened: Vec<(&'static str, Signal)>,
    /// Completes at the end of stdin, with [`WITH_STDIN`].
    stdin: Option<oneshot::Receiver<()>>,
    /// Time of the first signal.
    first: Option<Instant>,
}

impl Signals {
    /// Installs handlers for these signals.
    pub(crate) fn new() -> Result<Self> {
        let mut kinds = vec![
            ("SIGINT", SignalKind::interrupt()),
            ("SIGQUIT", SignalKind::quit()),
            ("SIGTERM", SignalKind::terminate()),
        ];
        // `nohup` ignores SIGHUP, so that the process outlives its terminal.
        if !is_ignored(SignalKind::hangup()) {
            kinds.push(("SIGHUP", SignalKind::hangup()));
        }
        let mut signals = Self::of(kinds)?;
        signals.stdin = std::env::var_os(WITH_STDIN).map(|_| end_of_stdin());
        // The default action of these signals would end the process.
        let ignored = [
            ("SIGUSR1", SignalKind::user_defined1()),
            ("SIGUSR2", SignalKind::user_defined2()),
        ];
        Self::of(ignored.into())?;
        Ok(signals)
    }

    fn of(kinds: Vec<(&'static str, SignalKind)>) -> Result<Self> {
        let listened = kinds.into_iter().map(|(name, kind)| {
            signal(kind).map(|signal| (name, signal)).map_err(|error| {
                let text = format!("cannot listen for {name}: {error}");
                Failure::new(Code::Local, text)
            })
        });
        Ok(Self {
            listened: listened.collect::<Result<_>>()?,
            stdin: None,
            first: None,
        })
    }

    /// Returns the name of the next signal.
    pub(crate) async fn next(&mut self) -> &'static str {
        let name = std::future::poll_fn(|cx| {
            for (name, signal) in &mut self.listened {
                if signal.poll_recv(cx).is_ready() {
                    return Poll::Ready(*name);
                }
            }
            if let Some(stdin) = &mut self.stdin
                && std::pin::Pin::new(stdin).poll(cx).is_ready()
            {
                self.stdin = None;
                return Poll::Ready("the end of stdin");
            }
            Poll::Pending
        })
        .await;
        self.first.get_or_insert_with(Instant::now);
        name
    }

    /// Returns the next signal that does not belong to the first one.
    async fn again(&mut self) -> &'static str {
        loop {
            let before = self.first;
            let name = self.next().await;
            if before.is_none_or(|first| first.elapsed() > ONE_REQUEST) {
                return name;
            }
        }
    }

    /// Returns the result of `stop`, unless another signal arrives first.
    ///
    /// # Errors
    /// A signal arrived more than a second after the first one, or any signal if there was none
    /// yet.
    pub(crate) async fn unless_again<T>(&mut self, stop: impl Future<Output = T>) -> Result<T> {
        tokio::select! {
            stopped = stop => Ok(stopped),
            name = self.again() => {
                let text = format!("stopped immediately by a second signal ({name})");
                Err(Failure::new(Code::Local, text))
            }
        }
    }
}

/// Returns a receiver that completes at the end of stdin, whose content is discarded.
pub(crate) fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        while matches!(stdin.read(&mut [0; 64]), Ok(1..)) {}
        let _ = ended.send(());
    });
    end
}

/// Returns whether the parent process made this process ignore a signal; `false` without `/proc`.
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

    #[tokio::test]
    async fn signals_within_a_second_of_the_first_are_one() {
        // These signals do no harm to this process.
        let kinds = [SignalKind::window_change(), SignalKind::io()];
        let mut signals = Signals::of(vec![("first", kinds[0]), ("again", kinds[1])]).unwrap();
        let send = |kind: SignalKind| {
            let signal = rustix::process::Signal::from_named_raw(kind.as_raw_value()).unwrap();
            rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
        };
        send(kinds[0]);
        assert_eq!(signals.next().await, "first");
        for kind in kinds {
            let mut seen = signal(kind).unwrap();
            send(kind);
            let stop = async {
                seen.recv().await;
                // The other signals have been delivered by now.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            };
            signals.unless_again(stop).await.unwrap();
        }
        tokio::time::pause();
        tokio::time::advance(ONE_REQUEST + Duration::from_millis(1)).await;
        tokio::time::resume();
        send(kinds[1]);
        let stop = std::future::pending::<()>();
        let failure = signals.unless_again(stop).await.unwrap_err();
        assert!(failure.message.contains("(again)"), "{failure}");
    }

    #[test]
    fn ignored_signals_are_read_from_the_processs_status() {
        let status = "Name:\tx\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\n";
        assert_eq!(ignored_signals(status), Some(0x1001));
        assert_eq!(ignored_signals("Name:\tx\n"), None);
        assert_eq!(ignored_signals("SigIgn:\tz\n"), None);
    }
}
