//! A node driven by hand: std sockets, one thread, no executor. It answers the `skydht` program.
//!
//! `cargo run --example bare_loop`, then the command that it prints. It only accepts connections.
//! It polls everything it has once a millisecond; a real loop would wait for its sockets and its
//! deadline.

mod connection;

use std::net::TcpListener;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use std::time::{Duration, Instant, SystemTime};

use connection::{Arrived, Socket, entropy, serve};
use futures::{AsyncRead, AsyncWrite};
use skydht_core::item::{Salt, Value};
use skydht_core::key::SecretKey;
use skydht_core::node::*;
use skydht_core::time::{Mono, Time, Unix};
use skydht_core::{Node, Seed};
use skydht_dmsg::handshake::Ephemeral;
use skydht_dmsg::session::Stream;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (listener, secret) = (
        TcpListener::bind("127.0.0.1:0")?,
        SecretKey::from_entropy(&entropy()?),
    );
    listener.set_nonblocking(true)?;
    let start = Instant::now();
    let now = || Time {
        mono: Mono(start.elapsed().as_nanos() as u64),
        unix: Unix(
            SystemTime::UNIX_EPOCH
                .elapsed()
                .map_or(0, |d| d.as_nanos() as u64),
        ),
    };
    let identity = Identity::Keyed(secret.clone());
    let mut node = Node::new(Config::default(), identity, Seed(entropy()?), now())?;
    let (salt, value) = (
        Salt::from("greeting"),
        Value::new(b"hello from a bare loop\n"),
    );
    let options = PutOptions {
        local_only: true,
        ..PutOptions::default()
    };
    let command = Command::Put {
        salt,
        value,
        options,
    };
    let mut inputs = vec![Input::Command {
        op: OperationId(1),
        command,
    }];
    let (key, at) = (secret.public(), listener.local_addr()?);
    println!("skydht get {key} --salt greeting --bootstrap {key}@{at}");

    let (arrived, mut connections) = (Arrived::default(), Vec::new());
    // For each stream: id, stream, bytes to send, and whether to close it after them.
    let (mut streams, mut count) = (Vec::<(StreamId, Stream, Vec<u8>, bool)>::new(), 0);
    let cx = &mut Context::from_waker(Waker::noop());
    loop {
        while let Ok((socket, _)) = listener.accept() {
            socket.set_nonblocking(true)?;
            let ephemeral = Ephemeral::from_entropy(&entropy()?);
            let socket = Socket(socket);
            connections.push(Box::pin(serve(
                socket,
                secret.clone(),
                ephemeral,
                arrived.clone(),
            )));
        }
        connections.retain_mut(|it| it.as_mut().poll(cx).is_pending());
        for (peer, stream) in arrived.borrow_mut().drain(..) {
            let id = StreamId(2 * count + 1);
            count += 1;
            streams.push((id, stream, Vec::new(), false));
            let path = Path {
                reach: Reach::Accepted,
                remote: None,
            };
            inputs.push(Input::StreamAccepted {
                stream: id,
                peer,
                path,
            });
        }
        for (id, io, out, closing) in &mut streams {
            let (stream, mut buffer) = (*id, [0; 4096]);
            match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(n @ 1..)) => {
                    inputs.push(Input::Bytes {
                        stream,
                        bytes: buffer[..n].to_vec().into(),
                    });
                }
                Poll::Ready(_) if !std::mem::replace(closing, true) => {
                    inputs.push(Input::StreamClosed {
                        stream,
                        end: StreamEnd::Finished,
                    });
                }
                _ => {}
            }
            if let Poll::Ready(Ok(n @ 1..)) = Pin::new(io).poll_write(cx, out) {
                out.drain(..n);
                inputs.extend(out.is_empty().then_some(Input::Sent { stream }));
            }
        }
        streams.retain_mut(|(_, io, out, closing)| {
            !(*closing && out.is_empty() && Pin::new(io).poll_close(cx).is_ready())
        });
        inputs.push(Input::TimerFired);
        while !inputs.is_empty() {
            node.handle(now(), inputs.remove(0))?;
            while let Some(output) = node.poll_output() {
                match output {
                    Output::Send { stream, bytes } => {
                        let to = streams.iter_mut().filter(|it| it.0 == stream);
                        to.for_each(|it| it.2.extend(&*bytes));
                    }
                    Output::CloseStream { stream, .. } => {
                        let of = streams.iter_mut().filter(|it| it.0 == stream);
                        of.for_each(|it| it.3 = true);
                    }
                    Output::Verify { job, work } => {
                        inputs.push(Input::Verified {
                            job,
                            verdict: work.run(),
                        });
                    }
                    Output::OpenStream { stream, .. } => {
                        let reason = OpenFailure::NoAddress;
                        inputs.push(Input::StreamFailed { stream, reason });
                    }
                    _ => {} // nothing to store, no probes, no events
                }
            }
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
