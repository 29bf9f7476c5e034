use quickcheck::quickcheck;

use super::*;

const PAIR: [Role; 2] = [Role::Client, Role::Server];

fn pair() -> [Mux; 2] {
    PAIR.map(Mux::new)
}

fn bytes_of(frame: Frame) -> [u8; 12] {
    frame.header()
}

/// Returns everything that waits to be sent, taken `piece` bytes at a time.
fn drain(mux: &mut Mux, piece: usize) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let output = mux.output();
        let part = output.len().min(piece);
        if part == 0 {
            return all;
        }
        all.extend_from_slice(&output[..part]);
        mux.sent(part);
    }
}

/// Passes bytes to a multiplexer as a connection does.
fn feed(mux: &mut Mux, mut bytes: &[u8]) -> Result<(), Violation> {
    while !bytes.is_empty() {
        let space = mux.space();
        let part = space.len().min(bytes.len());
        space[..part].copy_from_slice(&bytes[..part]);
        mux.received(part)?;
        bytes = &bytes[part..];
    }
    Ok(())
}

/// Passes everything that one side has to send to the other.
fn pass(from: &mut Mux, to: &mut Mux) {
    let bytes = drain(from, usize::MAX);
    feed(to, &bytes).unwrap();
}

fn events(mux: &mut Mux) -> Vec<Event> {
    std::iter::from_fn(|| mux.poll_event()).collect()
}

fn read_all(mux: &mut Mux, id: u32) -> (Vec<u8>, Read) {
    let mut all = Vec::new();
    let mut buf = [0; 1_000];
    loop {
        match mux.read(id, &mut buf) {
            Read::Data(n) => all.extend_from_slice(&buf[..n]),
            end => return (all, end),
        }
    }
}

#[test]
fn the_frames_are_those_of_the_specification() {
    let [mut a, mut b] = pair();
    assert_eq!((a.open(), a.open(), b.open()), (Some(1), Some(3), Some(2)));
    assert!(
        drain(&mut a, 99).is_empty(),
        "no frame before the first data"
    );
    a.write(1, b"hel").unwrap();
    a.write(1, b"lo").unwrap();
    a.finish(1).unwrap();
    a.announce(3);
    let said = drain(&mut a, 5);
    let expected = [
        &[0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 5][..],
        b"hello",
        &[0, 0, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0],
        &[0, 0, 0, 1, 0, 0, 0, 3, 0, 0, 0, 0],
    ];
    assert_eq!(said, expected.concat());
    feed(&mut b, &said).unwrap();
    let opened = [Event::Opened(1), Event::Readable(1), Event::Readable(1)];
    assert_eq!(events(&mut b), [&opened[..], &[Event::Opened(3)]].concat());
    assert_eq!(read_all(&mut b, 1), (b"hello".to_vec(), Read::End));
    // The first frame of the answer acknowledges the stream.
    b.write(1, b"yes").unwrap();
    b.leave(3);
    let answer = [&[0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 3][..], b"yes"].concat();
    let reset = [0, 0, 0, 8, 0, 0, 0, 3, 0, 0, 0, 0];
    assert_eq!(drain(&mut b, 99), [&answer[..], &reset].concat());
}

#[test]
fn data_of_one_stream_shares_a_frame_until_another_frame_comes_between() {
    let [mut a, _] = pair();
    let ids = [a.open().unwrap(), a.open().unwrap()];
    for id in [ids[0], ids[0], ids[0], ids[1], ids[0]] {
        assert_eq!(a.write(id, b"abc"), Ok(3));
    }
    // Nine bytes, three, and three more.
    assert_eq!(drain(&mut a, 7).len(), 3 * 12 + 15);
    // A frame is never longer than other streams may have to wait for.
    while a.write(ids[0], &[7; 10_000]) != Ok(0) {}
    let said = drain(&mut a, usize::MAX);
    let mut rest = &said[..];
    while let Some((header, body)) = rest.split_first_chunk::<12>() {
        let len = Frame::of_header(header).unwrap().length as usize;
        assert!(len <= output::MAX_DATA);
        rest = &body[len..];
    }
}

