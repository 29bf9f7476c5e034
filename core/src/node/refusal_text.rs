//! The texts of refusals in the `error` field of an answer: those of the Go implementation where it
//! has one.

use crate::store::Refusal;

const TEXTS: [(Refusal, &str); 14] = [
    (Refusal::Older, "dht: sequence number must increase"),
    // Go uses the same text for a conflict and for an older item; `parse` returns `Older`.
    (Refusal::Conflict, "dht: sequence number must increase"),
    (Refusal::Expired, "dht: its life is over"),
    (Refusal::Quota, "dht: rate limit exceeded for public key"),
    (Refusal::ValueTooLarge, "dht: value exceeds max size"),
    (Refusal::SaltTooLong, "dht: salt exceeds max size"),
    (Refusal::Signature, "dht: invalid signature"),
    (Refusal::Distance, "dht: full, and nearer items come first"),
    (Refusal::Full, "dht: no room"),
    (
        Refusal::MirrorNotAccepted,
        "dht: mirrors of this key are not accepted",
    ),
    (Refusal::Deleted, "dht: deleted, and this is no newer"),
    (Refusal::Busy, "dht: busy"),
    (Refusal::NotHeld, "dht: item not found"),
    (Refusal::Other, "dht: refused"),
];

/// Returns the text of a refusal.
pub(super) fn text(refusal: Refusal) -> &'static str {
    TEXTS
        .iter()
        .find(|(known, _)| *known == refusal)
        .map_or("dht: refused", |(_, text)| text)
}

/// Returns the refusal that a text begins with; a signature error is followed by its cause.
pub(super) fn parse(text: &str) -> Refusal {
    TEXTS
        .iter()
        .find(|(_, known)| text.starts_with(known))
        .map_or(Refusal::Other, |(refusal, _)| *refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_round_trip_and_causes_are_ignored() {
        for (refusal, known) in TEXTS {
            let parsed = if refusal == Refusal::Conflict {
                Refusal::Older
            } else {
                refusal
            };
            assert_eq!((text(refusal), parse(known)), (known, parsed));
        }
        let with_cause = "dht: invalid signature: Recovered pubkey does not match pubkey";
        assert_eq!(parse(with_cause), Refusal::Signature);
        assert_eq!(parse("something else"), Refusal::Other);
    }
}
