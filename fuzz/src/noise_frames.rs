//! DMSG's handshakes and records, with an attacker on the connection.

use std::io;
use std::pin::Pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use futures_io::{AsyncRead, AsyncWrite};
use skydht_core::key::{PublicKey, SecretKey};
use skydht_dmsg::cipher::{CipherError, Opener, RECORD_OVERHEAD, Sealer};
use skydht_dmsg::frame::{self, MAX_BODY};
use skydht_dmsg::handshake::{Ephemeral, Handshake, NoiseError, Transport};
use skydht_dmsg::secure::Secure;

use crate::cursor::Cursor;

/// Input: a byte that selects the kind of the rest.
///
/// - Arbitrary messages never complete a handshake, and every refusal is final.
/// - If one byte of a correct handshake is changed, the two sides never agree.
/// - When the records of one direction are repeated, reordered, dropped and damaged, exactly those
///   are opened that are authentic and newer than all before, and their contents are those that
///   were sealed.
/// - An encrypted stream in any fragments delivers the written data up to the first damage.
pub fn noise_frames(data: &[u8]) {
    let mut input = Cursor::new(data);
    match input.byte() % 4 {
        0 => arbitrary_messages(input),
        1 => damaged_handshake(input),
        2 => records(input),
        _ => stream(input),
    }
}

/// Keys of the two sides and of a third party.
struct Keys {
    initiator: SecretKey,
    responder: SecretKey,
    public: [PublicKey; 2],
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let [initiator, responder] = [1, 2].map(|n| SecretKey::from_entropy(&[n; 32]));
    let public = [initiator.public(), responder.public()];
    Keys {
        initiator,
        responder,
        public,
    }
});

fn side(kk: bool, initiates: bool) -> Handshake {
    let Keys {
        initiator,
        responder,
        public,
    } = &*KEYS;
    let ephemeral = Ephemeral::from_entropy(&[3 + u8::from(initiates); 32]);
    match (kk, initiates) {
        (false, true) => Handshake::xk_initiator(initiator, &public[1], ephemeral),
        (false, false) => Handshake::xk_responder(responder, ephemeral),
        (true, true) => Handshake::kk_initiator(initiator, &public[1], ephemeral),
        (true, false) => Handshake::kk_responder(responder, &public[0], ephemeral),
    }
    .unwrap()
}

fn arbitrary_messages(mut input: Cursor<'_>) {
    let how = input.byte();
    let initiates = how & 1 != 0;
    let mut handshake = side(how & 2 != 0, initiates);
    if initiates {
        handshake.write_message(&mut Vec::new()).unwrap();
    }
    for _ in 0..4 {
        let message = match frame::body_len(input.array()) {
            Ok(len) => input.take(len),
            Err(_) => input.rest(),
        };
        match handshake.read_message(message) {
            // The first message of XK proves nothing: every host can create it.
            Ok(()) => {
                assert!(message.len() <= MAX_BODY);
                let _ = handshake.write_message(&mut Vec::new());
            }
            Err(error) => {
                assert!(message.len() <= MAX_BODY || error == NoiseError::Length);
            }
        }
        assert!(
            !handshake.is_finished(),
            "somebody without a key got through"
        );
    }
    assert_eq!(handshake.finish().err(), Some(NoiseError::OutOfOrder));
}

fn damaged_handshake(mut input: Cursor<'_>) {
    let how = input.byte();
    let kk = how & 1 != 0;
    let (which, at, change) = (input.byte(), usize::from(input.byte()), input.byte());
    let messages = if kk { 2 } else { 3 };
    let mut sides = [side(kk, true), side(kk, false)];
    let mut touched = false;
    for n in 0..messages {
        let [writer, reader] = [n % 2, (n + 1) % 2];
        let mut message = Vec::new();
        sides[writer].write_message(&mut message).unwrap();
        if n == usize::from(which) % messages {
            let (at, honest) = (at % message.len(), message.clone());
            message[at] ^= change;
            // Data after a message is its payload, which must also be sealed.
            message.extend_from_slice(input.take(usize::from(how >> 5)));
            touched = message != honest;
        }
        if sides[reader].read_message(&message).is_err() {
            assert!(touched, "an honest message refused");
            return;
        }
    }
    let [a, b] = sides.map(|side| side.finish().unwrap());
    // A changed message leaves two different transcripts.
    assert_eq!(a.hash != b.hash, touched);
    if a.hash == b.hash {
        assert_eq!([b.remote, a.remote], KEYS.public);
    }
}

