//! A session in fake time: a peer falls silent, is declared dead, and comes back on the third attempt.

use spandrel_session::{Backoff, BackoffPolicy, Beat, Heartbeat, HeartbeatTimes, Millis, Retry};

#[expect(clippy::print_stdout, reason = "an example shows its result")]
fn main() {
    let mut heart = Heartbeat::new(Millis::new(0), HeartbeatTimes::default());
    heart.heard(Millis::new(4000));
    let mut now = Millis::new(0);
    while let Some(wake) = heart.wake() {
        now = wake;
        match heart.tick(now) {
            Some(Beat::Ping) => println!("{now}: ping"),
            Some(Beat::Dead) => println!("{now}: nothing heard, close 4408"),
            None => {}
        }
    }

    let mut backoff = Backoff::new(BackoffPolicy::default());
    for random in [0, u32::MAX / 2, u32::MAX] {
        if let Retry::After { delay_ms, attempt } = backoff.lost(None, random) {
            now = now.after(delay_ms);
            println!("{now}: attempt {attempt}");
        }
    }
    backoff.connected();
    println!("{now}: hello, {} attempts counted", backoff.attempts());
}
