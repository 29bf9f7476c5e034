//! Notifies a service manager (systemd's `sd_notify` protocol) when the service is ready or stops,
//! of its status, and that it still answers. Does nothing without NOTIFY_SOCKET in the environment.
//!
//! The crate `sd-notify` is not used, because it does not support abstract sockets and depends on C
//! bindings for functions that are not needed.

use std::env;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval, timeout};

/// Longest wait for sending a datagram.
const PATIENCE: Duration = Duration::from_secs(1);
/// Interval of status updates, unless the watchdog requires a shorter one.
const LOOK: Duration = Duration::from_secs(5);
/// Longest status text, in bytes.
const MOST_WORDS: usize = 200;

/// The service manager that started this process, if it wants notifications.
#[derive(Clone)]
pub(crate) struct Supervisor {
    socket: Option<SocketAddr>,
    /// The watchdog's timeout; `None` if there is no watchdog.
    watchdog: Option<Duration>,
}

impl Supervisor {
    /// Reads the environment. An unusable value is logged as a warning.
    pub(crate) fn from_environment() -> Self {
        let socket = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty());
        let socket = socket.and_then(|name| match address(&name) {
            Ok(socket) => Some(socket),
            Err(error) => {
                tracing::warn!("NOTIFY_SOCKET ({}) is not used: {error}", name.display());
                None
            }
        });
        let watchdog = watchdog(env::var_os("WATCHDOG_USEC"), env::var_os("WATCHDOG_PID"));
        Self { socket, watchdog }
    }

    /// Notifies that the service is ready, with its status.
    pub(crate) async fn ready(&self, words: &str) {
        self.send(&format!("READY=1\nSTATUS={}", one_line(words)))
            .await;
    }

    /// Notifies that the service is stopping.
    pub(crate) async fn stopping(&self) {
        self.send("STOPPING=1\nSTATUS=stopping").await;
    }

    /// Sends keep-alives and status updates as long as `state` returns the status within half of
    /// the watchdog's timeout. When it does not, the service manager restarts the service.
    pub(crate) async fn keep<F>(self, state: impl Fn() -> F)
    where
        F: Future<Output = Option<String>>,
    {
        if self.socket.is_none() {
            return;
        }
        let period = self
            .watchdog
            .map_or(LOOK, |watchdog| watchdog / 2)
            .min(LOOK);
        let mut ticks = interval(period);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = String::new();
        loop {
            ticks.tick().await;
            let Ok(Some(words)) = timeout(period, state()).await else {
                tracing::debug!("no sign of life: the service does not answer");
                continue;
            };
            let words = one_line(&words);
            let mut text = Vec::new();
            if self.watchdog.is_some() {
                text.push("WATCHDOG=1".to_owned());
            }
            if words != last {
                text.push(format!("STATUS={words}"));
                last = words;
            }
            if !text.is_empty() {
                self.send(&text.join("\n")).await;
            }
        }
    }

    async fn send(&self, text: &str) {
        let Some(socket) = &self.socket else { return };
        let sent = async {
            let datagram = UnixDatagram::unbound()?;
            datagram.connect_addr(socket)?;
            datagram.set_nonblocking(true)?;
            let datagram = tokio::net::UnixDatagram::from_std(datagram)?;
            match timeout(PATIENCE, datagram.send(text.as_bytes())).await {
                Ok(sent) => sent.map(drop),
                Err(_) => Err(io::ErrorKind::TimedOut.into()),
            }
        };
        if let Err(error) = sent.await {
            tracing::debug!("the service manager was not sent {text:?}: {error}");
        }
    }
}

/// Parses a path, or @NAME for an abstract socket.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        [b'@', name @ ..] => abstract_address(name),
        _ => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "neither a path from the root nor @NAME",
        )),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    use std::os::linux::net::SocketAddrExt as _;
    SocketAddr::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Returns the watchdog's timeout, if it applies to this process.
