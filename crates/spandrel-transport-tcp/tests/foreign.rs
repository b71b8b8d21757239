//! The handshake and the frames as foreign bytes: raw sockets, and TLS that is not ours.

use std::future::poll_fn;

use spandrel_transport::{AcceptError, Connection, DialError, Transport};
use spandrel_transport_tcp::TcpTransport;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

#[tokio::test]
async fn hello_chooses_the_first_common_name() {
    let listening = TcpTransport::new().with_subprotocols(["v2", "v1"]);
    for (name, offered, want) in
        [("both", &["v1", "v2"][..], Some("v1")), ("one", &["v9", "v2"], Some("v2")), ("none", &["v9"], None)]
    {
        let mut listener = listening.listen(&"tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
        let to = listener.local().clone();
        let dialling =
            TcpTransport::new().with_subprotocols(offered.iter().copied()).with_query("kid=k1&cn=x");
        let accept = async { poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().accept().await };
        let (dialled, accepted) = tokio::join!(dialling.dial(&to), accept);
        match (want, dialled, accepted) {
            (Some(want), Ok(dialled), Ok(accepted)) => {
                assert_eq!(dialled.peer().subprotocol.as_deref(), Some(want), "{name}");
                assert_eq!(accepted.peer().subprotocol.as_deref(), Some(want), "{name}");
                assert_eq!(accepted.peer().query_param("kid"), Some("k1"), "{name}");
            }
            (None, Err(DialError::Closed { close }), Err(AcceptError::Handshake(_))) => {
                assert_eq!(close.code, 4406)
            }
            (_, dialled, accepted) => panic!("{name}: {:?}, {:?}", dialled.err(), accepted.err()),
        }
    }
}

#[tokio::test]
async fn a_wrong_length_is_answered_1009_and_closed() {
    let mut listener = TcpTransport::new().listen(&"tcp://127.0.0.1:0".parse().unwrap()).await.unwrap();
    for (name, length) in [("zero", 0_u32), ("one over", (1 << 20) + 2), ("the largest", u32::MAX)] {
        let mut stream = TcpStream::connect(listener.local().host_port().unwrap()).await.unwrap();
        let link = poll_fn(|cx| listener.poll_accept(cx)).await.unwrap().accept().await.unwrap();
        let server = tokio::spawn(async move { Connection::new(link).recv().await });
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        stream.write_all(&[7; 30_000]).await.unwrap(); // unread input must not reset the close away
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(answer[4..7], [3, 0x03, 0xF1], "{name}: kind 3, code 1009");
        drop(stream);
        assert!(server.await.unwrap().is_err(), "{name}");
    }
}
