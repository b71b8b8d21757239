//! Socket.IO 2 over tokio: a server for polling and WebSocket with the upgrade between them, and a client.
