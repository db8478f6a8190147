//! HTTP for the listeners of ours: connections in, one answer each, nothing kept open and no body read.

use anyhow::Context as _;
use countersign_inbound::metadata::{Asked, Body, Told};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;

/// Most connections at once.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to say what it wants, and all of it to be over.
const HEADERS: Duration = Duration::from_secs(5);
const TOTAL: Duration = Duration::from_secs(30);

/// What answers.
pub type Answer = Arc<dyn Fn(Asked) -> Pin<Box<dyn Future<Output = Told> + Send>> + Send + Sync>;

/// Where it listens.
pub enum Listener {
    /// A loopback port.
    Port(TcpListener),
    /// A socket that only the user can open.
    Socket(UnixListener),
}

impl Listener {
    /// Listens at a loopback address and port; any other address is refused.
    pub async fn port(address: &str) -> anyhow::Result<Listener> {
        let address: std::net::SocketAddr =
            address.parse().with_context(|| format!("`{address}` is no address with a port"))?;
        anyhow::ensure!(address.ip().is_loopback(), "`{address}` is not this machine's alone");
        let listener = TcpListener::bind(address).await;
        Ok(Listener::Port(listener.with_context(|| format!("cannot listen at {address}"))?))
    }

    /// Listens on a socket in a folder that nobody else can enter. A socket that nobody answers any more is replaced.
    pub async fn socket(path: &Path) -> anyhow::Result<Listener> {
        use std::os::unix::fs::PermissionsExt as _;
        if let Some(folder) = path.parent() {
            crate::places::make_folder(folder)?;
        }
        if path.exists() {
            anyhow::ensure!(
                tokio::net::UnixStream::connect(path).await.is_err(),
                "another process answers at {}",
                path.display()
            );
            std::fs::remove_file(path).with_context(|| format!("cannot replace {}", path.display()))?;
        }
        let listener =
            UnixListener::bind(path).with_context(|| format!("cannot listen at {}", path.display()))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        Ok(Listener::Socket(listener))
    }

    /// Where it listens, in words.
    pub fn place(&self) -> String {
        match self {
            Listener::Port(listener) => {
                listener.local_addr().map(|at| format!("http://{at}")).unwrap_or_default()
            }
            Listener::Socket(listener) => {
                let at = listener.local_addr().ok();
                let path = at.as_ref().and_then(|at| at.as_pathname());
                path.map(|path| format!("unix:{}", path.display())).unwrap_or_default()
            }
        }
    }

    /// Answers for ever.
    pub async fn serve(self, answer: Answer) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            let answer = Arc::clone(&answer);
            match &self {
                Listener::Port(listener) => {
                    let Ok((stream, peer)) = listener.accept().await else { continue };
                    let source = peer.ip().to_string();
                    tokio::spawn(async move {
                        converse(stream, source, answer).await;
                        drop(permit);
                    });
                }
                Listener::Socket(listener) => {
                    let Ok((stream, _)) = listener.accept().await else { continue };
                    let source = stream.peer_cred().map(|c| format!("uid {}", c.uid())).unwrap_or_default();
                    tokio::spawn(async move {
                        converse(stream, source, answer).await;
                        drop(permit);
                    });
                }
            }
        }
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, source: String, answer: Answer) {
    let service = hyper::service::service_fn(|request: Request<Incoming>| {
        let asked = asked(&request, &source);
        let answer = Arc::clone(&answer);
        async move { Ok::<_, Infallible>(written(answer(asked).await)) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS)
        .max_buf_size(16 * 1024)
        .serve_connection(TokioIo::new(stream), service);
    let _ = tokio::time::timeout(TOTAL, connection).await;
}

fn asked(request: &Request<Incoming>, source: &str) -> Asked {
    let header = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.as_str().to_owned(), value.as_bytes().to_vec())
    };
    Asked {
        method: request.method().as_str().to_owned(),
        target: request.uri().path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: request.headers().iter().map(header).collect(),
        source: source.to_owned(),
    }
}

fn written(told: Told) -> Response<Full<Bytes>> {
    let bytes = match told.body {
        Body::Text(text) => Bytes::from(text),
        Body::Value(value) => value.with(|value| Bytes::copy_from_slice(value)),
    };
    let mut response = Response::builder().status(told.status);
    for (name, value) in told.headers {
        response = response.header(name, value);
    }
    response.body(Full::new(bytes)).unwrap_or_else(|_| {
        let mut broken = Response::new(Full::default());
        *broken.status_mut() = hyper::StatusCode::INTERNAL_SERVER_ERROR;
        broken
    })
}
