//! Answers of the API: JSON, and errors as `{"error": {"code", "message"}}`.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{self, FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::rules::purge::PurgeError;

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

impl From<PurgeError> for Refusal {
    fn from(error: PurgeError) -> Self {
        match error {
            PurgeError::TooMany { .. } => {
                Refusal::new(StatusCode::PAYLOAD_TOO_LARGE, error.to_string())
            }
            other => Refusal::bad(other.to_string()),
        }
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

/// The query, or a 400 like every other.
pub(super) struct Query<T>(pub T);

impl<T: serde::de::DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let query = extract::Query::try_from_uri(&parts.uri);
        query.map(|query| Query(query.0)).map_err(|error| Refusal::bad(error.body_text()))
    }
}

/// What stands in the path, or a 404.
pub(super) struct Path<T>(pub T);

impl<T: serde::de::DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let path = extract::Path::<T>::from_request_parts(parts, state).await;
        path.map(|path| Path(path.0)).map_err(|error| Refusal::not_found(error.body_text()))
    }
}

/// 200 with `value` as JSON.
pub(super) fn ok(value: impl serde::Serialize) -> Answer {
    Ok(Json(value).into_response())
}
