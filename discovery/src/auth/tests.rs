use http::{Method, StatusCode};
use skydht_core::key::{PublicKey, SecretKey};

use super::*;
use crate::dmsg::Caller;
use crate::web::{self, Request, Response};

fn secret(n: u8) -> SecretKey {
    SecretKey::from_bytes(&[n; 32]).unwrap()
}

fn post(body: &str) -> Request {
    web::request(Method::POST, "/transports/", body.as_bytes().to_vec())
}

/// A service that answers authenticated requests with `status`, and the nonces it has received.
struct Service {
    nonces: Nonces,
    status: StatusCode,
    sent: Vec<String>,
}

impl Service {
    fn new(status: u16) -> Self {
        Self {
            nonces: Nonces::new(100),
            status: StatusCode::from_u16(status).unwrap(),
            sent: Vec::new(),
        }
    }

    fn answer(&mut self, request: &Request) -> Response {
        if let Some(answer) = self.nonces.answer(request) {
            self.sent.push("?".to_owned());
            return answer;
        }
        let nonce = request.headers()[NONCE].to_str().unwrap();
        self.sent.push(nonce.to_owned());
        match self.nonces.caller(Caller::Unknown, request) {
            Ok(key) => {
                self.nonces.answered(Caller::Unknown, &key, self.status);
                web::json_text(self.status, key.to_string().into_bytes())
            }
            Err(error) => error.write(),
        }
    }

    /// Performs a call; returns its response, and the next nonce.
    fn call(&mut self, n: u8, next: Option<u64>) -> (Response, Option<u64>) {
        let (mut call, mut request) = SignedCall::start(post("[]"), secret(n), next);
        loop {
            let response = self.answer(&request);
            match call.handle(response) {
                Step::Send(next) => request = next,
                Step::Done(response) => return (response, call.next()),
            }
        }
    }
}

#[test]
fn numbers_go_up_with_exactly_200_on_both_sides() {
    let mut service = Service::new(200);
    let mut next = None;
    for n in 1..=3 {
        let (response, after) = service.call(1, next);
        assert_eq!(response.status(), 200);
        assert_eq!(response.body(), secret(1).public().to_string().as_bytes());
        assert_eq!(after, Some(n));
        next = after;
    }
    assert_eq!(service.sent, ["?", "0", "1", "2"]);
    // A registration has status 201, which does not increment the nonce.
    service.status = StatusCode::CREATED;
    service.sent.clear();
    for _ in 0..2 {
        assert_eq!(service.call(1, next).1, Some(3));
    }
    assert_eq!(service.sent, ["3", "3"]);
}

#[test]
fn a_number_that_is_not_taken_is_asked_for_once() {
    let mut service = Service::new(200);
    service.call(1, None);
    service.sent.clear();
    let (response, next) = service.call(1, Some(77));
    assert_eq!((response.status(), next), (StatusCode::OK, Some(2)));
    assert_eq!(service.sent, ["77", "?", "1"]);
    // A service that rejects every nonce.
    let (mut call, _) = SignedCall::start(post("[]"), secret(1), None);
    let number = web::json_text(
        StatusCode::OK,
        format!("{{\"edge\":\"{}\",\"next_nonce\":5}}", secret(1).public()).into_bytes(),
    );
    assert!(matches!(call.handle(number), Step::Send(_)));
    let Step::Done(response) = call.handle(AuthError::Nonce.write()) else {
        panic!()
    };
    assert_eq!(
        (response.status(), call.next()),
        (StatusCode::UNAUTHORIZED, None)
    );
    assert_eq!(
        response.body(),
        br#"{"error":{"message":"SW-Nonce does not match","code":401}}"#
    );
    // A service that is unavailable, or is something else.
    for (status, text) in [(503, "busy"), (200, "<html>"), (200, "{}")] {
        let (mut call, _) = SignedCall::start(post("[]"), secret(1), None);
        let status = StatusCode::from_u16(status).unwrap();
        let said = web::json_text(status, text.as_bytes().to_vec());
        assert!(matches!(call.handle(said), Step::Done(_)));
    }
}

