//! Stored OAuth tokens of issue trackers, and what comes back from asking for them (approvals.md 10.5).
//!
//! A token is whole or it is none: one list of fields serves whoever writes a record and whoever reads it, every field is
//! looked at when the record is read, and a refresh makes a new whole record out of an old one. A record is the value of a
//! secret in the vault; its placement is its own, so no tool of an agent can put it into a request. Where it stops: asking
//! a provider, and waiting for its callback, is done elsewhere.

use crate::cleanse::{Clean, clean_line};
use crate::json::{Bounds, Json};
use crate::names;
use crate::secret::{Secret, SecretRef};
use crate::time::Timestamp;
use crate::vault::binding::{Binding, HostPattern, Placement};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

/// A token with less left than this is refreshed before it is used, in seconds.
pub const REFRESH_S: i64 = 60;
/// Longest token that is stored, as its provider says it, in seconds: ten years.
const MAX_LIFE_S: i64 = 315_360_000;
/// Longest answer or callback that is read, in bytes.
const MAX_BYTES: usize = 16_384;

/// Who gives tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Provider {
    /// Linear.
    Linear,
}

impl Provider {
    /// The word in names.
    pub fn as_str(self) -> &'static str {
        match self {
            Provider::Linear => "linear",
        }
    }

    /// Reads the word.
    pub fn parse(text: &str) -> Option<Provider> {
        [Provider::Linear].into_iter().find(|p| p.as_str() == text)
    }

    /// The only host that a token of it is for.
    fn host(self) -> &'static str {
        match self {
            Provider::Linear => "api.linear.app",
        }
    }
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// The record's name is none of a token.
    #[error("a token is kept as oauth.PROVIDER.WORKSPACE, with a provider that is known")]
    Name,
    /// Not a JSON object of a bearable size.
    #[error("it is no JSON object")]
    Shape,
    /// Fields that have to be there and are not, or are empty.
    #[error("these fields are missing or empty: {}", .0.join(", "))]
    Missing(Vec<&'static str>),
    /// A field of the wrong type, or one that says nothing.
    #[error("the field `{0}` is of the wrong kind")]
    Field(&'static str),
    /// A field that no token has.
    #[error("it has a field that no token has")]
    Unknown,
    /// Of another workspace than its name says.
    #[error("it is of another workspace than its name says")]
    Workspace,
    /// Not sent as a bearer.
    #[error("the provider gives a kind of token that is not used here")]
    Kind,
    /// For less than was asked.
    #[error("the provider gives a token for another scope than the one before")]
    Scope,
    /// Taken back by the provider or its user.
    #[error("the token was taken back; connect the workspace anew")]
    Revoked,
    /// The provider says no for another reason.
    #[error("the provider gave no token: {0}")]
    Refused(Clean),
}

/// What a record consists of: the fields that must be there.
pub const REQUIRED: [&str; 11] = [
    "access_token",
    "refresh_token",
    "expires_at",
    "scope",
    "client_id",
    "client_secret",
    "workspace_id",
    "workspace_slug",
    "installed_at",
    "updated_at",
    "installed_by_platform_user_id",
];
/// The field that may be there.
pub const OPTIONAL: [&str; 1] = ["webhook_signing_secret"];

/// A token of a workspace, whole.
pub struct Token {
    /// Who gave it.
    pub provider: Provider,
    /// Sent to the provider as a bearer.
    pub access_token: Secret<String>,
    /// Gets the next one.
    pub refresh_token: Secret<String>,
    /// When it ends.
    pub expires_at: Timestamp,
    /// What it is for, in the provider's words.
    pub scope: String,
    /// Our name at the provider.
    pub client_id: String,
    /// Proves that name.
    pub client_secret: Secret<String>,
    /// The workspace.
    pub workspace_id: String,
    /// How people call the workspace.
    pub workspace_slug: String,
    /// When it was connected; names the installation, and no refresh changes it.
    pub installed_at: Timestamp,
    /// When the record was written last.
    pub updated_at: Timestamp,
    /// Who connected it.
    pub installed_by: String,
    /// Proves what the provider says by itself.
    pub webhook_signing_secret: Option<Secret<String>>,
}

/// The provider and the workspace that a record's name says.
fn named(name: &SecretRef) -> Option<(Provider, &str)> {
    let (provider, workspace) = name.as_str().strip_prefix("oauth.")?.split_once('.')?;
    Some((Provider::parse(provider)?, workspace))
}

/// Whether a secret of this name is the record of a token. Such a one is no header, whatever it is bound to.
pub fn is_record(name: &SecretRef) -> bool {
    named(name).is_some()
}

fn secret(text: &str) -> Secret<String> {
    Secret::new(text.to_owned())
}

/// Reads an object of texts, with exactly these members.
fn object(bytes: &[u8]) -> Result<Json, TokenFault> {
    let json = Json::parse(bytes, Bounds { max_bytes: MAX_BYTES, ..Bounds::default() });
    json.ok().filter(|json| json.as_object().is_some()).ok_or(TokenFault::Shape)
}

/// A text that can stand in a header and in a form.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| (b'!'..=b'~').contains(&b))
}

