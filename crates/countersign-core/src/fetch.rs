//! The tool `http_fetch`: what a call of it asks for, read strictly from its arguments, and the answer it gives (vault.md
//! 7, 8).
//!
//! The address is parsed once, by a WHATWG parser, and judged, bound, resolved and connected to as parsed. Where it stops:
//! the secret's binding is `vault::binding`, addresses are `address`, the request itself is the hand's.

use crate::code::Code;
use crate::json::Json;
use crate::oauth;
use crate::secret::SecretRef;
use crate::vault::binding::{Authority, Method, Placement, is_forbidden_header};
use url::Url;

/// The tool's name.
pub const TOOL: &str = "http_fetch";
/// Longest body that is sent, and longest answer that is taken, in bytes.
pub const MAX_BODY_BYTES: usize = 1_048_576;
const MAX_URL_BYTES: usize = 8_192;
const MAX_TYPE_BYTES: usize = 128;
const MAX_REASON_CHARS: usize = 500;

/// A request that a call asks for. No part of it is a secret.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where to, without a fragment.
    pub url: Url,
    /// Host and port of it.
    pub authority: Authority,
    /// How.
    pub method: Method,
    /// With which secret.
    pub secret: SecretRef,
    /// Where that stands.
    pub placement: Placement,
    /// What is sent.
    pub body: Option<String>,
    /// Its type.
    pub content_type: Option<String>,
    /// Why, in the agent's words.
    pub reason: String,
}

/// Why a call asks for nothing that can be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The code of the refusal.
    pub code: Code,
    /// What is wrong, naming the field.
    pub why: String,
}

pub(crate) fn fault(code: Code, why: impl Into<String>) -> Fault {
    Fault { code, why: why.into() }
}

/// Members of the arguments: name, what it is for, whether it must be there.
pub const MEMBERS: [(&str, &str, bool); 8] = [
    ("url", "https address to request, without user and fragment", true),
    ("method", "GET (default), POST, PUT, PATCH or DELETE", false),
    ("secret", "name of the secret to use; never its value", true),
    ("auth_scheme", "bearer (default), basic, header_x_api_key or custom", false),
    ("auth_header_name", "header for the scheme custom", false),
    ("body", "what to send, at most 1 MiB", false),
    ("body_content_type", "type of the body; application/json by default", false),
    ("reason", "what this request is for; the person who approves it reads this", true),
];

impl Request {
    /// Reads a call's arguments. Unknown members are faults: the input is ours, so it is strict.
    pub fn read(args: &Json) -> Result<Request, Fault> {
        let members = args.as_object().ok_or_else(|| fault(Code::Malformed, "`arguments` is no object"))?;
        for (key, value) in members {
            let shown = crate::cleanse::clean_line(key, 64);
            if !MEMBERS.iter().any(|(name, ..)| name == key) {
                return Err(fault(Code::Malformed, format!("`{TOOL}` has no argument `{shown}`")));
            }
            if value.as_str().is_none() {
                return Err(fault(Code::Malformed, format!("`{shown}` is no text")));
            }
        }
        let text = |key: &str| args.text(key);
        let needed = |key: &str| {
            text(key)
                .filter(|value| !value.is_empty())
                .ok_or_else(|| fault(Code::MissingRequiredField, format!("`{key}` is missing")))
        };
        let secret = needed("secret")?;
        let secret = SecretRef::parse(secret).ok_or_else(|| {
            fault(Code::InvalidKey, "`secret` is no name of a secret: letters, digits, `.`, `_` and `-`")
        })?;
        // Whatever it was bound to since: there is more in it than a header may carry.
        if oauth::is_record(&secret) {
            return Err(fault(Code::PlacementRefused, "`secret` names the record of an OAuth token"));
        }
        let url = address(needed("url")?)?;
        let authority = Authority::of(&url).ok_or_else(|| fault(Code::NonHttpsUrl, "`url` has no host"))?;
        let method = match text("method") {
            None => Method::Get,
            Some(word) => Method::parse(word)
                .ok_or_else(|| fault(Code::Malformed, "`method` is none of GET, POST, PUT, PATCH, DELETE"))?,
        };
        let placement = placement(text("auth_scheme"), text("auth_header_name"))?;
        let reason = needed("reason")?;
        if reason.chars().count() > MAX_REASON_CHARS {
            let why = format!("`reason` has more than {MAX_REASON_CHARS} characters");
            return Err(fault(Code::Malformed, why));
        }
        let body = text("body").map(str::to_owned);
        if body.as_ref().is_some_and(|body| body.len() > MAX_BODY_BYTES) {
            let why = format!("`body` has more than {MAX_BODY_BYTES} bytes");
            return Err(fault(Code::ArgumentsTooLarge, why));
        }
        let content_type = match (text("body_content_type"), &body) {
            (Some(kind), _) if !is_media_type(kind) => {
                return Err(fault(Code::Malformed, "`body_content_type` is no `type/subtype`"));
            }
            (Some(_), None) => {
                return Err(fault(Code::Malformed, "`body_content_type` without a `body`"));
            }
            (Some(kind), Some(_)) => Some(kind.to_owned()),
            (None, Some(_)) => Some("application/json".to_owned()),
            (None, None) => None,
        };
        Ok(Request {
            url,
            authority,
            method,
            secret,
            placement,
            body,
            content_type,
            reason: reason.to_owned(),
        })
    }

