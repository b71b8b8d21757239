//! What the server asks its clients, and how it answers them.

use spandrel_socketio::{Limits, Value};
use spandrel_socketio_net::{AskError, SendError, ServerConfig, ServerEvent};
use tokio::time::timeout;

use crate::support::{SOON, Server};

#[tokio::test]
async fn answers_find_their_questions_and_others_are_passed_over() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut ws, socket) = server.ws().await;
    let first = socket.ask("first", &[&Value::TRUE]);
    let second = socket.ask("second", &[]);
    socket.emit("told", &[&Value::NULL]).unwrap();
    for want in [r#"420["first",true]"#, r#"421["second"]"#, r#"42["told",null]"#] {
        assert_eq!(ws.text().await, want);
    }
    // To nothing, the second, the second again, the first with a buffer.
    for text in ["4399[0]", "431[2]", "431[3]", r#"461-0[{"_placeholder":true,"num":0}]"#] {
        ws.say(text).await;
    }
    ws.frame(2, &[4, 1, 2]).await;
    assert_eq!(timeout(SOON, second).await.unwrap().unwrap().arg(0), Some(Value::from(2)));
    let ack = timeout(SOON, first).await.unwrap().unwrap();
    assert_eq!(ack.arg(0).unwrap().as_binary().unwrap(), [1, 2][..]);

    ws.say(r#"425["up"]"#).await;
    let ServerEvent::Received { event, .. } = server.event().await else {
        panic!("no acknowledgement is told")
    };
    socket.acknowledge(event.ack_id().unwrap(), &[&Value::binary(vec![9])]).unwrap();
    assert_eq!(ws.text().await, r#"461-5[{"_placeholder":true,"num":0}]"#);
    assert_eq!(ws.next().await, Some((2, vec![4, 9])));
}

#[tokio::test]
async fn a_polling_client_answers_too() {
    let mut server = Server::start(ServerConfig::default()).await;
    let (mut polling, socket) = server.poll().await;
    let answer = socket.ask("q", &[]);
    assert_eq!(polling.get().await.text(), r#"8:420["q"]"#);
    assert_eq!(polling.post("8:430[\"a\"]").await.text(), "ok");
    let ack = timeout(SOON, answer).await.unwrap().unwrap();
    assert_eq!(ack.arg(0), Some(Value::from_text("a")));
}

#[tokio::test]
async fn questions_are_bounded_and_end_with_the_session() {
    let mut limits = Limits::default();
    limits.acks_max = 2;
    let mut server = Server::start(ServerConfig::default().with_packet_limits(limits)).await;
    let (mut ws, socket) = server.ws().await;
    let (first, second) = (socket.ask("a", &[]), socket.ask("b", &[]));
    let third = socket.ask("c", &[]).await;
    assert_eq!(third, Err(AskError::NotSent(SendError::TooManyAcks { max: 2 })));
    drop(first); // makes room
    let fourth = socket.ask("d", &[]);
    for want in [r#"420["a"]"#, r#"421["b"]"#, r#"422["d"]"#] {
        assert_eq!(ws.text().await, want);
    }
    ws.say("430[]").await; // nobody waits for it any more
    ws.say(r#"42["up"]"#).await;
    assert_eq!(server.received().await.0, "up");
    drop(ws);
    for (name, unanswered) in [("second", second.await), ("fourth", fourth.await)] {
        assert_eq!(unanswered, Err(AskError::Closed), "{name}");
    }
    assert_eq!(server.closed().await, "the WebSocket was closed");
    assert_eq!(socket.ask("e", &[]).await, Err(AskError::NotSent(SendError::Closed)));
}
