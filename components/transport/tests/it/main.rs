//! The crate against real sockets and real peers: tonic, hyper, and scripted ones that misbehave.
#![allow(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

mod auth;
mod client_connections;
mod client_grpc;
mod client_http;
mod client_tls;
mod cors;
mod floods;
mod grpc_server;
mod harness;
mod hostile;
mod http_server;
mod scripted;
mod tls;
mod tls_clients;