    /// `<key>@<authority>#<method class>`: what a grant for uses like this one names.
    pub fn grant(&self) -> String {
        format!("{}@{}#{}", self.secret.as_str(), self.authority, self.method.class())
    }

    /// The path as it is sent.
    pub fn path(&self) -> &str {
        self.url.path()
    }
}

fn address(text: &str) -> Result<Url, Fault> {
    let bad = |why: &str| fault(Code::NonHttpsUrl, why);
    if text.len() > MAX_URL_BYTES {
        return Err(fault(Code::Malformed, format!("`url` has more than {MAX_URL_BYTES} bytes")));
    }
    let mut url = Url::parse(text).map_err(|_| bad("`url` is no absolute https address"))?;
    if url.scheme() != "https" {
        return Err(bad("`url` is not https"));
    }
    if !url.username().is_empty() || url.password().is_some() || text.contains('@') && has_user(text) {
        return Err(bad("`url` names a user; name the secret instead"));
    }
    if url.port() == Some(0) {
        return Err(bad("`url` has the port 0"));
    }
    url.set_fragment(None);
    // What is sent, resolved and compared is one name: a dot behind it would make two of it.
    if let Some(bare) = url.host_str().and_then(|host| host.strip_suffix('.')).map(str::to_owned) {
        url.set_host(Some(&bare)).map_err(|_| bad("`url` has no host"))?;
    }
    if url.host_str().is_none_or(|host| host.is_empty() || host.ends_with('.')) {
        return Err(bad("`url` has no host"));
    }
    Ok(url)
}

/// An empty user, which the parser drops, is still somebody's attempt to be read in two ways.
fn has_user(text: &str) -> bool {
    let rest =
        text.split_once(':').map_or(text, |(_, rest)| rest).trim_start_matches(['/', '\\', '\t', '\n', '\r']);
    let host = rest.split(['/', '\\', '?', '#']).next().unwrap_or(rest);
    host.contains('@')
}

fn placement(scheme: Option<&str>, header: Option<&str>) -> Result<Placement, Fault> {
    let scheme = scheme.unwrap_or("bearer");
    if scheme == "custom" && header.is_none() {
        return Err(fault(
            Code::MissingRequiredField,
            "`auth_header_name` is missing for the scheme `custom`",
        ));
    }
    if scheme != "custom" && header.is_some() {
        return Err(fault(Code::Malformed, "`auth_header_name` is for the scheme `custom` only"));
    }
    let placement = Placement::of(scheme, header).ok_or_else(|| match scheme {
        "custom" => fault(Code::Malformed, "`auth_header_name` is no name of a header"),
        _ => fault(Code::Malformed, "`auth_scheme` is none of bearer, basic, header_x_api_key, custom"),
    })?;
    if matches!(placement, Placement::Custom(_)) && is_forbidden_header(placement.header()) {
        return Err(fault(Code::HeaderForbidden, "`auth_header_name` is a header that carries no secret"));
    }
    Ok(placement)
}

