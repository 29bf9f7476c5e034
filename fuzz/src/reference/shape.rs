//! Checks whether Go and serde read the same objects from a text.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::Refused;

/// Refuses text that serde does not accept as JSON, and objects with keys that Go would fold or
/// that repeat.
pub(super) fn check(json: &[u8]) -> Result<(), Refused> {
    match serde_json::from_slice(json) {
        Ok(Shape { plain: true }) => Ok(()),
        _ => Err(Refused),
    }
}

/// Any value. It is plain if its objects are, at every level.
struct Shape {
    plain: bool,
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        d.deserialize_any(Walk)
    }
}

struct Walk;

/// Leaves of all types.
macro_rules! leaves {
    ($($visit:ident($kind:ty))*) => {
        $(fn $visit<E>(self, _: $kind) -> Result<Shape, E> { Ok(Shape { plain: true }) })*
    };
}

impl<'de> Visitor<'de> for Walk {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    leaves! { visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str) }

    fn visit_unit<E>(self) -> Result<Shape, E> {
        Ok(Shape { plain: true })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
        let mut plain = true;
        while let Some(element) = seq.next_element::<Shape>()? {
            plain &= element.plain;
        }
        Ok(Shape { plain })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut plain = true;
        let mut keys = BTreeSet::new();
        while let Some((key, value)) = map.next_entry::<String, Shape>()? {
            let folds = |c: char| c.is_ascii_uppercase() || matches!(c, '\u{17f}' | '\u{212a}');
            plain &= value.plain && !key.contains(folds) && keys.insert(key);
        }
        Ok(Shape { plain })
    }
}
