//! Where a secret may go and how it is placed: its binding, which lies inside the sealed record's authenticated data, so
//! that no rule, grant or edit of the store widens it (vault.md 8, 9).
//!
//! Strict text forms for people (`vault bind`), strict JSON for the store, and the questions that the judge and the hand
//! ask. Where it stops: addresses are `address`, names of secrets `names`.

use crate::json::{Bounds, Json};
use crate::time::Timestamp;
use ipnet::IpNet;
use std::fmt;
use url::{Host, Url};

/// Host and port that a request goes to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Lower case, ASCII, without a trailing dot; addresses in their one spelling.
    host: String,
    port: u16,
}

impl Authority {
    /// Of an address that the WHATWG parser took. `None` where it has no host.
    pub fn of(url: &Url) -> Option<Authority> {
        let host = match url.host()? {
            Host::Domain(name) => name.trim_end_matches('.').to_owned(),
            Host::Ipv4(v4) => v4.to_string(),
            Host::Ipv6(v6) => format!("[{v6}]"),
        };
        (!host.is_empty()).then_some(Authority { host, port: url.port_or_known_default()? })
    }

    /// `host`, `host:port` or `[v6]:port`; without a port 443.
    pub fn parse(text: &str) -> Option<Authority> {
        let plain =
            !text.is_empty() && text.len() <= 300 && !text.contains(['/', '\\', '@', '?', '#', '*', '%']);
        if !plain || text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return None;
        }
        Authority::of(&Url::parse(&format!("https://{text}/")).ok()?)
    }

    /// The host.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address that is written instead of a name.
    pub fn address(&self) -> Option<core::net::IpAddr> {
        self.host.trim_start_matches('[').trim_end_matches(']').parse().ok()
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            443 => f.write_str(&self.host),
            port => write!(f, "{}:{port}", self.host),
        }
    }
}

/// An entry of the hosts that a secret is bound to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// One host and port.
    One(Authority),
    /// Every host with labels in front of this one, never the host itself.
    Below(Authority),
}

/// Why a text is no host of a binding.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HostFault {
    /// Not of the form.
    #[error("`{0}` is no host: write `api.example.org`, `host:8443`, `[2001:db8::1]:443` or `*.example.org`")]
    Form(String),
    /// Everything below a registry's suffix.
    #[error("`{0}` would mean hosts of everybody: `{1}` is a public suffix")]
    Public(String, String),
}

impl HostPattern {
    /// Reads an entry.
    pub fn parse(text: &str) -> Result<HostPattern, HostFault> {
        let form = || HostFault::Form(text.to_owned());
        let Some(rest) = text.strip_prefix("*.") else {
            return Authority::parse(text).map(HostPattern::One).ok_or_else(form);
        };
        let below = Authority::parse(rest).ok_or_else(form)?;
        if below.address().is_some() {
            return Err(form());
        }
        // A suffix that the list does not know counts as one label; a lone label is nobody's to bind.
        let public = psl::suffix_str(below.host()).is_some_and(|suffix| suffix == below.host());
        if public || !below.host().contains('.') {
            return Err(HostFault::Public(text.to_owned(), below.host().to_owned()));
        }
        Ok(HostPattern::Below(below))
    }

    /// Whether a host is meant.
    pub fn matches(&self, authority: &Authority) -> bool {
        match self {
            HostPattern::One(one) => one == authority,
            HostPattern::Below(below) => {
                let labels = authority.host.strip_suffix(&below.host).and_then(|rest| rest.strip_suffix('.'));
                below.port == authority.port
                    && labels.is_some_and(|labels| !labels.is_empty() && !labels.starts_with('.'))
            }
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HostPattern::One(one) => one.fmt(f),
            HostPattern::Below(below) => write!(f, "*.{below}"),
        }
    }
}

/// A method of HTTP that the tool knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the words are HTTP's
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    /// Every method.
    pub const ALL: [Method; 5] = [Method::Get, Method::Post, Method::Put, Method::Patch, Method::Delete];

    /// The word on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Method> {
        Method::ALL.into_iter().find(|m| m.as_str() == text)
    }

    /// What a scope names instead of a method: reading, writing, deleting.
    pub fn class(self) -> &'static str {
        match self {
            Method::Get => "read",
            Method::Post | Method::Put | Method::Patch => "write",
            Method::Delete => "delete",
        }
    }
}

/// Where in a request a secret stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Placement {
    /// `Authorization: Bearer S`.
    Bearer,
    /// `Authorization: Basic base64(user:S)`.
    Basic,
    /// `X-Api-Key: S`.
    ApiKey,
    /// A header of its own.
    Custom(String),
    /// The record of an OAuth token, of which a hand of ours takes what it needs. No argument of a tool names it.
    OAuth,
}

