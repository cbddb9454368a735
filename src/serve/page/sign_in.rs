//! Signing in and out, and the answer to those who may not see something: for people a page that says what to do, for
//! programs an error.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Redirect, Response};
use axum::{Extension, Form, Json};
use maud::{Markup, html};
use serde::Deserialize;

use super::access::{AccessError, COOKIE, PageAccess, Viewer};
use super::layout::{document, not_found};
use super::sources::PageSources;
use super::view::ApiError;
use crate::serve::accept::ConnectionPeer;

/// What the form sends.
#[derive(Deserialize)]
pub(super) struct SignIn {
    token: String,
    /// Where to go then.
    #[serde(default)]
    next: String,
}

/// Authenticates a request, and gives its viewer to the handler. Static files and the form itself need no authentication.
pub(super) async fn check_access(
    State(sources): State<Arc<PageSources>>,
    mut request: Request,
    next: Next,
) -> Response {
    let path = request.uri().path().to_owned();
    if path.starts_with("/static/") || ["/sign-in", "/sign-out"].contains(&path.as_str()) {
        request.extensions_mut().insert(Viewer::Anyone);
        return next.run(request).await;
    }
    let wanted = request.uri().path_and_query().map_or("/".to_owned(), ToString::to_string);
    let authenticated = match &sources.access {
        PageAccess::Everyone => Ok(Viewer::Anyone),
        PageAccess::Reviewed(review) => match request.extensions().get::<ConnectionPeer>() {
            Some(peer) => review.authenticate(peer, request.headers()).await,
            None => Err(AccessError::Unauthenticated("It is not known where the request comes from.")),
        },
    };
    let (viewer, mut response) = match authenticated {
        Ok(viewer) => {
            request.extensions_mut().insert(viewer.clone());
            (viewer, next.run(request).await)
        }
        Err(error) => (Viewer::Anyone, error.into_response()),
    };
    match response.extensions_mut().remove::<AccessError>() {
        Some(error) => refusal(&sources, &viewer, &error, &path, &wanted),
        None => response,
    }
}

/// The answer to somebody who may not see something.
fn refusal(sources: &PageSources, viewer: &Viewer, error: &AccessError, path: &str, wanted: &str) -> Response {
    let why = error.to_string();
    let mut response = if path.starts_with("/api/") {
        (error.status(), Json(ApiError { error: why })).into_response()
    } else if path.starts_with("/events") {
        (error.status(), format!("{why}\n")).into_response()
    } else {
        let title = match error {
            AccessError::Unauthenticated(_) => "Sign in",
            AccessError::Forbidden(_) => "Not allowed",
            AccessError::Unavailable => "Not available",
        };
        let body = html! {
            h1 { (title) }
            p #reason role="alert" { (why) }
            @match error {
                AccessError::Unauthenticated(_) => { (sign_in_help(sources, wanted)) }
                AccessError::Forbidden(_) => { (permission_help()) }
                AccessError::Unavailable => {}
            }
        };
        (error.status(), document(title, viewer, &(sources.role)(), None, &body)).into_response()
    };
    if matches!(error, AccessError::Unauthenticated(_)) {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"paceline\""));
    }
    response
}

/// How to sign in.
fn sign_in_help(sources: &PageSources, wanted: &str) -> Markup {
    let PageAccess::Reviewed(review) = &sources.access else { return html! {} };
    html! {
        @if let Some(audiences) = review.audiences() { (with_token(audiences, wanted)) }
        @if review.proxy().is_some() {
            p { "Or open this page through the proxy in front of it, which tells it who you are." }
        }
    }
}

fn with_token(audiences: &[String], wanted: &str) -> Markup {
    let audience = audiences.first().map_or(String::new(), |audience| format!(" --audience {audience}"));
    html! {
        p { "Sign in with a token of Kubernetes. You see the ScaledConsumers that its account may list. For a ServiceAccount, make one with:" }
        pre.scroll #token-command tabindex="0" role="region" aria-label="Command" { code { "kubectl -n NAMESPACE create token SERVICEACCOUNT" (audience) } }
        form.sign-in method="post" action="/sign-in" {
            input type="hidden" name="next" value=(wanted);
            label for="token" { "Token" }
            input #token type="password" name="token" required autocomplete="off" spellcheck="false";
            button type="submit" { "Sign in" }
        }
        p.note { "The token is kept in a cookie of this browser until you close it or sign out. Programs send it as " code { "Authorization: Bearer TOKEN" } "." }
    }
}

fn permission_help() -> Markup {
    html! {
        p { "Whoever administers the namespace can allow it, with the role " code { "view" } " for example:" }
        pre.scroll tabindex="0" role="region" aria-label="Command" { code { "kubectl -n NAMESPACE create rolebinding paceline-view --clusterrole view --user USER" } }
        p { a href="/" { "All ScaledConsumers" } }
    }
}

/// Puts a token that is valid into a cookie.
pub(super) async fn sign_in(
    State(sources): State<Arc<PageSources>>,
    headers: HeaderMap,
    form: Result<Form<SignIn>, FormRejection>,
) -> Response {
    let PageAccess::Reviewed(review) = &sources.access else {
        return not_found(State(sources), Extension(Viewer::Anyone)).await;
    };
    let Ok(Form(SignIn { token, next })) = form else {
        return (StatusCode::BAD_REQUEST, "The form has no token.\n").into_response();
    };
    if !is_own_form(&headers) {
        return (StatusCode::FORBIDDEN, "This form is on another site.\n").into_response();
    }
    let next = if is_path(&next) { next } else { "/".to_owned() };
    let token = token.trim();
    if let Err(error) = review.check_token(token).await {
        return refusal(&sources, &Viewer::Anyone, &error, "/", &next);
    }
    with_cookie(&sources, &format!("{COOKIE}={token}"), &next)
}

/// Deletes the cookie.
pub(super) async fn sign_out(State(sources): State<Arc<PageSources>>, headers: HeaderMap) -> Response {
    if !is_own_form(&headers) {
        return (StatusCode::FORBIDDEN, "This form is on another site.\n").into_response();
    }
    with_cookie(&sources, &format!("{COOKIE}=; Max-Age=0"), "/")
}

fn with_cookie(sources: &PageSources, cookie: &str, next: &str) -> Response {
    let secure = if sources.certificate.is_some() { "; Secure" } else { "" };
    // No script reads it, and no other site's form or frame sends it.
    let cookie = HeaderValue::from_str(&format!("{cookie}; Path=/; HttpOnly; SameSite=Lax{secure}"));
    let Ok(cookie) = cookie else { return StatusCode::BAD_REQUEST.into_response() };
    ([(header::SET_COOKIE, cookie)], Redirect::to(next)).into_response()
}

/// Whether a form was sent by a page of this server; browsers say.
fn is_own_form(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_none_or(|site| site == "same-origin" || site == "none")
}

/// Whether a text is a path of this server, and no other server's address.
fn is_path(text: &str) -> bool {
    text.starts_with('/')
        && !text.starts_with("//")
        && text.bytes().all(|byte| (0x21..0x7f).contains(&byte) && byte != b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_signing_in_nobody_is_led_to_another_server() {
        let rows = [
            ("/", true),
            ("/namespaces/shop/scaledconsumers/orders?span=1h", true),
            ("", false),
            ("//evil.example", false),
            ("/\\evil.example", false),
            ("https://evil.example", false),
            ("/a\r\nb", false),
        ];
        for (text, expected) in rows {
            assert_eq!(is_path(text), expected, "{text:?}");
        }
    }
}
