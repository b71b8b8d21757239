//! Inside other HTTP servers, and other answers inside ours.

use std::net::SocketAddr;

use axum::{Router, extract::ConnectInfo, routing::any};
use http::{Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use spandrel_socketio_net::{Bytes, ServerConfig, SocketServer};
use tokio::net::TcpListener;

use crate::support::{Http, Server, Ws};

/// Ours as one route of axum, which has a body of its own.
#[tokio::test]
async fn axum_passes_requests_and_upgrades_on() {
    let (server, events) = SocketServer::new(ServerConfig::default());
    let ours = server.clone();
    let answer = move |ConnectInfo(address): ConnectInfo<SocketAddr>, request: axum::extract::Request| async move {
        ours.handle(request, address).await.map(axum::body::Body::new)
    };
    let app = Router::new().route("/socket.io/", any(answer)).route("/", any(|| async { "axum" }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut server = Server::behind(server, events, listener.local_addr().unwrap());
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, app).await });

    assert_eq!(server.http().await.get("/").await.text(), "axum");
    let (mut polling, socket) = server.poll().await;
    assert_eq!(polling.post(r#"10:42["up",1]"#).await.text(), "ok");
    assert_eq!(server.received().await, ("up".to_owned(), "1".to_owned()));
    socket.emit("down", &[]).unwrap();
    assert_eq!(polling.get().await.text(), r#"10:42["down"]"#);
    let (mut ws, _socket) = server.ws().await;
    ws.say(r#"42["ws",2]"#).await;
    assert_eq!(server.received().await, ("ws".to_owned(), "2".to_owned()));
}

/// Answers with the body it was sent, and takes a WebSocket of its own.
async fn other(mut request: Request<Incoming>) -> Response<Full<Bytes>> {
    if request.headers().contains_key(header::UPGRADE) {
        let upgrade = spandrel_transport_ws::upgrade(&request, None, |_| None).unwrap();
        let upgrading = hyper::upgrade::on(&mut request);
        tokio::spawn(async move {
            let limits = spandrel_transport::Limits::default();
            let link =
                spandrel_transport_ws::accept_upgraded(upgrading.await.unwrap(), upgrade.peer, &limits);
            let mut link = spandrel_transport::Connection::new(link);
            link.send(spandrel_transport::Frame::text("not Socket.IO")).await.unwrap();
        });
        return upgrade.response.map(|()| Full::default());
    }
    match Limited::new(request.into_body(), 10).collect().await {
        Ok(body) => Response::new(body.to_bytes().into()),
        Err(_) => {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::PAYLOAD_TOO_LARGE;
            response
        }
    }
}

async fn start(config: ServerConfig) -> Server {
    let (server, events) = SocketServer::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, serving) = (listener.local_addr().unwrap(), server.clone());
    tokio::spawn(async move {
        while let Ok((stream, address)) = listener.accept().await {
            let server = serving.clone();
            tokio::spawn(async move { server.serve_connection_with(Box::new(stream), address, other).await });
        }
    });
    Server::behind(server, events, address)
}

#[tokio::test]
async fn a_fallback_may_wait_for_the_body_and_take_websockets() {
    let mut server = start(ServerConfig::default()).await;
    let mut http = server.http().await;
    assert_eq!(http.request("POST", "/api", &[], b"ten bytes!").await.text(), "ten bytes!");
    assert_eq!(http.request("POST", "/api", &[], b"eleven byte").await.status, 413);
    let mut ws = Ws::connect(server.address, "/own").await.unwrap();
    assert_eq!(ws.text().await, "not Socket.IO");
    let (_polling, _socket) = server.poll().await;
}

#[tokio::test]
async fn the_path_is_a_setting() {
    for path in ["/bridge/io/", "bridge/io"] {
        let mut server = start(ServerConfig::default().with_path(path)).await;
        let reply = server.http().await.get("/bridge/io/?EIO=3&transport=polling").await;
        assert!(reply.text().contains("\"sid\""), "{path}: {}", reply.text());
        server.opened().await;
        assert!(Ws::connect(server.address, "/bridge/io/?EIO=3&transport=websocket").await.is_ok(), "{path}");
        server.opened().await;
        let address = server.address;
        let asked = async |target| Http::connect(address).await.get(target).await;
        assert_eq!(asked("/bridge/io/other?EIO=3&transport=polling").await.status, 404, "{path}");
        for target in ["/socket.io/?EIO=3&transport=polling", "/bridge/iota/?EIO=3&transport=polling"] {
            let reply = asked(target).await;
            assert_eq!((reply.status, &*reply.text()), (200, ""), "{path}: {target} is for the fallback");
        }
    }
    // The client of this crate names it too.
    let mut server = start(ServerConfig::default().with_path("/io/")).await;
    let mut config = spandrel_socketio_net::ClientConfig::new(
        "127.0.0.1",
        server.address.port(),
        spandrel_socketio_net::Transports::PollingThenWebSocket,
    );
    config.path = "/io/".to_owned();
    let (_socket, _events) = spandrel_socketio_net::connect(config).await.unwrap();
    server.opened().await;
}
