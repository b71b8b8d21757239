//! Who may do what, and keys and tokens that change while they are in use.

use serde_json::{Value, json};
use spandrel_download_client::{Client, ClientOptions, ConnectionState, Credentials, Scope};

use super::FLIGHTS;
use super::data::{flights, with};
use super::server::{PATIENCE, Server};
use super::ws::{Came, SUBPROTOCOL, Ws};

const OLD_SECRET: &str = "ERERERERERERERERERERERERERERERERERERERERERE";
const NEW_SECRET: &str = "IiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiIiI";
const OLD_TOKEN: &str = "alice-old-token-0123456789";
const NEW_TOKEN: &str = "alice-new-token-0123456789";
const BOB: &str = "bob-token-0123456789";

fn auth(key: [&str; 2], token: &str) -> Value {
    let [id, secret] = key;
    json!({
        "mode": "required",
        "keys": [{ "id": id, "secret": secret, "principal": "alice" }],
        "bearerTokens": [{ "token": token, "principal": "alice" }, { "token": BOB, "principal": "bob" }],
    })
}

/// Flights that only alice may read, and the same for everybody.
fn server() -> Server {
    let datasets = json!([
        { "name": "flights", "path": FLIGHTS, "principals": ["alice"] },
        { "name": "departures", "path": FLIGHTS, "default": true },
    ]);
    Server::start(json!({ "datasets": datasets }), json!({ "auth": auth(["k1", OLD_SECRET], OLD_TOKEN) }))
}

fn bearer(token: &str) -> [(&'static str, String); 1] {
    [("authorization", format!("Bearer {token}"))]
}

async fn call(server: &Server, method: &str, path: &str, token: &str, body: &str) -> super::http::Answer {
    let head = bearer(token);
    let head: Vec<(&str, &str)> = head.iter().map(|(name, value)| (*name, value.as_str())).collect();
    server.http().send(method, path, &head, body.as_bytes()).await
}

async fn ws(server: &Server, token: &str) -> Ws {
    let [(name, value)] = bearer(token);
    let mut ws = Ws::open(server.address(), &[("sec-websocket-protocol", SUBPROTOCOL), (name, &value)])
        .await
        .expect("a connection");
    ws.expect("connection:health").await;
    ws
}

async fn with_key(server: &Server, id: &str, secret: &str) -> Client {
    let key = Credentials::key(id, secret).expect("a key");
    Client::connect(&server.url(), ClientOptions::default().credentials(key)).await.expect("a session")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_set_is_for_those_it_names() {
    let server = server();
    for (token, seen) in [(OLD_TOKEN, &["flights", "departures"][..]), (BOB, &["departures"])] {
        let listed = call(&server, "GET", "/v1/datasets", token, "").await.json();
        let names: Vec<&str> = listed["datasets"]
            .as_array()
            .expect("a list")
            .iter()
            .filter_map(|set| set["name"].as_str())
            .collect();
        assert_eq!(names, seen, "{listed}");
    }
    let request =
        with(flights(), &[("searchParams.dataset", json!("flights")), ("searchParams.limit", json!(10))]);
    let refused = call(&server, "POST", "/v1/downloads", BOB, &request.to_string()).await;
    assert_eq!(refused.status, 403);
    refused.refusal("FORBIDDEN");
    let mut bob = ws(&server, BOB).await;
    let answer = bob.ask("download:request", &request).await;
    assert_eq!((&answer["event"], &answer["data"]["code"]), (&json!("download:error"), &json!("FORBIDDEN")));
    assert_eq!(
        ws(&server, OLD_TOKEN).await.ask("download:request", &request).await["event"],
        "download:start"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_and_tokens_change_while_they_are_in_use() {
    let server = server();
    let mut by_token = ws(&server, OLD_TOKEN).await;
    let mut bob = ws(&server, BOB).await;
    let by_key = with_key(&server, "k1", OLD_SECRET).await;
    by_key.status(Scope::default()).await.expect("the key is good");
    let members = [("searchParams.limit", json!(8_000)), ("options.maxRowsPerSecond", json!(1_000))];
    let start = by_token.start(&with(flights(), &members)).await;
    let id = start["downloadId"].as_str().expect("an id").to_owned();

    server.configure(|config| config["auth"] = auth(["k2", NEW_SECRET], NEW_TOKEN));
    server.signal("HUP");
    let code = loop {
        match by_token.came().await {
            Came::Message(message) => {
                assert_ne!(message["event"], "download:complete", "it runs on meanwhile")
            }
            Came::Closed(code) => break code,
        }
    };
    assert_eq!(code, 4401, "the token is gone");
    let mut state = by_key.state();
    let failed = state.wait_for(|state| matches!(state, ConnectionState::Failed(_)));
    let failed = tokio::time::timeout(PATIENCE, failed).await.expect("in time").expect("it is told").clone();
    assert!(matches!(&failed, ConnectionState::Failed(failure) if failure.code == 4401), "{failed:?}");

    assert_eq!(call(&server, "GET", "/v1/downloads", OLD_TOKEN, "").await.status, 401);
    let renewed = with_key(&server, "k2", NEW_SECRET).await;
    let seen = renewed.status_of(id.parse().expect("an id")).await.expect("the new key is good");
    assert!(seen.is_some(), "the same jobs, as they are of the same principal");
    assert_eq!(bob.ask("connection:health", &json!({ "kind": "ping" })).await["data"]["kind"], "pong");
    let done = call(&server, "GET", &format!("/v1/downloads/{id}?wait=60"), NEW_TOKEN, "").await.json();
    let told = (&done["state"], &done["restarts"], &done["totalRows"]);
    assert_eq!(told, (&json!("completed"), &json!(0), &json!(8_000)), "{done}");
    let log = server.log();
    assert!(![OLD_SECRET, NEW_SECRET, OLD_TOKEN, NEW_TOKEN, BOB].iter().any(|secret| log.contains(secret)));
}