#[test]
fn credit_comes_back_in_steps_and_a_stream_without_it_waits() {
    let [mut a, mut b] = pair();
    let id = a.open().unwrap();
    let mut sent = 0;
    loop {
        match a.write(id, &[7; 30_000]).unwrap() {
            0 => break,
            n => sent += n,
        }
    }
    assert_eq!(sent, WINDOW as usize);
    pass(&mut a, &mut b);
    assert_eq!(events(&mut b)[0], Event::Opened(id));
    assert!(b.held() >= sent && b.held() < sent + 12 * MAX_ABANDONED);
    let half = WINDOW as usize / 2;
    let mut buf = vec![0; half];
    assert_eq!(b.read(id, &mut buf[1..]), Read::Data(half - 1));
    assert_eq!(b.unsent(), 0);
    assert_eq!(b.read(id, &mut buf[..1]), Read::Data(1));
    let update = drain(&mut b, 99);
    let credit = half as u32;
    assert_eq!(
        update,
        bytes_of(Frame::of(Kind::WindowUpdate, ACK, id, credit))
    );
    feed(&mut a, &update).unwrap();
    assert_eq!(events(&mut a), [Event::Writable(id)]);
    assert_eq!(a.write(id, &[7; 1]), Ok(1));
    // Sending more than there is credit for violates the protocol.
    let [mut peer, mut victim] = pair();
    let id = peer.open().unwrap();
    peer.announce(id);
    pass(&mut peer, &mut victim);
    let data = Frame::of(Kind::Data, 0, id, WINDOW);
    feed(&mut victim, &data.header()).unwrap();
    feed(&mut victim, &vec![0; WINDOW as usize]).unwrap();
    let one = Frame::of(Kind::Data, 0, id, 1).header();
    assert_eq!(feed(&mut victim, &one), Err(Violation::TooLong));
}

#[test]
fn a_ping_acknowledges_streams_that_only_receive() {
    let [mut a, mut b] = pair();
    let id = a.open().unwrap();
    a.announce(id);
    pass(&mut a, &mut b);
    for number in 1..3 {
        b.ping();
        let mut expected = Vec::new();
        if number == 1 {
            expected.extend(bytes_of(Frame::of(Kind::WindowUpdate, ACK, id, 0)));
        }
        expected.extend(bytes_of(Frame::of(Kind::Ping, SYN, 0, number)));
        let said = drain(&mut b, usize::MAX);
        assert_eq!(said, expected);
        feed(&mut a, &said).unwrap();
        pass(&mut a, &mut b);
    }
    let again = bytes_of(Frame::of(Kind::Ping, ACK, 0, 2));
    assert_eq!(feed(&mut b, &again), Err(Violation::Pong));
}

#[test]
fn as_many_streams_open_as_the_peer_acknowledges() {
    let [mut a, mut b] = pair();
    let opened: Vec<u32> = std::iter::from_fn(|| a.open()).collect();
    assert_eq!(opened.len(), MAX_UNACKNOWLEDGED);
    for id in &opened {
        a.announce(*id);
    }
    pass(&mut a, &mut b);
    b.ping();
    pass(&mut b, &mut a);
    assert!(a.can_open());
    for id in opened {
        a.leave(id);
    }
    assert_eq!(a.unacknowledged, 0);
}

