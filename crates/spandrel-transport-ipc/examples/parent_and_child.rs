//! A parent starts a child (this program again) and talks to it over the child's standard streams.
//!
//! Run: `cargo run -p spandrel-transport-ipc --example parent_and_child`

use std::io::Write as _;

use spandrel_transport::{Close, Connection, Frame, Limits};
use spandrel_transport_ipc::{spawn, stdio};
use tokio::process::Command;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    if std::env::args().nth(1).as_deref() == Some("child") { child().await } else { parent().await }
}

async fn parent() -> Result<(), Box<dyn std::error::Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("child");
    let mut child = spawn(command, &Limits::default())?;
    let mut conn = Connection::new(child.link);
    conn.send(Frame::text(r#"{"key":"greet","value":"world"}"#)).await?;
    let answer = conn.recv().await?.ok_or("the child left early")?;
    writeln!(std::io::stdout(), "the child says {:?}", answer.as_text())?;
    conn.close(Close::normal()).await?; // the child sees the end of its standard input
    let status = child.process.wait().await?;
    writeln!(std::io::stdout(), "the child ended: {status}")?;
    Ok(())
}

async fn child() -> Result<(), Box<dyn std::error::Error>> {
    let mut conn = Connection::new(stdio(&Limits::default())?);
    while let Some(frame) = conn.recv().await? {
        let text = frame.as_text().unwrap_or("no UTF-8");
        conn.feed(Frame::text(format!(r#"{{"key":"echo","value":{text}}}"#))).await?;
    }
    conn.close(Close::normal()).await?; // waits until all is written
    Ok(())
}
