//! One service, and how registering there goes.

use std::collections::VecDeque;
use std::time::Duration;

use skydht_core::key::SecretKey;
use skydht_core::time::Mono;

use crate::auth::{SignedCall, Step};
use crate::web::{Request, Response};

/// After a failure it is tried again so much later, twice as much after each further one.
const RETRY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(5 * 60));

/// How registering at a service goes.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct DeskReport {
    /// Calls that were taken.
    pub taken: u64,
    /// Calls that were refused or not answered.
    pub failed: u64,
    /// Why the last one failed, if it did.
    pub error: Option<String>,
}

/// What an answer to a call means.
pub(super) enum Verdict {
    Taken,
    /// It will not be taken as it is; the others may be.
    Refused(String),
    /// Not now; perhaps with a time that the service names.
    Later(String, Option<Duration>),
}

/// How a call is sent.
enum Sending {
    Plain,
    Signed(Box<SignedCall>),
}

/// See the module's documentation. `C` is a call of the service.
pub(super) struct Desk<C> {
    /// Over DMSG the stream proves the caller.
    over_dmsg: bool,
    interval: Duration,
    due: Mono,
    calls: VecDeque<C>,
    under_way: Option<(u64, C, Sending)>,
    /// What goes out next of a call that takes several requests.
    next_request: Option<Request>,
    nonce: Option<u64>,
    failures: u32,
    round_failed: bool,
    report: DeskReport,
}

impl<C> Desk<C> {
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

    /// Something has changed: the next round begins now, unless the service rests.
    pub(super) fn changed(&mut self, now: Mono) {
        if self.failures == 0 {
            self.due = self.due.min(now);
        }
    }

    /// When there is something to send; none while an answer is waited for.
    pub(super) fn next_deadline(&self, now: Mono) -> Option<Mono> {
        match (&self.under_way, &self.next_request) {
            (Some(_), None) => None,
            (Some(_), Some(_)) => Some(now),
            (None, _) => Some(self.due),
        }
    }

    /// The next request. `round` makes the calls of a new round, `write` a call's request.
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
            (Sending::Plain, request)
        } else {
            let (signed, first) = SignedCall::start(request, secret.clone(), self.nonce);
            (Sending::Signed(Box::new(signed)), first)
        };
        self.under_way = Some((id, call, step));
        Some(request)
    }

    /// What came of the request `id`; the call and its verdict once it is answered.
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
            (Ok(response), Sending::Plain) => judge(&call, &response),
            (Ok(response), Sending::Signed(signed)) => match signed.handle(response) {
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
