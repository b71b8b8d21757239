//! Server side of the download protocol as a pure machine, one per connection.
//!
//! Texts, job changes and the time go in; texts to send, commands for a job service and the goodbye come out. Never
//! opens a socket, reads a clock, makes a job or touches a file: a driver does, in any runtime.
//!
//! ```
//! use spandrel_download::{Conversation, FileUrl, Limits, Output, Pings, SessionConfig, Urls, World};
//! use spandrel_download_protocol::SystemHealth;
//! use spandrel_jobs::{Job, JobTable, Now, Principal, Retention};
//!
//! struct Plain;
//! impl Urls for Plain {
//!     fn file_url(&self, job: &Job, name: &str, _: u64, expires_ms: u64) -> FileUrl {
//!         FileUrl { url: format!("/v1/files/{}/{name}", job.id()), expires_ms }
//!     }
//! }
//!
//! let (now, health) = (Now { mono_ms: 0, wall_ms: 1_700_000_000_000 }, SystemHealth::of(vec![], 0, 0, 0));
//! let table = JobTable::new(Default::default(), Retention::default());
//! let world = World { table: &table, urls: &Plain, health: &health };
//! let config = SessionConfig {
//!     session: 1, session_id: "s1".into(), protocol: "spandrel.download.v1+json".into(),
//!     principal: Principal::anonymous(), features: vec!["format:ndjson".into()], server_nonce: None,
//!     sent_bytes_max: 1 << 20, pings: Pings::Frames, limits: Limits::default(),
//! };
//! let mut conversation = Conversation::new(now, config, &health);
//! assert!(matches!(conversation.poll(), Some(Output::Send(hello)) if hello.contains("\"kind\":\"hello\"")));
//! let ping = r#"{"event":"connection:health","data":{"kind":"ping"},"timestamp":1,"requestId":"p1"}"#;
//! if let Some(question) = conversation.message(now, ping) {
//!     conversation.answer(now, world, question);
//! }
//! assert!(matches!(conversation.poll(), Some(Output::Send(pong)) if pong.contains("\"requestId\":\"p1\"")));
//! ```
//!
//! Bytes: the download protocol, version 1, sections 3, 4 and 8 to 11. Limits: [`Limits`].

mod auth;
mod config;
mod conversation;
#[doc(hidden)]
pub mod fuzz;
mod spread;
#[cfg(test)]
mod tests;
pub mod view;

pub use config::{Limits, Pings, SessionConfig};
pub use conversation::{Ask, Command, Conversation, Done, Output, Question, World};
pub use spread::spread;
pub use view::{FileUrl, Urls};
