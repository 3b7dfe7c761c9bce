//! Who sees `/metrics`.
//!
//! Invariant: what a proxy passed on is not of this machine, whichever address the proxy has.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::server::listen::{Peer, Socket};
use crate::server::problem::Problem;
use crate::settings::service::MetricsFor;

/// What proxies add: RFC 7239, RFC 9110 section 7.6.3, and what came before.
const PASSED_ON: [&str; 3] = ["x-forwarded-for", "forwarded", "via"];

/// Answers others as if nothing was there.
pub(super) async fn only(State(to): State<MetricsFor>, request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<Peer>();
    if to == MetricsFor::Anyone || peer.is_some_and(|peer| is_local(peer, request.headers())) {
        return next.run(request).await;
    }
    let text = "there is nothing at this address";
    Problem::new(StatusCode::NOT_FOUND, "not_found", text).into_response()
}

fn is_local(peer: &Peer, headers: &HeaderMap) -> bool {
    let here = match peer.socket {
        Socket::Tcp(address) => address.ip().to_canonical().is_loopback(),
        Socket::Unix { .. } => true,
    };
    here && peer.forwarded.is_none() && !PASSED_ON.iter().any(|name| headers.contains_key(*name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_who_asks_from_this_machine_itself_is_local() {
        let peer = |address: &str, forwarded: Option<&str>| Peer {
            socket: Socket::Tcp(address.parse().unwrap()),
            forwarded: forwarded.map(|address| address.parse().unwrap()),
            tls: false,
            certificate: None,
        };
        let unix = Peer {
            socket: Socket::Unix { uid: 1, gid: 1, pid: None },
            ..peer("127.0.0.1:1", None)
        };
        for (peer, header, local) in [
            (peer("127.0.0.1:9", None), None, true),
            (peer("[::1]:9", None), None, true),
            (peer("[::ffff:127.0.0.1]:9", None), None, true),
            (unix.clone(), None, true),
            (peer("192.0.2.1:9", None), None, false),
            (peer("127.0.0.1:9", Some("127.0.0.1")), None, false),
            (peer("127.0.0.1:9", None), Some("x-forwarded-for"), false),
            (peer("127.0.0.1:9", None), Some("forwarded"), false),
            (unix, Some("via"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(name) = header {
                headers.insert(name, "x".parse().unwrap());
            }
            assert_eq!(is_local(&peer, &headers), local, "{peer:?} {header:?}");
        }
    }
}
