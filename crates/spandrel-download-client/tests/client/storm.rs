//! A thousand clients of one server that restarts, on virtual time: they do not come back in one instant.

use std::time::Duration;

use spandrel_download_client::{ClientOptions, ConnectionState, Subprotocol};
use spandrel_download_protocol::{ErrorCode, ErrorResponse};

use crate::stage::{Stage, soon};

const CLIENTS: usize = 1000;
const WINDOW_MS: u128 = 100;

/// Lets a thousand clients lose their connection at once and come back `down_ms` later; gives when they were let in,
/// in milliseconds after the loss.
async fn storm(down_ms: u64, retry_after_ms: Option<fn(usize) -> u64>) -> Vec<u128> {
    let mut server = Stage::set(&[Subprotocol::Json]);
    let (mut clients, mut lines) = (Vec::new(), Vec::new());
    for _ in 0..CLIENTS {
        let (client, line) = server.pair(ClientOptions::default()).await;
        clients.push(client);
        lines.push(line);
    }
    let lost = tokio::time::Instant::now();
    for (n, mut line) in lines.into_iter().enumerate() {
        if let Some(ms) = retry_after_ms {
            let later = ErrorResponse::new(ErrorCode::ShuttingDown, "restarting").with_retry_after(ms(n));
            line.complain("srv-9", &later).await;
        }
        tokio::spawn(line.close(1012));
    }
    let up = lost + Duration::from_millis(down_ms);
    let mut accepted = Vec::new();
    while accepted.len() < CLIENTS {
        let mut line = server.accept().await;
        // While the server is down, a dial fails before the hello.
        if tokio::time::Instant::now() < up {
            continue;
        }
        line.hello().await;
        accepted.push(lost.elapsed().as_millis());
        tokio::spawn(async move { line.goodbye().await });
    }
    for client in &clients {
        let mut state = client.state();
        soon(state.wait_for(|s| matches!(s, ConnectionState::Connected(_)))).await.unwrap();
    }
    accepted
}

/// Clients let in by the busiest window.
fn peak(accepted: &[u128]) -> usize {
    let in_window = |from: u128| accepted.iter().filter(|at| (from..from + WINDOW_MS).contains(at)).count();
    accepted.iter().map(|at| in_window(*at)).max().unwrap_or(0)
}

/// Steady is what comes when all spread evenly over the time that the policy gives them: the fifth either way of each
/// wait, added up, or the range of the server's `retryAfter`. Without jitter all of them would come in one window.
#[tokio::test(start_paused = true)]
async fn a_restart_brings_no_more_than_three_times_the_steady_rate() {
    let jittered = |n: usize| 2500 + (n as u64 * 7919) % 5000;
    for (name, down_ms, retry_after_ms, spread_ms) in [
        ("back at once", 0, None, 400),
        ("back after 2 s", 2000, None, 400 + 800),
        ("back after 5 s", 5000, None, 400 + 800 + 1600),
        ("retryAfter of 2.5 to 7.5 s", 2000, Some(jittered as fn(usize) -> u64), 5000),
    ] {
        let accepted = storm(down_ms, retry_after_ms).await;
        assert_eq!(accepted.len(), CLIENTS, "{name}: everybody is back");
        let (peak, steady) = (peak(&accepted), CLIENTS * WINDOW_MS as usize / spread_ms);
        assert!(peak <= 3 * steady, "{name}: {peak} in the busiest 100 ms, {steady} in a steady one");
        if retry_after_ms.is_some() {
            // A server that says goodbye spreads them over the whole time from the loss to the last.
            let whole = usize::try_from(*accepted.iter().max().unwrap_or(&0)).unwrap();
            let steady = CLIENTS * WINDOW_MS as usize / whole;
            assert!(peak <= 3 * steady, "{name}: {peak} in the busiest 100 ms, {steady} in the mean one");
        }
    }
}
