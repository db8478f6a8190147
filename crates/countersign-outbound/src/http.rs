//! Requests that carry secrets: over verified TLS, to addresses that were looked at, without proxies, redirects, reused
//! connections or anything else that would take them elsewhere (vault.md 12).
//!
//! A name is resolved once, all its addresses must be fit, and the connection is pinned to them. Errors are words of our
//! own: a library's own text may hold what was sent. Where it stops: what is asked for is the caller's.

use async_trait::async_trait;
use countersign_core::address::{is_refused, is_refused_name};
use countersign_core::secret::Secret;
use countersign_core::vault::binding::{Authority, Method};
use ipnet::IpNet;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// How long is waited.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    /// For a connection.
    pub connect: Duration,
    /// For the end of the answer.
    pub total: Duration,
}

impl Default for Waits {
    fn default() -> Waits {
        Waits { connect: Duration::from_secs(10), total: Duration::from_secs(30) }
    }
}

/// Most headers of an answer, and most bytes of them.
const MAX_HEADERS: usize = 100;
const MAX_HEADER_BYTES: usize = 65_536;
/// Most bytes of an answer for each byte of it as it was sent, where it was compressed.
const MAX_RATIO: usize = 200;
/// What we say of ourselves.
const USER_AGENT: &str = concat!("countersign/", env!("CARGO_PKG_VERSION"));

/// Where names become addresses.
#[async_trait]
pub trait Resolve: Send + Sync {
    /// The addresses of a name.
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>>;
}

/// The system's own resolver.
pub struct System;

#[async_trait]
impl Resolve for System {
    async fn resolve(&self, host: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(tokio::net::lookup_host((host, 443)).await?.map(|address| address.ip()).collect())
    }
}

/// For names that were not resolved here before: there are none, and one that is asked for all the same has no address.
struct Nowhere;

impl reqwest::dns::Resolve for Nowhere {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        Box::pin(std::future::ready(Err("not resolved here".into())))
    }
}

/// Why there is no answer. The words are those of NAMES 6.1, `request_failed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The name has no address.
    Dns,
    /// No connection.
    Connect,
    /// No trust in who answers.
    Tls,
    /// Not in time.
    Timeout,
    /// More than is taken.
    TooLarge,
    /// Not an address that a secret is sent to. Which one it is stays here.
    RefusedAddress,
    /// What came back is no answer.
    Protocol,
}

impl Failure {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Failure::Dns => "dns",
            Failure::Connect => "connect",
            Failure::Tls => "tls",
            Failure::Timeout => "timeout",
            Failure::TooLarge => "too_large",
            Failure::RefusedAddress => "refused_address",
            Failure::Protocol => "protocol",
        }
    }

    /// Whether nothing can have reached the other side.
    pub fn is_before_sending(self) -> bool {
        matches!(self, Failure::Dns | Failure::Connect | Failure::Tls | Failure::RefusedAddress)
    }
}

/// A request.
pub struct Request<'a> {
    /// Where to. Its scheme is `https`.
    pub url: &'a Url,
    /// Host and port of it.
    pub authority: &'a Authority,
    /// How.
    pub method: Method,
    /// The header that holds a secret, where one goes along.
    pub secret: Option<(&'a str, &'a Secret<Vec<u8>>)>,
    /// Headers that are no secret.
    pub headers: &'a [(&'static str, &'a str)],
    /// What is sent.
    pub body: Option<&'a [u8]>,
    /// Ranges beside the world at large.
    pub allow_private: &'a [IpNet],
    /// Whether it may go without TLS: to this machine alone.
    pub plain: Plain<'a>,
    /// Longest answer, in bytes.
    pub max_bytes: usize,
}

/// What may take the place of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plain<'a> {
    /// Nothing.
    Never,
    /// A connection to a loopback address.
    Here,
    /// A socket in the file system; who may connect to it is up to the folders above.
    Socket(&'a std::path::Path),
}

/// An answer, whole and as it came, but for a compression that was taken off.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Its words.
    pub status_text: Vec<u8>,
    /// Names and values in order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The body; `None` when it is compressed in a way that is not taken off.
    pub body: Option<Vec<u8>>,
}

/// Makes requests.
#[derive(Clone)]
pub struct Http {
    resolver: Arc<dyn Resolve>,
    tls: rustls::ClientConfig,
    waits: Waits,
}

