//! Engine.IO 3 and Socket.IO 2 without I/O: packets, payloads, sessions of server and client.
