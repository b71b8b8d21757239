//! Who a caller is. The seam for bearer tokens and signed sessions.

use std::fmt;

use http::HeaderMap;
use spandrel_download_protocol::ErrorResponse;
use spandrel_jobs::Principal;

/// Says who a request comes from.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The principal of a request or upgrade with these headers.
    ///
    /// # Errors
    /// `AUTH_REQUIRED` or `AUTH_INVALID`; answered 401.
    fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, ErrorResponse>;

    /// Everybody is one principal and may fetch every file; file URLs need no signature.
    fn is_open(&self) -> bool;
}

/// Auth mode `none`: everybody is `anonymous`.
#[derive(Debug, Clone, Copy, Default)]
pub struct Open;

impl Authenticator for Open {
    fn authenticate(&self, _: &HeaderMap) -> Result<Principal, ErrorResponse> {
        Ok(Principal::anonymous())
    }

    fn is_open(&self) -> bool {
        true
    }
}
