use std::time::Duration;

use skydht_core::time::{Mono, Time, Unix};

use super::*;

const NOW: u64 = 1_777_000_000_000_000_000;

fn at(passed: Duration) -> Time {
    let nanos = u64::try_from(passed.as_nanos()).unwrap();
    Time {
        mono: Mono(nanos),
        unix: Unix(NOW + nanos),
    }
}

/// A signature made `minutes` ago.
fn signed(minutes: i64) -> Signed {
    Signed {
        timestamp: NOW as i64 - minutes * 60_000_000_000,
        sequence: 7,
    }
}

fn record(name: &'static str, signed: Option<Signed>) -> Said<&'static str> {
    Said::Record {
        record: name,
        signed,
    }
}

/// Returns the outcome for these answers, in this order.
fn outcome(answers: [(Source, Said<&'static str>); 2]) -> Outcome<&'static str> {
    let mut lookup = Lookup::new(at(Duration::ZERO), true);
    assert_eq!(lookup.poll_output(), Some(Ask::Source(Source::Dht)));
    assert_eq!(lookup.poll_output(), Some(Ask::Source(Source::Http)));
    assert_eq!(lookup.poll_output(), None);
    for (from, said) in answers {
        assert!(lookup.next_deadline().is_some());
        lookup.handle(at(Duration::from_millis(1)), Some(Answer { from, said }));
    }
    assert_eq!(lookup.next_deadline(), None);
    let Some(Ask::Done(outcome)) = lookup.poll_output() else {
        panic!()
    };
    assert_eq!(lookup.poll_output(), None);
    outcome
}

/// Checks that both orders of two answers have the same outcome.
fn either_order(dht: Said<&'static str>, http: Said<&'static str>) -> Outcome<&'static str> {
    let one = outcome([(Source::Dht, dht.clone()), (Source::Http, http.clone())]);
    let other = outcome([(Source::Http, http), (Source::Dht, dht)]);
    assert_eq!(one, other);
    one
}

/// R5: one source has a record of half an hour ago, the other one of a minute ago, in both
/// combinations; and a tombstone that is newer than both.
#[test]
fn r5_the_newest_proof_wins_whichever_source_has_it() {
    let (old, new) = (signed(30), signed(1));
    for (dht, http, source) in [(old, new, Source::Http), (new, old, Source::Dht)] {
        let outcome = either_order(record("dht", Some(dht)), record("http", Some(http)));
        let Outcome::Found(found) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!((found.source, found.disagreed), (source, true));
        let age = found.age.unwrap();
        assert!(age >= Duration::from_secs(60) && age < Duration::from_secs(61));
    }
    // With equal timestamps, the higher sequence number wins; equal records are no disagreement.
    let later = Signed { sequence: 8, ..new };
    let outcome = either_order(record("dht", Some(new)), record("http", Some(later)));
    assert!(matches!(outcome, Outcome::Found(found) if found.source == Source::Http));
    let outcome = either_order(record("same", Some(new)), record("same", Some(new)));
    assert!(matches!(outcome, Outcome::Found(found) if !found.disagreed));
    // A tombstone is compared in the same way.
    let gone = either_order(Said::Deleted(new), record("http", Some(old)));
    assert_eq!(gone, Outcome::Deleted(Source::Dht));
    let back = either_order(Said::Deleted(old), record("http", Some(new)));
    assert!(matches!(back, Outcome::Found(found) if found.source == Source::Http));
}

#[test]
fn where_http_proves_nothing_a_fresh_item_of_the_owners_wins() {
    for (minutes, source) in [(0, Source::Dht), (4, Source::Dht), (5, Source::Http)] {
        let outcome = either_order(record("dht", Some(signed(minutes))), record("http", None));
        assert!(
            matches!(outcome, Outcome::Found(found) if found.source == source),
            "{minutes}"
        );
    }
    assert_eq!(FRESH, Duration::from_secs(300));
    // The age of a record is 0 if the owner's clock is ahead.
    let outcome = either_order(record("dht", Some(signed(-9))), record("http", None));
    assert!(matches!(outcome, Outcome::Found(found) if found.age == Some(Duration::ZERO)));
}

#[test]
fn one_source_is_enough_and_none_says_why() {
    let failed = |why: &str| Said::Failed(why.to_owned());
    for other in [Said::Nothing, failed("refused")] {
        let disagreed = other == Said::Nothing;
        let outcome = either_order(record("dht", None), other.clone());
        assert!(matches!(outcome, Outcome::Found(found) if found.disagreed == disagreed));
        let outcome = either_order(other, record("http", None));
        assert!(matches!(outcome, Outcome::Found(found) if found.source == Source::Http));
    }
    let nothing = |failed: Option<Source>| Outcome::Nothing {
        failed: failed.map(|source| (source, "x".to_owned())),
    };
    let both = either_order(Said::Nothing, Said::Nothing);
    assert_eq!(both, nothing(None));
    let only_dht = either_order(Said::Nothing, failed("x"));
    assert_eq!(only_dht, nothing(Some(Source::Http)));
    let only_http = either_order(failed("x"), Said::Nothing);
    assert_eq!(only_http, nothing(Some(Source::Dht)));
    let both = either_order(failed("no peers"), failed("refused"));
    let causes = vec![
        (Source::Dht, "no peers".to_owned()),
        (Source::Http, "refused".to_owned()),
    ];
    assert_eq!(both, Outcome::Unknown(causes));
}

#[test]
fn a_source_that_is_slow_is_waited_for_only_while_nothing_was_found() {
    let ms = Duration::from_millis;
    for (said, wait) in [
        (record("one", Some(signed(1))), GRACE),
        (Said::Deleted(signed(1)), GRACE),
        (Said::Nothing, LONGEST - ms(100)),
        (Said::Failed("x".into()), LONGEST - ms(100)),
    ] {
        let mut lookup = Lookup::new(at(ms(0)), true);
        while lookup.poll_output().is_some() {}
        let from = Source::Http;
        lookup.handle(at(ms(100)), Some(Answer { from, said }));
        let deadline = lookup.next_deadline().unwrap();
        assert_eq!(deadline, at(ms(100) + wait).mono);
        lookup.handle(at(ms(99) + wait), None);
        assert_eq!(lookup.poll_output(), None);
        lookup.handle(at(ms(100) + wait), None);
        assert!(matches!(lookup.poll_output(), Some(Ask::Done(_))));
        // A late answer changes nothing.
        let late = record("late", Some(signed(0)));
        let late = Answer {
            from: Source::Dht,
            said: late,
        };
        lookup.handle(at(ms(200) + wait), Some(late));
        assert_eq!(lookup.poll_output(), None);
    }
    // Without HTTP, only the DHT is asked.
    let mut lookup = Lookup::<&str>::new(at(ms(0)), false);
    assert_eq!(lookup.poll_output(), Some(Ask::Source(Source::Dht)));
    assert_eq!(lookup.poll_output(), None);
}

/// R4: each source is asked at most once per lookup, whatever the answers.
#[test]
fn r4_a_source_is_asked_at_most_once() {
    for script in 0..4_u32.pow(6) {
        let mut lookup = Lookup::<&str>::new(at(Duration::ZERO), script % 2 == 0);
        let (mut asked, mut done) = ([0, 0], 0);
        let mut left = script;
        for step in 0..6 {
            while let Some(output) = lookup.poll_output() {
                match output {
                    Ask::Source(source) => asked[source as usize] += 1,
                    Ask::Done(_) => done += 1,
                }
            }
            let from = if left & 1 == 0 {
                Source::Dht
            } else {
                Source::Http
            };
            let answer = match left & 2 {
                0 => Some(Answer {
                    from,
                    said: Said::Nothing,
                }),
                _ => None,
            };
            lookup.handle(at(Duration::from_secs(step * 2)), answer);
            left /= 4;
        }
        while lookup.poll_output().is_some() {
            done += 1;
        }
        assert!(
            asked.iter().all(|n| *n <= 1) && done == 1,
            "{script}: {asked:?} {done}"
        );
    }
}

#[test]
fn a_service_that_fails_rests_ever_longer_and_one_question_tries_it() {
    let mut breaker = Breaker::default();
    let mut now = Mono(0);
    for _ in 0..3 {
        assert!(breaker.may_ask(now));
        breaker.failed(now);
    }
    let mut rests = Vec::new();
    for _ in 0..8 {
        let begun = now;
        while !breaker.may_ask(now) {
            now = now.plus(Duration::from_secs(5));
        }
        rests.push(now.since(begun).as_secs());
        assert!(!breaker.may_ask(now), "one at a time");
        breaker.failed(now);
    }
    assert_eq!(rests, [5, 10, 20, 40, 80, 160, 300, 300]);
    breaker.answered();
    assert!(breaker.may_ask(now) && breaker.may_ask(now));
    breaker.asked_too_often(now, Duration::from_secs(7));
    assert!(!breaker.may_ask(now.plus(Duration::from_secs(6))));
    assert!(breaker.may_ask(now.plus(Duration::from_secs(7))));
    breaker.asked_too_often(now, Duration::from_secs(1 << 40));
    assert!(breaker.may_ask(now.plus(Duration::from_secs(300))));
}
