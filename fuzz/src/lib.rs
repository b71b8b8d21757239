//! Fuzz targets as plain functions; their seeds run as ordinary tests.
//!
//! A target takes any bytes and must neither panic nor take longer than [`SLOW`]. The functions live beside
//! the code they try, in each crate's hidden `fuzz` module; the table here names them. Every target has
//! seeds in `seeds/<name>/`; the tests run those, then mutations of them.
//!
//! Never measures coverage: that is the work of a real fuzzer, see `README.md`.
//!
//! ```
//! let run = spandrel_fuzz::target("authorization").expect("a target");
//! run(b"Bearer \xff");
//! ```
//!
//! Limits: a mutated input has at most [`INPUT_BYTES_MAX`] bytes.

mod mutate;
mod run;

pub use mutate::{INPUT_BYTES_MAX, Mutator};
pub use run::{Failure, SLOW, Seed, mutations, seeds, seeds_dir};

/// Hands every target to a macro as `name => function`, one line each. **Add targets here.**
///
/// The name is that of the folder with the seeds and, in the tests, of the module.
#[macro_export]
macro_rules! for_each_target {
    ($hand_to:ident) => {
        $hand_to! {
            admission => spandrel_bridge_protocol::fuzz::fuzz_admission,
            authorization => spandrel_crypto::fuzz::fuzz_authorization,
            base64url => spandrel_crypto::fuzz::fuzz_base64url,
            bridge_admission => spandrel_bridge_protocol::fuzz::fuzz_admission,
            bridge_decrypt => spandrel_bridge_protocol::fuzz::fuzz_decrypt,
            bridge_machine => spandrel_bridge::fuzz::fuzz_bridge_machine,
            bridge_origin => spandrel_bridge_protocol::fuzz::fuzz_origin,
            bridge_reports => spandrel_bridge_service::fuzz::fuzz_reports,
            canonical => spandrel_download_protocol::fuzz::fuzz_canonical,
            chain_actions => spandrel_chain::fuzz::fuzz_chain_actions,
            chain_block => spandrel_chain_protocol::fuzz::fuzz_block,
            chain_delta => spandrel_consensus::fuzz::fuzz_delta,
            chain_message => spandrel_chain_protocol::fuzz::fuzz_chain_message,
            chain_rules => spandrel_consensus::fuzz::fuzz_rules,
            chain_signatures => spandrel_consensus::fuzz::fuzz_signatures,
            chain_transaction => spandrel_chain_protocol::fuzz::fuzz_transaction,
            conversation => spandrel_download::fuzz::fuzz_conversation,
            csv_records => spandrel_source_parquet::fuzz::fuzz_records,
            decrypt => spandrel_bridge_protocol::fuzz::fuzz_decrypt,
            endpoint => spandrel_wire::fuzz::fuzz_endpoint,
            engineio_frame => spandrel_socketio::fuzz::fuzz_engineio_frame,
            engineio_payload => spandrel_socketio::fuzz::fuzz_engineio_payload,
            filter_text => spandrel_download_protocol::fuzz::fuzz_filter_text,
            http_conditional => spandrel_http::fuzz::fuzz_conditional,
            http_guard => spandrel_http::fuzz::fuzz_guard,
            http_range => spandrel_http::fuzz::fuzz_range,
            http_signed_url => spandrel_http::fuzz::fuzz_signed_url,
            inflate => spandrel_session::fuzz::fuzz_inflate,
            json_lines => spandrel_wire::fuzz::fuzz_json_lines,
            json_stream => spandrel_wire::fuzz::fuzz_json_stream,
            keystore => spandrel_wallet::fuzz::fuzz_keystore,
            message => spandrel_download_protocol::fuzz::fuzz_message,
            node_lines => spandrel_transport_ipc::fuzz::fuzz_node_lines,
            origin => spandrel_bridge_protocol::fuzz::fuzz_origin,
            pair => spandrel_download_protocol::fuzz::fuzz_pair,
            parent_line => spandrel_bridge_protocol::fuzz::fuzz_parent_line,
            pem => spandrel_transport::fuzz::fuzz_pem,
            replay => spandrel_session::fuzz::fuzz_replay,
            request => spandrel_download_protocol::fuzz::fuzz_request,
            sealed_forms => spandrel_session::fuzz::fuzz_sealed_forms,
            server_messages => spandrel_download_client::fuzz::fuzz_server_messages,
            signed_tail => spandrel_session::fuzz::fuzz_signed_tail,
            socketio_client => spandrel_socketio::client::fuzz::fuzz_socketio_client,
            socketio_json => spandrel_socketio::fuzz::fuzz_socketio_json,
            socketio_packet => spandrel_socketio::fuzz::fuzz_socketio_packet,
            socketio_query => spandrel_socketio_net::fuzz::fuzz_socketio_query,
            socketio_session => spandrel_socketio::server::fuzz::fuzz_socketio_session,
            tcp_frame => spandrel_wire::fuzz::fuzz_tcp_frame,
            time => spandrel_download_protocol::fuzz::fuzz_time,
            ws_frame => spandrel_transport_ws::fuzz::fuzz_ws_frame,
            ws_handshake => spandrel_transport_ws::fuzz::fuzz_ws_handshake,
        }
    };
}

macro_rules! table {
    ($($name:ident => $run:path),* $(,)?) => {
        /// Every target: its name and its function.
        pub const TARGETS: &[(&str, fn(&[u8]))] = &[$((stringify!($name), $run)),*];
    };
}
for_each_target!(table);

/// Finds a target by name.
#[must_use]
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(own, _)| *own == name).map(|(_, run)| *run)
}
