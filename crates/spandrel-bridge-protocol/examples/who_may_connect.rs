//! Judges origins by a list: `cargo run -p spandrel-bridge-protocol --example who_may_connect -- default,null null file://`

use std::io::Write as _;

use spandrel_bridge_protocol::{Facts, Header, Origins, Rules};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let list = args.next().unwrap_or_else(|| "default".to_owned());
    let rules = Rules::new(Origins::parse(&list)?);
    let mut asked: Vec<String> = args.collect();
    if asked.is_empty() {
        let some = [
            "https://playentry.org",
            "https://a.playentry.org",
            "https://playentry.org.evil.example",
            "null",
        ];
        asked.extend(some.map(str::to_owned));
    }
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", rules.origins())?;
    for origin in asked {
        let host = Header::One(b"127.0.0.1:23518");
        let facts = Facts { host, origin: Header::One(origin.as_bytes()), ..Facts::default() };
        match rules.judge(&facts) {
            Ok(_) => writeln!(out, "admitted {origin}")?,
            Err(refusal) => writeln!(out, "{refusal}")?,
        }
    }
    Ok(())
}
