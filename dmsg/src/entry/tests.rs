use std::time::Duration;

use super::*;

fn secret(byte: u8) -> SecretKey {
    SecretKey::from_bytes(&[byte; 32]).unwrap()
}

fn client() -> Entry {
    let mut entry = Entry::new(secret(1).public(), 3, 1000);
    entry.client = Some(ClientFields {
        delegated_servers: Some(vec![secret(2).public()]),
    });
    entry
}

fn server(address: &str) -> Entry {
    let mut entry = Entry::new(secret(2).public(), 3, 1000);
    entry.server = Some(ServerFields {
        address: address.to_owned(),
        available_sessions: 7,
        ..ServerFields::default()
    });
    entry
}

fn reread(json: &str) -> SignedEntry {
    SignedEntry::from_json(json.as_bytes()).unwrap()
}

#[test]
fn what_we_sign_verifies_and_keeps_its_text() {
    let signed = client().sign(&secret(1));
    let again = SignedEntry::from_json(signed.json()).unwrap();
    assert_eq!((again.verify(), again.json()), (Ok(()), signed.json()));
    assert_eq!(again.entry().delegated_servers(), [secret(2).public()]);
    let text = String::from_utf8(signed.json().to_vec()).unwrap();
    let damaged = reread(&text.replace("\"sequence\":3", "\"sequence\":4"));
    assert_eq!(damaged.verify(), Err(SignatureError::OtherKey.into()));
}

/// Members of later versions are covered by the signature and stay in the text.
#[test]
fn unknown_members_are_kept_and_covered() {
    let mut text = String::from_utf8(to_unsigned(&client())).unwrap();
    text.insert_str(text.len() - 1, ",\"later\":{\"a\":[1]}");
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&text).into();
    let signature = secret(1).sign(&digest);
    let whole = text.replace(
        ",\"later\"",
        &format!(",\"signature\":\"{signature}\",\"later\""),
    );
    assert_eq!(reread(&whole).verify(), Ok(()));
    let other = whole.replace("[1]", "[2]");
    assert_eq!(
        reread(&other).verify(),
        Err(SignatureError::OtherKey.into())
    );
}

fn to_unsigned(entry: &Entry) -> Vec<u8> {
    serde_json::to_vec(entry).unwrap()
}

/// A text that is formatted differently than Go's is verified by its content.
#[test]
fn spaces_do_not_matter() {
    let signed = client().sign(&secret(1));
    let text = String::from_utf8(signed.json().to_vec()).unwrap();
    let spaced = reread(&text.replace("\":", "\" : ").replace(",\"", " ,\n \""));
    assert_eq!(spaced.verify(), Ok(()));
}

#[test]
fn a_server_entry_that_the_discovery_completed_verifies_as_stored() {
    let signed = server("192.0.2.1:8080").sign(&secret(2));
    let text = String::from_utf8(signed.json().to_vec()).unwrap();
    let stored = text.replace(
        "\"availableSessions\":7",
        "\"availableSessions\":7,\"serverType\":\"official\"",
    );
    assert_eq!(
        reread(&stored).verify(),
        Err(SignatureError::OtherKey.into())
    );
    assert_eq!(reread(&stored).verify_stored(), Ok(()));
    assert_eq!(signed.verify_stored(), Ok(()));
    // No other change is accepted, and none in a client's entry.
    let moved = stored.replace("192.0.2.1", "192.0.2.2");
    assert_eq!(
        reread(&moved).verify_stored(),
        Err(SignatureError::OtherKey.into())
    );
    let client = String::from_utf8(client().sign(&secret(1)).json().to_vec()).unwrap();
    let typed = client.replace("\"signature\"", "\"client_type\":\"visor\",\"signature\"");
    assert_eq!(
        reread(&typed).verify_stored(),
        Err(SignatureError::OtherKey.into())
    );
}