/// The extra certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Not readable as certificates.
    #[error("no certificate can be read from it")]
    Certificates,
    /// The TLS library does not take the configuration.
    #[error("TLS cannot be set up")]
    Tls,
}

impl Http {
    /// Trusts the well-known authorities and those of `extra`, a text of certificates. The environment has no say: what
    /// arrives with a repository could set it.
    pub fn new(resolver: Arc<dyn Resolve>, extra: Option<&[u8]>) -> Result<Http, HttpError> {
        let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        if let Some(pem) = extra {
            let found: Vec<_> = CertificateDer::pem_slice_iter(pem)
                .collect::<Result<_, _>>()
                .map_err(|_| HttpError::Certificates)?;
            let (added, _) = roots.add_parsable_certificates(found);
            if added == 0 {
                return Err(HttpError::Certificates);
            }
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|_| HttpError::Tls)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Http { resolver, tls, waits: Waits::default() })
    }

    /// Waits otherwise than by default.
    pub fn waiting(mut self, waits: Waits) -> Http {
        self.waits = waits;
        self
    }

    /// The addresses of a host, all of them fit. One that is not refuses the name.
    pub(crate) async fn addresses(
        &self,
        authority: &Authority,
        allowed: &[IpNet],
    ) -> Result<Vec<SocketAddr>, Failure> {
        let found = match authority.address() {
            Some(literal) => vec![literal],
            None if is_refused_name(authority.host()) && allowed.is_empty() => {
                return Err(Failure::RefusedAddress);
            }
            None => {
                let resolving = self.resolver.resolve(authority.host());
                let found = tokio::time::timeout(self.waits.connect, resolving)
                    .await
                    .map_err(|_| Failure::Timeout)?;
                found.map_err(|_| Failure::Dns)?
            }
        };
        if found.is_empty() {
            return Err(Failure::Dns);
        }
        if found.iter().any(|address| is_refused(*address, allowed)) {
            return Err(Failure::RefusedAddress);
        }
        Ok(found.into_iter().map(|address| SocketAddr::new(address, authority.port())).collect())
    }

    /// Sends a request, once.
    pub async fn send(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        tokio::time::timeout(self.waits.total, self.sent(request)).await.map_err(|_| Failure::Timeout)?
    }

    async fn sent(&self, request: &Request<'_>) -> Result<Answer, Failure> {
        let is_tls = request.url.scheme() == "https" && !matches!(request.plain, Plain::Socket(_));
        let is_plain = request.url.scheme() == "http" && request.plain != Plain::Never;
        if !(is_tls || is_plain) || Authority::of(request.url).as_ref() != Some(request.authority) {
            return Err(Failure::Protocol);
        }
        // What the client looks up and what was looked up here are one text, or the addresses would be somebody else's.
        if matches!(request.url.host(), Some(url::Host::Domain(name)) if name != request.authority.host()) {
            return Err(Failure::Protocol);
        }
        let addresses = match request.plain {
            Plain::Socket(_) => Vec::new(),
            _ => self.addresses(request.authority, request.allow_private).await?,
        };
        if is_plain && addresses.iter().any(|address| !address.ip().is_loopback()) {
            return Err(Failure::RefusedAddress);
        }
        let mut client = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .https_only(is_tls)
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .referer(false)
            .pool_max_idle_per_host(0)
            .connect_timeout(self.waits.connect)
            .http1_max_headers(MAX_HEADERS)
            .http2_max_header_list_size(u32::try_from(MAX_HEADER_BYTES).unwrap_or(u32::MAX))
            .dns_resolver(Arc::new(Nowhere))
            .resolve_to_addrs(request.authority.host(), &addresses);
        if let Plain::Socket(path) = request.plain {
            client = client.unix_socket(path);
        }
        let client = client.build().map_err(|_| Failure::Protocol)?;
        let mut headers = HeaderMap::new();
        headers.insert(reqwest::header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
        headers.insert(reqwest::header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        for (name, value) in request.headers {
            let value = HeaderValue::from_str(value).map_err(|_| Failure::Protocol)?;
            headers.insert(HeaderName::from_static(name), value);
        }
        if let Some((name, value)) = request.secret {
            let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| Failure::Protocol)?;
            let mut value =
                value.with(|value| HeaderValue::from_bytes(value)).map_err(|_| Failure::Protocol)?;
            // Never in a table of compressed headers that later requests could be compared with.
            value.set_sensitive(true);
            headers.insert(name, value);
        }
        let method =
            reqwest::Method::from_bytes(request.method.as_str().as_bytes()).map_err(|_| Failure::Protocol)?;
        let mut builder = client.request(method, request.url.clone()).headers(headers);
        if let Some(body) = request.body {
            builder = builder.body(body.to_vec());
        }
        let response = builder.send().await.map_err(|e| failure(&e))?;
        // The connection was pinned; whoever is at its other end all the same is not believed.
        let pinned = !matches!(request.plain, Plain::Socket(_));
        if pinned && response.remote_addr().is_some_and(|peer| !addresses.contains(&peer)) {
            return Err(Failure::RefusedAddress);
        }
        read(response, request.max_bytes).await
    }
}

