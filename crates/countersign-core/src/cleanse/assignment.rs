//! Named assignments: a value behind a name that says it is secret, in the spellings of programs, settings, JSON, YAML,
//! XML, command lines and addresses.
//!
//! Read by hand and not by a pattern: such names stand all over ordinary sources, and a look must cost next to nothing.

use super::plausible::{Ask, assigned};
use std::ops::Range;

/// A name.
pub(super) struct Name {
    /// In lower case, as it begins.
    pub(super) word: &'static str,
    /// What stands in the marker.
    pub(super) id: &'static str,
    /// How strict it is.
    ask: Ask,
}

const fn name(word: &'static str, id: &'static str, ask: Ask) -> Name {
    Name { word, id, ask }
}

/// Every name, longer ones of the same beginning first.
pub(super) const NAMES: &[Name] = &[
    name("password", "PASSWORD", Ask::Password),
    name("passwd", "PASSWORD", Ask::Password),
    name("passphrase", "PASSWORD", Ask::Password),
    name("passcode", "PASSWORD", Ask::Password),
    name("pass=", "PASSWORD", Ask::Password),
    name("_pass", "PASSWORD", Ask::Password),
    name("pwd", "PASSWORD", Ask::Password),
    name("secret", "SECRET", Ask::Token),
    name("token", "TOKEN", Ask::Token),
    name("apikey", "API_KEY", Ask::Token),
    name("api_key", "API_KEY", Ask::Token),
    name("api-key", "API_KEY", Ask::Token),
    name("api key", "API_KEY", Ask::Token),
    name("app_key", "API_KEY", Ask::Token),
    name("appkey", "API_KEY", Ask::Token),
    name("access_key", "API_KEY", Ask::Token),
    name("accesskey", "API_KEY", Ask::Token),
    name("access-key", "API_KEY", Ask::Token),
    name("auth_key", "API_KEY", Ask::Token),
    name("authkey", "API_KEY", Ask::Token),
    name("private_key", "SECRET", Ask::Token),
    name("privatekey", "SECRET", Ask::Token),
    name("encryption_key", "SECRET", Ask::Token),
    name("signing_key", "SECRET", Ask::Token),
    name("master_key", "SECRET", Ask::Token),
    name("credential", "SECRET", Ask::Token),
    name("_key", "API_KEY", Ask::Weak),
    // Vendors whose keys look like nothing in particular.
    name("abuseipdb", "VENDOR_KEY", Ask::Vendor),
    name("adafruit", "VENDOR_KEY", Ask::Vendor),
    name("adobe", "VENDOR_KEY", Ask::Vendor),
    name("airtable", "VENDOR_KEY", Ask::Vendor),
    name("algolia", "VENDOR_KEY", Ask::Vendor),
    name("alibaba", "VENDOR_KEY", Ask::Vendor),
    name("aliyun", "VENDOR_KEY", Ask::Vendor),
    name("asana", "VENDOR_KEY", Ask::Vendor),
    name("assemblyai", "VENDOR_KEY", Ask::Vendor),
    name("bitbucket", "VENDOR_KEY", Ask::Vendor),
    name("bitrise", "VENDOR_KEY", Ask::Vendor),
    name("bittrex", "VENDOR_KEY", Ask::Vendor),
    name("browserstack", "VENDOR_KEY", Ask::Vendor),
    name("bitly", "VENDOR_KEY", Ask::Vendor),
    name("circleci", "VENDOR_KEY", Ask::Vendor),
    name("civo", "VENDOR_KEY", Ask::Vendor),
    name("cloudflare", "VENDOR_KEY", Ask::Vendor),
    name("codecov", "VENDOR_KEY", Ask::Vendor),
    name("cohere", "VENDOR_KEY", Ask::Vendor),
    name("coinbase", "VENDOR_KEY", Ask::Vendor),
    name("configcat", "VENDOR_KEY", Ask::Vendor),
    name("contentful", "VENDOR_KEY", Ask::Vendor),
    name("coveralls", "VENDOR_KEY", Ask::Vendor),
    name("couchbase", "VENDOR_KEY", Ask::Vendor),
    name("databento", "VENDOR_KEY", Ask::Vendor),
    name("datadog", "VENDOR_KEY", Ask::Vendor),
    name("deepgram", "VENDOR_KEY", Ask::Vendor),
    name("deepseek", "VENDOR_KEY", Ask::Vendor),
    name("disqus", "VENDOR_KEY", Ask::Vendor),
    name("droneci", "VENDOR_KEY", Ask::Vendor),
    name("dropbox", "VENDOR_KEY", Ask::Vendor),
    name("elevenlabs", "VENDOR_KEY", Ask::Vendor),
    name("etsy", "VENDOR_KEY", Ask::Vendor),
    name("exoscale", "VENDOR_KEY", Ask::Vendor),
    name("fastly", "VENDOR_KEY", Ask::Vendor),
    name("finicity", "VENDOR_KEY", Ask::Vendor),
    name("finnhub", "VENDOR_KEY", Ask::Vendor),
    name("flickr", "VENDOR_KEY", Ask::Vendor),
    name("freshbooks", "VENDOR_KEY", Ask::Vendor),
    name("fullstory", "VENDOR_KEY", Ask::Vendor),
    name("gitea", "VENDOR_KEY", Ask::Vendor),
    name("gocardless", "VENDOR_KEY", Ask::Vendor),
    name("greptile", "VENDOR_KEY", Ask::Vendor),
    name("gumroad", "VENDOR_KEY", Ask::Vendor),
    name("heroku", "VENDOR_KEY", Ask::Vendor),
    name("honeycomb", "VENDOR_KEY", Ask::Vendor),
    name("hubspot", "VENDOR_KEY", Ask::Vendor),
    name("ibmcloud", "VENDOR_KEY", Ask::Vendor),
    name("infomaniak", "VENDOR_KEY", Ask::Vendor),
    name("jumpcloud", "VENDOR_KEY", Ask::Vendor),
    name("klaviyo", "VENDOR_KEY", Ask::Vendor),
    name("kucoin", "VENDOR_KEY", Ask::Vendor),
    name("larksuite", "VENDOR_KEY", Ask::Vendor),
    name("launchdarkly", "VENDOR_KEY", Ask::Vendor),
    name("linkedin", "VENDOR_KEY", Ask::Vendor),
    name("mailchimp", "VENDOR_KEY", Ask::Vendor),
    name("mailgun", "VENDOR_KEY", Ask::Vendor),
    name("mapbox", "VENDOR_KEY", Ask::Vendor),
    name("mattermost", "VENDOR_KEY", Ask::Vendor),
    name("messagebird", "VENDOR_KEY", Ask::Vendor),
    name("midtrans", "VENDOR_KEY", Ask::Vendor),
    name("mistral", "VENDOR_KEY", Ask::Vendor),
    name("moonshot", "VENDOR_KEY", Ask::Vendor),
    name("netlify", "VENDOR_KEY", Ask::Vendor),
    name("newrelic", "VENDOR_KEY", Ask::Vendor),
    name("new_relic", "VENDOR_KEY", Ask::Vendor),
    name("ngrok", "VENDOR_KEY", Ask::Vendor),
    name("nytimes", "VENDOR_KEY", Ask::Vendor),
    name("openweather", "VENDOR_KEY", Ask::Vendor),
    name("opsgenie", "VENDOR_KEY", Ask::Vendor),
    name("pagerduty", "VENDOR_KEY", Ask::Vendor),
    name("paypal", "VENDOR_KEY", Ask::Vendor),
    name("pinecone", "VENDOR_KEY", Ask::Vendor),
    name("plaid", "VENDOR_KEY", Ask::Vendor),
    name("plivo", "VENDOR_KEY", Ask::Vendor),
    name("postmark", "VENDOR_KEY", Ask::Vendor),
    name("rapidapi", "VENDOR_KEY", Ask::Vendor),
    name("razorpay", "VENDOR_KEY", Ask::Vendor),
    name("scaleway", "VENDOR_KEY", Ask::Vendor),
    name("sendbird", "VENDOR_KEY", Ask::Vendor),
    name("sendgrid", "VENDOR_KEY", Ask::Vendor),
    name("sentry", "VENDOR_KEY", Ask::Vendor),
    name("snowflake", "VENDOR_KEY", Ask::Vendor),
    name("sonar", "VENDOR_KEY", Ask::Vendor),
    name("squarespace", "VENDOR_KEY", Ask::Vendor),
    name("telnyx", "VENDOR_KEY", Ask::Vendor),
    name("travis", "VENDOR_KEY", Ask::Vendor),
    name("twilio", "VENDOR_KEY", Ask::Vendor),
    name("twitch", "VENDOR_KEY", Ask::Vendor),
    name("twitter", "VENDOR_KEY", Ask::Vendor),
    name("typeform", "VENDOR_KEY", Ask::Vendor),
    name("upstash", "VENDOR_KEY", Ask::Vendor),
    name("vercel", "VENDOR_KEY", Ask::Vendor),
    name("virustotal", "VENDOR_KEY", Ask::Vendor),
    name("vultr", "VENDOR_KEY", Ask::Vendor),
    name("wandb", "VENDOR_KEY", Ask::Vendor),
    name("weatherstack", "VENDOR_KEY", Ask::Vendor),
    name("workos", "VENDOR_KEY", Ask::Vendor),
    name("yandex", "VENDOR_KEY", Ask::Vendor),
    name("zendesk", "VENDOR_KEY", Ask::Vendor),
    name("amplitude", "VENDOR_KEY", Ask::Vendor),
    name("auth0", "VENDOR_KEY", Ask::Vendor),
];

