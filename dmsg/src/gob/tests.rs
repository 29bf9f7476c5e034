use data_encoding::HEXLOWER;
use quickcheck::quickcheck;

use super::*;
use crate::message::{RawAddress, StreamRequest, StreamResponse};

/// The golden objects of the specification, §5.2, written by a process whose type ids start at 65.
const GOLDEN_REQUEST: &str = "\
5bff810301010d53747265616d5265717565737401ff82000105010954696d657374616d70010400010753726341646472\
01ff840001074473744164647201ff840001064950696e666f01020001084e6f6973654d7367010a00000023ff83030101\
044164647201ff840001020102504b01ff86000104506f7274010600000012ff85060101065075624b657901ff86000000\
62ff8201f83152582b8bbd0000010121021111111111111111111111111111111111111111111111111111111111111111\
01fec001000101210322222222222222222222222222222222222222222222222222222222222222220164000203aabbcc00";
const GOLDEN_RESPONSE: &str = "\
56ff870301010e53747265616d526573706f6e736501ff8800010501075265714861736801ff8a00010841636365707465\
6401020001024950010a000107457272436f646501060001084e6f6973654d7367010a00000016ff890101010653484132\
353601ff8a000106014000003cff880120707172737475767778797a7b7c7d7e7fff80ff81ff82ff83ff84ff85ff86ff87\
ff88ff89ff8aff8bff8cff8dff8eff8f01010303aabbcc00";

fn golden(hex: &str) -> Vec<u8> {
    HEXLOWER.decode(hex.as_bytes()).unwrap()
}

fn address(tag: u8, byte: u8, port: u16) -> RawAddress {
    let mut key = [byte; 33];
    key[0] = tag;
    RawAddress { key, port }
}

fn request() -> StreamRequest {
    StreamRequest {
        timestamp: 1_777_000_000_000_000_000,
        source: address(2, 0x11, 49153),
        destination: address(3, 0x22, 100),
        ip_info: false,
        noise: vec![0xaa, 0xbb, 0xcc],
    }
}

fn response() -> StreamResponse {
    StreamResponse {
        request_hash: std::array::from_fn(|i| 0x70 + i as u8),
        accepted: true,
        noise: vec![0xaa, 0xbb, 0xcc],
        ..StreamResponse::default()
    }
}

#[test]
fn the_golden_objects_are_written_and_read() {
    assert_eq!(write_request(&request(), 65), golden(GOLDEN_REQUEST));
    assert_eq!(read_request(&golden(GOLDEN_REQUEST)), Ok(request()));
    assert_eq!(write_response(&response(), 68), golden(GOLDEN_RESPONSE));
    assert_eq!(read_response(&golden(GOLDEN_RESPONSE)), Ok(response()));

    let refusal = StreamResponse {
        error_code: 307,
        accepted: false,
        noise: Vec::new(),
        ..response()
    };
    let written = write_response(&refusal, 68);
    assert!(written.ends_with(&golden("ff8f03fe013300")));
    assert_eq!(read_response(&written), Ok(refusal));
}

#[test]
fn foreign_type_numbers_are_read_by_their_descriptors() {
    for first in [64, 100, 5000, u32::MAX] {
        assert_eq!(
            read_request(&write_request(&request(), first)),
            Ok(request())
        );
        assert_eq!(
            read_response(&write_response(&response(), first)),
            Ok(response())
        );
    }
}

/// Returns a stream with our own descriptors: a struct 70 with these fields, further types, and a
/// value.
fn stream(fields: &[(&str, i64)], more: impl FnOnce(&mut write::Writer), value: &[u8]) -> Vec<u8> {
    let mut out = write::Writer::default();
    write::describe_struct(&mut out, 70, "StreamRequest", fields);
    more(&mut out);
    let mut bytes = out.into_bytes();
    let mut head = write::Writer::default();
    head.int(70);
    let head = head.into_bytes();
    let mut length = write::Writer::default();
    length.uint((head.len() + value.len()) as u64);
    bytes.extend(length.into_bytes());
    bytes.extend(head);
    bytes.extend(value);
    bytes
}

fn describe_plain(out: &mut write::Writer, number: i64, kind: u64, numbers: &[i64]) {
    write::describe(out, number, kind, "", |rest| {
        for number in numbers {
            rest.field(true, |out| out.int(*number));
        }
    });
}

#[test]
fn fields_of_every_kind_that_we_do_not_know_are_skipped() {
    let fields = [
        ("GeoLat", 4),
        ("Country", 6),
        ("Complex", 7),
        ("List", 80),
        ("Map", 81),
        ("Nested", 82),
        ("Own", 83),
        ("Timestamp", 2),
    ];
    let describe = |out: &mut write::Writer| {
        describe_plain(out, 80, 2, &[6]);
        describe_plain(out, 81, 4, &[6, 80]);
        write::describe_struct(out, 82, "Nested", &[("A", 81), ("B", 3)]);
        describe_plain(out, 83, 7, &[]);
    };
    #[rustfmt::skip]
    let value = [
        1, 0xfd, 0x40, 0x4a, 0x40, // a float
        1, 2, b'D', b'E',
        1, 5, 6, // a complex number
        1, 2, 1, b'x', 0, // two strings
        1, 1, 1, b'k', 1, 1, b'v', // one key with a list of one
        1, 1, 0, 1, 9, 0, // a struct with an empty map and a number
        1, 3, 7, 7, 7, // opaque
        1, 10, // 5
        0,
    ];
    let read = read_request(&stream(&fields, describe, &value)).unwrap();
    assert_eq!(read.timestamp, 5);
}

