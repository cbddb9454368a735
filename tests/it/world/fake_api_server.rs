//! An API server made of one function, in this process: for answers that a real one gives seldom, and for tests in
//! paused time.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};

/// A request as the server sees it.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) body: Value,
}

impl Asked {
    pub(crate) fn is_watch(&self) -> bool {
        self.query.contains("watch=true")
    }
}

pub(crate) type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What has been asked so far.
#[derive(Clone, Default)]
pub(crate) struct Requests(Arc<Mutex<Vec<Asked>>>);

impl Requests {
    pub(crate) fn count(&self, is: impl Fn(&Asked) -> bool) -> usize {
        self.0.lock().unwrap().iter().filter(|asked| is(asked)).count()
    }

    pub(crate) fn all(&self) -> Vec<Asked> {
        self.0.lock().unwrap().clone()
    }
}

/// A client of a server that answers with this function.
pub(crate) fn serve<F>(answer: impl Fn(Asked) -> F + Send + Sync + 'static) -> (Client, Requests)
where
    F: Future<Output = Answer> + Send + 'static,
{
    let (answer, requests) = (Arc::new(answer), Requests::default());
    let seen = requests.clone();
    let service = tower::service_fn(move |request: Request<Body>| {
        let (answer, seen) = (Arc::clone(&answer), seen.clone());
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.expect("the body is whole").to_bytes();
            let asked = Asked {
                method: parts.method.to_string(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().unwrap_or_default().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            seen.0.lock().unwrap().push(asked.clone());
            Ok::<_, Infallible>(answer(asked).await)
        }
    });
    (Client::new(service, "default"), requests)
}

pub(crate) fn ok(body: &Value) -> Answer {
    answer(StatusCode::OK, body)
}

/// An error as the API server words it.
pub(crate) fn refuse(code: u16, reason: &str, message: &str) -> Answer {
    let status = json!({"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message});
    answer(StatusCode::from_u16(code).unwrap(), &status)
}

/// A watch that has these events and then goes on without an end.
pub(crate) fn watch(events: &[Value]) -> Answer {
    let text: String = events.iter().map(|event| format!("{event}\n")).collect();
    let first = futures::stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from(text)))]);
    let body = StreamBody::new(futures::StreamExt::chain(first, futures::stream::pending()));
    Response::new(BodyExt::boxed_unsync(body))
}

/// Lets so much time pass, in a test whose clock only moves when nothing else can happen.
pub(crate) async fn elapse(duration: Duration) {
    tokio::time::sleep(duration).await;
}

/// Answers so much later.
pub(crate) async fn delayed(answer: Answer, duration: Duration) -> Answer {
    elapse(duration).await;
    answer
}

/// A watch without events that the server ends after this time.
pub(crate) fn watch_for(duration: Duration) -> Answer {
    let end = futures::stream::once(async move {
        tokio::time::sleep(duration).await;
        Ok::<_, Infallible>(Frame::data(Bytes::new()))
    });
    Response::new(BodyExt::boxed_unsync(StreamBody::new(end)))
}

/// A list of one page.
pub(crate) fn list(kind: &str, version: &str, items: &[Value]) -> Answer {
    ok(
        &json!({"apiVersion": "v1", "kind": format!("{kind}List"), "metadata": {"resourceVersion": version}, "items": items}),
    )
}

fn answer(code: StatusCode, body: &Value) -> Answer {
    let body = Full::new(Bytes::from(body.to_string()));
    Response::builder().status(code).body(BodyExt::boxed_unsync(body)).unwrap()
}