/// Headers that mean something to whoever carries a request; `X-Forwarded-…`, `Proxy-…` and `Sec-…` beside.
const FORBIDDEN: [&str; 22] = [
    "host",
    "content-length",
    "content-type",
    "content-encoding",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "date",
    "via",
    "forwarded",
    "x-real-ip",
    "referer",
    "origin",
    "user-agent",
    "accept-encoding",
    "http2-settings",
    "alt-svc",
    "range",
];

/// Whether no secret may stand in a header. `Cookie` may only where its placement names it.
pub fn is_forbidden_header(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    FORBIDDEN.contains(&name.as_str())
        || ["x-forwarded-", "proxy-", "sec-"].iter().any(|start| name.starts_with(start))
}

fn is_header_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

impl Placement {
    /// `bearer`, `basic`, `header_x_api_key` or `custom` with a header, as the tool's arguments have them.
    pub fn of(scheme: &str, header: Option<&str>) -> Option<Placement> {
        match (scheme, header) {
            ("bearer", _) => Some(Placement::Bearer),
            ("basic", _) => Some(Placement::Basic),
            ("header_x_api_key", _) => Some(Placement::ApiKey),
            ("custom", Some(name)) if is_header_name(name) => {
                Some(Placement::Custom(name.to_ascii_lowercase()))
            }
            _ => None,
        }
    }

    /// The form people write: a scheme, or `custom:<header>`.
    pub fn parse(text: &str) -> Option<Placement> {
        let placement = match text.split_once(':') {
            Some((scheme, header)) => Placement::of(scheme, Some(header)).filter(|_| scheme == "custom"),
            None if text == "oauth" => Some(Placement::OAuth),
            None => Placement::of(text, None),
        };
        placement.filter(|p| !is_forbidden_header(p.header()))
    }

    /// The word of the tool's argument.
    pub fn scheme(&self) -> &'static str {
        match self {
            Placement::Bearer => "bearer",
            Placement::Basic => "basic",
            Placement::ApiKey => "header_x_api_key",
            Placement::Custom(_) => "custom",
            Placement::OAuth => "oauth",
        }
    }

    /// The header, lower case.
    pub fn header(&self) -> &str {
        match self {
            Placement::Bearer | Placement::Basic | Placement::OAuth => "authorization",
            Placement::ApiKey => "x-api-key",
            Placement::Custom(name) => name,
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Placement::Custom(name) => write!(f, "custom:{name}"),
            other => f.write_str(other.scheme()),
        }
    }
}

/// What a secret is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Binding {
    /// Hosts it may go to. None: every use is asked about, and a yes is for the host that was shown.
    pub hosts: Vec<HostPattern>,
    /// A person said that any host will do.
    pub any_host: bool,
    /// Methods; none means all.
    pub methods: Vec<Method>,
    /// Beginnings of paths, whole segments; none means all.
    pub path_prefixes: Vec<String>,
    /// Where it may stand; none means `bearer` alone.
    pub placements: Vec<Placement>,
    /// The user of `basic`, when the value is the password alone.
    pub username: Option<String>,
    /// Ranges beside the world at large.
    pub allow_private: Vec<IpNet>,
    /// Ids of projects; none means all.
    pub projects: Vec<String>,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
}

/// A request, as far as a binding has a say in it.
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    /// Where it goes.
    pub authority: &'a Authority,
    /// How.
    pub method: Method,
    /// Its path, as it is sent.
    pub path: &'a str,
    /// Where the secret would stand.
    pub placement: &'a Placement,
    /// Id of the project it is made in.
    pub project: &'a str,
    /// When.
    pub now: Timestamp,
}

/// Why a request is outside a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Another host.
    #[error("the secret is not bound to this host")]
    Host,
    /// Another method.
    #[error("the secret is not bound to this method")]
    Method,
    /// Another path, or one that servers read in two ways.
    #[error("the secret is not bound to this path")]
    Path,
    /// Another place in the request.
    #[error("the secret may not be placed like this")]
    Placement,
    /// Another project.
    #[error("the secret is not bound to this project")]
    Project,
    /// Over.
    #[error("the secret has expired")]
    Expired,
}

impl Binding {
    /// Whether nobody said where the secret may go.
    pub fn is_unbound(&self) -> bool {
        self.hosts.is_empty() && !self.any_host
    }

    /// Whether a request is within the binding. An unbound secret fits nowhere.
    pub fn fits(&self, by: &Use<'_>) -> Result<(), Misfit> {
        if !(self.any_host || self.hosts.iter().any(|host| host.matches(by.authority))) {
            return Err(Misfit::Host);
        }
        self.fits_otherwise(by)
    }