#[test]
fn a_field_of_another_type_than_it_must_have_is_refused() {
    for (name, ty, value) in [
        ("Timestamp", 3, &[1, 1, 0][..]),
        ("IPinfo", 3, &[1, 1, 0]),
        ("NoiseMsg", 6, &[1, 0, 0]),
        ("SrcAddr", 5, &[1, 0, 0]),
        ("SrcAddr", 999, &[1, 0, 0]),
    ] {
        let read = read_request(&stream(&[(name, ty)], |_| {}, value));
        assert!(
            matches!(
                read,
                Err(GobError::FieldType(_) | GobError::UnknownType(999))
            ),
            "{name}: {read:?}"
        );
    }
    // A port beyond 16 bits, and a key of 32 bytes.
    let port = |out: &mut write::Writer| write::describe_struct(out, 80, "Addr", &[("Port", 3)]);
    let read = read_request(&stream(
        &[("SrcAddr", 80)],
        port,
        &[1, 1, 0xfd, 1, 0, 0, 0, 0],
    ));
    assert_eq!(read, Err(GobError::Number));
    let key = |out: &mut write::Writer| {
        write::describe_struct(out, 80, "Addr", &[("PK", 81)]);
        describe_plain(out, 81, 6, &[]);
    };
    let value = [&[1, 1, 32][..], &[2; 32], &[0, 0]].concat();
    let read = read_request(&stream(&[("SrcAddr", 80)], key, &value));
    assert_eq!(read, Err(GobError::FieldType("PK")));
}

/// Counts and lengths far beyond the input, types that contain themselves, thousands of types.
#[test]
fn gob_bombs_are_refused_without_work() {
    let huge = [0xf8, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    let mut long_message = huge.to_vec();
    long_message.push(1);
    assert_eq!(read_request(&long_message), Err(GobError::Truncated));

    let slices = |out: &mut write::Writer| describe_plain(out, 80, 2, &[80]);
    let value = [&[1][..], &huge, &[0]].concat();
    let read = read_request(&stream(&[("Bomb", 80)], slices, &value));
    assert_eq!(read, Err(GobError::Truncated));
    let read = read_request(&stream(&[("Bomb", 5)], |_| {}, &value));
    assert_eq!(read, Err(GobError::Truncated));

    // A slice of a slice of a slice…, each with one element.
    let value = [&[1][..], &[1; 60_000], &[0, 0]].concat();
    let read = read_request(&stream(&[("Bomb", 80)], slices, &value));
    assert_eq!(read, Err(GobError::Limit));
    let structs =
        |out: &mut write::Writer| write::describe_struct(out, 80, "Bomb", &[("Bomb", 80)]);
    let read = read_request(&stream(&[("Bomb", 80)], structs, &value));
    assert_eq!(read, Err(GobError::Limit));

    let many_types = |out: &mut write::Writer| {
        (0..1000).for_each(|i| describe_plain(out, 80 + i, 2, &[6]));
    };
    let read = read_request(&stream(&[("Timestamp", 2)], many_types, &[0]));
    assert_eq!(read, Err(GobError::Limit));
    let many_fields = vec![("A", 2); 10_000];
    let read = read_request(&stream(&many_fields, |_| {}, &[0]));
    assert_eq!(read, Err(GobError::Limit));
}

#[test]
fn malformed_descriptors_are_refused() {
    let twice = |out: &mut write::Writer| {
        describe_plain(out, 80, 2, &[6]);
        describe_plain(out, 80, 2, &[6]);
    };
    let read = read_request(&stream(&[("Timestamp", 2)], twice, &[0]));
    assert_eq!(read, Err(GobError::Descriptor));
    let built_in = |out: &mut write::Writer| describe_plain(out, 2, 2, &[6]);
    let read = read_request(&stream(&[("Timestamp", 2)], built_in, &[0]));
    assert_eq!(read, Err(GobError::Descriptor));
    let read = read_request(&stream(&[("Any", 8)], |_| {}, &[1, 0, 0]));
    assert_eq!(read, Err(GobError::Interface));
    let read = read_request(&stream(&[("Timestamp", 2)], |_| {}, &[2, 2, 0]));
    assert_eq!(read, Err(GobError::FieldNumber));
    let read = read_request(&stream(&[("Timestamp", 2)], |_| {}, &[1, 2, 0, 0]));
    assert_eq!(read, Err(GobError::Trailing));
}

#[test]
fn every_cut_is_refused() {
    let (request, response) = (golden(GOLDEN_REQUEST), golden(GOLDEN_RESPONSE));
    for len in 0..request.len() {
        assert!(read_request(&request[..len]).is_err(), "{len}");
    }
    for len in 0..response.len() {
        assert!(read_response(&response[..len]).is_err(), "{len}");
    }
}

quickcheck! {
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) -> bool {
        let _ = read_request(&bytes);
        let _ = read_response(&bytes);
        true
    }

    fn damaged_objects_are_read_or_refused(changes: Vec<(u16, u8)>) -> bool {
        for golden in [golden(GOLDEN_REQUEST), golden(GOLDEN_RESPONSE)] {
            let mut damaged = golden;
            for (position, byte) in &changes {
                let len = damaged.len();
                damaged[usize::from(*position) % len] = *byte;
            }
            let _ = read_request(&damaged);
            let _ = read_response(&damaged);
        }
        true
    }

    fn what_is_written_is_read(timestamp: i64, ports: (u16, u16), ip_info: bool, noise: Vec<u8>)
        -> bool
    {
        let request = StreamRequest {
            timestamp,
            source: RawAddress { port: ports.0, ..RawAddress::default() },
            destination: address(7, 1, ports.1),
            ip_info,
            noise,
        };
        read_request(&write_request(&request, 64)) == Ok(request)
    }
}
