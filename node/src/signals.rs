//! The signals that end a process: all of them in order, a second one immediately; and those that
//! do not end it. A process that was started with [`WITH_STDIN`] takes the end of its stdin, too,
//! for such a signal.

use std::fs;
use std::io::Read as _;
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::failure::{Code, Failure, Result};

/// In the environment of a process that must not outlive the one that started it, however that ends:
/// it stops when its stdin does.
pub(crate) const WITH_STDIN: &str = "_SKYDHT_STOP_WITH_STDIN";

/// Signals of within this time are one: a service manager, `timeout` or an impatient key sends
/// several, to the process and to its group.
const ONE_WISH: Duration = Duration::from_secs(1);

/// From now on, a file that reaches the limit on its size (`ulimit -f`) is a failed write, as on a
/// full disk, and not the end of the process.
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
    // What is listened for once no longer ends the process, also when no stream is left.
    let limit = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
    signal(limit).map(drop).map_err(failed)
}

/// SIGHUP, SIGINT, SIGQUIT and SIGTERM. Each is a wish for a clean stop: a terminal that closes, a
/// key, a service manager. Nothing is loaded again: a restart is quick, and peers are remembered.
/// SIGUSR1 and SIGUSR2 are ignored.
pub(crate) struct Signals {
    listened: Vec<(&'static str, Signal)>,
    /// Where the end of stdin is one.
    stdin: Option<oneshot::Receiver<()>>,
    /// When the first one came.
    first: Option<Instant>,
}

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
        let mut signals = Self::of(kinds)?;
        signals.stdin = std::env::var_os(WITH_STDIN).map(|_| end_of_stdin());
        // They would end the process, too.
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

    /// The name of the next one.
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

    /// The next one that is another wish than the first.
    async fn again(&mut self) -> &'static str {
        loop {
            let before = self.first;
            let name = self.next().await;
            if before.is_none_or(|first| first.elapsed() > ONE_WISH) {
                return name;
            }
        }
    }

    /// What `stop` gives, unless another signal comes first.
    ///
    /// # Errors
    /// A signal more than a second after the first, or any if none came yet.
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

/// Told once nothing more can come from stdin. What comes is not looked at.
pub(crate) fn end_of_stdin() -> oneshot::Receiver<()> {
    let (ended, end) = oneshot::channel();
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        while matches!(stdin.read(&mut [0; 64]), Ok(1..)) {}
        let _ = ended.send(());
    });
    end
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

    #[tokio::test]
    async fn signals_within_a_second_of_the_first_are_one() {
        // Such as do no harm to this process.
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
                // By now the others were told, too.
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            };
            signals.unless_again(stop).await.unwrap();
        }
        tokio::time::pause();
        tokio::time::advance(ONE_WISH + Duration::from_millis(1)).await;
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
