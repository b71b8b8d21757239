//! The accept loop every server needs.

use std::{future::poll_fn, sync::Arc, time::Duration};

use spandrel_wire::Limits;
use tokio::sync::Semaphore;

use crate::{AcceptError, Connection, Listener};

/// Pause after a failed accept: out of descriptors, the next try would fail at once.
const PAUSE: Duration = Duration::from_millis(100);

/// Takes in peers until `stop` is done: each handshake and each `handle` runs in a task of its own, at most
/// [`handshakes_max`](Limits::handshakes_max) handshakes at once. Returns when `stop` is done or the listener is over;
/// connections already open go on.
pub async fn serve<H, F>(
    mut listener: Box<dyn Listener>,
    limits: Limits,
    stop: impl Future<Output = ()>,
    handle: H,
) where
    H: Fn(Connection) -> F + Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let handshakes = Arc::new(Semaphore::new(limits.handshakes_max.max(1)));
    let mut stop = std::pin::pin!(stop);
    let mut is_failing = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => return,
            accepted = async {
                // A slot first: peers over the cap wait in the system's queue, not in ours.
                let slot = Arc::clone(&handshakes).acquire_owned().await.map_err(|_| AcceptError::Closed)?;
                let incoming = poll_fn(|cx| listener.poll_accept(cx)).await?;
                Ok::<_, AcceptError>((slot, incoming))
            } => accepted,
        };
        match accepted {
            Ok((slot, incoming)) => {
                is_failing = false;
                let (handle, limits) = (handle.clone(), limits.clone());
                tokio::spawn(async move {
                    let address = incoming.address();
                    let link = incoming.accept().await;
                    drop(slot);
                    match link {
                        Ok(link) => handle(Connection::with_limits(link, &limits)).await,
                        Err(error) => tracing::debug!(?address, %error, "peer not taken in"),
                    }
                });
            }
            Err(AcceptError::Closed) => return,
            Err(error) => {
                if !std::mem::replace(&mut is_failing, true) {
                    tracing::warn!(%error, "cannot accept, trying again");
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}
