//! Message connections that do not come by HTTP: other transports, and the parent of this process.

use std::sync::Arc;

use spandrel_download_protocol::{PAIR_BYTES_MAX, Subprotocol};
use spandrel_jobs::Principal;
use spandrel_session::{Layers, Side};
use spandrel_transport::{Connection, Limits, Link, Listener, serve};

use crate::Service;
use crate::admission::Session;
use crate::auth::Proof;
use crate::connection::talk;
use crate::socket::{begin, link_limits};
use crate::standing::Standing;
use crate::wire::Form;

impl Service {
    /// What a transport has to offer its peers, for [`serve_links`](Self::serve_links).
    pub fn subprotocols() -> impl Iterator<Item = &'static str> {
        Subprotocol::ALL.iter().map(|protocol| protocol.as_str())
    }

    /// Bounds a transport has to be given, so that messages of the configured size pass.
    pub fn link_limits(&self) -> Limits {
        link_limits(&self.0)
    }

    /// Bounds for a link to a parent process, whose lines hold a little more than the message.
    pub fn parent_limits(&self) -> Limits {
        let mut limits = link_limits(&self.0);
        limits.frame_bytes_max = limits.frame_bytes_max.saturating_add(PAIR_BYTES_MAX);
        limits
    }

    /// Takes in message connections (protocol section 2.2) until [`shut_down`](Self::shut_down) is called, which also
    /// brings those that are open to an end. A peer proves itself by the key its query names; bearer tokens cannot be
    /// sent here. Cancel safe: dropping the future stops accepting.
    pub async fn serve_links(&self, listener: Box<dyn Listener>) {
        let inner = Arc::clone(&self.0);
        let stopping = self.0.stopping.clone();
        serve(listener, self.link_limits(), stopping.cancelled_owned(), move |conn| {
            inner.tasks.track_future(begin(Arc::clone(&inner), conn, None))
        })
        .await;
    }

    /// Takes in processes of this machine that may speak as the parent does (protocol section 2.3), as
    /// [`serve_parent`](Self::serve_parent) does with one. Who may connect is for the listener to decide.
    pub async fn serve_parents(&self, listener: Box<dyn Listener>) {
        let service = self.clone();
        let stopping = self.0.stopping.clone();
        serve(listener, self.parent_limits(), stopping.cancelled_owned(), move |conn| {
            let service = service.clone();
            let tasks = service.0.tasks.clone();
            tasks.track_future(async move { service.parent(conn).await })
        })
        .await;
    }

    /// Talks to the parent of this process, line by line (protocol section 2.3), until it is gone, said something that
    /// ends a session, or [`shut_down`](Self::shut_down) was called. The parent is trusted: it is the principal
    /// `anonymous` without any proof, also where others have to bring one.
    pub async fn serve_parent(&self, link: Box<dyn Link>) {
        let conn = Connection::with_limits(link, &self.parent_limits());
        self.0.tasks.track_future(self.parent(conn)).await;
    }

    async fn parent(&self, conn: Connection) {
        let session = Session {
            principal: Principal::anonymous(),
            standing: Standing::new(self.0.rechecks.subscribe(), Proof::Nothing, None),
            layers: Layers::plain(Side::Server, self.parent_limits().frame_bytes_max),
            is_stranger: false,
            server_nonce: None,
        };
        talk(Arc::clone(&self.0), conn, session, Form::Pairs).await;
    }
}
