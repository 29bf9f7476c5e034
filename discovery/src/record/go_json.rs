//! Encodes JSON in the format of Go's `encoding/json`.

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

/// Encodes a value. Go escapes `<`, `>`, `&` and two line separators in strings.
pub(crate) fn text(value: &impl Serialize) -> Vec<u8> {
    let plain = serde_json::to_string(value);
    let plain = plain.expect("strings, numbers and lists are always JSON");
    if !plain.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return plain.into_bytes();
    }
    let mut escaped = String::with_capacity(plain.len() + 16);
    for char in plain.chars() {
        match char {
            '<' => escaped.push_str("\\u003c"),
            '>' => escaped.push_str("\\u003e"),
            '&' => escaped.push_str("\\u0026"),
            '\u{2028}' => escaped.push_str("\\u2028"),
            '\u{2029}' => escaped.push_str("\\u2029"),
            other => escaped.push(other),
        }
    }
    escaped.into_bytes()
}

/// Encodes a floating-point number: Go omits the fraction of whole numbers, and uses an exponent
/// for very small and very large ones.
pub(super) fn float<S: Serializer>(number: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    let size = number.abs();
    let text = if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        // Go writes 1e21 as 1e+21, but 1e-7 as 1e-7.
        match text.split_once('e') {
            Some((digits, exponent)) if !exponent.starts_with('-') => {
                format!("{digits}e+{exponent}")
            }
            _ => text,
        }
    } else {
        number.to_string()
    };
    match RawValue::from_string(text) {
        Ok(raw) => raw.serialize(serializer),
        // JSON cannot represent infinity and NaN.
        Err(error) => Err(serde::ser::Error::custom(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize)]
    struct Number(#[serde(serialize_with = "float")] f64);

    #[test]
    fn numbers_and_texts_are_as_go_writes_them() {
        for (number, go) in [
            (0.0, "0"),
            (1.0, "1"),
            (-103.25, "-103.25"),
            (0.1, "0.1"),
            (1e-6, "0.000001"),
            (1e-7, "1e-7"),
            (1.5e-9, "1.5e-9"),
            (123_456_789.0, "123456789"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-2.5e30, "-2.5e+30"),
        ] {
            assert_eq!(text(&Number(number)), go.as_bytes());
        }
        let escaped = "\"a\\u003cb\\u003e\\u0026\\u2028\\\"ü\"";
        assert_eq!(text(&"a<b>&\u{2028}\"ü"), escaped.as_bytes());
    }
}