/// Longest value that is looked at.
const MAX_VALUE: usize = 512;

/// The secret behind the name at `at`, if there is one.
pub(super) fn read(text: &[u8], at: usize, name: &Name) -> Option<Range<usize>> {
    let word = text.get(at..at + name.word.len())?;
    if !word.eq_ignore_ascii_case(name.word.as_bytes()) {
        return None;
    }
    if name.ask != Ask::Password && harmless(text.get(at.saturating_sub(24)..at).unwrap_or_default()) {
        return None;
    }
    let mut i = at + name.word.len();
    if !name.word.ends_with('=') {
        // The rest of the name; an index of it; its quotes.
        let from = i;
        let spaces = name.ask == Ask::Vendor;
        while text.get(i).is_some_and(|b| {
            b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.') || spaces && *b == b' '
        }) && i < from + 40
        {
            i += 1;
        }
        let tail = text.get(from..i)?;
        if name.ask != Ask::Password && not_the_secret(tail) {
            return None;
        }
        i = skip(text, i, 6, |b| matches!(b, b'"' | b'\'' | b'`' | b'\\' | b']' | b')'));
        let spaced = skip(text, i, 8, |b| matches!(b, b' ' | b'\t'));
        match text.get(spaced) {
            Some(b':' | b'=') => i = spaced + 1,
            // XML: the element's text.
            Some(b'>') => i = spaced + 1,
            // A column or a flag: only what looks like nothing else counts, so quotes are needed.
            Some(b',') => i = spaced + 1,
            _ if spaced > i && text.get(at.saturating_sub(2)..at).is_some_and(|b| b.ends_with(b"-")) => {
                i = spaced
            }
            _ => return None,
        }
        // `=>`, `:=`, `==`, `::=`
        i = skip(text, i, 2, |b| matches!(b, b'=' | b'>' | b':'));
        i = skip(text, i, 8, |b| matches!(b, b' ' | b'\t'));
    }
    value(text, i, name.ask).or_else(|| typed(text, i, name.ask))
}