fn is_media_type(text: &str) -> bool {
    let token = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let head = text.split(';').next().unwrap_or_default().trim_end();
    text.len() <= MAX_TYPE_BYTES
        && text.bytes().all(|b| (b' '..=b'~').contains(&b))
        && head.split_once('/').is_some_and(|(kind, sub)| token(kind) && token(sub))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Bounds;

    fn read(extra: &str) -> Result<Request, Fault> {
        let base = r#"{"url":"https://api.example.org/v1","secret":"k","reason":"list"#;
        let text = format!("{base}\"{}{extra}}}", if extra.is_empty() { "" } else { "," });
        Request::read(&Json::parse(text.as_bytes(), Bounds::default()).unwrap())
    }

    fn at(url: &str) -> Result<Request, Fault> {
        let args =
            Json::object([("url", Json::str(url)), ("secret", Json::str("k")), ("reason", Json::str("r"))]);
        Request::read(&args)
    }

    #[test]
    fn defaults() {
        let request = read("").unwrap();
        assert_eq!((request.method, request.placement.clone()), (Method::Get, Placement::Bearer));
        assert_eq!(request.grant(), "k@api.example.org#read");
        let posted = read(r#""method":"POST","body":"{}""#).unwrap();
        assert_eq!(posted.content_type.as_deref(), Some("application/json"));
        assert_eq!(posted.grant(), "k@api.example.org#write");
    }

    /// VINV-6.
    #[test]
    fn only_https_addresses_are_addresses() {
        for bad in [
            "http://a.example/",
            "file:///etc/passwd",
            "ftp://a.example/",
            "ws://a.example",
            "data:text/plain,x",
            "//a.example/",
            "a.example",
            "/x",
            "",
            "https://",
            "https:// a/",
            "https://u:p@a.example/",
            "https://u@a.example/",
            "https://@a.example/",
            "https:/\\@a.example",
            "https://a.example:0/",
            "https://a.example:99999/",
            "javascript:1",
        ] {
            let code = at(bad).unwrap_err().code;
            assert!(matches!(code, Code::NonHttpsUrl | Code::MissingRequiredField), "{bad}: {code:?}");
        }
        assert_eq!(
            at("HTTPS://Api.Example.ORG:443/a#frag").unwrap().url.as_str(),
            "https://api.example.org/a"
        );
        assert_eq!(at("https:\\\\api.example.org\\a").unwrap().authority.host(), "api.example.org");
        assert_eq!(at("https://3232235777/").unwrap().authority.host(), "192.168.1.1");
        assert_eq!(at("https://a.example/x?u=me@b.example").unwrap().authority.host(), "a.example");
    }

    /// A dot behind a host is no other host, on no side.
    #[test]
    fn a_dot_behind_the_host_goes() {
        assert_eq!(at("https://api.example.org./a").unwrap().url.as_str(), "https://api.example.org/a");
        for bad in ["https://api.example.org../a", "https://./", "https://../"] {
            assert!(at(bad).is_err(), "{bad}");
        }
    }

    /// VINV-17, and every rule of the schema.
    #[test]
    fn arguments_are_strict() {
        for (extra, code) in [
            (r#""odd":"x""#, Code::Malformed),
            (r#""method":"HEAD""#, Code::Malformed),
            (r#""method":"get""#, Code::Malformed),
            (r#""body":5"#, Code::Malformed),
            (r#""auth_scheme":"custom""#, Code::MissingRequiredField),
            (r#""auth_scheme":"digest""#, Code::Malformed),
            (r#""auth_header_name":"X-A""#, Code::Malformed),
            (r#""auth_scheme":"custom","auth_header_name":"X A""#, Code::Malformed),
            (r#""auth_scheme":"custom","auth_header_name":"X-A\r\nY""#, Code::Malformed),
            (r#""auth_scheme":"custom","auth_header_name":"Host""#, Code::HeaderForbidden),
            (r#""auth_scheme":"custom","auth_header_name":"x-forwarded-host""#, Code::HeaderForbidden),
            (r#""body":"x","body_content_type":"a""#, Code::Malformed),
            (r#""body":"x","body_content_type":"a/b\r\nX: y""#, Code::Malformed),
            (r#""body_content_type":"a/b""#, Code::Malformed),
        ] {
            assert_eq!(read(extra).unwrap_err().code, code, "{extra}");
        }
        let with = |key: &str, value: &str| {
            let mut args = Json::object([
                ("url", Json::str("https://a.example/")),
                ("secret", Json::str("k")),
                ("reason", Json::str("r")),
            ]);
            args.set(key, Json::str(value));
            Request::read(&args).map(|_| ()).map_err(|e| e.code)
        };
        for name in ["a/b", ".x", "NUL", "${vault:K}", "k\n"] {
            assert_eq!(with("secret", name), Err(Code::InvalidKey), "{name}");
        }
        assert_eq!(with("secret", ""), Err(Code::MissingRequiredField));
        assert_eq!(with("reason", ""), Err(Code::MissingRequiredField));
        assert_eq!(with("reason", &"x".repeat(501)), Err(Code::Malformed));
        assert_eq!(with("body", &"x".repeat(MAX_BODY_BYTES)), Ok(()));
        assert_eq!(with("body", &"x".repeat(MAX_BODY_BYTES + 1)), Err(Code::ArgumentsTooLarge));
        assert_eq!(with("url", &format!("https://a.example/{}", "x".repeat(8_192))), Err(Code::Malformed));
    }
}