impl Token {
    /// Reads a record. Everything that is wrong by being missing is named at once.
    pub fn read(name: &SecretRef, value: &Secret<Vec<u8>>) -> Result<Token, TokenFault> {
        let (provider, workspace) = named(name).ok_or(TokenFault::Name)?;
        let json = value.with(|bytes| object(bytes))?;
        let members = json.as_object().unwrap_or_default();
        if members
            .iter()
            .any(|(key, _)| !REQUIRED.contains(&key.as_str()) && !OPTIONAL.contains(&key.as_str()))
        {
            return Err(TokenFault::Unknown);
        }
        let empty = |key: &&&'static str| json.get(key).is_none_or(|v| v.as_str() == Some(""));
        let missing: Vec<&'static str> = REQUIRED.iter().filter(empty).copied().collect();
        if !missing.is_empty() {
            return Err(TokenFault::Missing(missing));
        }
        let text = |key: &'static str| json.text(key).ok_or(TokenFault::Field(key));
        let plain = |key: &'static str| match text(key)? {
            text if is_plain(text) => Ok(text),
            _ => Err(TokenFault::Field(key)),
        };
        let time = |key: &'static str| Timestamp::parse(text(key)?).ok_or(TokenFault::Field(key));
        let webhook = match json.get("webhook_signing_secret") {
            None => None,
            Some(_) => Some(secret(plain("webhook_signing_secret")?)),
        };
        let token = Token {
            provider,
            access_token: secret(plain("access_token")?),
            refresh_token: secret(plain("refresh_token")?),
            expires_at: time("expires_at")?,
            scope: text("scope")?.to_owned(),
            client_id: plain("client_id")?.to_owned(),
            client_secret: secret(plain("client_secret")?),
            workspace_id: plain("workspace_id")?.to_owned(),
            workspace_slug: text("workspace_slug")?.to_owned(),
            installed_at: time("installed_at")?,
            updated_at: time("updated_at")?,
            installed_by: text("installed_by_platform_user_id")?.to_owned(),
            webhook_signing_secret: webhook,
        };
        if token.workspace_id != workspace {
            return Err(TokenFault::Workspace);
        }
        if token.updated_at < token.installed_at {
            return Err(TokenFault::Field("updated_at"));
        }
        Ok(token)
    }

    /// The record: its name, its value, and what it is bound to. A workspace whose id is no name has none.
    pub fn record(&self) -> Result<(SecretRef, Secret<Vec<u8>>, Binding), TokenFault> {
        let name = format!("oauth.{}.{}", self.provider.as_str(), self.workspace_id);
        names::check(&name).map_err(|_| TokenFault::Name)?;
        let name = SecretRef::parse(&name).ok_or(TokenFault::Name)?;
        let shown = |s: &Secret<String>| s.with(|text| Json::str(text.as_str()));
        let mut json = Json::object([
            ("access_token", shown(&self.access_token)),
            ("refresh_token", shown(&self.refresh_token)),
            ("expires_at", Json::str(self.expires_at.to_string())),
            ("scope", Json::str(&self.scope)),
            ("client_id", Json::str(&self.client_id)),
            ("client_secret", shown(&self.client_secret)),
            ("workspace_id", Json::str(&self.workspace_id)),
            ("workspace_slug", Json::str(&self.workspace_slug)),
            ("installed_at", Json::str(self.installed_at.to_string())),
            ("updated_at", Json::str(self.updated_at.to_string())),
            ("installed_by_platform_user_id", Json::str(&self.installed_by)),
        ]);
        if let Some(secret) = &self.webhook_signing_secret {
            json.set("webhook_signing_secret", shown(secret));
        }
        let value = Secret::new(json.canonical().into_bytes());
        // What could not be read back is never written.
        Token::read(&name, &value)?;
        let host = HostPattern::parse(self.provider.host()).map_err(|_| TokenFault::Name)?;
        let binding = Binding { hosts: vec![host], placements: vec![Placement::OAuth], ..Binding::default() };
        Ok((name, value, binding))
    }

    /// Whether it has to be refreshed before it is used.
    pub fn is_stale(&self, now: Timestamp) -> bool {
        self.expires_at.seconds_since(now) < REFRESH_S
    }

    /// The whole token that a provider's answer to a refresh makes of this one. An answer that is not whole makes none,
    /// and this one stays what it is.
    pub fn refreshed(&self, answer: &Secret<Vec<u8>>, now: Timestamp) -> Result<Token, TokenFault> {
        let given = Given::read(answer, now)?;
        // What a provider leaves out has not changed (RFC 6749, 5.1 and 6).
        let scope = given.scope.unwrap_or_else(|| self.scope.clone());
        if words(&scope) != words(&self.scope) {
            return Err(TokenFault::Scope);
        }
        let copy = |s: &Secret<String>| s.with(|text| secret(text));
        Ok(Token {
            provider: self.provider,
            access_token: given.access_token,
            refresh_token: given.refresh_token.unwrap_or_else(|| copy(&self.refresh_token)),
            expires_at: given.expires_at,
            scope,
            client_id: self.client_id.clone(),
            client_secret: copy(&self.client_secret),
            workspace_id: self.workspace_id.clone(),
            workspace_slug: self.workspace_slug.clone(),
            installed_at: self.installed_at,
            updated_at: now.max(self.installed_at),
            installed_by: self.installed_by.clone(),
            webhook_signing_secret: self.webhook_signing_secret.as_ref().map(copy),
        })
    }
}

