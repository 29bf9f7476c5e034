//! Encoding of raw bytes in serde formats (journals, snapshots): base64 text.

/// For `#[serde(with = "…")]`: bytes as one base64 string.
pub(crate) mod base64 {
    use alloc::borrow::Cow;
    use data_encoding::BASE64;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(
        bytes: impl AsRef<[u8]>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        s.collect_str(&BASE64.encode_display(bytes.as_ref()))
    }

    pub(crate) fn deserialize<'de, T, D>(d: D) -> Result<T, D::Error>
    where
        T: From<alloc::vec::Vec<u8>>,
        D: Deserializer<'de>,
    {
        let text = Cow::<str>::deserialize(d)?;
        // The decoder would accept several padded texts in sequence.
        let inner = text.len().saturating_sub(4);
        if text.as_bytes()[..inner].contains(&b'=') {
            return Err(serde::de::Error::custom(
                "base64 text goes on behind its padding",
            ));
        }
        BASE64
            .decode(text.as_bytes())
            .map(T::from)
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    #[derive(serde::Deserialize)]
    struct Bytes(#[serde(with = "super::base64")] Vec<u8>);

    #[test]
    fn nothing_follows_the_padding() {
        for (text, bytes) in [
            ("\"\"", Some(&b""[..])),
            ("\"YQ==\"", Some(b"a")),
            ("\"YWJj\"", Some(b"abc")),
            ("\"YWJjYQ==\"", Some(b"abca")),
            ("\"YQ==YWJj\"", None),
            ("\"YWI=YWI=\"", None),
            ("\"YQ=\"", None),
            ("\"YQ\"", None),
            ("\"YR==\"", None),
        ] {
            let read = serde_json::from_str::<Bytes>(text).ok();
            assert_eq!(read.as_ref().map(|read| &read.0[..]), bytes, "{text}");
        }
    }
}
