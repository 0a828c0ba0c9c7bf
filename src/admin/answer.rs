//! Answers of the API: JSON, and errors as `{"error": {"code", "message"}}`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// What a handler returns.
pub(super) type Answer = Result<Response, Refusal>;

/// A refused call: status and a message that says what was got and what was expected.
#[derive(Clone, Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    message: String,
    retry_after: Option<u64>,
}

impl Refusal {
    pub(super) fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Refusal { status, message: message.into(), retry_after: None }
    }

    pub(super) fn status(&self) -> StatusCode {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    /// 400.
    pub(super) fn bad(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }

    /// 404.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::NOT_FOUND, message)
    }

    /// 429, to be tried again after `seconds`.
    pub(super) fn too_many(seconds: u64, message: impl Into<String>) -> Self {
        let mut refusal = Refusal::new(StatusCode::TOO_MANY_REQUESTS, message);
        refusal.retry_after = Some(seconds.max(1));
        refusal
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = self.status.canonical_reason().unwrap_or("error").to_ascii_lowercase();
        let body = json!({"error": {"code": code.replace(' ', "_"), "message": self.message}});
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A JSON body, whatever its `Content-Type` says: `curl -d` calls everything a form. What
/// keeps a browser's forms out is the token and the guard's look at `Origin`.
pub(super) struct Sent<T>(pub T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let body = Bytes::from_request(request, state).await;
        let body = body.map_err(|error| Refusal::bad(error.body_text()))?;
        let value = serde_json::from_slice(&body);
        value.map(Sent).map_err(|error| Refusal::bad(format!("expected a JSON object: {error}")))
    }
}

/// 200 with `value` as JSON.
pub(super) fn ok(value: impl serde::Serialize) -> Answer {
    Ok(Json(value).into_response())
}
