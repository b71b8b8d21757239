//! Memory of connections that have left goes back to the system.
//!
//! The allocator keeps what a thread freed until that thread asks for memory again; a worker that sleeps after ten
//! thousand connections have left would keep theirs. So each worker, before it sleeps, gives back what it holds, at once
//! when many have ended since it last did and a little later when few have.

use std::cell::Cell;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use spandrel_download_service::Service;
use tokio::runtime::Builder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Connections that end before a worker looks at once: giving back costs about as much as a hundred messages.
const ENDED_ENOUGH: u64 = 64;
/// Fewer have to wait so long for each other.
const WAIT: Duration = Duration::from_millis(500);

thread_local! {
    static ENDED_BEFORE: Cell<u64> = const { Cell::new(0) };
    static LOOKED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// The service whose connections count, once there is one.
pub(crate) type Watched = Arc<OnceLock<Service>>;

/// Makes every worker of a runtime give back what connections have left.
pub(crate) fn give_back_on_park(runtime: &mut Builder, watched: &Watched) {
    let watched = Arc::clone(watched);
    runtime.on_thread_park(move || {
        let Some(service) = watched.get() else { return };
        let ended = service.connections_ended();
        let left = ended.saturating_sub(ENDED_BEFORE.get());
        if left >= ENDED_ENOUGH || (left > 0 && is_time()) {
            ENDED_BEFORE.set(ended);
            LOOKED.set(Some(now()));
            collect();
        }
    });
}

fn is_time() -> bool {
    LOOKED.get().is_none_or(|at| now().saturating_duration_since(at) >= WAIT)
}

#[expect(clippy::disallowed_methods, reason = "a hook of the runtime has no clock of its own")]
fn now() -> Instant {
    Instant::now()
}

#[expect(unsafe_code, reason = "a C function without arguments that matter or conditions to keep")]
fn collect() {
    // SAFETY: `mi_collect` may be called by any thread at any time; it touches free memory of the calling thread only.
    unsafe { libmimalloc_sys::mi_collect(true) }
}
