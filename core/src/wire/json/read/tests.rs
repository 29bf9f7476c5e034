use super::*;
use alloc::string::ToString;
use alloc::{format, vec};
use quickcheck::quickcheck;

/// Reads one value with `read`, after which the text must end.
fn whole<'a, T>(json: &'a [u8], read: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
    let mut reader = Reader::new(json);
    let value = read(&mut reader)?;
    reader.end()?;
    Ok(value)
}

fn is_json(json: &[u8]) -> bool {
    whole(json, Reader::skip).is_ok()
}

fn text(json: &str) -> String {
    let text = whole(json.as_bytes(), Reader::string).unwrap();
    text.unwrap().into_owned()
}

fn array32(json: &str) -> Result<[u8; 32]> {
    let mut out = [9; 32];
    whole(json.as_bytes(), |reader| reader.array32(&mut out))?;
    Ok(out)
}

fn blob(json: &str) -> Result<Option<Vec<u8>>> {
    whole(json.as_bytes(), Reader::blob)
}

#[test]
fn values_are_skipped_by_the_grammar() {
    for json in [
        "null",
        " true\t",
        "false",
        "-0.5e+7",
        "0",
        "\"\\ud800 \\\"\"",
        "[]",
        "{}",
        "[1,[],{\"a\":{\"b\":[null]}},\"x\"]",
        "\r\n{\"a\" : 1 , \"a\" : 2}",
    ] {
        assert!(is_json(json.as_bytes()), "{json}");
    }
    for json in [
        "",
        "nul",
        "truefalse",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "+1",
        "\"",
        "\"\\x\"",
        "\"\\u12g4\"",
        "\"\\u12",
        "\"a\nb\"",
        "[1,]",
        "[,1]",
        "[1 2]",
        "[1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{a:1}",
        "{1:1}",
        "[",
        "{",
        "]",
        "1 1",
        "'a'",
        "\u{feff}1",
    ] {
        assert!(!is_json(json.as_bytes()), "{json}");
    }
}

#[test]
fn invalid_utf8_is_no_error_in_strings_but_control_characters_are() {
    assert!(is_json(b"{\"\xff\":\"\xfe\xff\"}"));
    for control in 0..0x20 {
        assert!(!is_json(&[b'"', control, b'"']));
    }
}

#[test]
fn nesting_ends_at_upstreams_limit_wherever_it_occurs() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(is_json(nested(MAX_DEPTH).as_bytes()));
    let at = MAX_DEPTH;
    let refused = Err(WireError::Depth { at });
    assert_eq!(
        whole(nested(MAX_DEPTH + 1).as_bytes(), Reader::skip),
        refused
    );
    assert_eq!(whole(nested(1_000_000).as_bytes(), Reader::skip), refused);
    assert_eq!(whole(&vec![b'['; 4 << 20], Reader::skip), refused);
    assert!(!is_json("{\"a\":".repeat(800_000).as_bytes()));
    // Levels that are read count as well as skipped ones.
    let inside = |depth| format!("[{}]", nested(depth));
    let read = |json: &str| whole(json.as_bytes(), |reader| reader.array(Reader::skip));
    assert!(read(&inside(MAX_DEPTH - 1)).is_ok());
    assert!(read(&inside(MAX_DEPTH)).is_err());
    // Closed levels do not count.
    assert!(is_json(
        format!("[{}[]]", "[],".repeat(MAX_DEPTH)).as_bytes()
    ));
}

