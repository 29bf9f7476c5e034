//! The caller's side of a signed request: obtains the nonce and signs.

use http::StatusCode;
use skydht_core::key::SecretKey;

use super::AuthError;
use super::headers::sign;
use super::nonces::{NextNonce, question};
use crate::web::{Request, Response};

/// Next step of a [`SignedCall`].
#[derive(Debug)]
pub enum Step {
    /// Send this request to the service, and pass its response to [`SignedCall::handle`].
    Send(Request),
    /// The call has ended with this response of the service.
    Done(Response),
}

enum Sent {
    Question,
    Request,
}

/// A signed request. If the service rejects its nonce, a new one is requested, once.
pub struct SignedCall {
    request: Request,
    secret: SecretKey,
    next: Option<u64>,
    asked: bool,
    sent: Sent,
}

impl std::fmt::Debug for SignedCall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SignedCall").finish_non_exhaustive()
    }
}

impl SignedCall {
    /// Starts a call that signs `request` with `secret`. `next` is the nonce left by the previous
    /// call ([`SignedCall::next`]), if any. Also returns the first request to send.
    #[must_use]
    pub fn start(request: Request, secret: SecretKey, next: Option<u64>) -> (Self, Request) {
        let mut call = Self {
            request,
            secret,
            next,
            asked: false,
            sent: Sent::Question,
        };
        let first = call.send();
        (call, first)
    }

    fn send(&mut self) -> Request {
        let Some(nonce) = self.next else {
            (self.asked, self.sent) = (true, Sent::Question);
            return question(&self.secret.public());
        };
        self.sent = Sent::Request;
        let mut request = self.request.clone();
        sign(&mut request, &self.secret, nonce);
        request
    }

    /// Takes the response to the request sent last. If the service does not answer the request for
    /// a nonce with one, its response ends the call.
    pub fn handle(&mut self, response: Response) -> Step {
        match self.sent {
            Sent::Question => {
                let said = serde_json::from_slice::<NextNonce>(response.body());
                match said {
                    Ok(said) if response.status() == StatusCode::OK => {
                        self.next = Some(said.next_nonce);
                        Step::Send(self.send())
                    }
                    _ => Step::Done(response),
                }
            }
            Sent::Request if AuthError::is_mismatch(&response) && !self.asked => {
                self.next = None;
                Step::Send(self.send())
            }
            Sent::Request => {
                if response.status() == StatusCode::OK {
                    self.next = self.next.map(|next| next.saturating_add(1));
                } else if AuthError::is_mismatch(&response) {
                    self.next = None;
                }
                Step::Done(response)
            }
        }
    }

    /// Returns the nonce for the next request, if it is known.
    #[must_use]
    pub fn next(&self) -> Option<u64> {
        self.next
    }
}