#[test]
fn only_the_key_itself_speaks_in_its_name() {
    let nonces = Nonces::new(10);
    let signed = |n: u8, nonce| {
        let mut request = post("body");
        headers::sign(&mut request, &secret(n), nonce);
        request
    };
    let good = signed(1, 0);
    let caller = |request: &Request| nonces.caller(Caller::Unknown, request);
    assert_eq!(caller(&good), Ok(secret(1).public()));
    assert_eq!(caller(&signed(1, 1)), Err(AuthError::Nonce));
    let mut changed = good.clone();
    changed.body_mut().push(b'!');
    assert_eq!(caller(&changed), Err(AuthError::Signature));
    let mut other = good.clone();
    let key = secret(2).public().to_string();
    other.headers_mut().insert(PUBLIC, key.parse().unwrap());
    assert_eq!(caller(&other), Err(AuthError::Signature));
    for name in [PUBLIC, NONCE, SIGNATURE] {
        for value in [
            None,
            Some(""),
            Some("x"),
            Some("-1"),
            Some("18446744073709551616"),
        ] {
            let mut request = good.clone();
            request.headers_mut().remove(&name);
            if let Some(value) = value {
                request.headers_mut().insert(&name, value.parse().unwrap());
            }
            assert!(
                matches!(caller(&request), Err(AuthError::Header(_))),
                "{name}: {value:?}"
            );
        }
        let mut twice = good.clone();
        let value = twice.headers()[&name].clone();
        twice.headers_mut().append(&name, value);
        assert!(
            matches!(caller(&twice), Err(AuthError::Header(_))),
            "{name}"
        );
    }
    // Over DMSG the headers are not needed, and are ignored.
    let key = secret(7).public();
    assert_eq!(nonces.caller(Caller::Key(key), &post("")), Ok(key));
    assert_eq!(nonces.caller(Caller::Key(key), &changed), Ok(key));
}

#[test]
fn at_the_limit_no_answered_request_is_taken_again() {
    let mut nonces = Nonces::new(3);
    let key = |n: u8| secret(n).public();
    let raise = |nonces: &mut Nonces, n: u8| {
        let before = nonces.next(&key(n));
        nonces.answered(Caller::Unknown, &key(n), StatusCode::OK);
        assert!(nonces.next(&key(n)) > before);
        before
    };
    let mut used: Vec<(u8, u64)> = Vec::new();
    for round in 0..40 {
        let n = [1, 2, 1, 3, 4, 5, 1, 6][round % 8];
        let spent = raise(&mut nonces, n);
        assert!(!used.contains(&(n, spent)), "{n} {spent}");
        used.push((n, spent));
        assert!(nonces.len() <= 3 && nonces.by_age_len() == nonces.len());
        for (n, spent) in &used {
            assert!(nonces.next(&key(*n)) > *spent);
        }
    }
    // Over DMSG nothing is counted.
    let stranger: PublicKey = key(9);
    nonces.answered(Caller::Key(stranger), &stranger, StatusCode::OK);
    assert!(!nonces.is_empty() && nonces.len() == 3);
}

#[test]
fn a_question_for_a_number_is_answered_and_others_are_not() {
    let nonces = Nonces::new(3);
    let key = secret(1).public();
    let ask = |method, path: &str| nonces.answer(&web::request(method, path, Vec::new()));
    let path = format!("/security/nonces/{key}");
    let answer = ask(Method::GET, &path).unwrap();
    let expected = format!("{{\"edge\":\"{key}\",\"next_nonce\":0}}");
    assert_eq!(answer.body(), expected.as_bytes());
    assert_eq!(ask(Method::POST, &path).unwrap().status(), 405);
    assert_eq!(
        ask(Method::GET, "/security/nonces/x").unwrap().status(),
        400
    );
    assert!(ask(Method::GET, "/transports/").is_none());
}