#[test]
fn escapes_and_broken_text_become_what_go_makes_of_them() {
    assert_eq!(text(r#""\"\\\/\b\f\n\r\tA""#), "\"\\/\u{8}\u{c}\n\r\tA");
    assert_eq!(text("\"é日\u{1f600}\""), "é日\u{1f600}");
    assert_eq!(text(r#""\ud83d\ude00\u00e9""#), "\u{1f600}é");
    for lone in [r#""\ud83d""#, r#""\ude00""#] {
        assert_eq!(text(lone), "\u{fffd}");
    }
    assert_eq!(text(r#""\ud83dx""#), "\u{fffd}x");
    assert_eq!(text(r#""\ud83d\n""#), "\u{fffd}\n");
    assert_eq!(text(r#""\ud83d\u0041""#), "\u{fffd}A");
    assert_eq!(text(r#""\ud83d\ud83d\ude00""#), "\u{fffd}\u{1f600}");
    let broken = whole(b"\"a\xe2\x82b\xff\\n\"", Reader::string).unwrap();
    assert_eq!(broken.unwrap(), "a\u{fffd}\u{fffd}b\u{fffd}\n");
    assert_eq!(whole(b"null", Reader::string), Ok(None));
    assert_eq!(whole(b"5", Reader::string), Err(WireError::Value { at: 0 }));
    assert_eq!(
        whole(b"?", Reader::string),
        Err(WireError::Syntax { at: 0 })
    );
}

#[test]
fn keys_match_in_any_case_by_gos_folding() {
    let keys = |json: &str| {
        let mut found = Vec::new();
        whole(json.as_bytes(), |reader| {
            reader.object(|reader, key| {
                found.push(key.to_string());
                reader.skip()
            })
        })
        .unwrap();
        found
    };
    let json = "{\"SEQ\":1,\"\u{17f}eq\":1,\"\u{212a}\":1,\"\\u0053eq\":1,\"É\":1}";
    assert_eq!(keys(json), ["seq", "seq", "k", "seq", "É"]);
    assert!(keys("null").is_empty());
}

#[test]
fn arrays_of_32_are_cut_filled_and_left_alone() {
    let list = |count: usize| format!("[{}]", vec!["7"; count].join(","));
    let expected = |count: usize| {
        let mut out = [0; 32];
        out[..count].fill(7);
        out
    };
    for count in [0, 1, 31, 32] {
        assert_eq!(array32(&list(count)), Ok(expected(count)));
    }
    assert_eq!(array32(&list(33)), Ok(expected(32)));
    assert_eq!(array32("null"), Ok([9; 32]));
    // Excess elements are only skipped.
    let odd = list(32).replace(']', ",\"x\",{},1e9]");
    assert_eq!(array32(&odd), Ok(expected(32)));
    let mut with_null = expected(2);
    with_null[0] = 9;
    assert_eq!(array32(" [ null , 7 ] "), Ok(with_null));
    for element in [
        "256", "-1", "1.0", "1e0", "\"1\"", "01", "00", "1000", "true", "[]", "",
    ] {
        for count in [1, 32] {
            let json = format!("[{}]", vec![element; count].join(","));
            let empty = element.is_empty() && count == 1;
            assert_eq!(array32(&json).is_ok(), empty, "{json}");
        }
    }
    for json in [
        "[1",
        "[1,",
        "[1;2]",
        "[7null]",
        "[256null]",
        "\"07\"",
        "{}",
        "7",
        "[1]]",
    ] {
        assert!(array32(json).is_err(), "{json}");
    }
}

#[test]
fn integers_are_plain_digits_within_their_range() {
    let unsigned = |json: &str| whole(json.as_bytes(), Reader::unsigned);
    let signed = |json: &str| whole(json.as_bytes(), Reader::signed);
    assert_eq!(unsigned("18446744073709551615"), Ok(Some(u64::MAX)));
    assert_eq!(unsigned("0"), Ok(Some(0)));
    assert_eq!(unsigned("null"), Ok(None));
    assert_eq!(signed("-9223372036854775808"), Ok(Some(i64::MIN)));
    assert_eq!(signed("9223372036854775807"), Ok(Some(i64::MAX)));
    assert_eq!(signed("-0"), Ok(Some(0)));
    for json in [
        "18446744073709551616",
        "-1",
        "-0",
        "5.0",
        "5e0",
        "05",
        "\"5\"",
        "",
        "+5",
    ] {
        assert!(unsigned(json).is_err(), "{json}");
    }
    for json in ["9223372036854775808", "-9223372036854775809", "1.5"] {
        assert!(signed(json).is_err(), "{json}");
    }
}

#[test]
fn booleans_are_nothing_else() {
    let boolean = |json: &str| whole(json.as_bytes(), Reader::boolean);
    assert_eq!(boolean("true"), Ok(Some(true)));
    assert_eq!(boolean("false"), Ok(Some(false)));
    assert_eq!(boolean("null"), Ok(None));
    for json in ["1", "\"true\"", "tru", "[]"] {
        assert!(boolean(json).is_err(), "{json}");
    }
}

#[test]
fn base64_is_read_as_go_reads_it() {
    for (json, bytes) in [
        (r#""""#, &b""[..]),
        (r#""YQ==""#, b"a"),
        (r#""YR==""#, b"a"),
        (r#""YWJj\nZGVm\r\n""#, b"abcdef"),
        (r#""Y\nQ=\n=\n""#, b"a"),
        (r#""YQ=\r=""#, b"a"),
        (r#""\r\nYQ==\n\r""#, b"a"),
        (r#""YWI=""#, b"ab"),
        (r#""YWJ=""#, b"ab"),
        (r#""\u0059Q==""#, b"a"),
        ("[1,null,255]", &[1, 0, 255]),
        ("[]", b""),
    ] {
        assert_eq!(blob(json), Ok(Some(bytes.to_vec())), "{json}");
    }
    assert_eq!(blob("null"), Ok(None));
    for json in [
        r#""YQ""#,
        r#""YQ=""#,
        r#""Y===""#,
        r#""====""#,
        r#""YQ==YQ==""#,
        r#""YQ==YWJj""#,
        r#""cA==BBBB""#,
        r#""cA=\n=BBBB""#,
        r#""YWI=YWI=""#,
        r#""YWI=A""#,
        r#""=YQ=""#,
        r#""Y=Q=""#,
        r#""YQ=A""#,
        r#""YQ=\n""#,
        r#""YQ==\nYQ==""#,
        r#""YWJj=""#,
        r#""_-8=""#,
        r#""YWJj ZGVm""#,
        r#""YQ==x""#,
        "[256]",
        "{}",
        "5",
    ] {
        assert!(blob(json).is_err(), "{json}");
    }
}

#[test]
fn raw_values_are_what_stands_there() {
    let json = b" [ {\"a\" : [1, 2]} , 5] ";
    let mut values = Vec::new();
    whole(json, |reader| {
        reader.array(|reader| {
            values.push(reader.raw_value()?);
            Ok(())
        })
    })
    .unwrap();
    assert_eq!(values, [&b"{\"a\" : [1, 2]}"[..], b"5"]);
}

/// Pieces that happen to form JSON occasionally.
const PIECES: [&str; 24] = [
    "{", "}", "[", "]", ":", ",", "\"", "\"a\"", "\"\\u00", "\\", "\"\\n\"", "0", "1", "-", ".",
    "e", "E+", "true", "false", "null", " ", "\n", "{\"a\":", "[1,",
];

#[test]
fn a_plain_number_is_what_a_parser_says() {
    let bytes = || b"0123456789,]/: \0\x80\xb0\xff".iter().copied();
    for (a, b) in bytes().flat_map(|a| bytes().map(move |b| (a, b))) {
        for (c, d) in bytes().flat_map(|c| bytes().map(move |d| (c, d))) {
            let text = [a, b, c, d];
            let end = text.iter().position(|b| !b.is_ascii_digit());
            let digits = end.and_then(|end| str::from_utf8(&text[..end]).ok());
            let number = digits.filter(|digits| *digits == "0" || !digits.starts_with('0'));
            let expected = number.and_then(|digits| Some((digits.parse().ok()?, digits.len())));
            assert_eq!(plain_byte(&text), expected, "{text:?}");
        }
    }
}

quickcheck! {
    /// serde_json has the same grammar; only its readers differ from Go's.
    fn the_grammar_is_that_of_another_parser(choices: Vec<u8>) -> bool {
        let pieces = choices.iter().map(|i| PIECES[usize::from(*i) % PIECES.len()]);
        let json: String = pieces.collect();
        let other = serde_json::from_str::<serde::de::IgnoredAny>(&json).is_ok();
        is_json(json.as_bytes()) == other
    }

    fn text_is_that_of_another_parser(text_in: String) -> bool {
        let json = serde_json::to_string(&text_in).unwrap();
        text(&json) == text_in
    }

    fn strings_end_where_a_slow_search_says(bytes: Vec<u8>) -> bool {
        let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
        let slow = bytes.iter().position(special).unwrap_or(bytes.len());
        plain_prefix(&bytes) == slow
    }

    fn long_strings_end_where_a_slow_search_says(byte: u8, at: u8, len: u8) -> bool {
        let mut bytes = vec![b'x'; usize::from(len)];
        if let Some(place) = bytes.get_mut(usize::from(at)) {
            *place = byte;
        }
        let special = |b: &u8| *b < 0x20 || *b == b'"' || *b == b'\\';
        let slow = bytes.iter().position(special).unwrap_or(bytes.len());
        plain_prefix(&bytes) == slow
    }

    /// The fast path for Go's own text and the general path agree.
    fn both_ways_to_read_an_array_agree(bytes: Vec<u8>) -> bool {
        let mut expected = [0; 32];
        for (to, from) in expected.iter_mut().zip(&bytes) {
            *to = *from;
        }
        let plain = format!("{expected:?}").replace(' ', "");
        let spaced = format!("{expected:?}");
        let within = format!("{plain},\"pk\"");
        let quick = plain_array32(within.as_bytes()) == Some((expected, plain.len()));
        quick && plain_array32(spaced.as_bytes()).is_none()
            && array32(&plain) == Ok(expected) && array32(&spaced) == Ok(expected)
    }

    fn nothing_panics_and_nothing_is_read_twice(bytes: Vec<u8>) -> bool {
        let mut into = [0; 32];
        let _ = whole(&bytes, Reader::skip);
        let _ = whole(&bytes, Reader::blob);
        let _ = whole(&bytes, Reader::string);
        let _ = whole(&bytes, |reader| reader.array32(&mut into));
        let mut reader = Reader::new(&bytes);
        reader.skip().is_err() || reader.position() <= bytes.len()
    }
}