fn words(scope: &str) -> std::collections::BTreeSet<&str> {
    scope.split([' ', ',']).filter(|word| !word.is_empty()).collect()
}

/// What a provider gives for a code or for a refresh token.
pub struct Given {
    /// The token.
    pub access_token: Secret<String>,
    /// Gets the next one, if the provider says one.
    pub refresh_token: Option<Secret<String>>,
    /// When the token ends.
    pub expires_at: Timestamp,
    /// What it is for, if the provider says so.
    pub scope: Option<String>,
}

impl Given {
    /// Reads a provider's answer, which is a token or an error and nothing in between. Members that are not known are
    /// left alone: the answer is the provider's.
    pub fn read(answer: &Secret<Vec<u8>>, now: Timestamp) -> Result<Given, TokenFault> {
        let json = answer.with(|bytes| object(bytes))?;
        if let Some(error) = json.get("error") {
            let error = error.as_str().filter(|e| is_plain(e)).ok_or(TokenFault::Field("error"))?;
            return Err(match error {
                "invalid_grant" => TokenFault::Revoked,
                other => TokenFault::Refused(clean_line(other, 100)),
            });
        }
        let missing = ["access_token", "token_type", "expires_in"];
        let missing: Vec<&'static str> = missing.into_iter().filter(|key| json.get(key).is_none()).collect();
        if !missing.is_empty() {
            return Err(TokenFault::Missing(missing));
        }
        let plain = |key: &'static str| json.text(key).filter(|t| is_plain(t)).ok_or(TokenFault::Field(key));
        if !plain("token_type")?.eq_ignore_ascii_case("bearer") {
            return Err(TokenFault::Kind);
        }
        let life = json.get("expires_in").and_then(Json::as_i64).filter(|s| (1..=MAX_LIFE_S).contains(s));
        let refresh_token = match json.get("refresh_token") {
            None => None,
            Some(_) => Some(secret(plain("refresh_token")?)),
        };
        let scope = match json.get("scope") {
            None => None,
            Some(scope) => {
                Some(scope.as_str().filter(|s| !s.is_empty()).ok_or(TokenFault::Field("scope"))?.to_owned())
            }
        };
        Ok(Given {
            access_token: secret(plain("access_token")?),
            refresh_token,
            expires_at: now.plus_s(life.ok_or(TokenFault::Field("expires_in"))?),
            scope,
        })
    }
}

