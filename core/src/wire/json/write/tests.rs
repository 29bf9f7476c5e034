use super::*;
use alloc::format;
use alloc::string::String;
use quickcheck::quickcheck;

fn written(write: impl FnOnce(&mut Writer)) -> String {
    let mut out = Writer::new(Vec::new());
    write(&mut out);
    String::from_utf8(out.finish()).unwrap()
}

#[test]
fn text_is_escaped_as_go_does() {
    let text =
        "a<b>c&d \u{2028}\u{2029} \"q\" \\ / \t\n\r\u{8}\u{c}\u{1}\u{1f}\u{7f} é 日 \u{1f600}";
    assert_eq!(
        written(|out| out.string(text)),
        "\"a\\u003cb\\u003ec\\u0026d \\u2028\\u2029 \\\"q\\\" \\\\ / \\t\\n\\r\\b\\f\\u0001\\u001f\u{7f} é 日 \u{1f600}\""
    );
}

#[test]
fn commas_stand_between_fields_and_elements() {
    let json = written(|out| {
        out.raw("{");
        out.field("a").array(&[1, 2], |out, n| out.display(n));
        out.field("b").array(&[], |_, (): &()| ());
        out.field("c").raw("{");
        out.field("d").quote("e");
        out.raw("}}");
    });
    assert_eq!(json, r#"{"a":[1,2],"b":[],"c":{"d":"e"}}"#);
}

#[test]
fn every_byte_is_a_number() {
    let bytes: Vec<u8> = (0..=255).collect();
    for chunk in bytes.as_chunks::<32>().0 {
        let json = written(|out| out.array32(chunk));
        assert_eq!(json, format!("{chunk:?}").replace(' ', ""));
        assert_eq!(json.len(), Writer::array32_len(chunk));
    }
}

quickcheck! {
    fn other_parsers_read_the_text_back(text: String) -> bool {
        serde_json::from_str::<String>(&written(|out| out.string(&text))).unwrap() == text
    }

    fn base64_has_the_length_foretold(bytes: Vec<u8>) -> bool {
        written(|out| out.base64(&bytes)).len() == Writer::base64_len(&bytes)
    }
}
