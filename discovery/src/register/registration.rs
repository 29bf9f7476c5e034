//! Registration at one service.

use std::collections::VecDeque;
use std::time::Duration;

use skydht_core::key::SecretKey;
use skydht_core::time::Mono;

use crate::auth::{SignedCall, Step};
use crate::web::{Request, Response};

/// First and longest pause after a failure; it doubles with each further failure.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));

/// State of the registration at a service.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DeskReport {
    /// Calls that the service accepted.
    pub taken: u64,
    /// Calls that were refused or not answered.
    pub failed: u64,
    /// Why the last call failed, if it did.
    pub error: Option<String>,
}

/// Meaning of a response.
pub(super) enum Verdict {
    Taken,
    /// The service will never accept this call, but may accept others.
    Refused(String),
    /// The service may accept the call later; contains the pause that it requests, if any.
    Later(String, Option<Duration>),
}

/// A call in progress.
enum CallState {
    Plain,
    Signed(Box<SignedCall>),
}

/// Registration at one service; `C` is the type of the service's calls.
pub(super) struct Registration<C> {
    /// Whether the service is reached over DMSG, where the stream authenticates the caller.
    over_dmsg: bool,
    interval: Duration,
    due: Mono,
    calls: VecDeque<C>,
    under_way: Option<(u64, C, CallState)>,
    /// The next request of a call that needs several.
    next_request: Option<Request>,
    nonce: Option<u64>,
    failures: u32,
    round_failed: bool,
    report: DeskReport,
}

impl<C> Registration<C> {
    pub(super) fn new(over_dmsg: bool, interval: Duration, now: Mono) -> Self {
        Self {
            over_dmsg,
            interval,
            due: now,
            calls: VecDeque::new(),
            under_way: None,
            next_request: None,
            nonce: None,
            failures: 0,
            round_failed: false,
            report: DeskReport::default(),
        }
    }

    pub(super) fn report(&self) -> DeskReport {
        self.report.clone()
    }

    /// Begins the next round now, unless the service is paused after a failure.
    pub(super) fn changed(&mut self, now: Mono) {
        if self.failures == 0 {
            self.due = self.due.min(now);
        }
    }

    /// Returns when there is something to send; `None` while a response is pending.
    pub(super) fn next_deadline(&self, now: Mono) -> Option<Mono> {
        match (&self.under_way, &self.next_request) {
            (Some(_), None) => None,
            (Some(_), Some(_)) => Some(now),
            (None, _) => Some(self.due),
        }
    }

    /// Returns the next request. `round` creates the calls of a new round, and `write` encodes a
    /// call.
    pub(super) fn poll(
        &mut self,
        now: Mono,
        id: u64,
        secret: &SecretKey,
        round: impl FnOnce() -> Vec<C>,
        write: impl Fn(&C) -> Request,
    ) -> Option<Request> {
        if let Some((under_way, _, _)) = &mut self.under_way {
            let request = self.next_request.take()?;
            *under_way = id;
            return Some(request);
        }
        if now < self.due {
            return None;
        }
        if self.calls.is_empty() {
            self.round_failed = false;
            self.calls.extend(round());
        }
        let Some(call) = self.calls.pop_front() else {
            self.due = now.plus(self.interval);
            return None;
        };
        let request = write(&call);
        let (step, request) = if self.over_dmsg {
            (CallState::Plain, request)
        } else {
            let (signed, first) = SignedCall::start(request, secret.clone(), self.nonce);
            (CallState::Signed(Box::new(signed)), first)
        };
        self.under_way = Some((id, call, step));
        Some(request)
    }

    /// Processes the result of request `id`; returns the call, and whether it was accepted, once it
    /// has ended.
    pub(super) fn handle(
        &mut self,
        now: Mono,
        id: u64,
        result: Result<Response, String>,
        judge: impl Fn(&C, &Response) -> Verdict,
    ) -> Option<(C, bool)> {
        let (_, call, mut step) = self.under_way.take_if(|(under_way, ..)| *under_way == id)?;
        let verdict = match (result, &mut step) {
            (Err(why), _) => Verdict::Later(why, None),
            (Ok(response), CallState::Plain) => judge(&call, &response),
            (Ok(response), CallState::Signed(signed)) => match signed.handle(response) {
                Step::Send(next) => {
                    self.next_request = Some(next);
                    self.under_way = Some((id, call, step));
                    return None;
                }
                Step::Done(response) => {
                    self.nonce = signed.next();
                    judge(&call, &response)
                }
            },
        };
        let is_taken = matches!(verdict, Verdict::Taken);
        match verdict {
            Verdict::Taken => self.report.taken += 1,
            Verdict::Refused(why) => {
                self.report.failed += 1;
                self.report.error = Some(why);
                self.round_failed = true;
            }
            Verdict::Later(why, wait) => {
                self.report.failed += 1;
                self.report.error = Some(why);
                self.calls.clear();
                let backoff = RETRY.1.min(RETRY.0 * 2u32.saturating_pow(self.failures));
                self.failures = self.failures.saturating_add(1);
                self.due = now.plus(wait.map_or(backoff, |wait| wait.min(RETRY.1)));
                return Some((call, false));
            }
        }
        self.failures = 0;
        if self.calls.is_empty() {
            if !self.round_failed {
                self.report.error = None;
            }
            self.due = now.plus(self.interval);
        }
        Some((call, is_taken))
    }
}