/// A stream that we have finished and whose user dropped it costs only its state, and is reset if
/// the peer continues to send.
#[test]
fn abandoned_streams_are_few_and_end() {
    let [mut a, mut b] = pair();
    let mut ids = Vec::new();
    for _ in 0..2 * MAX_ABANDONED {
        let id = a.open().unwrap();
        a.write(id, b"request").unwrap();
        a.finish(id).unwrap();
        pass(&mut a, &mut b);
        b.ping(); // acknowledges
        pass(&mut b, &mut a);
        pass(&mut a, &mut b);
        a.leave(id);
        ids.push(id);
    }
    assert_eq!(a.streams.len(), MAX_ABANDONED);
    assert_eq!(a.unsent(), 0, "the request is not reset");
    let (sends, finishes, resets) = (ids[300], ids[400], ids[500]);
    b.write(sends, b"answer").unwrap();
    b.finish(finishes).unwrap();
    b.leave(resets);
    b.write(ids[0], b"of one that is forgotten").unwrap();
    pass(&mut b, &mut a);
    assert_eq!(a.streams.len(), MAX_ABANDONED - 3);
    let reset = bytes_of(Frame::of(Kind::Data, RST, sends, 0));
    assert_eq!(drain(&mut a, usize::MAX), reset);
    assert_eq!((a.held(), a.abandoned.len()), (0, MAX_ABANDONED - 3));
}

#[test]
fn a_stream_that_was_cut_stays_cut_until_it_is_released() {
    let [mut a, mut b] = pair();
    let id = a.open().unwrap();
    a.write(id, &[7; 3_000]).unwrap();
    pass(&mut a, &mut b);
    b.keep(id, 50);
    assert_eq!(b.held(), 3_050);
    assert!(b.cut_down_to(3_050).is_empty());
    assert_eq!(b.cut_down_to(3_049), [id]);
    assert_eq!((b.held(), b.is_cut(id), b.may_write(id)), (0, true, false));
    assert_eq!(b.read(id, &mut [0; 9]), Read::Reset);
    // The peer that opened it cannot open it again, either.
    let again = Frame::of(Kind::Data, SYN, id, 0).header();
    assert_eq!(feed(&mut b, &again), Err(Violation::OpenedTwice));
    b.leave(id);
    assert!(b.streams.is_empty());
    pass(&mut b, &mut a);
    assert_eq!(a.write(id, b"x"), Err(Broken));
}

#[test]
fn data_before_a_reset_can_be_read() {
    let [mut a, mut b] = pair();
    let id = a.open().unwrap();
    a.write(id, b"before").unwrap();
    a.leave(id);
    pass(&mut a, &mut b);
    assert_eq!(read_all(&mut b, id), (b"before".to_vec(), Read::Reset));
    b.leave(id);
    assert_eq!(
        (b.unsent(), b.streams.len()),
        (0, 0),
        "it needs no reset of ours"
    );
}

#[test]
fn a_stream_unknown_to_the_peer_is_released_without_a_frame() {
    let [mut a, _] = pair();
    let id = a.open().unwrap();
    a.leave(id);
    assert_eq!((a.unsent(), a.unacknowledged, a.streams.len()), (0, 0, 0));
}

/// One step of a conversation: which side, which action, on which open stream, how many bytes.
type Step = (bool, u8, u8, u16);

/// State of a stream as seen from outside.
#[derive(Default)]
struct StreamModel {
    /// Bytes written by each side, and read by the other.
    written: [Vec<u8>; 2],
    read: [Vec<u8>; 2],
    /// Whether each side has released the stream and sends no more.
    left: [bool; 2],
    finished: [bool; 2],
}

