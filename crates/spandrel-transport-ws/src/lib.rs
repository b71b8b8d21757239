//! WebSocket (RFC 6455) transport for spandrel-transport.