/// What a provider sends a person's browser back with: one of two things, never half of each.
pub enum Callback {
    /// The person said yes.
    Granted {
        /// Exchanged for a token, once.
        code: Secret<String>,
    },
    /// The person said no, or something failed.
    Refused {
        /// The provider's word.
        error: Clean,
        /// Its words for people.
        description: Option<Clean>,
    },
}

/// Why a callback is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallbackFault {
    /// Too long.
    #[error("the callback is too long")]
    TooLong,
    /// A member twice, or one that no callback has.
    #[error("the callback has a member twice, or one that is not known")]
    Member,
    /// Neither a code nor an error, or both of them.
    #[error("the callback has not exactly one of `code` and `error`")]
    Neither,
    /// Not an answer to what was asked.
    #[error("the callback is no answer to a question of ours")]
    State,
}

impl Callback {
    /// Reads the query of a callback. Nothing of it counts before its state is the one that was sent.
    pub fn read(query: &str, state: &Secret<String>) -> Result<Callback, CallbackFault> {
        if query.len() > MAX_BYTES {
            return Err(CallbackFault::TooLong);
        }
        const KNOWN: [&str; 4] = ["code", "state", "error", "error_description"];
        let mut found: [Option<Zeroizing<String>>; 4] = [None, None, None, None];
        for (key, value) in url::form_urlencoded::parse(query.as_bytes()) {
            let place = KNOWN.iter().position(|known| *known == key).and_then(|at| found.get_mut(at));
            let place = place.filter(|place| place.is_none()).ok_or(CallbackFault::Member)?;
            *place = Some(Zeroizing::new(value.into_owned()));
        }
        let [code, said, error, description] = found;
        let said = said.ok_or(CallbackFault::State)?;
        let same =
            state.with(|state| !state.is_empty() && bool::from(said.as_bytes().ct_eq(state.as_bytes())));
        if !same {
            return Err(CallbackFault::State);
        }
        match (code, error, description) {
            (Some(code), None, None) if is_plain(&code) => Ok(Callback::Granted { code: secret(&code) }),
            (None, Some(error), description) if is_plain(&error) => Ok(Callback::Refused {
                error: clean_line(&error, 100),
                description: description.map(|text| clean_line(&text, 300)),
            }),
            _ => Err(CallbackFault::Neither),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::binding::{Authority, Method, Misfit, Use};

    const NAME: &str = "oauth.linear.ws-1";

    fn name(text: &str) -> SecretRef {
        SecretRef::parse(text).unwrap()
    }

    fn whole() -> Json {
        Json::object([
            ("access_token", Json::str("lin_oauth_a")),
            ("refresh_token", Json::str("r1")),
            ("expires_at", Json::str("2026-11-25T12:00:00.000Z")),
            ("scope", Json::str("read write")),
            ("client_id", Json::str("c")),
            ("client_secret", Json::str("cs")),
            ("workspace_id", Json::str("ws-1")),
            ("workspace_slug", Json::str("acme")),
            ("installed_at", Json::str("2026-11-01T00:00:00.000Z")),
            ("updated_at", Json::str("2026-11-24T12:00:00.000Z")),
            ("installed_by_platform_user_id", Json::str("u")),
        ])
    }

    fn bytes(json: &Json) -> Secret<Vec<u8>> {
        Secret::new(json.canonical().into_bytes())
    }

    fn fault<T>(done: Result<T, TokenFault>) -> TokenFault {
        done.err().expect("it is no token")
    }

    fn read(json: &Json) -> Result<Token, TokenFault> {
        Token::read(&name(NAME), &bytes(json))
    }

    /// INV-84: every field by itself, missing, empty and of another type; all that are missing are named at once.
    #[test]
    fn a_token_is_whole_or_none() {
        assert!(read(&whole()).is_ok());
        for field in REQUIRED {
            let mut json = whole();
            json.remove(field);
            assert_eq!(fault(read(&json)), TokenFault::Missing(vec![field]));
            json.set(field, Json::str(""));
            assert_eq!(fault(read(&json)), TokenFault::Missing(vec![field]));
            for other in [Json::int(5), Json::Null, Json::Bool(true), Json::Array(vec![Json::str("x")])] {
                json.set(field, other);
                assert_eq!(fault(read(&json)), TokenFault::Field(field));
            }
        }
        let none = Json::Object(Vec::new());
        assert_eq!(fault(read(&none)), TokenFault::Missing(REQUIRED.to_vec()));
        for (field, value, want) in [
            ("expires_at", "tomorrow", TokenFault::Field("expires_at")),
            ("expires_at", "2026-11-25", TokenFault::Field("expires_at")),
            ("access_token", "a b", TokenFault::Field("access_token")),
            ("access_token", "a\r\nx: y", TokenFault::Field("access_token")),
            ("updated_at", "2026-10-01T00:00:00Z", TokenFault::Field("updated_at")),
            ("workspace_id", "ws-2", TokenFault::Workspace),
            ("webhook_signing_secret", "", TokenFault::Field("webhook_signing_secret")),
            ("token_type", "Bearer", TokenFault::Unknown),
        ] {
            let mut json = whole();
            json.set(field, Json::str(value));
            assert_eq!(fault(read(&json)), want, "{field} = {value}");
        }
        for text in ["", "[]", "{", "\"x\"", "{\"a\":1,\"a\":2}"] {
            assert_eq!(
                fault(Token::read(&name(NAME), &Secret::new(text.into()))),
                TokenFault::Shape,
                "{text}"
            );
        }
        for other in ["oauth.jira.ws-1", "oauth.linear", "linear.ws-1", "oauth"] {
            assert_eq!(fault(Token::read(&name(other), &bytes(&whole()))), TokenFault::Name, "{other}");
        }
    }

    /// INV-84: what is written is what is read, by one list of fields.
    #[test]
    fn writer_and_reader_have_one_list() {
        let mut json = whole();
        for optional in [false, true] {
            if optional {
                json.set(OPTIONAL[0], Json::str("whsec"));
            }
            let (record, value, binding) = read(&json).unwrap().record().unwrap();
            assert_eq!(record.as_str(), NAME);
            let written = value.with(|bytes| Json::parse(bytes, Bounds::default()).unwrap());
            assert_eq!(written.canonical(), json.canonical());
            let mut fields: Vec<&str> = REQUIRED.to_vec();
            fields.extend(OPTIONAL.iter().filter(|_| optional));
            fields.sort_unstable();
            let keys: Vec<&str> = written.as_object().unwrap().iter().map(|(key, _)| key.as_str()).collect();
            let mut keys = keys;
            keys.sort_unstable();
            assert_eq!(keys, fields);
            assert!(Token::read(&record, &value).is_ok());
            assert_eq!(binding.placements, [Placement::OAuth]);
        }
        let mut odd = read(&whole()).unwrap();
        odd.workspace_id = "a/b".into();
        assert_eq!(fault(odd.record()), TokenFault::Name);
        let mut half = read(&whole()).unwrap();
        half.scope = String::new();
        assert_eq!(fault(half.record()), TokenFault::Missing(vec!["scope"]), "a half one is never written");
    }

    /// The record goes nowhere by the placements that an agent can name.
    #[test]
    fn a_record_is_no_header() {
        let (record, _, binding) = read(&whole()).unwrap().record().unwrap();
        assert!(is_record(&record));
        let authority = Authority::parse("api.linear.app").unwrap();
        for placement in
            [Placement::Bearer, Placement::Basic, Placement::ApiKey, Placement::Custom("x".into())]
        {
            let by = Use {
                authority: &authority,
                method: Method::Get,
                path: "/",
                placement: &placement,
                project: "p",
                now: Timestamp(0),
            };
            assert_eq!(binding.fits(&by), Err(Misfit::Placement), "{placement}");
        }
        assert_eq!(Placement::of("oauth", None), None, "no argument names it");
        assert_eq!(Binding::read(&binding.canonical()).as_ref(), Some(&binding));
    }

    #[test]
    fn a_refresh_makes_a_whole_token_or_none() {
        let now = Timestamp::parse("2026-11-25T11:59:30Z").unwrap();
        let old = read(&whole()).unwrap();
        assert!(old.is_stale(now) && !old.is_stale(Timestamp(now.0 - 31_000)));
        let answer = |text: &str| old.refreshed(&Secret::new(text.into()), now);
        let new = answer(
            r#"{"access_token":"a2","token_type":"bearer","expires_in":3600,"refresh_token":"r2","scope":"write read","more":1}"#,
        )
        .unwrap();
        assert!(new.access_token.with(|t| t == "a2") && new.refresh_token.with(|t| t == "r2"));
        assert_eq!(
            (new.expires_at, new.updated_at, new.installed_at),
            (now.plus_s(3_600), now, old.installed_at)
        );
        assert!(new.record().is_ok());
        let kept = answer(r#"{"access_token":"a2","token_type":"Bearer","expires_in":3600}"#).unwrap();
        assert!(kept.refresh_token.with(|t| t == "r1") && kept.scope == "read write");
        for (text, want) in [
            (r#"{"error":"invalid_grant","error_description":"x"}"#, TokenFault::Revoked),
            (r#"{"error":"slow_down"}"#, TokenFault::Refused(clean_line("slow_down", 100))),
            (r#"{"error":"invalid_grant","access_token":"a2"}"#, TokenFault::Revoked),
            (r#"{"error":5}"#, TokenFault::Field("error")),
            (r#"{}"#, TokenFault::Missing(vec!["access_token", "token_type", "expires_in"])),
            (r#"{"access_token":"a2","token_type":"mac","expires_in":3600}"#, TokenFault::Kind),
            (
                r#"{"access_token":"","token_type":"bearer","expires_in":3600}"#,
                TokenFault::Field("access_token"),
            ),
            (
                r#"{"access_token":"a2","token_type":"bearer","expires_in":"3600"}"#,
                TokenFault::Field("expires_in"),
            ),
            (
                r#"{"access_token":"a2","token_type":"bearer","expires_in":0}"#,
                TokenFault::Field("expires_in"),
            ),
            (
                r#"{"access_token":"a2","token_type":"bearer","expires_in":9999999999}"#,
                TokenFault::Field("expires_in"),
            ),
            (
                r#"{"access_token":"a2","token_type":"bearer","expires_in":60,"refresh_token":""}"#,
                TokenFault::Field("refresh_token"),
            ),
            (
                r#"{"access_token":"a2","token_type":"bearer","expires_in":60,"scope":"read write admin"}"#,
                TokenFault::Scope,
            ),
            (
                r#"{"access_token":"a2","token_type":"bearer","expires_in":60,"scope":"read"}"#,
                TokenFault::Scope,
            ),
            ("not json", TokenFault::Shape),
        ] {
            assert_eq!(fault(answer(text)), want, "{text}");
        }
    }

    #[test]
    fn a_callback_is_one_of_two_things() {
        let state = Secret::new("s-1/+".to_owned());
        let read = |query: &str| Callback::read(query, &state);
        match read("code=c%2F1&state=s-1%2F%2B") {
            Ok(Callback::Granted { code }) => assert!(code.with(|c| c == "c/1")),
            _ => panic!(),
        }
        match read("error=access_denied&error_description=The+user%1b[31m+said+no&state=s-1%2F%2B") {
            Ok(Callback::Refused { error, description }) => {
                assert_eq!(error.as_str(), "access_denied");
                assert!(!description.unwrap().as_str().contains('\u{1b}'));
            }
            _ => panic!(),
        }
        for (query, want) in [
            ("", CallbackFault::State),
            ("code=c", CallbackFault::State),
            ("code=c&state=", CallbackFault::State),
            ("code=c&state=s-1", CallbackFault::State),
            ("code=c&state=S-1%2F%2B", CallbackFault::State),
            ("error=x&state=other", CallbackFault::State),
            ("state=s-1%2F%2B", CallbackFault::Neither),
            ("code=&state=s-1%2F%2B", CallbackFault::Neither),
            ("code=c&error=x&state=s-1%2F%2B", CallbackFault::Neither),
            ("code=c&error_description=x&state=s-1%2F%2B", CallbackFault::Neither),
            ("error_description=x&state=s-1%2F%2B", CallbackFault::Neither),
            ("code=c&code=d&state=s-1%2F%2B", CallbackFault::Member),
            ("code=c&state=s-1%2F%2B&state=s-1%2F%2B", CallbackFault::Member),
            ("code=c&state=s-1%2F%2B&more=1", CallbackFault::Member),
            (&format!("code={}&state=s", "x".repeat(20_000)), CallbackFault::TooLong),
        ] {
            assert_eq!(read(query).err(), Some(want), "{query:.80}");
        }
        // A state that was never made is answered by nothing.
        let none = Secret::new(String::new());
        assert_eq!(Callback::read("code=c&state=", &none).err(), Some(CallbackFault::State));
    }
}