quickcheck! {
    /// For any conversation in any pieces: what is read was written, in order; streams that are
    /// finished and read are complete; and no state is left when both sides have released
    /// everything.
    fn what_is_read_is_what_was_written(steps: Vec<Step>, pieces: Vec<u8>) -> bool {
        let mut muxes = pair();
        let mut known: BTreeMap<u32, StreamModel> = BTreeMap::new();
        let mut pieces = pieces.into_iter().map(|n| usize::from(n) + 1).cycle();
        let mut deliver = |muxes: &mut [Mux; 2], from: usize| {
            let bytes = drain(&mut muxes[from], pieces.next().unwrap_or(3));
            let mut rest = &bytes[..];
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(pieces.next().unwrap_or(7)));
                feed(&mut muxes[1 - from], piece).unwrap();
                rest = after;
            }
        };
        let read = |muxes: &mut [Mux; 2], known: &mut BTreeMap<u32, StreamModel>, by: usize, id: u32, len: usize| {
            let it = known.get_mut(&id).unwrap();
            let mut buf = vec![0; len];
            match muxes[by].read(id, &mut buf) {
                Read::Data(n) => it.read[1 - by].extend_from_slice(&buf[..n]),
                Read::End => {
                    // Or the peer has released it, once this side had finished.
                    assert!(it.finished[1 - by] || it.left[1 - by]);
                    assert!(it.read[1 - by] == it.written[1 - by]);
                }
                Read::Reset => assert!(it.left[1 - by]),
                Read::Nothing => {}
            }
            assert!(it.written[1 - by].starts_with(&it.read[1 - by]));
        };
        for (second, what, which, len) in steps {
            let by = usize::from(second);
            let id = match known.keys().nth(usize::from(which) % known.len().max(1)) {
                Some(id) if what % 8 != 0 => *id,
                _ => match muxes[by].open() {
                    Some(id) => {
                        muxes[by].announce(id);
                        known.insert(id, StreamModel::default());
                        deliver(&mut muxes, by);
                        id
                    }
                    None => continue,
                },
            };
            let it = known.get_mut(&id).unwrap();
            match what % 8 {
                _ if it.left[by] => {}
                0 | 1 => {
                    let data: Vec<u8> = (0..len % 5_000).map(|n| (n % 251) as u8).collect();
                    if let Ok(n) = muxes[by].write(id, &data) {
                        assert!(!it.finished[by]);
                        it.written[by].extend_from_slice(&data[..n]);
                    }
                }
                2 | 3 => read(&mut muxes, &mut known, by, id, usize::from(len) % 4_000 + 1),
                4 => it.finished[by] |= muxes[by].finish(id).is_ok(),
                5 if len % 3 == 0 => {
                    muxes[by].leave(id);
                    it.left[by] = true;
                }
                6 => muxes[by].ping(),
                _ => deliver(&mut muxes, by),
            }
        }
        // Deliver everything in transit, and read everything that either side still wants.
        for round in 0..4 {
            deliver(&mut muxes, round % 2);
        }
        let ids: Vec<u32> = known.keys().copied().collect();
        for id in &ids {
            for by in [0, 1] {
                while !known[id].left[by] {
                    let before = known[id].read[1 - by].len();
                    read(&mut muxes, &mut known, by, *id, 10_000);
                    let it = &known[id];
                    if it.read[1 - by].len() == before {
                        assert!(it.left[1 - by] || it.read[1 - by] == it.written[1 - by]);
                        break;
                    }
                }
            }
        }
        for id in &ids {
            muxes[0].leave(*id);
            muxes[1].leave(*id);
        }
        for round in 0..4 {
            deliver(&mut muxes, round % 2);
        }
        muxes.iter().all(|mux| {
            mux.held == 0 && mux.unacknowledged == 0 && mux.streams.is_empty() && mux.unsent() == 0
        })
    }

    fn any_bytes_are_streams_or_a_violation(bytes: Vec<u8>, plausible: bool) -> bool {
        let mut bytes = bytes;
        if plausible {
            for header in bytes.chunks_mut(12) {
                header[0] = 0;
                if let Some(kind) = header.get_mut(1) {
                    *kind %= 4;
                }
                for i in [2, 4, 5, 6, 8, 9, 10] {
                    if let Some(byte) = header.get_mut(i) {
                        *byte = 0;
                    }
                }
            }
        }
        let mut mux = Mux::new(Role::Server);
        let _ = feed(&mut mux, &bytes);
        let held: usize = mux.streams.values().map(|flow| flow.held()).sum();
        held == mux.held && mux.held <= bytes.len() * 512
    }
}
