// The least of a server: says hello and tells its state, signed or sealed as the client wants it. A real one is
// `spandrel-download-service`.

use spandrel_download_protocol::{
    ConnectionHealth, Limits, ServerEvent, SessionState, Subprotocol, SystemHealth, parse_message,
    write_message,
};
use spandrel_session::{
    Entropy, Layers, LayersConfig, SealKeys, Sealing, Side, Signer, Signing, signing_key,
};
use spandrel_transport::{Connection, Transport};

/// Listens on a free port for a client with this key and returns its address.
pub(crate) async fn server(kid: &'static str, secret: &'static str) -> String {
    let tcp = spandrel_transport_tcp::TcpTransport::new();
    let tcp = tcp.with_subprotocols(Subprotocol::ALL.iter().map(|p| p.as_str()));
    let listener = tcp.listen(&"tcp://127.0.0.1:0".parse().expect("an address")).await.expect("a port");
    let address = listener.local().to_string();
    let limits = spandrel_transport::Limits::default();
    let handle = move |conn| async move { drop(session(conn, kid, secret).await) };
    tokio::spawn(spandrel_transport::serve(listener, limits, std::future::pending(), handle));
    address
}

async fn session(
    mut conn: Connection,
    kid: &str,
    secret: &str,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let secret = spandrel_crypto::SecretKey::from_base64url(secret)?;
    let subprotocol =
        conn.peer().subprotocol.as_deref().and_then(Subprotocol::parse).ok_or("no subprotocol")?;
    let mut config = LayersConfig::new(Side::Server);
    config.deflates = subprotocol.has_deflate();
    config.signer = Some(Signer { kid: kid.parse()?, key: signing_key(&secret), mode: Signing::Required });
    let server_nonce = entropy().nonce;
    if let Some(cn) = conn.peer().query_param("cn") {
        let keys = SealKeys::derive(&secret, &spandrel_crypto::decode_base64url_array(cn)?, &server_nonce);
        config.sealing = Sealing::Keys(keys);
    }
    let mut layers = Layers::new(config);
    let hello = ConnectionHealth::Hello {
        server_time: 1_800_000_000_000, // whatever it is: the client goes by it
        session_id: "s1".to_owned(),
        protocol: subprotocol.to_string(),
        heartbeat_interval_ms: 10_000,
        heartbeat_timeout_ms: 5000,
        max_message_bytes: 1 << 20,
        features: vec![],
        system_health: SystemHealth::of(vec![], 0, 0, 0),
        server_nonce: subprotocol.has_aes().then(|| spandrel_crypto::encode_base64url(&server_nonce)),
    };
    let clock = spandrel_wire::WallMillis::new(1_800_000_000_000);
    let hello = write_message(ServerEvent::ConnectionHealth, "srv-1", 0, &serde_json::to_value(hello)?);
    conn.send(layers.hello(hello, clock, entropy)?).await?;
    while let Some(frame) = conn.recv().await? {
        let text = match layers.inbound(&frame) {
            Ok(text) => text.into_owned(),
            Err(error) => return Ok(conn.close(error.close()).await?),
        };
        layers.verify(&text, clock, &Default::default(), |_, _, _| Ok(()))?; // a real one remembers nonces
        let id = parse_message(&text, &Limits::default()).map_err(|refusal| refusal.error)?.request_id;
        let state: SessionState = SessionState {
            connected: true,
            last_heartbeat: 0,
            active_downloads: Default::default(),
            system_health: SystemHealth::of(vec![], 0, 0, 0),
        };
        let answer = write_message(ServerEvent::StatusUpdate, id.as_str(), 0, &serde_json::to_value(state)?);
        conn.send(layers.outbound(answer, clock, entropy)?).await?;
    }
    Ok(())
}

fn entropy() -> Entropy {
    let mut entropy = Entropy { nonce: [0; 16], iv: [0; 12] };
    getrandom::fill(&mut entropy.nonce).expect("random numbers");
    getrandom::fill(&mut entropy.iv).expect("random numbers");
    entropy
}