fn watchdog(micros: Option<OsString>, pid: Option<OsString>) -> Option<Duration> {
    let number = |text: OsString| text.to_str()?.parse::<u64>().ok();
    if let Some(pid) = pid
        && number(pid) != Some(u64::from(std::process::id()))
    {
        return None;
    }
    // Half of a shorter timeout would be below the timer's resolution.
    let micros = number(micros?).filter(|micros| *micros >= 2_000)?;
    Some(Duration::from_micros(micros))
}

/// Removes line ends, which separate assignments in a datagram, and limits the length.
fn one_line(words: &str) -> String {
    let mut line = words.replace(|c: char| c.is_control(), " ");
    let end = (0..=MOST_WORDS)
        .rev()
        .find(|end| line.is_char_boundary(*end));
    line.truncate(end.unwrap_or(0));
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_for_the_process_that_it_names() {
        let own = std::process::id().to_string();
        let of = |micros: &str, pid: Option<&str>| {
            watchdog(Some(micros.into()), pid.map(OsString::from))
        };
        assert_eq!(of("30000000", None), Some(Duration::from_secs(30)));
        assert_eq!(of("30000000", Some(&own)), Some(Duration::from_secs(30)));
        assert_eq!(of("30000000", Some("1")), None);
        assert_eq!(of("30000000", Some("x")), None);
        for wrong in ["", "0", "1999", "-1", "18446744073709551616", "30s"] {
            assert_eq!(of(wrong, None), None, "{wrong:?}");
        }
        assert_eq!(watchdog(None, None), None);
    }

    #[test]
    fn sockets_are_paths_from_the_root_or_abstract_names() {
        let path = address(OsStr::new("/run/notify")).unwrap();
        assert_eq!(path.as_pathname().unwrap().to_str(), Some("/run/notify"));
        #[cfg(target_os = "linux")]
        {
            use std::os::linux::net::SocketAddrExt as _;
            let name = address(OsStr::new("@a/b")).unwrap();
            assert_eq!(name.as_abstract_name(), Some(&b"a/b"[..]));
        }
        let long = format!("/{}", "x".repeat(200));
        for wrong in ["vsock:2:1", "run/notify", " ", &long] {
            assert!(address(OsStr::new(wrong)).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn the_state_in_words_is_one_short_line() {
        assert_eq!(one_line("GREEN\nREADY=1\r\u{9b}x"), "GREEN READY=1  x");
        let long = one_line(&"é".repeat(200));
        assert_eq!(long, "é".repeat(100));
        assert_eq!(one_line(&"x".repeat(201)).len(), 200);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_service_that_no_longer_answers_gives_no_sign_of_life() {
        use std::os::linux::net::SocketAddrExt as _;
        let name = format!("skydht-silent/{}", std::process::id());
        let addr = SocketAddr::from_abstract_name(&name).unwrap();
        let manager = UnixDatagram::bind_addr(&addr).unwrap();
        manager.set_nonblocking(true).unwrap();
        let supervisor = Supervisor {
            socket: Some(addr),
            watchdog: Some(Duration::from_millis(4)),
        };
        let (asked, mut asks) = tokio::sync::mpsc::unbounded_channel();
        let answers = std::cell::Cell::new(2);
        let keep = supervisor.keep(|| {
            asked.send(()).unwrap();
            let left: u32 = answers.get();
            answers.set(left.saturating_sub(1));
            async move {
                match left {
                    0 => std::future::pending().await,
                    1 => None,
                    _ => Some("well".to_owned()),
                }
            }
        });
        let enough = async {
            for _ in 0..5 {
                asks.recv().await.unwrap();
            }
        };
        tokio::select! {
            () = keep => unreachable!("it keeps on"),
            () = enough => {}
        }
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..length], b"WATCHDOG=1\nSTATUS=well");
        assert!(
            manager.recv(&mut buffer).is_err(),
            "one of five was answered"
        );
    }
}
