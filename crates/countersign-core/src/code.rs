//! The closed list of refusal codes (NAMES 6.1): stable words that records, answers and documents share.

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// Why a call was refused or its result withheld.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code { $($(#[$doc])* $name),* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Code] = &[$(Code::$name),*];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self { $(Code::$name => $text),* }
            }

            /// Reads the word.
            pub fn parse(text: &str) -> Option<Code> {
                match text { $($text => Some(Code::$name),)* _ => None }
            }
        }
    };
}

codes! {
    /// A halt is in force, or it could not be ruled out.
    Halted = "halted",
    /// A verb that only a person may use.
    ModeRequiresHuman = "mode_requires_human",
    /// Not one JSON document that everybody reads alike, or not of the client's shape.
    Malformed = "malformed",
    /// Over the limits of size, depth or nodes.
    ArgumentsTooLarge = "arguments_too_large",
    /// A field the rules need is absent or not a string.
    UnmappableInput = "unmappable_input",
    /// More spellings than the bound.
    TooManyForms = "too_many_forms",
    /// No such tool, or not for this principal.
    UnknownTool = "unknown_tool",
    /// The server is not accepted, or changed.
    UntrustedServer = "untrusted_server",
    /// The tool changed.
    UntrustedTool = "untrusted_tool",
    /// Not connected, or its breaker is open.
    ServerUnavailable = "server_unavailable",
    /// A blocked or protected path.
    BlockedPath = "blocked_path",
    /// A path with a bad escape.
    MalformedPath = "malformed_path",
    /// The hard set matched.
    Hard = "hard",
    /// Too many calls in a minute.
    LimitRate = "limit_rate",
    /// Too many calls at once.
    LimitConcurrency = "limit_concurrency",
    /// A person refused this a moment ago.
    RecentDenied = "recent_denied",
    /// Nobody answered this a moment ago.
    RecentTimedOut = "recent_timed_out",
    /// A person is needed; the request is still decidable.
    ApprovalRequired = "approval_required",
    /// A person said no.
    ApprovalDenied = "approval_denied",
    /// Nobody answered in time.
    ApprovalTimedOut = "approval_timed_out",
    /// The request ended without an answer.
    ApprovalStranded = "approval_stranded",
    /// The session asked too often.
    ApprovalCap = "approval_cap",
    /// The session asked too fast.
    ApprovalRate = "approval_rate",
    /// Too little of the task's lifetime is left to wait.
    ApprovalLifetime = "approval_lifetime",
    /// A rule could not be evaluated.
    PolicyError = "policy_error",
    /// The judgement took too long.
    PolicyTimeout = "policy_timeout",
    /// No rulebook that loads.
    PolicyInvalid = "policy_invalid",
    /// A fault of our own.
    Internal = "internal",
    /// The store cannot be reached.
    StoreUnavailable = "store_unavailable",
    /// No record is possible.
    AuditUnavailable = "audit_unavailable",
    /// The state moved three times while judging.
    Contention = "contention",
    /// The permit was not spent in time.
    PermitExpired = "permit_expired",
    /// The log does not verify.
    LogDamaged = "log_damaged",
    /// The database is gone although a checkpoint is known.
    LogMissing = "log_missing",
    /// The result carries likely instructions.
    InjectionFound = "injection_found",
    /// The result carries possible instructions.
    InjectionSuspected = "injection_suspected",
    /// The result could not be scanned whole.
    ScanIncomplete = "scan_incomplete",
    /// The result carries a secret that cannot be cut out.
    SecretInResult = "secret_in_result",
    /// The outcome could not be recorded.
    OutcomeUnrecorded = "outcome_unrecorded",
    /// Sent, and its end is not known.
    OutcomeUnknown = "outcome_unknown",
    /// The server answered with an error.
    ServerError = "server_error",
    /// The server did not answer in time.
    ServerTimeout = "server_timeout",
    /// No name of a secret or of a note.
    InvalidKey = "invalid_key",
    /// An address that is not https.
    NonHttpsUrl = "non_https_url",
    /// A field that must be there is not.
    MissingRequiredField = "missing_required_field",
    /// The secret is not bound to where it would go.
    SecretNotBound = "secret_not_bound",
    /// The secret may not stand there.
    PlacementRefused = "placement_refused",
    /// A header that carries no secret.
    HeaderForbidden = "header_forbidden",
    /// The secret cannot stand in a header.
    SecretNotHeaderSafe = "secret_not_header_safe",
    /// No such secret.
    SecretNotFound = "secret_not_found",
    /// Too many answers held the secret: a person is asked again.
    SecretQuarantined = "secret_quarantined",
    /// The vault does not open.
    VaultUnavailable = "vault_unavailable",
    /// The answer is longer than is taken.
    ResponseTooLarge = "response_too_large",
    /// The request could not be made, or had no answer.
    RequestFailed = "request_failed",
    /// No name of a store.
    InvalidStoreName = "invalid_store_name",
    /// No such note.
    NotFound = "not_found",
    /// This turn has read as much as it may.
    BudgetExceeded = "budget_exceeded",
    /// No mail is left for today.
    RateLimitedLocal = "rate_limited_local",
    /// An address that gets no mail from here.
    RecipientDenied = "recipient_denied",
    /// The key of the mail service cannot be had.
    KeyUnavailable = "key_unavailable",
    /// The mail service does not take the key.
    AuthFailed = "auth_failed",
    /// The mail service takes no more for now.
    RateLimitedResend = "rate_limited_resend",
    /// The mail is not one that can be sent.
    ValidationError = "validation_error",
    /// The mail service cannot be reached or fails.
    ServiceDown = "service_down",
}

impl Code {
    /// True when the refusal stems from a fault of the gate or its input, never from an intended denial
    /// (approvals.md 1.11; NAMES 6.1, FC).
    pub fn is_fail_closed(self) -> bool {
        use Code::*;
        matches!(
            self,
            Malformed
                | ArgumentsTooLarge
                | UnmappableInput
                | TooManyForms
                | PolicyError
                | PolicyTimeout
                | PolicyInvalid
                | Internal
                | StoreUnavailable
                | AuditUnavailable
                | Contention
                | PermitExpired
                | LogDamaged
                | LogMissing
        )
    }
}

impl Code {
    /// Faults of the gate's own, as against those of a call: a hook lets them pass in watch mode (DECISIONS row 28).
    pub fn is_own_fault(self) -> bool {
        use Code::*;
        matches!(
            self,
            PolicyError
                | PolicyTimeout
                | Internal
                | StoreUnavailable
                | AuditUnavailable
                | Contention
                | PermitExpired
                | LogDamaged
                | LogMissing
        )
    }
}

#[cfg(test)]
mod tests {
    use super::Code;

    #[test]
    fn words_round_trip_and_are_unique() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(*code));
        }
        // INV-12: intended denials are not faults.
        assert!(
            Code::Malformed.is_fail_closed()
                && !Code::Hard.is_fail_closed()
                && !Code::RecentDenied.is_fail_closed()
        );
    }
}