    /// [`Binding::fits`] without the host: a person's yes to an unbound secret is for the host that was shown, and bound
    /// by everything else.
    pub fn fits_otherwise(&self, by: &Use<'_>) -> Result<(), Misfit> {
        let is_default = self.placements.is_empty() && *by.placement == Placement::Bearer;
        if !is_default && !self.placements.contains(by.placement) {
            return Err(Misfit::Placement);
        }
        if !self.methods.is_empty() && !self.methods.contains(&by.method) {
            return Err(Misfit::Method);
        }
        if !self.path_prefixes.is_empty() && !self.path_prefixes.iter().any(|p| lies_below(by.path, p)) {
            return Err(Misfit::Path);
        }
        if !self.projects.is_empty() && !self.projects.iter().any(|p| p == by.project) {
            return Err(Misfit::Project);
        }
        match self.expires_at {
            Some(end) if by.now >= end => Err(Misfit::Expired),
            _ => Ok(()),
        }
    }

    /// The canonical text that is authenticated with the value.
    pub fn canonical(&self) -> String {
        let mut out = Json::object([("hosts", Json::strings(self.hosts.iter().map(ToString::to_string)))]);
        if self.any_host {
            out.set("any_host", Json::Bool(true));
        }
        let mut list = |key: &str, items: Vec<String>| {
            if !items.is_empty() {
                out.set(key, Json::strings(items));
            }
        };
        list("methods", self.methods.iter().map(|m| m.as_str().to_owned()).collect());
        list("path_prefixes", self.path_prefixes.clone());
        list("placements", self.placements.iter().map(ToString::to_string).collect());
        list("allow_private", self.allow_private.iter().map(ToString::to_string).collect());
        list("projects", self.projects.clone());
        if let Some(user) = &self.username {
            out.set("username", Json::str(user));
        }
        if let Some(end) = self.expires_at {
            out.set("expires_at", Json::int(end.0));
        }
        out.canonical()
    }

    /// Reads the canonical text. An unknown or odd member makes it none: a binding that is not understood binds nothing.
    pub fn read(text: &str) -> Option<Binding> {
        let json = Json::parse(text.as_bytes(), Bounds::default()).ok()?;
        let mut out = Binding::default();
        for (key, value) in json.as_object()? {
            let list = || value.as_array()?.iter().map(Json::as_str).collect::<Option<Vec<&str>>>();
            match key.as_str() {
                "hosts" => {
                    out.hosts =
                        list()?.into_iter().map(|h| HostPattern::parse(h).ok()).collect::<Option<_>>()?
                }
                "any_host" => out.any_host = value.as_bool()?,
                "methods" => out.methods = list()?.into_iter().map(Method::parse).collect::<Option<_>>()?,
                "path_prefixes" => out.path_prefixes = list()?.into_iter().map(str::to_owned).collect(),
                "placements" => {
                    out.placements = list()?.into_iter().map(Placement::parse).collect::<Option<_>>()?
                }
                "allow_private" => {
                    out.allow_private = list()?.into_iter().map(|n| n.parse().ok()).collect::<Option<_>>()?
                }
                "projects" => out.projects = list()?.into_iter().map(str::to_owned).collect(),
                "username" => out.username = Some(value.as_str()?.to_owned()),
                "expires_at" => out.expires_at = Some(Timestamp(value.as_i64()?)),
                _ => return None,
            }
        }
        (out.canonical() == text).then_some(out)
    }
}

/// Whether a prefix can be bound to: absolute, without escapes that two servers could read differently.
pub fn is_path_prefix(prefix: &str) -> bool {
    let read = Url::parse(&format!("https://h.example{prefix}"));
    prefix.starts_with('/')
        && !is_ambiguous(prefix)
        && read.is_ok_and(|url| url.path() == prefix && url.query().is_none())
}

/// Escapes of separators and dots: what lies below them depends on who reads them.
fn is_ambiguous(path: &str) -> bool {
    let lower = path.to_ascii_lowercase();
    ["%2f", "%5c", "%2e", "\\", "//", ";", "%00", "%25"].iter().any(|odd| lower.contains(odd))
}

