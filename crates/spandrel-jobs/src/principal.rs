//! Who owns a job.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// Who owns a job. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Principal(Arc<str>);

impl Principal {
    /// A principal called `name`.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }

    /// Everybody, when nobody has to say who they are.
    pub fn anonymous() -> Self {
        Self::new("anonymous")
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for Principal {
    fn from(name: String) -> Self {
        Self(name.into())
    }
}

impl From<Principal> for String {
    fn from(principal: Principal) -> Self {
        principal.as_str().to_owned()
    }
}