/// One direction. The script determines the actions of the writer and of the attacker.
fn records(mut input: Cursor<'_>) {
    let mut sealer = Sealer::new(&[7; 32]);
    let mut opener = Opener::new(&[7; 32]);
    let mut sealed: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut newest = 0;
    while let Some(step) = input.next() {
        let choice = usize::from(step >> 2);
        match step % 4 {
            0 => {
                let (plain, mut record) = (input.short().to_vec(), Vec::new());
                sealer.seal(&plain, &mut record).unwrap();
                assert_eq!(record.len(), plain.len() + RECORD_OVERHEAD);
                sealed.push((plain, record));
            }
            1 | 2 if sealed.is_empty() => {}
            1 => {
                let n = choice % sealed.len();
                let opened = opener
                    .open(&mut sealed[n].1.clone())
                    .map(|plain| plain.to_vec());
                let number = n as u64 + 1;
                if number > newest {
                    assert_eq!(opened.as_ref(), Ok(&sealed[n].0));
                    newest = number;
                } else {
                    assert!(
                        matches!(opened, Err(CipherError::Replay { last, .. }) if last == newest)
                    );
                }
            }
            2 => {
                let mut record = sealed[choice % sealed.len()].1.clone();
                let (at, change) = (usize::from(input.u16()) % record.len(), input.byte());
                record[at] ^= change.max(1);
                assert!(opener.open(&mut record).is_err());
            }
            _ => assert!(opener.open(&mut input.short().to_vec()).is_err()),
        }
        assert_eq!(
            opener.last_nonce(),
            newest,
            "a refused record moved the counter"
        );
    }
}

/// A connection that already has all its data, read in pieces.
struct Pieces {
    bytes: Vec<u8>,
    at: usize,
    piece: usize,
    written: Vec<u8>,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let len = self.piece.min(buf.len()).min(self.bytes.len() - self.at);
        buf[..len].copy_from_slice(&self.bytes[self.at..self.at + len]);
        self.at += len;
        Poll::Ready(Ok(len))
    }
}

impl AsyncWrite for Pieces {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let len = self.piece.min(buf.len());
        self.written.extend_from_slice(&buf[..len]);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// The two ends after a correct handshake.
fn transport(initiates: bool) -> Transport {
    let [send, receive] = if initiates { [8, 9] } else { [9, 8] };
    Transport {
        sealer: Sealer::new(&[send; 32]),
        opener: Opener::new(&[receive; 32]),
        remote: KEYS.public[usize::from(initiates)],
        hash: [0; 32],
        is_hybrid: false,
    }
}

fn stream(mut input: Cursor<'_>) {
    let (piece, damage) = (usize::from(input.byte()) + 1, input.byte());
    let (at, change) = (usize::from(input.u16()), input.byte().max(1));
    let connection = |bytes| Pieces {
        bytes,
        at: 0,
        piece,
        written: Vec::new(),
    };
    let mut wire = connection(Vec::new());
    let mut cx = Context::from_waker(Waker::noop());
    let mut plain = Vec::new();
    {
        let mut writer = Secure::new(&mut wire, transport(true));
        loop {
            let part = input.short();
            if part.is_empty() {
                break;
            }
            // Long runs fill records completely.
            let part = part.repeat(usize::from(part[0]) + 1);
            let mut left = &part[..];
            while !left.is_empty() {
                match Pin::new(&mut writer).poll_write(&mut cx, left) {
                    Poll::Ready(Ok(n)) => left = &left[n..],
                    other => panic!("{other:?}"),
                }
            }
            plain.extend_from_slice(&part);
            assert!(matches!(
                Pin::new(&mut writer).poll_flush(&mut cx),
                Poll::Ready(Ok(()))
            ));
        }
    }
    let mut bytes = std::mem::take(&mut wire.written);
    let damaged = damage & 1 != 0 && !bytes.is_empty();
    if damaged {
        let at = at % bytes.len();
        bytes[at] ^= change;
    }
    let mut reader = Secure::new(connection(bytes), transport(false));
    let mut read = Vec::new();
    let mut buf = [0; 300];
    let end = loop {
        match Pin::new(&mut reader).poll_read(&mut cx, &mut buf) {
            Poll::Ready(Ok(0)) => break Ok(()),
            Poll::Ready(Ok(n)) => read.extend_from_slice(&buf[..n]),
            Poll::Ready(Err(error)) => break Err(error.kind()),
            Poll::Pending => panic!("nothing is pending here"),
        }
    };
    if damaged {
        assert!(plain.starts_with(&read) && read.len() < plain.len());
        assert!(end.is_err(), "damage taken for the end");
    } else {
        assert_eq!((read == plain, end), (true, Ok(())));
    }
}