/// The class of an error, by what it says of itself and never by its text.
fn failure(e: &reqwest::Error) -> Failure {
    if e.is_timeout() {
        return Failure::Timeout;
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(e);
    while let Some(one) = cause {
        if one.downcast_ref::<rustls::Error>().is_some() {
            return Failure::Tls;
        }
        // The TLS library's errors come wrapped in those of the stream, which do not name what they wrap as their source.
        let mut io = one.downcast_ref::<std::io::Error>();
        while let Some(inner) = io.and_then(std::io::Error::get_ref) {
            if inner.is::<rustls::Error>() {
                return Failure::Tls;
            }
            io = inner.downcast_ref::<std::io::Error>();
        }
        cause = one.source();
    }
    if e.is_connect() { Failure::Connect } else { Failure::Protocol }
}

async fn read(mut response: reqwest::Response, max_bytes: usize) -> Result<Answer, Failure> {
    let status = response.status();
    let status_text = match response.extensions().get::<hyper::ext::ReasonPhrase>() {
        Some(reason) => reason.as_bytes().to_vec(),
        None => status.canonical_reason().unwrap_or_default().as_bytes().to_vec(),
    };
    let mut headers: Vec<(String, Vec<u8>)> = Vec::new();
    let mut size = 0;
    for (name, value) in response.headers() {
        size += name.as_str().len() + value.len();
        headers.push((name.as_str().to_owned(), value.as_bytes().to_vec()));
    }
    if headers.len() > MAX_HEADERS || size > MAX_HEADER_BYTES {
        return Err(Failure::TooLarge);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response
        .chunk()
        .await
        .map_err(|e| if e.is_timeout() { Failure::Timeout } else { Failure::Protocol })?
    {
        if body.len() + chunk.len() > max_bytes {
            return Err(Failure::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    let mut encodings: Vec<String> = Vec::new();
    for (name, value) in &headers {
        if name == "content-encoding" {
            let text = String::from_utf8_lossy(value).to_ascii_lowercase();
            encodings.extend(
                text.split(',').map(|e| e.trim().to_owned()).filter(|e| !e.is_empty() && e != "identity"),
            );
        }
    }
    let mut body = Some(body);
    // The last one that was put on comes off first.
    for encoding in encodings.iter().rev() {
        body = match body {
            Some(bytes) => unpacked(encoding, &bytes, max_bytes)?,
            None => None,
        };
    }
    Ok(Answer { status: status.as_u16(), status_text, headers, body })
}

/// Takes a compression off. `None` for one that is not known here, or data that is not what it says.
fn unpacked(encoding: &str, bytes: &[u8], max_bytes: usize) -> Result<Option<Vec<u8>>, Failure> {
    use std::io::Read as _;
    if bytes.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let most = max_bytes.min(bytes.len().saturating_mul(MAX_RATIO).max(4_096));
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut out = Vec::new();
    let read = match encoding {
        "gzip" | "x-gzip" => flate2::read::MultiGzDecoder::new(bytes).take(limit).read_to_end(&mut out),
        // What browsers take for `deflate`: with the frame that the standard names, or without.
        "deflate" if bytes.first().is_some_and(|b| b & 0x0f == 8) => {
            flate2::read::ZlibDecoder::new(bytes).take(limit).read_to_end(&mut out)
        }
        "deflate" => flate2::read::DeflateDecoder::new(bytes).take(limit).read_to_end(&mut out),
        "br" => brotli_decompressor::Decompressor::new(bytes, 4_096).take(limit).read_to_end(&mut out),
        _ => return Ok(None),
    };
    if out.len() > most {
        return Err(Failure::TooLarge);
    }
    Ok(read.is_ok().then_some(out))
}