/// Whether the name stands in a JSON object's key, at a place, and the value is a secret.
pub(super) fn is_member(key: &[u8], at: usize, name: &Name, value: &str) -> bool {
    let Some(rest) = key.get(at..).filter(|r| r.len() >= name.word.len()) else { return false };
    let (word, tail) = rest.split_at(name.word.len());
    let before = key.get(at.saturating_sub(24)..at).unwrap_or_default();
    word.eq_ignore_ascii_case(name.word.as_bytes())
        && (name.ask == Ask::Password || !not_the_secret(tail) && !harmless(before))
        && assigned(value.as_bytes(), true, name.ask)
}

/// Whether a value could be one at all.
pub(super) fn may_be(value: &str) -> bool {
    (6..=MAX_VALUE).contains(&value.len()) && !value.bytes().any(|b| b.is_ascii_whitespace())
}

/// Words before the name that make it one of paging, sorting or publishing.
fn harmless(before: &[u8]) -> bool {
    const WORDS: &[&str] = &[
        "page",
        "next",
        "continuation",
        "cursor",
        "sync",
        "resume",
        "progress",
        "delta",
        "skip",
        "cancel",
        "public",
        "primary",
        "foreign",
        "sort",
        "partition",
        "cache",
        "index",
        "idempotency",
        "lookup",
        "object",
        "storage",
        "translation",
        "publishable",
    ];
    let name =
        before.iter().rev().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')).count();
    let name = before.get(before.len() - name..).unwrap_or_default().to_ascii_lowercase();
    WORDS.iter().any(|word| memchr::memmem::find(&name, word.as_bytes()).is_some())
}

/// Names of something about the secret rather than of it.
fn not_the_secret(tail: &[u8]) -> bool {
    const ABOUT: &[&[u8]] = &[
        b"_id", b"id", b"name", b"type", b"url", b"uri", b"path", b"file", b"count", b"length", b"limit",
        b"usage", b"ref", b"hash", b"ttl", b"version", b"arn", b"digest", b"izer",
    ];
    ABOUT.iter().any(|end| {
        tail.len() >= end.len()
            && tail.get(tail.len() - end.len()..).is_some_and(|t| t.eq_ignore_ascii_case(end))
    })
}

fn skip(text: &[u8], from: usize, most: usize, what: impl Fn(u8) -> bool) -> usize {
    let mut i = from;
    while i < from + most && text.get(i).is_some_and(|b| what(*b)) {
        i += 1;
    }
    i
}