fn lies_below(path: &str, prefix: &str) -> bool {
    if is_ambiguous(path) {
        return false;
    }
    let prefix = prefix.trim_end_matches('/');
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Authority {
        Authority::parse(text).unwrap()
    }

    #[test]
    fn authorities_have_one_spelling() {
        for (text, want) in [
            ("API.Example.org", "api.example.org"),
            ("api.example.org.", "api.example.org"),
            ("api.example.org:443", "api.example.org"),
            ("api.example.org:8443", "api.example.org:8443"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("[2001:DB8::1]:444", "[2001:db8::1]:444"),
            ("0x7f.1", "127.0.0.1"),
            ("１２７.0.0.1", "127.0.0.1"),
        ] {
            assert_eq!(at(text).to_string(), want, "{text}");
        }
        for bad in
            ["", "a/b", "u@h", "h:99999", "a b", "*.x.org", "h?x", "h#x", "h\\x", "a%2eb", "[::1", ".", "h\n"]
        {
            assert_eq!(Authority::parse(bad), None, "{bad:?}");
        }
    }

    /// VINV-10: look-alikes are other hosts.
    #[test]
    fn patterns_match_their_hosts_alone() {
        let one = HostPattern::parse("api.example.org").unwrap();
        assert!(one.matches(&at("api.example.org")));
        for other in [
            "api.example.org:8443",
            "x.api.example.org",
            "api.example.org.evil.net",
            "apixexample.org",
            "example.org",
        ] {
            assert!(!one.matches(&at(other)), "{other}");
        }
        let below = HostPattern::parse("*.example.org").unwrap();
        assert!(below.matches(&at("a.example.org")) && below.matches(&at("a.b.example.org")));
        for other in ["example.org", "aexample.org", "a.example.org:444", "a.example.org.evil.net"] {
            assert!(!below.matches(&at(other)), "{other}");
        }
        for public in ["*.com", "*.co.uk", "*.github.io", "*.localhost"] {
            assert!(matches!(HostPattern::parse(public), Err(HostFault::Public(..))), "{public}");
        }
        for odd in ["*", "*.", "*.*.org", "*.10.0.0.1", "a*.org"] {
            assert!(HostPattern::parse(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn placements_stay_out_of_headers_that_mean_something() {
        assert_eq!(Placement::parse("custom:X-Auth-Token"), Some(Placement::Custom("x-auth-token".into())));
        assert_eq!(Placement::parse("custom:Cookie"), Some(Placement::Custom("cookie".into())));
        for bad in [
            "custom",
            "custom:",
            "custom:a b",
            "custom:Host",
            "custom:X-Forwarded-For",
            "custom:proxy-x",
            "custom:Sec-Y",
            "custom:a:b",
            "bearer:x",
            "odd",
            &format!("custom:{}", "x".repeat(65)),
        ] {
            assert_eq!(Placement::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_binding_binds_every_part() {
        let binding = Binding {
            hosts: vec![HostPattern::parse("api.example.org").unwrap()],
            methods: vec![Method::Get],
            path_prefixes: vec!["/v1/".into()],
            projects: vec!["p".into()],
            expires_at: Some(Timestamp(100)),
            ..Binding::default()
        };
        let authority = at("api.example.org");
        let base = Use {
            authority: &authority,
            method: Method::Get,
            path: "/v1/x",
            placement: &Placement::Bearer,
            project: "p",
            now: Timestamp(99),
        };
        assert_eq!(binding.fits(&base), Ok(()));
        assert_eq!(binding.fits(&Use { authority: &at("evil.net"), ..base }), Err(Misfit::Host));
        assert_eq!(binding.fits(&Use { method: Method::Post, ..base }), Err(Misfit::Method));
        for path in ["/v2/x", "/v1x", "/", "/v1/..%2fadmin", "/v1/%2e%2e/x", "/v1//x", "/v1/a;b", "/v1/a%5cb"]
        {
            assert_eq!(binding.fits(&Use { path, ..base }), Err(Misfit::Path), "{path}");
        }
        assert_eq!(binding.fits(&Use { path: "/v1", ..base }), Ok(()));
        assert_eq!(binding.fits(&Use { placement: &Placement::ApiKey, ..base }), Err(Misfit::Placement));
        assert_eq!(binding.fits(&Use { project: "q", ..base }), Err(Misfit::Project));
        assert_eq!(binding.fits(&Use { now: Timestamp(100), ..base }), Err(Misfit::Expired));
        assert_eq!(Binding::default().fits(&base), Err(Misfit::Host));
        assert_eq!(Binding { any_host: true, ..Binding::default() }.fits(&base), Ok(()));
        assert_eq!(Binding::read(&binding.canonical()), Some(binding));
        assert_eq!(Binding::read(r#"{"hosts":[],"more":1}"#), None);
        assert!(
            is_path_prefix("/v1")
                && !is_path_prefix("v1")
                && !is_path_prefix("/a/../b")
                && !is_path_prefix("/a%2Fb")
        );
    }
}
