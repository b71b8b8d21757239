//! Transports by scheme.

use std::{collections::BTreeMap, fmt, sync::Arc};

use spandrel_wire::Endpoint;

use crate::{DialError, Link, ListenError, Listener, Transport};

/// Finds the transport of an endpoint by its scheme. Cloning shares the transports.
#[derive(Clone, Default)]
pub struct Registry {
    transports: BTreeMap<&'static str, Arc<dyn Transport>>,
}

impl Registry {
    /// Makes an empty registry.
    #[must_use]
    pub const fn new() -> Self {
        Self { transports: BTreeMap::new() }
    }

    /// Adds a transport; one of the same scheme that was there before is replaced and returned.
    pub fn register(&mut self, transport: Arc<dyn Transport>) -> Option<Arc<dyn Transport>> {
        self.transports.insert(transport.scheme(), transport)
    }

    /// Adds a transport and returns the registry.
    #[must_use]
    pub fn with(mut self, transport: impl Transport + 'static) -> Self {
        self.register(Arc::new(transport));
        self
    }

    /// Returns the transport of a scheme.
    #[must_use]
    pub fn transport(&self, scheme: &str) -> Option<&Arc<dyn Transport>> {
        self.transports.get(scheme)
    }

    /// Walks over the schemes.
    pub fn schemes(&self) -> impl Iterator<Item = &'static str> {
        self.transports.keys().copied()
    }

    /// Opens a link.
    ///
    /// # Errors
    ///
    /// [`DialError::Unsupported`] for an unknown scheme, else what the transport says.
    pub async fn dial(&self, to: &Endpoint) -> Result<Box<dyn Link>, DialError> {
        match self.transport(to.scheme()) {
            Some(transport) => transport.dial(to).await,
            None => Err(DialError::Unsupported { endpoint: to.to_string() }),
        }
    }

    /// Starts to listen.
    ///
    /// # Errors
    ///
    /// [`ListenError::Unsupported`] for an unknown scheme, else what the transport says.
    pub async fn listen(&self, at: &Endpoint) -> Result<Box<dyn Listener>, ListenError> {
        match self.transport(at.scheme()) {
            Some(transport) => transport.listen(at).await,
            None => Err(ListenError::Unsupported { endpoint: at.to_string() }),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.transports.keys()).finish()
    }
}
