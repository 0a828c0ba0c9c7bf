//! Everything that can go wrong for a client, as one closed list with one status each.
//!
//! A client-visible failure is made only from a `Fault`, so the status, the counter, the
//! log word and the text never disagree. Answers made from a fault are never stored.

use http::StatusCode;

/// Why a request was refused or could not be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The message is not one unambiguous HTTP request (RFC 9112 2.2, 3, 5, 6.3, 11.2).
    BadRequest(&'static str),
    /// The request was not complete within the deadline.
    RequestTimeout,
    /// The target is longer than the limit.
    UriTooLong,
    /// The head has too many bytes or fields.
    HeadTooLarge,
    /// The body is larger than the limit, or its framing carries too much.
    BodyTooLarge,
    /// A version of HTTP that is not spoken (RFC 9110 15.6.6).
    VersionNotSupported,
    /// A transfer coding that is known but not implemented (RFC 9112 6.1).
    CodingNotImplemented,
    /// `Expect` asks for something else than `100-continue` (RFC 9110 10.1.1).
    ExpectationFailed,
    /// The method is one this node never forwards (CONNECT, TRACE) or that is not
    /// allowed on this listener (PURGE).
    MethodNotAllowed,
    /// No site serves this host here, or the host is outside the certificate's names.
    Misdirected,
    /// Sent as TLS early data although it is not safe to replay (RFC 8470 5.2).
    TooEarly,
    /// The client asked for a stored answer only and there is none (RFC 9111 5.2.1.7).
    OnlyIfCached,
    /// This node's own name was found in `CDN-Loop` (RFC 8586).
    LoopDetected,
    /// The origin refused the connection, broke it, or answered with something that is
    /// not one unambiguous HTTP response.
    BadGateway(&'static str),
    /// The origin did not answer within the deadline.
    GatewayTimeout(&'static str),
    /// The node or the origin's queue is full; the client may retry.
    Overloaded(&'static str),
    /// A range of the representation that does not exist (RFC 9110 15.5.17).
    RangeNotSatisfiable,
    /// A precondition of the request is false (RFC 9110 13.1.1, 13.1.4).
    PreconditionFailed,
    /// A bug of ours: a task panicked. The connection is closed.
    Internal,
}

impl Fault {
    /// The status code the client sees.
    pub fn status(self) -> StatusCode {
        match self {
            Fault::BadRequest(_) => StatusCode::BAD_REQUEST,
            Fault::RequestTimeout => StatusCode::REQUEST_TIMEOUT,
            Fault::UriTooLong => StatusCode::URI_TOO_LONG,
            Fault::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Fault::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::VersionNotSupported => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Fault::CodingNotImplemented => StatusCode::NOT_IMPLEMENTED,
            Fault::ExpectationFailed => StatusCode::EXPECTATION_FAILED,
            Fault::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Fault::Misdirected => StatusCode::MISDIRECTED_REQUEST,
            Fault::TooEarly => StatusCode::TOO_EARLY,
            Fault::OnlyIfCached | Fault::GatewayTimeout(_) => StatusCode::GATEWAY_TIMEOUT,
            Fault::LoopDetected => StatusCode::LOOP_DETECTED,
            Fault::BadGateway(_) => StatusCode::BAD_GATEWAY,
            Fault::Overloaded(_) => StatusCode::SERVICE_UNAVAILABLE,
            Fault::RangeNotSatisfiable => StatusCode::RANGE_NOT_SATISFIABLE,
            Fault::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
            Fault::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// One word for log, counters and the `detail` of `Cache-Status` (an sf-token).
    pub fn word(self) -> &'static str {
        match self {
            Fault::BadRequest(_) => "bad-request",
            Fault::RequestTimeout => "request-timeout",
            Fault::UriTooLong => "uri-too-long",
            Fault::HeadTooLarge => "head-too-large",
            Fault::BodyTooLarge => "body-too-large",
            Fault::VersionNotSupported => "version-not-supported",
            Fault::CodingNotImplemented => "coding-not-implemented",
            Fault::ExpectationFailed => "expectation-failed",
            Fault::MethodNotAllowed => "method-not-allowed",
            Fault::Misdirected => "misdirected",
            Fault::TooEarly => "too-early",
            Fault::OnlyIfCached => "only-if-cached",
            Fault::LoopDetected => "loop-detected",
            Fault::BadGateway(_) => "bad-gateway",
            Fault::GatewayTimeout(_) => "gateway-timeout",
            Fault::Overloaded(_) => "overloaded",
            Fault::RangeNotSatisfiable => "range-not-satisfiable",
            Fault::PreconditionFailed => "precondition-failed",
            Fault::Internal => "internal",
        }
    }

    /// What happened, in a few words for the log and the answer's text.
    pub fn reason(self) -> &'static str {
        match self {
            Fault::BadRequest(why)
            | Fault::BadGateway(why)
            | Fault::GatewayTimeout(why)
            | Fault::Overloaded(why) => why,
            Fault::RequestTimeout => "the request did not arrive in time",
            Fault::UriTooLong => "the request target is too long",
            Fault::HeadTooLarge => "the request head is too large",
            Fault::BodyTooLarge => "the request body is too large",
            Fault::VersionNotSupported => "this version of HTTP is not spoken",
            Fault::CodingNotImplemented => "the only transfer coding taken is chunked",
            Fault::ExpectationFailed => "only 100-continue can be expected",
            Fault::MethodNotAllowed => "this method is not allowed here",
            Fault::Misdirected => "this host is not served here",
            Fault::TooEarly => "not safe to answer from early data",
            Fault::OnlyIfCached => "not in the cache",
            Fault::LoopDetected => "the request came through this node before",
            Fault::RangeNotSatisfiable => "the range lies outside the representation",
            Fault::PreconditionFailed => "a precondition of the request is false",
            Fault::Internal => "internal error",
        }
    }

    /// Whether the HTTP/1 connection must close after this answer, because what follows
    /// on it can no longer be told apart from the refused message.
    pub fn closes(self) -> bool {
        matches!(
            self,
            Fault::BadRequest(_)
                | Fault::RequestTimeout
                | Fault::UriTooLong
                | Fault::HeadTooLarge
                | Fault::BodyTooLarge
                | Fault::VersionNotSupported
                | Fault::CodingNotImplemented
                | Fault::ExpectationFailed
                | Fault::Internal
        )
    }
}
