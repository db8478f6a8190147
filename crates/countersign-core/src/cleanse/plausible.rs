//! Whether a value that stands where a secret would is one: placeholders, references and words of a program are not.

/// Bits a byte, by how often each one occurs.
pub(super) fn entropy(value: &[u8]) -> f32 {
    let mut counts = [0u16; 256];
    for byte in value {
        if let Some(count) = counts.get_mut(usize::from(*byte)) {
            *count = count.saturating_add(1);
        }
    }
    let all = value.len() as f32;
    counts.iter().filter(|n| **n > 0).map(|n| f32::from(*n) / all).map(|p| -p * p.log2()).sum()
}

/// Beginnings and parts that only texts about secrets have. Compared in lower case.
const BEGINS: &[&str] = &[
    "<",
    "${",
    "$(",
    "{{",
    "%(",
    "%{",
    "[redacted",
    "your-",
    "your_",
    "my-",
    "my_",
    "process.env",
    "os.environ",
    "env.",
    "env:",
    "vault:",
    "secret:",
    "ssm:",
    "arn:",
    "file:",
    "path:",
    "ref:",
];
const HOLDS: &[&str] = &[
    "example",
    "xxxx",
    "****",
    "....",
    "placeholder",
    "changeme",
    "change_me",
    "change-me",
    "redacted",
    "dummy",
    "your_",
    "your-",
    "yourtoken",
    "yourkey",
    "yourpassword",
    "123456789012345678",
    "notasecret",
    "not-a-secret",
];

/// A text that stands for a value and is none.
pub(super) fn placeholder(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    let [first, rest @ ..] = lower.as_slice() else { return true };
    // Also `$NAME`, a variable of a shell.
    if rest.iter().all(|b| b == first)
        || *first == b'$' && rest.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
    {
        return true;
    }
    BEGINS.iter().any(|begin| lower.starts_with(begin.as_bytes()))
        || HOLDS.iter().any(|part| holds(&lower, part.as_bytes()))
}

/// What a vendor's own shape is not: its documentation's.
pub(super) fn documented(value: &[u8]) -> bool {
    let lower = value.to_ascii_lowercase();
    ["example", "xxxxxx", "******", "[redacted"].iter().any(|part| holds(&lower, part.as_bytes()))
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    memchr::memmem::find(text, part).is_some()
}

/// What a value consists of.
#[derive(Clone, Copy, Default)]
struct Classes {
    lower: bool,
    upper: bool,
    digit: bool,
    other: bool,
}

fn classes(value: &[u8]) -> Classes {
    let mut out = Classes::default();
    for byte in value {
        match byte {
            b'a'..=b'z' => out.lower = true,
            b'A'..=b'Z' => out.upper = true,
            b'0'..=b'9' => out.digit = true,
            b'_' | b'-' | b'.' | b'/' | b':' => {}
            _ => out.other = true,
        }
    }
    out
}

/// How strict a name is with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// A person may have made it up: short and plain ones count.
    Password,
    /// A machine made it.
    Token,
    /// A vendor's name: only what a machine made, in letters and digits.
    Vendor,
    /// The name says little: only what looks random counts.
    Weak,
}

/// Whether an assigned value is a secret.
pub(super) fn assigned(value: &[u8], quoted: bool, ask: Ask) -> bool {
    if placeholder(value) {
        return false;
    }
    let kinds = classes(value);
    let bits = entropy(value);
    let letters = kinds.lower || kinds.upper;
    match ask {
        // An unquoted word may be a variable of a program; a quoted one with a digit or a sign in it is no word.
        Ask::Password if quoted => value.len() >= 6 && (kinds.digit || kinds.other) && letters && bits >= 2.0,
        Ask::Password => {
            value.len() >= 8
                && letters
                && kinds.digit
                && (kinds.other || !pathlike(value))
                && bits >= 2.5
                && !dotted(value)
        }
        Ask::Token => {
            let least = if quoted { 16 } else { 18 };
            value.len() >= least
                && kinds.digit
                && letters
                && bits >= 3.0
                && !pathlike(value)
                && !dotted(value)
        }
        Ask::Vendor => {
            value.len() >= 20
                && kinds.digit
                && letters
                && !kinds.other
                && bits >= 3.0
                && !pathlike(value)
                && !dotted(value)
        }
        Ask::Weak => {
            value.len() >= 24 && kinds.digit && letters && bits >= 3.4 && !pathlike(value) && !dotted(value)
        }
    }
}

/// A path, an address or a sentence of words joined by signs rather than a value.
fn pathlike(value: &[u8]) -> bool {
    let begins = |with: &[u8]| value.starts_with(with);
    if begins(b"/")
        || begins(b"./")
        || begins(b"../")
        || begins(b"~/")
        || begins(b"http:")
        || begins(b"https:")
        || begins(b"@")
    {
        return true;
    }
    value.split(|b| matches!(b, b'/' | b'-' | b'_' | b'.' | b':')).filter(|p| !p.is_empty()).all(wordlike)
}

/// Letters alone, or digits alone, or a word with a short number behind it.
fn wordlike(part: &[u8]) -> bool {
    let letters = part.iter().take_while(|b| b.is_ascii_alphabetic()).count();
    let rest = part.get(letters..).unwrap_or_default();
    rest.iter().all(u8::is_ascii_digit)
        && (letters == 0 && rest.len() <= 4 || rest.len() <= 3 && letters <= 14)
}

/// `a.b.c` of a program: a member rather than a value.
fn dotted(value: &[u8]) -> bool {
    value.contains(&b'.')
        && value.split(|b| *b == b'.').all(|part| {
            part.first().is_some_and(|b| b.is_ascii_alphabetic() || *b == b'_') && part.len() <= 24
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values() {
        for (value, quoted, ask, is) in [
            ("hunter2hunter", true, Ask::Password, true),
            ("Tr0ub4dor&3", false, Ask::Password, true),
            ("password", true, Ask::Password, false),
            ("getPassword", false, Ask::Password, false),
            ("<password1>", true, Ask::Password, false),
            ("${DB_PASSWORD1}", true, Ask::Password, false),
            ("xxxxxxxx1", true, Ask::Password, false),
            ("config.db.password1", false, Ask::Password, false),
            ("your-token-here-1234567890", true, Ask::Token, false),
            ("8f14e45fceea167a5a36dedd4bea2543", true, Ask::Token, true),
            ("/run/secrets/db-token-0123456789", false, Ask::Token, false),
            ("some-long-kebab-case-name-2024", true, Ask::Weak, false),
            ("aaaaaaaaaaaaaaaaaaaaaaaa", true, Ask::Weak, false),
        ] {
            assert_eq!(assigned(value.as_bytes(), quoted, ask), is, "{value}");
        }
    }

    #[test]
    fn entropies() {
        assert!(entropy(b"aaaa") < 0.01 && (entropy(b"abcd") - 2.0).abs() < 0.01);
    }
}
