//! Pages that are part of the program: a few files in memory, revalidated by content.

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use spandrel_crypto::{hex, sha256};

use crate::files::no_body;
use crate::{Precondition, Validators, precondition};

/// One file of a page, usually from `include_bytes!`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    /// The whole path it is served under, such as `/` or `/app.js`.
    pub path: &'static str,
    /// Value of `Content-Type`; visible ASCII.
    pub content_type: &'static str,
    /// The content.
    pub bytes: &'static [u8],
}

/// The assets of one page and the policy they are sent with.
#[derive(Debug, Clone)]
pub struct Assets {
    items: Vec<(Asset, HeaderValue)>,
    csp: HeaderValue,
}

impl Assets {
    /// Hashes the assets once. `csp` is the `Content-Security-Policy` of all of them; forbid framing there
    /// (`frame-ancestors 'none'`).
    #[must_use]
    pub fn new(assets: &[Asset], csp: &'static str) -> Self {
        let tag = |bytes| HeaderValue::try_from(format!("\"sha256-{}\"", hex(&sha256(bytes))));
        let items = assets
            .iter()
            .map(|asset| (*asset, tag(asset.bytes).expect("hexadecimal in quotes is a header value")))
            .collect();
        Self { items, csp: HeaderValue::from_static(csp) }
    }

    /// The paths that [`answer`](Self::answer) knows, for the router.
    pub fn paths(&self) -> impl Iterator<Item = &'static str> {
        self.items.iter().map(|(asset, _)| asset.path)
    }

    /// Answers a GET or HEAD for an asset, 200 or 304; another method is 405. `None`: no such path.
    #[must_use]
    pub fn answer(&self, path: &str, method: &Method, headers: &HeaderMap) -> Option<Response> {
        let (asset, etag) = self.items.iter().find(|(asset, _)| asset.path == path)?;
        if method != Method::GET && method != Method::HEAD {
            return Some((StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response());
        }
        let now = Validators { etag: etag.clone(), modified: None };
        let mut answer = match precondition(headers, &now) {
            Precondition::Failed => return Some(StatusCode::PRECONDITION_FAILED.into_response()),
            Precondition::NotModified => (StatusCode::NOT_MODIFIED, no_body()).into_response(),
            Precondition::Met => {
                let is_head = method == Method::HEAD;
                let body = if is_head { Body::empty() } else { Bytes::from_static(asset.bytes).into() };
                let mut answer = Response::new(body);
                let out = answer.headers_mut();
                out.insert(header::CONTENT_TYPE, HeaderValue::from_static(asset.content_type));
                out.insert(header::CONTENT_LENGTH, asset.bytes.len().into());
                answer
            }
        };
        let out = answer.headers_mut();
        out.insert(header::ETAG, now.etag);
        out.insert(header::CONTENT_SECURITY_POLICY, self.csp.clone());
        for (name, value) in FIXED {
            out.insert(name, HeaderValue::from_static(value));
        }
        Some(answer)
    }
}

/// `no-cache` means "ask each time": a new build is seen at once, an unchanged one costs a 304.
const FIXED: [(HeaderName, &str); 6] = [
    (header::CACHE_CONTROL, "no-cache"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-embedder-policy"), "require-corp"),
];

#[cfg(test)]
mod tests {
    use super::*;

    const ASSETS: [Asset; 2] = [
        Asset { path: "/", content_type: "text/html; charset=utf-8", bytes: b"<!doctype html>" },
        Asset { path: "/app.js", content_type: "text/javascript; charset=utf-8", bytes: b"let a" },
    ];

    fn assets() -> Assets {
        Assets::new(&ASSETS, "default-src 'none'; frame-ancestors 'none'")
    }

    #[test]
    fn an_asset_comes_with_its_policy_and_is_revalidated() {
        let got = assets().answer("/", &Method::GET, &HeaderMap::new()).unwrap();
        assert_eq!(got.status(), StatusCode::OK);
        for (name, want) in [
            ("content-type", "text/html; charset=utf-8"),
            ("content-length", "15"),
            ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(got.headers()[name], want, "{name}");
        }
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, got.headers()["etag"].clone());
        let got = assets().answer("/", &Method::GET, &again).unwrap();
        assert_eq!(got.status(), StatusCode::NOT_MODIFIED);
        let other = assets().answer("/app.js", &Method::GET, &again).unwrap();
        assert_eq!(other.status(), StatusCode::OK, "another file has another tag");
    }

    #[test]
    fn other_paths_and_methods_are_not_answered() {
        let assets = assets();
        for path in ["", "//", "/app.js/", "/App.js", "/../app.js"] {
            assert!(assets.answer(path, &Method::GET, &HeaderMap::new()).is_none(), "{path:?}");
        }
        let got = assets.answer("/", &Method::POST, &HeaderMap::new()).unwrap();
        assert_eq!(
            (got.status(), &got.headers()["allow"]),
            (StatusCode::METHOD_NOT_ALLOWED, &HeaderValue::from_static("GET, HEAD"))
        );
        assert_eq!(assets.paths().collect::<Vec<_>>(), ["/", "/app.js"]);
    }
}
