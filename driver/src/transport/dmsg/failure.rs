//! Mapping of DMSG's errors to those of the node.

use skydht_core::node::OpenFailure;
use skydht_dmsg::client::DialError;
use skydht_dmsg::endpoint::StreamError;
use skydht_dmsg::object::ErrorCode;
use skydht_dmsg::session::SessionError;

/// Returns whether the peer has signed a refusal that stays true for a while: it runs no DHT.
pub(super) const fn says_no_dht(error: &DialError) -> bool {
    matches!(
        error,
        DialError::Stream(StreamError::Refused(
            ErrorCode::NoListener | ErrorCode::NoReason
        ))
    )
}

/// Maps the error of a dial.
pub(super) fn to_open_failure(error: &DialError) -> OpenFailure {
    match error {
        DialError::NoRoute => OpenFailure::NoAddress,
        DialError::Closed => OpenFailure::Closing,
        DialError::Stream(error) => of_stream(error),
        DialError::Timeout(StreamError::Session(SessionError::TooManyStreams)) => {
            OpenFailure::Overloaded
        }
        DialError::Timeout(_) => OpenFailure::Timeout,
        _ => OpenFailure::Unreachable,
    }
}

fn of_stream(error: &StreamError) -> OpenFailure {
    match error {
        StreamError::Refused(ErrorCode::NoNextSession) => OpenFailure::NoAddress,
        // Our own ports are used up.
        StreamError::Refused(ErrorCode::PortOccupied)
        | StreamError::Session(SessionError::TooManyStreams) => OpenFailure::Overloaded,
        StreamError::Timeout => OpenFailure::Timeout,
        StreamError::Response(_) | StreamError::Sealing(_) | StreamError::Noise(_) => {
            OpenFailure::Handshake
        }
        _ => OpenFailure::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use skydht_dmsg::handshake::NoiseError;
    use skydht_dmsg::session::CloseReason;

    use super::*;

    #[test]
    fn each_error_means_what_the_node_can_act_on() {
        let full = || StreamError::Session(SessionError::TooManyStreams);
        let over = || StreamError::Session(SessionError::Closed(CloseReason::Remote));
        let refused = |code| DialError::Stream(StreamError::Refused(code));
        let cases = [
            (DialError::NoRoute, OpenFailure::NoAddress),
            (DialError::Closed, OpenFailure::Closing),
            (DialError::NotPublic(None), OpenFailure::Unreachable),
            (DialError::Timeout(full()), OpenFailure::Overloaded),
            (
                DialError::Timeout(StreamError::Closed),
                OpenFailure::Timeout,
            ),
            (DialError::Stream(full()), OpenFailure::Overloaded),
            (DialError::Stream(over()), OpenFailure::Unreachable),
            (
                DialError::Stream(StreamError::Closed),
                OpenFailure::Unreachable,
            ),
            (
                DialError::Stream(StreamError::Timeout),
                OpenFailure::Timeout,
            ),
            (refused(ErrorCode::NoNextSession), OpenFailure::NoAddress),
            (refused(ErrorCode::PortOccupied), OpenFailure::Overloaded),
            (refused(ErrorCode::NoListener), OpenFailure::Unreachable),
            (
                refused(ErrorCode::AcceptQueueFull),
                OpenFailure::Unreachable,
            ),
            (
                DialError::Stream(StreamError::Response(ErrorCode::ResponseSignature.into())),
                OpenFailure::Handshake,
            ),
            (
                DialError::Stream(StreamError::Noise(NoiseError::Forged)),
                OpenFailure::Handshake,
            ),
        ];
        for (error, expected) in cases {
            assert_eq!(to_open_failure(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn only_a_signed_word_of_the_peer_says_that_it_runs_no_dht() {
        let refused = |code| DialError::Stream(StreamError::Refused(code));
        assert!(says_no_dht(&refused(ErrorCode::NoListener)));
        assert!(says_no_dht(&refused(ErrorCode::NoReason)));
        // Errors of ours or of the relay, or temporary ones.
        for other in [
            refused(ErrorCode::AcceptQueueFull),
            refused(ErrorCode::NoNextSession),
            refused(ErrorCode::PortOccupied),
            DialError::Stream(StreamError::Closed),
            DialError::Stream(StreamError::Timeout),
            DialError::NoRoute,
        ] {
            assert!(!says_no_dht(&other), "{other:?}");
        }
    }
}