#[test]
fn a_missing_key_and_nonsense_are_distinguished() {
    let zero = format!("{{\"static\":\"{}\"}}", "0".repeat(66));
    for text in ["{}", "{\"static\":\"\"}", &zero] {
        let error = SignedEntry::from_json(text.as_bytes()).unwrap_err();
        assert_eq!(error, EntryError::NoKey, "{text}");
    }
    for text in ["", "[]", "{", "{\"static\":\"zz\"}", "{\"static\":7}"] {
        let error = SignedEntry::from_json(text.as_bytes()).unwrap_err();
        assert!(matches!(error, EntryError::Malformed(_)), "{text}: {error}");
    }
    let long = SignedEntry::from_json(&vec![b' '; MAX_ENTRY + 1]).unwrap_err();
    assert_eq!(long, EntryError::TooLong(MAX_ENTRY + 1));
}

#[test]
fn loopback_addresses_are_not_public() {
    for address in [
        "127.0.0.1:8080",
        "[::1]:8080",
        "localhost:8080",
        "127.3.4.5",
        ":8080",
    ] {
        let result = server(address).validate_public();
        assert_eq!(result, Err(EntryError::LoopbackAddress), "{address}");
    }
    for address in [
        "192.0.2.1:8080",
        "[2001:db8::1]:80",
        "dmsg.example:80",
        "nonsense",
    ] {
        assert_eq!(server(address).validate_public(), Ok(()), "{address}");
    }
    assert_eq!(client().validate_public(), Ok(()));
}

#[test]
fn timestamps_are_checked_to_the_nanosecond() {
    let mut entry = server("192.0.2.1:8080");
    let now = Duration::from_secs(1_000_000);
    for (offset, good) in [
        (-60_000_000_000, true),
        (-60_000_000_001, false),
        (5_000_000_000, true),
        (5_000_000_001, false),
    ] {
        entry.timestamp = now.as_nanos() as i64 + offset;
        assert_eq!(entry.validate_time(now).is_ok(), good, "{offset}");
    }
    entry.timestamp = i64::MIN;
    assert!(entry.validate_time(Duration::MAX).is_err());
}

#[test]
fn the_other_half_keeps_what_is_unknown_in_it_and_its_order() {
    // A member of a later version, signed by a Go server as Go writes it.
    let mut entry = server("192.0.2.4:8080");
    entry.sequence = 4;
    let known = String::from_utf8(to_unsigned(&entry)).unwrap();
    let text = known.replace(
        "\"availableSessions\"",
        "\"address_wt\":\"w\",\"availableSessions\"",
    );
    let digest = <sha2::Sha256 as sha2::Digest>::digest(&text).into();
    let signature = secret(2).sign(&digest);
    let signed = text.replace("}}", &format!("}},\"signature\":\"{signature}\"}}"));
    let stored = reread(&signed);
    assert_eq!(stored.verify(), Ok(()));

    let mut own = Entry::new(secret(2).public(), 5, 1000);
    own.client = client().client;
    let both = stored.with_half(Half::Client, &own, &secret(2)).unwrap();
    assert_eq!(both.verify(), Ok(()));
    assert_eq!(both.entry().sequence, 5);
    let json = String::from_utf8(both.json().to_vec()).unwrap();
    let names = [
        "version",
        "sequence",
        "timestamp",
        "static",
        "client",
        "server",
        "signature",
    ];
    let at = names.map(|name| json.find(&format!("\"{name}\":")).unwrap());
    assert!(at.is_sorted(), "{json}");
    assert!(json.contains("\"address_wt\":\"w\",\"availableSessions\""));
    // What a discovery sets is not signed.
    let completed = both.with_server_type("official").unwrap();
    let again = completed.with_half(Half::Client, &own, &secret(2)).unwrap();
    assert_eq!(again.entry().server.as_ref().unwrap().server_type, "");

    let nothing = Entry::new(own.key, 6, 6);
    let rest = both.with_half(Half::Client, &nothing, &secret(2)).unwrap();
    assert_eq!((rest.entry().client.clone(), rest.verify()), (None, Ok(())));
    let forged = reread(&signed.replace("\"w\"", "\"x\""));
    assert!(forged.with_half(Half::Client, &own, &secret(2)).is_err());
}
