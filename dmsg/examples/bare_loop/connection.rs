//! What the loop polls: sockets with the traits of `futures-io`, and the handshake and streams of
//! each connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};

use std::{cell::RefCell, rc::Rc};

use futures::{AsyncRead, AsyncWrite, future};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_dmsg::handshake::Ephemeral;
use skydht_dmsg::secure;
use skydht_dmsg::session::{Role, Session, SessionConfig, Stream};

/// A non-blocking socket with the traits of `futures-io`. It wakes no task: the loop polls
/// everything anyway.
pub(crate) struct Socket(pub(crate) TcpStream);

fn ready<T>(result: io::Result<T>) -> Poll<io::Result<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Poll::Pending,
        result => Poll::Ready(result),
    }
}

type Ctx<'a, 'b> = &'a mut Context<'b>;
impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, _: Ctx, to: &mut [u8]) -> Poll<io::Result<usize>> {
        ready((&self.0).read(to))
    }
}
impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _: Ctx, bytes: &[u8]) -> Poll<io::Result<usize>> {
        ready((&self.0).write(bytes))
    }
    fn poll_flush(self: Pin<&mut Self>, _: Ctx) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_close(self: Pin<&mut Self>, _: Ctx) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.shutdown(Shutdown::Write))
    }
}

/// Returns 32 random bytes.
pub(crate) fn entropy() -> io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Streams that peers opened, with the keys that their handshakes proved.
pub(crate) type Arrived = Rc<RefCell<Vec<(PublicKey, Stream)>>>;

/// Performs the handshake, which proves the peer's key, then accepts streams until the session
/// ends.
pub(crate) async fn serve(
    socket: Socket,
    secret: SecretKey,
    ephemeral: Ephemeral,
    arrived: Arrived,
) {
    if let Ok((peer, io)) = secure::accept(socket, &secret, ephemeral).await {
        let config = SessionConfig::default();
        let (_session, mut incoming, driver) = Session::new(io, Role::Server, &config);
        let streams = async {
            while let Some(stream) = incoming.next().await {
                arrived.borrow_mut().push((peer, stream));
            }
        };
        future::join(driver, streams).await;
    }
}