/// A value in quotes or without them.
fn value(text: &[u8], from: usize, ask: Ask) -> Option<Range<usize>> {
    // A letter in front of a string, as in Python and Rust, and the escapes of a text inside a text.
    let lettered = skip(text, from, 1, |b| matches!(b, b'b' | b'r' | b'f' | b'u' | b'@' | b'L'));
    for start in [from, lettered] {
        let open = skip(text, start, 4, |b| b == b'\\');
        let Some(quote) = text.get(open).copied().filter(|b| matches!(b, b'"' | b'\'' | b'`')) else {
            continue;
        };
        let begin = open + 1;
        let rest = text.get(begin..)?;
        let rest = rest.get(..rest.len().min(MAX_VALUE))?;
        let end = rest.iter().position(|b| *b == quote || *b == b'\\' || b.is_ascii_whitespace())?;
        let closed = rest.get(end).is_some_and(|b| *b == quote || *b == b'\\');
        let found = rest.get(..end)?;
        return (closed && assigned(found, true, ask)).then_some(begin..begin + end);
    }
    let ends = |b: u8| {
        b.is_ascii_whitespace()
            || matches!(
                b,
                b'"' | b'\''
                    | b'`'
                    | b'\\'
                    | b','
                    | b';'
                    | b'&'
                    | b'<'
                    | b'>'
                    | b'('
                    | b')'
                    | b'{'
                    | b'}'
                    | b'['
                    | b']'
                    | b'|'
            )
            || !b.is_ascii()
    };
    let mut end = skip(text, from, MAX_VALUE, |b| !ends(b) && b != b'=');
    // Padding; another name begins behind any other sign of equality.
    end = skip(text, end, 2, |b| b == b'=');
    if text.get(end).is_some_and(u8::is_ascii_alphanumeric) {
        return None;
    }
    // A call, an index or a generic type of a program.
    if matches!(text.get(end), Some(b'(' | b'[' | b'{' | b'<'))
        && text.get(end..end + 2).is_none_or(|b| b != b"</")
    {
        return None;
    }
    let found = text.get(from..end)?;
    assigned(found, false, ask).then_some(from..end)
}

/// `name: Type = value`.
fn typed(text: &[u8], from: usize, ask: Ask) -> Option<Range<usize>> {
    let i = skip(text, from, 40, |b| {
        b.is_ascii_alphanumeric() || matches!(b, b'_' | b':' | b'.' | b'&' | b'\'' | b'?' | b'<' | b'>')
    });
    let i = skip(text, i, 2, |b| b == b' ');
    let after = skip(text, i, 1, |b| b == b'=');
    if i == from || after == i {
        return None;
    }
    let start = skip(text, after, 3, |b| b == b' ');
    value(text, start, ask)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Option<&str> {
        let bytes = text.as_bytes();
        (0..bytes.len())
            .find_map(|at| NAMES.iter().find_map(|n| read(bytes, at, n)))
            .and_then(|r| text.get(r))
    }

    fn random() -> String {
        "f9T2".chars().chain("kQ7w1ZrB5xVn3LpD8s".chars()).collect()
    }

    #[test]
    fn spellings() {
        let v = random();
        for text in [
            format!("password = \"{v}\""),
            format!("DB_PASSWORD={v}"),
            format!("{{\"db_password\": \"{v}\"}}"),
            format!(r#"{{\"client_secret\":\"{v}\"}}"#),
            format!("api_key: '{v}'"),
            format!("const apiKey: string = \"{v}\";"),
            format!("let password: &str = \"{v}\";"),
            format!("config['auth_token'] = '{v}'"),
            format!("<password>{v}</password>"),
            format!("curl --token {v}"),
            format!("https://x.example/?access_token={v}&a=1"),
            format!("password := \"{v}\""),
            format!("PASSWORD => '{v}',"),
            format!("token = b\"{v}\""),
            format!("Server=x;Pwd={v};"),
            format!("MY_SERVICE_KEY={v}{v}"),
        ] {
            assert!(found(&text).is_some_and(|f| f.starts_with(&v)), "{text}");
        }
    }

    #[test]
    fn ordinary_lines() {
        for text in [
            "let api_key = env(\"API_KEY\");",
            "password: string",
            "token = tokens[i]",
            "password = getPassword()",
            "PWD=/home/ana/shop2/src",
            "secret_name = \"projects/x/secrets/y1\"",
            "token: ${{ secrets.GITHUB_TOKEN }}",
            "max_tokens: 4096",
            "nextPageToken: \"CAUQAA1x9zT2kQ7w1ZrB5xVn\"",
            "primary_key = 'customer_id'",
            "tokenizer = \"cl100k_base_1234567890ab\"",
            "password = \"password\"",
            "if token == self.previous_token1 {",
            "token=$TOKEN1234567890abcdef",
        ] {
            assert_eq!(found(text), None, "{text}");
        }
    }
}
