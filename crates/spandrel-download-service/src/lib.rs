//! The download server as a library: WebSocket sessions, REST, files, page.
