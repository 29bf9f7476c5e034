//! How raw bytes look in serde formats (journals, snapshots): base64 text.

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
        BASE64
            .decode(text.as_bytes())
            .map(T::from)
            .map_err(serde::de::Error::custom)
    }
}
