//! Entry points for the fuzz member; not part of the API.

use http::{HeaderMap, HeaderValue, Method, header};
use spandrel_crypto::SecretKey;

use crate::{Guard, GuardConfig, Ranged, UrlSigner, Validators, if_range_holds, precondition, ranged};

/// First 8 bytes: length of the file, big-endian; rest: value of `Range`.
pub fn fuzz_range(data: &[u8]) {
    let Some((len, value)) = data.split_first_chunk::<8>() else { return };
    let len = u64::from_be_bytes(*len);
    let Ok(value) = std::str::from_utf8(value) else { return };
    if let Ranged::Part { start, end_inclusive } = ranged(value, len) {
        assert!(start <= end_inclusive && end_inclusive < len, "{start}-{end_inclusive} of {len}");
    }
}

/// One value for each of the conditional headers.
pub fn fuzz_conditional(data: &[u8]) {
    let Ok(value) = HeaderValue::from_bytes(data) else { return };
    let now = Validators {
        etag: HeaderValue::from_static("\"sha256-00\""),
        modified: Some(std::time::SystemTime::UNIX_EPOCH),
    };
    for name in [
        header::IF_MATCH,
        header::IF_NONE_MATCH,
        header::IF_MODIFIED_SINCE,
        header::IF_UNMODIFIED_SINCE,
        header::IF_RANGE,
    ] {
        let headers = HeaderMap::from_iter([(name, value.clone())]);
        let _ = precondition(&headers, &now);
        assert!(
            !if_range_holds(&headers, &now.etag)
                || headers.get(header::IF_RANGE).is_none_or(|v| v == now.etag)
        );
    }
}

/// Lines: `Host`, `Origin`, and, if there, a public URL and a listed origin.
pub fn fuzz_guard(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let mut lines = text.split('\n');
    let (host, origin) = (lines.next(), lines.next());
    let config = GuardConfig {
        listen_is_loopback: true,
        public_base_url: lines.next().map(str::to_owned),
        allowed_origins: lines.next().map(str::to_owned).into_iter().collect(),
    };
    let Ok(guard) = Guard::new(&config) else { return };
    let post = guard.check(&Method::POST, host, origin, false);
    let get = guard.check(&Method::GET, host, origin, false);
    assert_eq!(guard.check(&Method::GET, host, origin, true), post, "an upgrade is judged like a post");
    assert!(get.is_ok() || post.is_err(), "a post may do what a get may not");
    let strict = Guard::new(&GuardConfig { listen_is_loopback: true, ..GuardConfig::default() });
    if let Ok(strict) = strict {
        let alone = strict.check(&Method::POST, host, origin, false);
        assert!(alone.is_err() || post.is_ok(), "configuration only ever opens");
    }
}

/// A line with the path, a line with the query.
pub fn fuzz_signed_url(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (path, query) = text.split_once('\n').unwrap_or((text, ""));
    let signer = UrlSigner::new(&SecretKey::from_bytes([0x44; 32]), "fuzz");
    let _ = UrlSigner::is_signed(Some(query));
    let _ = signer.check(path, query, 0);
    assert!(signer.check(path, &signer.sign(path, 1), 1).is_ok(), "own signature refused");
}
