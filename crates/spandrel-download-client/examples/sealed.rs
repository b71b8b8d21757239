//! A sealed and a deflated session with a server in the same process: `cargo run --example sealed`.

use spandrel_download_client::{Client, ClientOptions, ConnectionState, Credentials, Scope, Seal};

mod support {
    pub(crate) mod server;
}

const SECRET: &str = "ERERERERERERERERERERERERERERERERERERERERERE";

#[expect(clippy::print_stdout, reason = "an example shows its result")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = support::server::server("k1", SECRET).await;
    let options = ClientOptions::default()
        .credentials(Credentials::key("k1", SECRET)?)
        .seal(Seal::Required)
        .deflates(true);
    let client = Client::connect(&url, options.clone()).await?;
    if let ConnectionState::Connected(session) = &*client.state().borrow() {
        println!(
            "{url} speaks {}, signed: {}, sealed: {}",
            session.subprotocol, session.is_signed, session.is_sealed
        );
    }
    println!("its health is {:?}", client.status(Scope::All).await?.system_health.status);

    // Another key is noticed by the server, which says nothing but 4401; trying again would not help.
    let other = Credentials::key("k1", "REREREREREREREREREREREREREREREREREREREREREQ")?;
    let client = Client::connect(&url, options.credentials(other)).await?;
    if let Err(error) = client.status(Scope::All).await {
        println!("with another key: {error}");
    }
    Ok(())
}
