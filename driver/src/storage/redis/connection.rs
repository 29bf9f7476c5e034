//! A connection to one server: over TCP, TLS or a Unix socket, authenticated, with timeouts.

use std::io::{self, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs as _};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::fault::Fault;
use super::resp::{Command, Reply};
use super::url::{Credentials, ServerAddr};
use crate::tls;

/// Timeout of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Timeout of each read and write; long enough for a server that is loading or saving.
const IO_TIMEOUT: Duration = Duration::from_secs(5);
/// Maximum bytes of commands that are sent before their replies are read: a server that must buffer
/// too many replies may close the connection.
const SEND_CHUNK: usize = 1 << 20;
/// Maximum number of commands that are sent before their replies are read.
const SEND_COMMANDS: usize = 512;

/// The address of one server.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Endpoint {
    Tcp(ServerAddr),
    Unix(String),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(server) => write!(f, "{server}"),
            Self::Unix(path) => f.write_str(path),
        }
    }
}

enum Wire {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    #[cfg(unix)]
    Unix(UnixStream),
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            #[cfg(unix)]
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Wire {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            #[cfg(unix)]
            Self::Unix(stream) => stream.write_all(bytes),
        }
    }
}

/// Opens connections.
#[derive(Default)]
pub(super) struct Connector {
    /// Created when first needed, since reading the system's certificates takes a while.
    tls: Option<Arc<ClientConfig>>,
}

impl Connector {
    /// Connects and authenticates.
    pub(super) fn connect(
        &mut self,
        endpoint: &Endpoint,
        tls: bool,
        credentials: &Credentials,
        database: u32,
    ) -> Result<Connection, Fault> {
        let wire = self.open(endpoint, tls);
        let wire = wire.map_err(|error| Fault::Lost(format!("{endpoint}: {}", lost(&error))))?;
        let mut connection = Connection {
            wire: BufReader::new(wire),
        };
        let mut commands = Vec::new();
        let user = credentials.user.as_deref().map(str::as_bytes);
        match (user, credentials.password.as_deref()) {
            (Some(user), Some(password)) => {
                commands.push(Command::new(&[b"AUTH", user, password.as_bytes()]));
            }
            (None, Some(password)) => {
                commands.push(Command::new(&[b"AUTH", password.as_bytes()]));
            }
            (_, None) => {}
        }
        if database != 0 {
            commands.push(Command::new(&[b"SELECT", database.to_string().as_bytes()]));
        }
        commands.push(Command::new(&[b"PING"]));
        for reply in connection.run(&commands)? {
            if let Reply::Error(text) = reply {
                return Err(Fault::Refused(text));
            }
        }
        Ok(connection)
    }

    fn open(&mut self, endpoint: &Endpoint, tls: bool) -> io::Result<Wire> {
        let server = match endpoint {
            #[cfg(unix)]
            Endpoint::Unix(path) => {
                let stream = UnixStream::connect(path)?;
                stream.set_read_timeout(Some(IO_TIMEOUT))?;
                stream.set_write_timeout(Some(IO_TIMEOUT))?;
                return Ok(Wire::Unix(stream));
            }
            #[cfg(not(unix))]
            Endpoint::Unix(_) => {
                return Err(io::Error::other(
                    "sockets with a path are not supported here",
                ));
            }
            Endpoint::Tcp(server) => server,
        };
        let mut failed = io::Error::other("the name has no address");
        for addr in (server.host.as_str(), server.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&addr, CONNECT_TIMEOUT) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    stream.set_read_timeout(Some(IO_TIMEOUT))?;
                    stream.set_write_timeout(Some(IO_TIMEOUT))?;
                    return match tls {
                        true => self.secure(&server.host, stream),
                        false => Ok(Wire::Tcp(stream)),
                    };
                }
                Err(error) => failed = error,
            }
        }
        Err(failed)
    }

    fn secure(&mut self, host: &str, mut stream: TcpStream) -> io::Result<Wire> {
        let config = match &self.tls {
            Some(config) => Arc::clone(config),
            None => Arc::clone(self.tls.insert(Arc::new(tls::client_config()?))),
        };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut session = ClientConnection::new(config, name).map_err(io::Error::other)?;
        // Handshake now, so that the error of a rejected certificate is reported as such.
        while session.is_handshaking() {
            session.complete_io(&mut stream)?;
        }
        Ok(Wire::Tls(Box::new(StreamOwned::new(session, stream))))
    }
}

fn lost(error: &io::Error) -> String {
    match Fault::of_io(error) {
        Fault::Lost(why) => why,
        _ => error.to_string(),
    }
}

/// A connection that is ready for commands. Unusable after an error.
pub(super) struct Connection {
    wire: BufReader<Wire>,
}

impl Connection {
    /// Sends all of `commands` and reads a reply to each.
    pub(super) fn run<C: AsRef<Command>>(&mut self, commands: &[C]) -> Result<Vec<Reply>, Fault> {
        let run = |connection: &mut Self| -> io::Result<Vec<Reply>> {
            let mut replies = Vec::with_capacity(commands.len());
            let (mut buffer, mut sent) = (Vec::new(), 0);
            for (index, command) in commands.iter().enumerate() {
                buffer.extend_from_slice(&command.as_ref().bytes);
                sent += 1;
                let is_last = index + 1 == commands.len();
                if is_last || buffer.len() >= SEND_CHUNK || sent == SEND_COMMANDS {
                    connection.wire.get_mut().send(&buffer)?;
                    for _ in 0..sent {
                        replies.push(Reply::read(&mut connection.wire)?);
                    }
                    (buffer, sent) = (Vec::new(), 0);
                }
            }
            Ok(replies)
        };
        run(self).map_err(|error| Fault::of_io(&error))
    }
}

impl AsRef<Command> for Command {
    fn as_ref(&self) -> &Command {
        self
    }
}
