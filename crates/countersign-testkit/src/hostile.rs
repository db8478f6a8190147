//! An HTTPS server that does as it is told, byte for byte, and counts who comes: for everything that a server could do
//! to whoever sends it a secret. It has a certificate authority of its own.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// What is written back: pieces, with a pause before each.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// The pieces, in order; then the line is closed.
    pub pieces: Vec<Vec<u8>>,
    /// How long it waits before each.
    pub pause: Duration,
}

impl Script {
    /// One answer with a status line, headers and a body of known length.
    pub fn answer(status: &str, headers: &[(&str, &str)], body: &[u8]) -> Script {
        let mut out = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n", body.len())
            .into_bytes();
        for (name, value) in headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(body);
        Script { pieces: vec![out], pause: Duration::ZERO }
    }

    /// The same body in chunks of `size` bytes, each written by itself.
    pub fn chunked(body: &[u8], size: usize) -> Script {
        let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n".to_vec();
        let mut pieces = vec![head];
        for part in body.chunks(size) {
            let mut piece = format!("{:x}\r\n", part.len()).into_bytes();
            piece.extend_from_slice(part);
            piece.extend_from_slice(b"\r\n");
            pieces.push(piece);
        }
        pieces.push(b"0\r\n\r\n".to_vec());
        Script { pieces, pause: Duration::ZERO }
    }
}

/// The server. It listens on the loopback address until it is dropped.
pub struct Hostile {
    /// Its port.
    pub port: u16,
    /// The certificate of its authority.
    pub ca_pem: String,
    connections: Arc<AtomicUsize>,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
    scripts: Arc<Mutex<VecDeque<Script>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Hostile {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hostile {
    /// Starts a server with a certificate for `names`.
    pub async fn start(names: &[&str]) -> Hostile {
        let Certified { ca, leaf, key } = certified(names);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key.serialize_der().try_into().unwrap())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Arc::new(AtomicUsize::new(0));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let scripts = Arc::new(Mutex::new(VecDeque::new()));
        let (count, seen, queue) = (Arc::clone(&connections), Arc::clone(&requests), Arc::clone(&scripts));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                let (acceptor, seen, queue) = (acceptor.clone(), Arc::clone(&seen), Arc::clone(&queue));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let request = read(&mut stream).await;
                    locked(&seen).push(request);
                    let script = locked(&queue).pop_front();
                    let script = script.unwrap_or_else(|| Script::answer("500 Nothing To Say", &[], b""));
                    for piece in script.pieces {
                        tokio::time::sleep(script.pause).await;
                        if stream.write_all(&piece).await.is_err() || stream.flush().await.is_err() {
                            return;
                        }
                    }
                    let _ = stream.shutdown().await;
                });
            }
        });
        Hostile { port, ca_pem: ca.pem(), connections, requests, scripts, task }
    }

    /// [`Hostile::start`] for tests without a runtime: it has a thread of its own, which ends with the tests.
    pub fn beside(names: &'static [&'static str]) -> Hostile {
        let (give, take) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                give.send(Hostile::start(names).await).unwrap();
                std::future::pending::<()>().await;
            });
        });
        take.recv().unwrap()
    }

    /// Says what the next connection is answered.
    pub fn next(&self, script: Script) {
        locked(&self.scripts).push_back(script);
    }

    /// Connections so far.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// What was sent so far, each request whole.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        locked(&self.requests).clone()
    }
}

/// A certificate for names, its key, and the authority that gave it.
pub(crate) struct Certified {
    pub(crate) ca: rcgen::Certificate,
    pub(crate) leaf: rcgen::Certificate,
    pub(crate) key: KeyPair,
}

pub(crate) fn certified(names: &[&str]) -> Certified {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_key = KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = Issuer::new(params, ca_key);
    let key = KeyPair::generate().unwrap();
    let leaf = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
    let leaf = leaf.signed_by(&key, &issuer).unwrap();
    Certified { ca, leaf, key }
}

/// One request: its head, and as much body as it says.
pub(crate) async fn read(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> Vec<u8> {
    let mut out = Vec::new();
    let mut buffer = [0u8; 4_096];
    loop {
        let head = out.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&out[..head]).to_lowercase();
            let length = text
                .lines()
                .find_map(|line| line.strip_prefix("content-length:"))
                .and_then(|n| n.trim().parse::<usize>().ok())
                .unwrap_or(0);
            if out.len() >= head + 4 + length {
                return out;
            }
        }
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return out,
            Ok(n) => out.extend_from_slice(&buffer[..n]),
        }
    }
}
