//! The catalogue of secret shapes, as data (gateway.md 7.2, approvals.md 5.1).
//!
//! A shape is looked for where one of its words stands; its pattern must then match at that very place. The first
//! group of a pattern, if it has one, is the secret, and what is around it stays. Patterns see bytes, know no Unicode
//! and are compiled when a word first asks for them. Examples are written with `{…}` in the place of what would make
//! them look alive: `{a36}` letters and digits, `{h32}` lower hex, `{U16}` capitals and digits, `{d9}` digits, `{w27}`
//! letters, digits, `-` and `_`. Named assignments (`password = …`) have a reader of their own, `assignment`.

use super::index::{Bits, add};
use regex::bytes::{Regex, RegexBuilder};
use std::sync::OnceLock;

/// What may not stand in front of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Border {
    /// Anything may: a vendor's prefix is told by itself, and what stands there may be the rest of a terminal sequence.
    None,
    /// A letter or digit.
    Word,
    /// A letter, a digit, `-`, `_` or `.`.
    Token,
    /// Anything but a digit.
    AfterDigit,
}

/// How bad it is when it leaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Severity {
    /// Opens an account or a system by itself.
    High,
    /// Opens something narrow, or only together with something else.
    Medium,
}

/// One shape of secret.
pub(super) struct Shape {
    /// What stands in its marker.
    pub(super) id: &'static str,
    /// One of these begins it, whatever the case.
    pub(super) words: &'static [&'static str],
    /// What must match where the word stands.
    pub(super) pattern: &'static str,
    /// What must not stand before it.
    pub(super) border: Border,
    /// Least entropy of the secret, in tenths of a bit a character; 0 asks for none.
    pub(super) entropy: u8,
    /// How many bytes before the word belong to it.
    pub(super) back: usize,
    /// How many bytes of a token there must be at least, word included: the cheap look before the pattern. 0 asks for
    /// none.
    pub(super) solid: usize,
    /// How bad it is.
    pub(super) severity: Severity,
    /// Examples, written with `{…}`.
    #[cfg_attr(not(test), expect(dead_code))] // kept beside what they are examples of
    pub(super) hits: &'static [&'static str],
    /// What looks nearly so.
    #[cfg_attr(not(test), expect(dead_code))] // kept beside what they are examples of
    pub(super) misses: &'static [&'static str],
}

type Texts = &'static [&'static str];

const fn shape(id: &'static str, words: Texts, pattern: &'static str, hits: Texts, misses: Texts) -> Shape {
    Shape {
        id,
        words,
        pattern,
        border: Border::None,
        entropy: 0,
        back: 0,
        solid: 14,
        severity: Severity::High,
        hits,
        misses,
    }
}

impl Shape {
    const fn border(mut self, border: Border) -> Shape {
        self.border = border;
        self
    }

    const fn entropy(mut self, tenths: u8) -> Shape {
        self.entropy = tenths;
        self
    }

    const fn back(mut self, bytes: usize) -> Shape {
        self.back = bytes;
        self
    }

    const fn loose(mut self) -> Shape {
        self.solid = 0;
        self
    }

    const fn medium(mut self) -> Shape {
        self.severity = Severity::Medium;
        self
    }
}

/// Every shape that a word tells, the more specific of the same word first.
#[rustfmt::skip]
pub(super) const SHAPES: &[Shape] = &[
    // Cloud providers.
    shape("AWS_KEY", &["akia", "asia", "abia", "acca"], r"\A((?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16})(?:[^A-Za-z0-9_]|\z)", &["AKIA{U16}", "ASIA{U16}", "ABIA{U16}", "ACCA{U16}"], &["AKIA{U15}", "akia{h16}", "AKIA{U17}", "AKIAIOSFODNN7EXAMPLE"]),
    shape("AWS_BEDROCK_KEY", &["absk"], r"\AABSK[A-Za-z0-9+/]{100,}={0,2}", &["ABSK{a109}"], &["ABSK{a40}"]),
    shape("AWS_SECRET", &["secretkey", "secret_key", "secret-key", "secretaccess", "secret_access", "secret-access"], r#"\A(?i:secret[_-]?(?:access[_-]?)?key)[\\"'\]]{0,4}[\s=:>"'\\]{1,10}([A-Za-z0-9/+=]{40})(?:[^A-Za-z0-9/+=]|\z)"#, &["aws_secret_access_key = {a40}", "AWS_SECRET_ACCESS_KEY={a40}", "\"secretAccessKey\": \"{a40}\""], &["aws_secret_access_key = {d3}", "secret_key_id"]).entropy(15).loose(),
    shape("GOOGLE_KEY", &["aiza"], r"\AAIza[A-Za-z0-9_-]{35}", &["AIza{w35}"], &["AIza{w20}"]),
    shape("GOOGLE_OAUTH_SECRET", &["gocspx-"], r"\AGOCSPX-[A-Za-z0-9_-]{28}", &["GOCSPX-{w28}"], &["GOCSPX-{w10}"]),
    shape("GOOGLE_OAUTH_TOKEN", &["ya29."], r"\Aya29\.[A-Za-z0-9_-]{20,}", &["ya29.{w60}"], &["ya29.{w8}"]),
    shape("GOOGLE_SERVICE_ACCOUNT", &["private_key_id"], r#"\Aprivate_key_id\\?"\s{0,4}:\s{0,4}\\?"([a-f0-9]{40})"#, &["\"private_key_id\": \"{h40}\""], &["\"private_key_id\": \"\""]).medium().loose(),
    shape("AZURE_KEY", &["accountkey", "sharedaccesskey"], r"\A(?i:AccountKey|SharedAccessKey)\s{0,2}=\s{0,2}([A-Za-z0-9+/]{40,100}={0,2})", &["AccountKey={a86}==;EndpointSuffix=core", "SharedAccessKey={a43}="], &["AccountKey=secret;"]).loose(),
    shape("AZURE_SAS", &["sig="], r"\Asig=([A-Za-z0-9%+/]{40,120}(?:%3[Dd]|=))", &["?sv=2020-08-04&sig={a43}%3D"], &["sig={a12}"]).border(Border::Word).loose(),
    shape("AZURE_CLIENT_SECRET", &["0q~", "1q~", "2q~", "3q~", "4q~", "5q~", "6q~", "7q~", "8q~", "9q~"], r"\A[A-Za-z0-9_~.]{3}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", &["{a3}8Q~{w34}"], &["{a3}8Q~{w20}"]).back(3),
    shape("ALIBABA_KEY", &["ltai"], r"\A(LTAI[A-Za-z0-9]{17,26})(?:[^A-Za-z0-9]|\z)", &["LTAI{a20}"], &["LTAI{a8}"]).border(Border::Word).medium(),
    shape("DIGITALOCEAN_TOKEN", &["dop_v1_", "doo_v1_", "dor_v1_"], r"\Ado[opr]_v1_[a-f0-9]{64}", &["dop_v1_{h64}", "doo_v1_{h64}", "dor_v1_{h64}"], &["dop_v1_{h32}"]),
    shape("HEROKU_KEY", &["hrku-"], r"\AHRKU-[A-Za-z0-9_-]{36,}", &["HRKU-AA{w58}"], &["HRKU-{w8}"]),
    shape("HEROKU_KEY", &["heroku"], r#"\A(?i:heroku)[A-Za-z0-9_. \t-]{0,24}["'\\]{0,3}\s{0,3}[:=]?>?\s{0,3}["'\\]{0,3}([0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12})"#, &["HEROKU_API_KEY={h8}-{h4}-{h4}-{h4}-{h12}"], &["heroku app {h8}"]).medium().loose(),
    shape("YANDEX_KEY", &["aqvn"], r"\A(AQVN[A-Za-z0-9_-]{35,38})(?:[^A-Za-z0-9_-]|\z)", &["AQVN{w36}"], &["AQVN{w10}"]).border(Border::Word),
    shape("FLY_TOKEN", &["fo1_", "fm1r_", "fm2_"], r"\A(?:fo1_[A-Za-z0-9_-]{43}|fm1r_[A-Za-z0-9+/]{100,}={0,3}|fm2_[A-Za-z0-9+/]{100,}={0,3})", &["fo1_{w43}", "fm2_{a120}"], &["fo1_{w8}"]).border(Border::Word),
    shape("CLOUDFLARE_ORIGIN_KEY", &["v1.0-"], r"\Av1\.0-[a-f0-9]{24}-[a-f0-9]{146}", &["v1.0-{h24}-{h146}"], &["v1.0-{h8}"]),
    shape("CLOUDINARY_URL", &["cloudinary://"], r"\Acloudinary://[0-9]{6,20}:([A-Za-z0-9_-]{20,})@", &["cloudinary://{d15}:{w27}@name"], &["cloudinary://name"]).loose(),
    // Code hosts and package registries.
    shape("GITHUB_PAT", &["github_pat_"], r"\Agithub_pat_[A-Za-z0-9_]{22,}", &["github_pat_{a22}", "github_pat_{a22}_{a59}"], &["github_pat_{a21}"]),
    shape("GITHUB_TOKEN", &["ghp_", "gho_", "ghs_", "ghu_", "ghr_"], r"\Agh[poshur]_[A-Za-z0-9]{36,}", &["ghp_{a36}", "gho_{a36}", "ghs_{a36}", "ghu_{a36}", "ghr_{a76}"], &["ghp_{a35}", "ghx_{a36}"]),
    shape("GITHUB_URL_TOKEN", &["x-access-token"], r"\Ax-access-token:([^@\s\[]+)@", &["https://x-access-token:{a20}@github.com/o/r"], &["x-access-token: ask"]).loose(),
    shape("GITLAB_TOKEN", &["glpat-", "gldt-", "glrt-", "glft-", "glsoat-", "glcbt-", "glptt-", "glagent-", "glimt-", "glffct-", "gloas-", "glrtr-"], r"\Agl(?:pat|dt|rt|rtr|ft|soat|cbt|ptt|agent|imt|ffct|oas)-[A-Za-z0-9_=.-]{20,}", &["glpat-{w20}", "gldt-{w20}", "glptt-{h40}", "glcbt-64_{w20}", "glagent-{w50}"], &["glpat-{w10}"]),
    shape("GITLAB_TOKEN", &["gr1348941"], r"\AGR1348941[A-Za-z0-9_-]{20,}", &["GR1348941{w20}"], &["GR1348941{w3}"]),
    shape("BITBUCKET_TOKEN", &["atbb"], r"\A(ATBB[A-Za-z0-9]{24,36})(?:[^A-Za-z0-9]|\z)", &["ATBB{a32}"], &["ATBB{a8}"]).border(Border::Word),
    shape("ATLASSIAN_TOKEN", &["atat", "atctt3"], r"\AAT[AC]T[A-Za-z0-9_=-]{60,}", &["ATATT3{w186}", "ATCTT3{w186}"], &["ATATT3{w20}"]),
    shape("NPM_TOKEN", &["npm_"], r"\A(npm_[A-Za-z0-9]{36})(?:[^A-Za-z0-9_]|\z)", &["npm_{a36}"], &["npm_{a37}", "npm_config_{a20}"]),
    shape("NPMRC_TOKEN", &[":_authtoken", ":_auth", ":_password"], r#"\A:_(?i:authToken|auth|password)\s{0,3}=\s{0,3}["']?([A-Za-z0-9+/=_.-]{16,})"#, &["//registry.npmjs.org/:_authToken={h8}-{h4}-{h4}-{h4}-{h12}", "//r.example/:_auth={a32}"], &["//registry.npmjs.org/:_authToken=${NPM_TOKEN}"]).entropy(25).loose(),
    shape("PYPI_TOKEN", &["pypi-"], r"\Apypi-[A-Za-z0-9_-]{50,}", &["pypi-AgEIcHlwaS5vcmc{w60}"], &["pypi-{w20}"]),
    shape("RUBYGEMS_KEY", &["rubygems_"], r"\Arubygems_[a-f0-9]{48}", &["rubygems_{h48}"], &["rubygems_{h20}"]),
    shape("CRATES_TOKEN", &["cio"], r"\A(cio[A-Za-z0-9]{32})(?:[^A-Za-z0-9_]|\z)", &["cio{a32}"], &["cio{a31}", "cio{a33}"]).border(Border::Token).entropy(30),
    shape("NUGET_KEY", &["oy2"], r"\A(oy2[a-z0-9]{43})(?:[^A-Za-z0-9_]|\z)", &["oy2{h43}"], &["oy2{h42}"]).border(Border::Token),
    shape("CLOJARS_TOKEN", &["clojars_"], r"\ACLOJARS_[A-Za-z0-9]{60}", &["CLOJARS_{a60}"], &["CLOJARS_{a20}"]),
    shape("DOCKER_TOKEN", &["dckr_pat_", "dckr_oat_"], r"\Adckr_[po]at_[A-Za-z0-9_-]{27,}", &["dckr_pat_{w27}", "dckr_oat_{w32}"], &["dckr_pat_{w10}"]),
    shape("DOCKER_AUTH", &["\"auth\"", "\\\"auth\\\""], r#"\A\\?"auth\\?"\s{0,4}:\s{0,4}\\?"([A-Za-z0-9+/]{16,}={0,2})\\?""#, &["\"auths\": {\"https://index.docker.io/v1/\": {\"auth\": \"{a36}=\"}}"], &["\"auth\": \"none\""]).entropy(30).loose(),
    shape("ARTIFACTORY_KEY", &["akcp"], r"\AAKCp[A-Za-z0-9]{68,70}", &["AKCp{a69}"], &["AKCp{a20}"]),
    shape("ARTIFACTORY_KEY", &["cmvmd"], r"\AcmVmd[A-Za-z0-9]{59}", &["cmVmdGtu{a56}"], &["cmVmdGtu{a20}"]),
    shape("BUILDKITE_TOKEN", &["bkua_"], r"\Abkua_[a-z0-9]{40}", &["bkua_{h40}"], &["bkua_{h8}"]),
    shape("CIRCLECI_TOKEN", &["ccipat_", "ccipra_"], r"\ACCIP(?:AT|RA)_[A-Za-z0-9]{22}_[a-z0-9]{40}", &["CCIPAT_{a22}_{h40}"], &["CCIPAT_{a8}"]),
    shape("SONAR_TOKEN", &["sqp_", "squ_", "sqa_"], r"\Asq[pua]_[a-f0-9]{40}", &["squ_{h40}", "sqp_{h40}"], &["squ_{h8}"]).border(Border::Word),
    shape("SOURCEGRAPH_TOKEN", &["sgp_"], r"\Asgp_(?:(?:[a-fA-F0-9]{16}_|local_)?[a-fA-F0-9]{40}|[A-Za-z0-9]{64})", &["sgp_{h40}", "sgp_{h16}_{h40}"], &["sgp_{h8}"]),
    shape("TERRAFORM_TOKEN", &[".atlasv1."], r"\A[A-Za-z0-9]{14}\.atlasv1\.[A-Za-z0-9_=-]{60,}", &["{a14}.atlasv1.{w67}"], &["x.atlasv1.{w8}"]).back(14),
    shape("PULUMI_TOKEN", &["pul-"], r"\Apul-[a-f0-9]{40}", &["pul-{h40}"], &["pul-{h8}"]).border(Border::Word),
    shape("VAULT_TOKEN", &["hvs.", "hvb.", "hvr."], r"\Ahv[sbr]\.[A-Za-z0-9_-]{24,}", &["hvs.{w90}", "hvb.{w138}"], &["hvs.{w8}"]).border(Border::Word),
    shape("DOPPLER_TOKEN", &["dp.pt.", "dp.st.", "dp.ct.", "dp.sa.", "dp.scim.", "dp.audit."], r"\Adp\.(?:pt|st|ct|sa|scim|audit)\.(?:[a-z0-9_-]{2,35}\.)?[A-Za-z0-9]{40,44}", &["dp.pt.{a43}", "dp.st.prod.{a40}"], &["dp.pt.{a8}"]).border(Border::Word),
    shape("ONEPASSWORD_TOKEN", &["ops_eyj"], r"\Aops_eyJ[A-Za-z0-9+/_-]{100,}={0,3}", &["ops_eyJ{w250}"], &["ops_eyJ{w8}"]),
    shape("ONEPASSWORD_SECRET_KEY", &["a3-"], r"\AA3-[A-Z0-9]{6}-(?:[A-Z0-9]{11}|[A-Z0-9]{6}-[A-Z0-9]{5})-[A-Z0-9]{5}-[A-Z0-9]{5}-[A-Z0-9]{5}", &["A3-{U6}-{U11}-{U5}-{U5}-{U5}"], &["A3-{U6}-{U4}"]).border(Border::Token),
    shape("SNYK_TOKEN", &["snyk_uat.", "snyk_sat."], r"\Asnyk_[us]at\.[a-f0-9]{8}\.[A-Za-z0-9._-]{60,}", &["snyk_uat.{h8}.{w80}"], &["snyk_uat.{h8}"]),
    // Messaging and mail.
    shape("SLACK_WEBHOOK", &["hooks.slack.com/"], r"\Ahooks\.slack\.com/((?:services|workflows|triggers)/[A-Za-z0-9+/]{20,})", &["https://hooks.slack.com/services/T{U8}/B{U8}/{a24}"], &["https://hooks.slack.com/services/"]),
    shape("SLACK_TOKEN", &["xox"], r"\Axox[abcdeoprs][-.][A-Za-z0-9-][A-Za-z0-9./+_-]{9,}", &["xoxb-{d12}-{d12}-{a24}", "xoxp-{a12}", "xoxe.xoxp-1-{a60}", "xoxs-{a20}"], &["xoxb-short"]),
    shape("SLACK_TOKEN", &["xapp-"], r"\Axapp-[0-9]-[A-Za-z0-9-]{20,}", &["xapp-1-A{U8}-{d10}-{h64}"], &["xapp-1-x"]),
    shape("DISCORD_WEBHOOK", &["discord.com/api/webhooks/", "discordapp.com/api/webhooks/"], r"\Adiscord(?:app)?\.com/api/webhooks/([0-9]{10,20}/[A-Za-z0-9_-]{40,})", &["https://discord.com/api/webhooks/{d18}/{w68}"], &["https://discord.com/api/webhooks/"]),
    shape("TEAMS_WEBHOOK", &["webhook.office.com/"], r"\Awebhook\.office\.com/(webhookb2/[A-Za-z0-9@/-]{60,})", &["https://x.webhook.office.com/webhookb2/{h8}-{h4}-{h4}-{h4}-{h12}@{h8}-{h4}-{h4}-{h4}-{h12}/IncomingWebhook/{h32}"], &["https://x.webhook.office.com/"]),
    shape("TELEGRAM_TOKEN", &[":aa"], r"\A:(AA[A-Za-z0-9_-]{33})(?:[^A-Za-z0-9_-]|\z)", &["bot{d9}:AA{w33}"], &["{d9}:AA{w20}", "{d9}:AA{w40}"]).border(Border::AfterDigit),
    shape("SENDGRID_KEY", &["sg."], r"\ASG\.(?:[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{16,64}|[A-Za-z0-9=_.-]{66})", &["SG.{w22}.{w43}"], &["SG.{w22}"]).border(Border::Token),
    shape("MAILGUN_KEY", &["key-"], r"\A(key-[a-f0-9]{32})(?:[^A-Za-z0-9]|\z)", &["key-{h32}"], &["key-{h31}", "key-{h40}"]).border(Border::Word),
    shape("SENDINBLUE_KEY", &["xkeysib-", "xsmtpsib-"], r"\Ax(?:key|smtp)sib-[a-fA-F0-9]{64}-[A-Za-z0-9]{16}", &["xkeysib-{h64}-{a16}"], &["xkeysib-{h8}"]),
    // Payment and trade.
    shape("STRIPE_KEY", &["sk_live_", "sk_test_", "rk_live_", "rk_test_", "sk_prod_", "rk_prod_"], r"\A[sr]k_(?:live|test|prod)_[A-Za-z0-9]{16,}", &["sk_live_{a24}", "rk_test_{a99}"], &["sk_live_short", "pk_live_{a24}"]),
    shape("STRIPE_KEY", &["whsec_"], r"\Awhsec_[A-Za-z0-9+/=]{16,}", &["whsec_{a32}"], &["whsec_x"]),
    shape("SQUARE_TOKEN", &["sq0atp-", "sq0csp-"], r"\Asq0(?:atp-[A-Za-z0-9_-]{22,60}|csp-[A-Za-z0-9_-]{43})", &["sq0atp-{w22}", "sq0csp-{w43}"], &["sq0idp-{w22}"]),
    shape("SQUARE_TOKEN", &["eaaa"], r"\A(EAAA[a-zA-Z0-9_-]{60})(?:[^A-Za-z0-9_-]|\z)", &["EAAA{w60}"], &["EAAA{w30}"]).border(Border::Word),
    shape("SHOPIFY_TOKEN", &["shpat_", "shpca_", "shppa_", "shpss_"], r"\Ashp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}", &["shpat_{h32}", "shpss_{h32}"], &["shpat_{h8}"]),
    shape("SHIPPO_TOKEN", &["shippo_live_", "shippo_test_"], r"\Ashippo_(?:live|test)_[a-fA-F0-9]{40}", &["shippo_live_{h40}"], &["shippo_live_{h8}"]),
    shape("EASYPOST_KEY", &["ezak", "eztk"], r"\AEZ[AT]K[A-Za-z0-9]{54}", &["EZAK{a54}", "EZTK{a54}"], &["EZAK{a10}"]),
    shape("FLUTTERWAVE_KEY", &["flwseck_", "flwseck-"], r"\AFLWSECK[_-](?:TEST-)?[a-zA-Z0-9]{12,32}(?:-X)?", &["FLWSECK_TEST-{h32}-X"], &["FLWPUBK_TEST-{h32}-X"]),
    shape("PLAID_TOKEN", &["access-sandbox-", "access-development-", "access-production-"], r"\Aaccess-(?:sandbox|development|production)-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", &["access-sandbox-{h8}-{h4}-{h4}-{h4}-{h12}"], &["access-sandbox-mode"]),
    shape("DUFFEL_TOKEN", &["duffel_live_", "duffel_test_"], r"\Aduffel_(?:live|test)_[A-Za-z0-9_=-]{43}", &["duffel_live_{w43}"], &["duffel_live_{w8}"]),
    shape("FACEBOOK_TOKEN", &["eaa"], r"\AEAA[MC]?[A-Za-z0-9]{90,}", &["EAAC{a120}"], &["EAA{a40}"]).border(Border::Word).entropy(30),
    // Models.
    shape("ANTHROPIC_OAUTH", &["sk-ant-oat", "sk-ant-ort"], r"\Ask-ant-o[ar]t[0-9]{2}-[A-Za-z0-9_-]{24,}", &["sk-ant-oat01-{w86}", "sk-ant-ort01-{w86}"], &["sk-ant-oat01-x"]),
    shape("ANTHROPIC_KEY", &["sk-ant-"], r"\Ask-ant-[A-Za-z0-9_-]{32,}", &["sk-ant-api03-{w93}AA", "sk-ant-admin01-{w93}AA", "sk-ant-{a40}"], &["sk-ant-{a20}"]),
    shape("OPENAI_KEY", &["sk-"], r"\Ask-(?:proj-|svcacct-|admin-|None-|or-v1-)?[A-Za-z0-9_-]{32,}", &["sk-{a48}", "sk-proj-{w120}", "sk-svcacct-{w60}", "sk-admin-{w60}", "sk-or-v1-{h64}"], &["sk-{a20}", "task-{a40}"]).border(Border::Token).entropy(20),
    shape("HF_TOKEN", &["hf_"], r"\Ahf_[A-Za-z0-9]{32,}", &["hf_{a34}"], &["hf_{a20}", "shf_{a34}"]).border(Border::Token),
    shape("HF_TOKEN", &["api_org_"], r"\Aapi_org_[A-Za-z0-9]{32,}", &["api_org_{a34}"], &["api_org_{a9}"]),
    shape("GROQ_KEY", &["gsk_"], r"\Agsk_[A-Za-z0-9]{50,}", &["gsk_{a52}"], &["gsk_{a20}"]),
    shape("XAI_KEY", &["xai-"], r"\Axai-[A-Za-z0-9_-]{70,}", &["xai-{a80}"], &["xai-{a20}"]),
    shape("PERPLEXITY_KEY", &["pplx-"], r"\Applx-[A-Za-z0-9]{48,}", &["pplx-{a48}"], &["pplx-{a20}"]),
    shape("REPLICATE_TOKEN", &["r8_"], r"\Ar8_[A-Za-z0-9]{37}", &["r8_{a37}"], &["r8_{a8}"]).border(Border::Token),
    shape("NVIDIA_KEY", &["nvapi-"], r"\Anvapi-[A-Za-z0-9_-]{60,}", &["nvapi-{w64}"], &["nvapi-{w8}"]),
    shape("LANGSMITH_KEY", &["lsv2_"], r"\Alsv2_(?:pt|sk)_[a-fA-F0-9]{32}_[a-fA-F0-9]{10}", &["lsv2_pt_{h32}_{h10}"], &["lsv2_pt_{h8}"]),
    // Data, hosting, observation.
    shape("DATABRICKS_TOKEN", &["dapi"], r"\A(dapi[a-f0-9]{32}(?:-[0-9])?)(?:[^A-Za-z0-9]|\z)", &["dapi{h32}", "dapi{h32}-2"], &["dapi{h8}"]).border(Border::Word),
    shape("PLANETSCALE_TOKEN", &["pscale_tkn_", "pscale_pw_", "pscale_oauth_"], r"\Apscale_(?:tkn|pw|oauth)_[A-Za-z0-9_=.-]{32,64}", &["pscale_tkn_{w43}", "pscale_pw_{w43}"], &["pscale_tkn_{w8}"]),
    shape("SUPABASE_KEY", &["sbp_", "sb_secret_"], r"\A(?:sbp_(?:v0_)?[a-z0-9_-]{40}|sb_secret_[A-Za-z0-9_-]{20,})", &["sbp_{h40}", "sb_secret_{w32}"], &["sbp_{h8}", "sb_publishable_{w32}"]).border(Border::Word),
    shape("GRAFANA_TOKEN", &["glc_", "glsa_"], r"\A(?:glc_[A-Za-z0-9+/]{32,}={0,2}|glsa_[A-Za-z0-9]{32}_[A-Fa-f0-9]{8})", &["glsa_{a32}_{h8}", "glc_{a60}"], &["glsa_{a8}"]),
    shape("NEW_RELIC_KEY", &["nrak-", "nrii-", "nrjs-", "nrra-"], r"\ANR(?:AK-[A-Z0-9]{27}|II-[A-Za-z0-9_-]{32}|JS-[a-f0-9]{19}|RA-[a-f0-9]{42})", &["NRAK-{U27}", "NRII-{w32}", "NRRA-{h42}"], &["NRAK-{U8}"]),
    shape("SENTRY_TOKEN", &["sntrys_", "sntryu_"], r"\Asntry(?:u_[a-f0-9]{64}|s_[A-Za-z0-9+/_=-]{60,})", &["sntryu_{h64}", "sntrys_eyJ{w120}"], &["sntryu_{h8}"]),
    shape("DYNATRACE_TOKEN", &["dt0c01.", "dt0s01.", "dt0s16."], r"\Adt0[a-z][0-9]{2}\.[A-Za-z0-9]{8,24}\.[A-Za-z0-9]{64}", &["dt0c01.{U24}.{U64}"], &["dt0c01.{U8}"]),
    shape("TAILSCALE_KEY", &["tskey-"], r"\Atskey-[a-z]{2,10}-[A-Za-z0-9-]{20,}", &["tskey-auth-{a20}-{a32}"], &["tskey-auth-x"]),
    shape("NETLIFY_TOKEN", &["nfp_"], r"\Anfp_[A-Za-z0-9]{36,}", &["nfp_{a36}"], &["nfp_{a8}"]).border(Border::Word),
    shape("NOTION_TOKEN", &["ntn_"], r"\Antn_[0-9]{11}[A-Za-z0-9]{35}", &["ntn_{d11}{a35}"], &["ntn_{d8}"]).border(Border::Word),
    shape("NOTION_TOKEN", &["secret_"], r"\A(secret_[A-Za-z0-9]{43})(?:[^A-Za-z0-9_]|\z)", &["secret_{a43}"], &["secret_{a20}"]).border(Border::Word),
    shape("LINEAR_TOKEN", &["lin_api_", "lin_oauth_"], r"\Alin_(?:api|oauth)_[A-Za-z0-9]{40,}", &["lin_api_{a40}"], &["lin_api_{a8}"]),
    shape("POSTMAN_KEY", &["pmak-"], r"\APMAK-[a-f0-9]{24}-[a-f0-9]{34}", &["PMAK-{h24}-{h34}"], &["PMAK-{h8}"]),
    shape("PREFECT_KEY", &["pnu_", "pnb_"], r"\Apn[ub]_[A-Za-z0-9]{36}", &["pnu_{a36}"], &["pnu_{a8}"]).border(Border::Word),
    shape("README_KEY", &["rdme_"], r"\Ardme_[a-z0-9]{70}", &["rdme_{h70}"], &["rdme_{h8}"]),
    shape("AIRTABLE_TOKEN", &["pat"], r"\Apat[A-Za-z0-9]{14}\.[a-f0-9]{64}", &["pat{a14}.{h64}"], &["pat{a14}.{h8}"]).border(Border::Token),
    shape("HUBSPOT_KEY", &["pat-na1-", "pat-eu1-"], r"\Apat-(?:na|eu)1-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", &["pat-na1-{h8}-{h4}-{h4}-{h4}-{h12}"], &["pat-na1-x"]),
    shape("HARNESS_TOKEN", &["pat.", "sat."], r"\A[ps]at\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9]{24}\.[A-Za-z0-9]{20}", &["pat.{w22}.{a24}.{a20}"], &["pat.{w22}"]).border(Border::Token),
    shape("FIGMA_TOKEN", &["figd_"], r"\Afigd_[A-Za-z0-9_-]{38,}", &["figd_{w40}"], &["figd_{w8}"]),
    shape("TYPEFORM_TOKEN", &["tfp_"], r"\Atfp_[A-Za-z0-9_.=-]{59}", &["tfp_{w59}"], &["tfp_{w8}"]).border(Border::Word),
    shape("CONTENTFUL_TOKEN", &["cfpat-"], r"\ACFPAT-[A-Za-z0-9_-]{43}", &["CFPAT-{w43}"], &["CFPAT-{w8}"]),
    shape("MAPBOX_TOKEN", &["sk.eyj"], r"\Ask\.eyJ[A-Za-z0-9_-]{40,}\.[A-Za-z0-9_-]{16,}", &["sk.eyJ{w80}.{w22}"], &["pk.eyJ{w80}.{w22}"]).border(Border::Token),
    shape("DROPBOX_TOKEN", &["sl."], r"\Asl\.(?:[A-Za-z]\.)?[A-Za-z0-9_=-]{120,}", &["sl.{w136}"], &["sl.{w20}"]).border(Border::Token),
    shape("OKTA_TOKEN", &["ssws "], r"\A(?i:ssws)\s{1,3}([A-Za-z0-9_-]{40,44})", &["Authorization: SSWS 00{w40}"], &["SSWS x"]).border(Border::Word).loose(),
    shape("OPENSHIFT_TOKEN", &["sha256~"], r"\Asha256~[A-Za-z0-9_-]{43}", &["sha256~{w43}"], &["sha256:{h64}"]),
    shape("OCTOPUS_KEY", &["api-"], r"\A(API-[A-Z0-9]{26})(?:[^A-Za-z0-9]|\z)", &["API-{U26}"], &["API-{U8}"]).border(Border::Token),
    shape("INFRACOST_KEY", &["ico-"], r"\A(ico-[A-Za-z0-9]{32})(?:[^A-Za-z0-9-]|\z)", &["ico-{a32}"], &["ico-{a8}"]).border(Border::Token).entropy(30),
    shape("ADOBE_SECRET", &["p8e-"], r"\Ap8e-[A-Za-z0-9-]{32}", &["p8e-{a32}"], &["p8e-{a8}"]).border(Border::Word),
    shape("SCALINGO_TOKEN", &["tk-us-"], r"\Atk-us-[A-Za-z0-9_-]{48}", &["tk-us-{w48}"], &["tk-us-{w8}"]).border(Border::Word),
    shape("FRAMEIO_TOKEN", &["fio-u-"], r"\Afio-u-[A-Za-z0-9_=-]{64}", &["fio-u-{w64}"], &["fio-u-{w8}"]).border(Border::Word),
    shape("INTRA42_SECRET", &["s-s4t2ud-", "s-s4t2af-"], r"\As-s4t2(?:ud|af)-[a-f0-9]{64}", &["s-s4t2ud-{h64}"], &["s-s4t2ud-{h8}"]),
    shape("AIVEN_TOKEN", &["avns_"], r"\AAVNS_[A-Za-z0-9_-]{19,}", &["AVNS_{w19}"], &["AVNS_x"]).border(Border::Word),
    // Prefixes of further vendors, each with what follows and how much of it at least.
    shape("AIKIDO_SECRET", &["aik_secret_"], r"\AAIK_SECRET_[A-Za-z0-9]{60,}", &["AIK_SECRET_{a64}"], &["AIK_SECRET_{h4}"]).border(Border::Word),
    shape("AIKIDO_SECRET", &["aik_ci_"], r"\AAIK_CI_[A-Za-z0-9]{20,}", &["AIK_CI_{a20}"], &["AIK_CI_{h4}"]).border(Border::Word),
    shape("ALIBABA_STS", &["sts."], r"\ASTS\.[A-Za-z0-9]{16,}", &["STS.{a24}"], &["STS.{h4}"]).border(Border::Word),
    shape("APIFY_TOKEN", &["apify_api_"], r"\Aapify_api_[A-Za-z0-9]{34,}", &["apify_api_{a36}"], &["apify_api_{h4}"]).border(Border::Word),
    shape("ASAAS_TOKEN", &["$aact_"], r"\A[$]aact_[A-Za-z0-9_-]{25,}", &["$aact_{w40}"], &["$aact_{h4}"]).border(Border::None),
    shape("AUTHRESS_KEY", &["authress_"], r"\Aauthress_[A-Za-z0-9._-]{40,}", &["authress_{w60}"], &["authress_{h4}"]).border(Border::Word),
    shape("AWS_BEDROCK_KEY", &["bedrock-api-key-"], r"\Abedrock-api-key-[A-Za-z0-9+/=_-]{40,}", &["bedrock-api-key-{w60}"], &["bedrock-api-key-{h4}"]).border(Border::Word),
    shape("BITBUCKET_TOKEN", &["bbdc-"], r"\ABBDC-[A-Za-z0-9+/=_-]{32,}", &["BBDC-{w44}"], &["BBDC-{h4}"]).border(Border::Word),
    shape("BRAVE_KEY", &["bsa"], r"\ABSA[A-Za-z0-9_-]{24,}", &["BSA{w27}"], &["BSA{h4}"]).border(Border::Token),
    shape("BUILDKITE_TOKEN", &["bkaa_"], r"\Abkaa_[A-Za-z0-9_-]{70,}", &["bkaa_{w75}"], &["bkaa_{h4}"]).border(Border::Word),
    shape("BUILDKITE_TOKEN", &["bkar_"], r"\Abkar_[A-Za-z0-9_-]{70,}", &["bkar_{w73}"], &["bkar_{h4}"]).border(Border::Word),
    shape("BUILDKITE_TOKEN", &["bkct_"], r"\Abkct_[A-Za-z0-9_-]{70,}", &["bkct_{w73}"], &["bkct_{h4}"]).border(Border::Word),
    shape("BUILDKITE_TOKEN", &["bkpt_"], r"\Abkpt_[A-Za-z0-9_-]{70,}", &["bkpt_{w73}"], &["bkpt_{h4}"]).border(Border::Word),
    shape("BUILDKITE_TOKEN", &["bkaj_"], r"\Abkaj_[A-Za-z0-9_-]{300,}", &["bkaj_{w333}"], &["bkaj_{h4}"]).border(Border::Word),
    shape("CANVA_SECRET", &["cnvca"], r"\Acnvca[A-Za-z0-9_-]{51,}", &["cnvca{w51}"], &["cnvca{h4}"]).border(Border::Word),
    shape("CARTESIA_KEY", &["sk_car_"], r"\Ask_car_[A-Za-z0-9_-]{20,}", &["sk_car_{w20}"], &["sk_car_{h4}"]).border(Border::Word),
    shape("CEREBRAS_KEY", &["csk-"], r"\Acsk-[A-Za-z0-9]{48,}", &["csk-{a48}"], &["csk-{h4}"]).border(Border::Token),
    shape("CLICKHOUSE_SECRET", &["4b1d"], r"\A4b1d[A-Za-z0-9]{38,}", &["4b1d{a38}"], &["4b1d{h4}"]).border(Border::Token),
    shape("CLOUDFLARE_TOKEN", &["cfut_"], r"\Acfut_[A-Za-z0-9]{40,}", &["cfut_{a48}"], &["cfut_{h4}"]).border(Border::Word),
    shape("CLOUDFLARE_TOKEN", &["cfat_"], r"\Acfat_[A-Za-z0-9]{40,}", &["cfat_{a48}"], &["cfat_{h4}"]).border(Border::Word),
    shape("CLOUDSMITH_KEY", &["csa_"], r"\Acsa_[A-Za-z0-9]{36,}", &["csa_{a36}"], &["csa_{h4}"]).border(Border::Token),
    shape("COCKROACH_KEY", &["ccdb1_"], r"\ACCDB1_[A-Za-z0-9_-]{60,}", &["CCDB1_{w63}"], &["CCDB1_{h4}"]).border(Border::Word),
    shape("CONFIGCAT_KEY", &["configcat-sdk-1/"], r"\Aconfigcat-sdk-1/[A-Za-z0-9+/=_-]{40,}", &["configcat-sdk-1/{w45}"], &["configcat-sdk-1/{h4}"]).border(Border::Word),
    shape("ASTRA_TOKEN", &["astracs:"], r"\AAstraCS:[A-Za-z0-9]{20,}", &["AstraCS:{a24}"], &["AstraCS:{h4}"]).border(Border::Word),
    shape("DENO_TOKEN", &["ddp_"], r"\Addp_[A-Za-z0-9]{36,}", &["ddp_{a36}"], &["ddp_{h4}"]).border(Border::Token),
    shape("DEVCYCLE_KEY", &["dvc_server_"], r"\Advc_server_[A-Za-z0-9]{8,}", &["dvc_server_{a32}"], &["dvc_server_{h4}"]).border(Border::Word),
    shape("DEVCYCLE_KEY", &["dvc_mobile_"], r"\Advc_mobile_[A-Za-z0-9]{8,}", &["dvc_mobile_{a32}"], &["dvc_mobile_{h4}"]).border(Border::Word),
    shape("DEVIN_KEY", &["apk_"], r"\Aapk_[A-Za-z0-9+/=_-]{80,}", &["apk_{w90}"], &["apk_{h4}"]).border(Border::Token),
    shape("DEVIN_KEY", &["cog_"], r"\Acog_[a-z0-9]{52,}", &["cog_{h52}"], &["cog_{h4}"]).border(Border::Token),
    shape("DOCKER_SWARM_TOKEN", &["swmtkn-1-"], r"\ASWMTKN-1-[A-Za-z0-9_-]{75,}", &["SWMTKN-1-{w80}"], &["SWMTKN-1-{h4}"]).border(Border::Word),
    shape("DOCKER_SWARM_KEY", &["swmkey-1-"], r"\ASWMKEY-1-[A-Za-z0-9+/=_-]{40,}", &["SWMKEY-1-{w43}"], &["SWMKEY-1-{h4}"]).border(Border::Word),
    shape("ELASTIC_KEY", &["essu_"], r"\Aessu_[A-Za-z0-9_-]{60,}", &["essu_{w80}"], &["essu_{h4}"]).border(Border::Word),
    shape("EXOSCALE_KEY", &["exo"], r"\AEXO[A-Za-z0-9]{24,}", &["EXO{a24}"], &["EXO{h4}"]).border(Border::Token),
    shape("GOOGLE_KEY", &["aq.ab8rn6"], r"\AAQ\.Ab8RN6[A-Za-z0-9_-]{44,}", &["AQ.Ab8RN6{w44}"], &["AQ.Ab8RN6{h4}"]).border(Border::Word),
    shape("GRAFANA_TOKEN", &["eyjrijoi"], r"\AeyJrIjoi[A-Za-z0-9+/=_-]{40,}", &["eyJrIjoi{w80}"], &["eyJrIjoi{h4}"]).border(Border::Word),
    shape("IONIC_TOKEN", &["ion_"], r"\Aion_[A-Za-z0-9]{42,}", &["ion_{a42}"], &["ion_{h4}"]).border(Border::Token),
    shape("LICHESS_TOKEN", &["lip_"], r"\Alip_[A-Za-z0-9]{16,}", &["lip_{a20}"], &["lip_{h4}"]).border(Border::Token),
    shape("LLAMA_CLOUD_KEY", &["llx-"], r"\Allx-[A-Za-z0-9]{44,}", &["llx-{a48}"], &["llx-{h4}"]).border(Border::Token),
    shape("MAILERSEND_TOKEN", &["mlsn."], r"\Amlsn\.[A-Za-z0-9]{30,}", &["mlsn.{a64}"], &["mlsn.{h4}"]).border(Border::Word),
    shape("MERCURY_TOKEN", &["mercury_production_"], r"\Amercury_production_[A-Za-z0-9_-]{40,}", &["mercury_production_{w60}"], &["mercury_production_{h4}"]).border(Border::Word),
    shape("MERGIFY_KEY", &["mergify_application_key_"], r"\Amergify_application_key_[A-Za-z0-9_-]{40,}", &["mergify_application_key_{w60}"], &["mergify_application_key_{h4}"]).border(Border::Word),
    shape("MIRO_TOKEN", &["eyjtaxjv"], r"\AeyJtaXJv[A-Za-z0-9_-]{30,}", &["eyJtaXJv{w50}"], &["eyJtaXJv{h4}"]).border(Border::Word),
    shape("MONGODB_SECRET", &["mdb_sa_sk_"], r"\Amdb_sa_sk_[A-Za-z0-9_-]{40,}", &["mdb_sa_sk_{w40}"], &["mdb_sa_sk_{h4}"]).border(Border::Word),
    shape("NEON_KEY", &["napi_"], r"\Anapi_[A-Za-z0-9]{64,}", &["napi_{a64}"], &["napi_{h4}"]).border(Border::Word),
    shape("NYLAS_KEY", &["nyk_"], r"\Anyk_[A-Za-z0-9]{60,}", &["nyk_{a67}"], &["nyk_{h4}"]).border(Border::Word),
    shape("ONFIDO_TOKEN", &["api_live_ca."], r"\Aapi_live_ca\.[A-Za-z0-9_-]{20,}", &["api_live_ca.{w40}"], &["api_live_ca.{h4}"]).border(Border::Word),
    shape("ONFIDO_TOKEN", &["api_live_us."], r"\Aapi_live_us\.[A-Za-z0-9_-]{20,}", &["api_live_us.{w40}"], &["api_live_us.{h4}"]).border(Border::Word),
    shape("ONFIDO_TOKEN", &["api_live."], r"\Aapi_live\.[A-Za-z0-9_-]{20,}", &["api_live.{w40}"], &["api_live.{h4}"]).border(Border::Word),
    shape("PADDLE_KEY", &["pdl_live_apikey_"], r"\Apdl_live_apikey_[A-Za-z0-9_-]{50,}", &["pdl_live_apikey_{w53}"], &["pdl_live_apikey_{h4}"]).border(Border::Word),
    shape("PADDLE_KEY", &["pdl_sdbx_apikey_"], r"\Apdl_sdbx_apikey_[A-Za-z0-9_-]{50,}", &["pdl_sdbx_apikey_{w53}"], &["pdl_sdbx_apikey_{h4}"]).border(Border::Word),
    shape("PERSONA_KEY", &["persona_production_"], r"\Apersona_production_[A-Za-z0-9_-]{20,}", &["persona_production_{w40}"], &["persona_production_{h4}"]).border(Border::Word),
    shape("PINECONE_KEY", &["pcsk_"], r"\Apcsk_[A-Za-z0-9_-]{60,}", &["pcsk_{w70}"], &["pcsk_{h4}"]).border(Border::Word),
    shape("PINTEREST_TOKEN", &["pina_"], r"\Apina_[A-Za-z0-9_-]{20,}", &["pina_{w40}"], &["pina_{h4}"]).border(Border::Token),
    shape("POLAR_TOKEN", &["polar_at_"], r"\Apolar_at_[A-Za-z0-9_-]{20,}", &["polar_at_{w40}"], &["polar_at_{h4}"]).border(Border::Word),
    shape("POLAR_TOKEN", &["polar_oat_"], r"\Apolar_oat_[A-Za-z0-9_-]{20,}", &["polar_oat_{w40}"], &["polar_oat_{h4}"]).border(Border::Word),
    shape("POLAR_TOKEN", &["polar_pat_"], r"\Apolar_pat_[A-Za-z0-9_-]{20,}", &["polar_pat_{w40}"], &["polar_pat_{h4}"]).border(Border::Word),
    shape("POSTHOG_KEY", &["phx_"], r"\Aphx_[A-Za-z0-9_-]{41,}", &["phx_{w45}"], &["phx_{h4}"]).border(Border::Word),
    shape("RAMP_SECRET", &["ramp_sec_"], r"\Aramp_sec_[A-Za-z0-9]{48,}", &["ramp_sec_{a48}"], &["ramp_sec_{h4}"]).border(Border::Word),
    shape("RAZORPAY_KEY", &["rzp_live_"], r"\Arzp_live_[A-Za-z0-9]{14,}", &["rzp_live_{a14}"], &["rzp_live_{h4}"]).border(Border::Word),
    shape("RAZORPAY_KEY", &["rzp_test_"], r"\Arzp_test_[A-Za-z0-9]{14,}", &["rzp_test_{a14}"], &["rzp_test_{h4}"]).border(Border::Word),
    shape("RENDER_KEY", &["rnd_"], r"\Arnd_[A-Za-z0-9]{28,}", &["rnd_{a28}"], &["rnd_{h4}"]).border(Border::Token),
    shape("RESEND_KEY", &["re_"], r"\Are_[A-Za-z0-9_]{33,}", &["re_{a33}"], &["re_{h4}"]).border(Border::Token),
    shape("ROOTLY_KEY", &["rootly_"], r"\Arootly_[a-f0-9]{64,}", &["rootly_{h64}"], &["rootly_{h4}"]).border(Border::Word),
    shape("RUNPOD_KEY", &["rpa_"], r"\Arpa_[A-Za-z0-9]{30,}", &["rpa_{a46}"], &["rpa_{h4}"]).border(Border::Token),
    shape("SAMSARA_TOKEN", &["samsara_api_"], r"\Asamsara_api_[A-Za-z0-9]{26,}", &["samsara_api_{a30}"], &["samsara_api_{h4}"]).border(Border::Word),
    shape("SETTLEMINT_TOKEN", &["sm_aat_"], r"\Asm_aat_[A-Za-z0-9]{16,}", &["sm_aat_{a16}"], &["sm_aat_{h4}"]).border(Border::Word),
    shape("SETTLEMINT_TOKEN", &["sm_pat_"], r"\Asm_pat_[A-Za-z0-9]{16,}", &["sm_pat_{a16}"], &["sm_pat_{h4}"]).border(Border::Word),
    shape("SETTLEMINT_TOKEN", &["sm_sat_"], r"\Asm_sat_[A-Za-z0-9]{16,}", &["sm_sat_{a16}"], &["sm_sat_{h4}"]).border(Border::Word),
    shape("TOGETHER_KEY", &["tgp_v1_"], r"\Atgp_v1_[A-Za-z0-9_-]{43,}", &["tgp_v1_{w43}"], &["tgp_v1_{h4}"]).border(Border::Word),
    shape("THUNDERSTORE_TOKEN", &["tss_"], r"\Atss_[A-Za-z0-9_-]{20,}", &["tss_{w40}"], &["tss_{h4}"]).border(Border::Token),
    shape("UNKEY_KEY", &["unkey_"], r"\Aunkey_[A-Za-z0-9]{20,}", &["unkey_{a24}"], &["unkey_{h4}"]).border(Border::Word),
    shape("UPCLOUD_TOKEN", &["ucat_"], r"\Aucat_[A-Za-z0-9]{24,}", &["ucat_{a26}"], &["ucat_{h4}"]).border(Border::Word),
    shape("VAL_TOWN_TOKEN", &["vtwn_"], r"\Avtwn_[A-Za-z0-9_-]{20,}", &["vtwn_{w40}"], &["vtwn_{h4}"]).border(Border::Word),
    shape("VERCEL_TOKEN", &["vck_"], r"\Avck_[A-Za-z0-9_-]{56,}", &["vck_{w56}"], &["vck_{h4}"]).border(Border::Word),
    shape("VERCEL_TOKEN", &["vca_"], r"\Avca_[A-Za-z0-9_-]{56,}", &["vca_{w56}"], &["vca_{h4}"]).border(Border::Word),
    shape("VERCEL_TOKEN", &["vcr_"], r"\Avcr_[A-Za-z0-9_-]{56,}", &["vcr_{w56}"], &["vcr_{h4}"]).border(Border::Word),
    shape("VERCEL_TOKEN", &["vci_"], r"\Avci_[A-Za-z0-9_-]{56,}", &["vci_{w56}"], &["vci_{h4}"]).border(Border::Word),
    shape("VERCEL_TOKEN", &["vcp_"], r"\Avcp_[A-Za-z0-9_-]{56,}", &["vcp_{w56}"], &["vcp_{h4}"]).border(Border::Word),
    shape("WAKATIME_KEY", &["waka_"], r"\Awaka_[A-Za-z0-9._-]{36,}", &["waka_{w36}"], &["waka_{h4}"]).border(Border::Word),
    shape("WANDB_KEY", &["wandb_v1_"], r"\Awandb_v1_[A-Za-z0-9_-]{70,}", &["wandb_v1_{w77}"], &["wandb_v1_{h4}"]).border(Border::Word),
    shape("XENDIT_KEY", &["xnd_production_"], r"\Axnd_production_[A-Za-z0-9]{50,}", &["xnd_production_{a60}"], &["xnd_production_{h4}"]).border(Border::Word),
    shape("ZUPLO_KEY", &["zpka_"], r"\Azpka_[A-Za-z0-9_-]{41,}", &["zpka_{w41}"], &["zpka_{h4}"]).border(Border::Word),
    shape("GITLAB_SESSION", &["_gitlab_session="], r"\A_gitlab_session=[a-f0-9]{32,}", &["_gitlab_session={h32}"], &["_gitlab_session={h4}"]).border(Border::None),
    // Keys, headers, addresses.
    shape("AGE_KEY", &["age-secret-key-1"], r"\AAGE-SECRET-KEY-1[A-Z0-9]{58}", &["AGE-SECRET-KEY-1{U58}"], &["AGE-SECRET-KEY-1{U8}"]),
    shape("PUTTY_KEY", &["private-lines:"], r"\APrivate-Lines:\s{1,3}[0-9]{1,4}\s{1,3}((?:[A-Za-z0-9+/=]{1,80}\s{1,2})+)", &["Private-Lines: 2\n{a64}\n{a64}\nPrivate-MAC: 1"], &["Private-Lines: none"]).loose(),
    shape("JWT", &["eyj"], r"\AeyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}", &["eyJ{w20}.eyJ{w40}.{w43}"], &["eyJ{w20}.eyJ{w40}", "eyJ{w20}"]).border(Border::Token),
    shape("BEARER_TOKEN", &["bearer"], r#"\A(?i:bearer)[\s:=]{1,8}["'\\]{0,2}([A-Za-z0-9._~+/\-]{20,}=*)"#, &["Authorization: Bearer {a24}", "bearer {w40}="], &["bearer of news", "Bearer {w10}"]).border(Border::Word).entropy(15).loose(),
    shape("BASIC_AUTH", &["basic "], r#"\A(?i:basic)\s{1,4}([A-Za-z0-9+/]{8,}={0,2})(?:[^A-Za-z0-9+/=]|\z)"#, &["Authorization: Basic YW5hOnRoZS1wYXNzLXBocmFzZQ==", "-H 'authorization: basic Ym9iOmF2M3J5aDFkZGVu'"], &["basic understanding", "Basic authentication is simple", "Basic {a20}"]).border(Border::Word).loose(),
    shape("AUTHORIZATION", &["authorization"], r#"\A(?i:authorization)["'\\]{0,4}\s{0,3}[:=]\s{0,3}["'\\]{0,3}(?i:token|apikey|key|bot)\s{1,3}["'\\]{0,2}(?i:token=)?([A-Za-z0-9._~+/=:-]{12,})"#, &["Authorization: Token {a32}", "authorization: Bot {w40}"], &["Authorization: Bearer <token>"]).entropy(28).loose(),
    shape("GITHUB_URL_TOKEN", &["://x-access-token:"], r"\A://x-access-token:([^@\s\[]+)@", &["https://x-access-token:{a20}@github.com/o/r"], &[]).loose(),
    shape("CONNECTION_STRING", &["://"], r#"\A://[^\s:/@"'<>\\]{0,128}:([^\s@/"'<>\\]{1,256})@[^\s@]"#, &["postgres://u:{a9}@h/db", "https://user:{a12}@example.org/x", "redis://:{a12}@cache:6379", "mongodb+srv://app:{a16}@c.example.net"], &["https://example.org:8080/x", "postgres://u@h/db", "postgres://u:${PW}@h/db", "http://a:b"]).loose(),
];

/// Hashes of every word, made at compile time.
#[allow(clippy::indexing_slicing)] // evaluated at compile time only
pub(super) static BITS: Bits = {
    let mut bits = [0; 1024];
    let mut i = 0;
    while i < SHAPES.len() {
        let words = SHAPES[i].words;
        let mut k = 0;
        while k < words.len() {
            add(&mut bits, words[k].as_bytes());
            k += 1;
        }
        i += 1;
    }
    let words = super::assignment::NAMES;
    let mut i = 0;
    while i < words.len() {
        add(&mut bits, words[i].word.as_bytes());
        i += 1;
    }
    add(&mut bits, super::secrets::PEM.as_bytes());
    bits
};

/// Compiled one by one, when a word first asks for it.
static COMPILED: [OnceLock<Option<Regex>>; SHAPES.len()] = [const { OnceLock::new() }; SHAPES.len()];

/// A shape's pattern, compiled.
pub(super) fn compiled(index: usize) -> Option<&'static Regex> {
    let shape = SHAPES.get(index)?;
    let build = || RegexBuilder::new(shape.pattern).unicode(false).build().ok();
    COMPILED.get(index)?.get_or_init(build).as_ref()
}

/// Shapes that no word tells: a long run of letters and digits is looked at as such.
pub(super) struct Run {
    /// What stands in its marker.
    pub(super) id: &'static str,
    /// What must match where the run begins.
    pub(super) pattern: &'static str,
    /// Whether a run that begins so is worth the pattern.
    pub(super) begins: fn(&[u8]) -> bool,
    /// Examples, written with `{…}`.
    #[cfg_attr(not(test), expect(dead_code))] // kept beside what they are examples of
    pub(super) hits: &'static [&'static str],
    /// What looks nearly so.
    #[cfg_attr(not(test), expect(dead_code))] // kept beside what they are examples of
    pub(super) misses: &'static [&'static str],
}

/// Every shape of a run.
#[rustfmt::skip]
pub(super) const RUNS: &[Run] = &[
    Run { id: "DISCORD_TOKEN", pattern: r"\A[MNO][A-Za-z0-9_-]{22,30}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,48}", begins: |run| matches!(run, [b'M' | b'N' | b'O', ..]), hits: &["M{a23}.{w6}.{w27}", "N{a25}.{w6}.{w38}"], misses: &["M{a23}.{w5}.{w27}", "M{a23}.{w6}.{w20}"] },
    Run { id: "TWILIO_KEY", pattern: r"\A(SK[0-9a-fA-F]{32})(?:[^A-Za-z0-9]|\z)", begins: |run| matches!(run, [b'S', b'K', ..]), hits: &["SK{h32}"], misses: &["SK{h31}", "SK{h33}"] },
    Run { id: "MAILGUN_KEY", pattern: r"\A([0-9a-f]{32}-[0-9a-f]{8}-[0-9a-f]{8})(?:[^A-Za-z0-9-]|\z)", begins: |run| run.first().is_some_and(u8::is_ascii_hexdigit), hits: &["{h32}-{h8}-{h8}"], misses: &["{h32}-{h8}"] },
    Run { id: "MAILCHIMP_KEY", pattern: r"\A([0-9a-f]{32}-us[0-9]{1,2})(?:[^A-Za-z0-9]|\z)", begins: |run| run.first().is_some_and(u8::is_ascii_hexdigit), hits: &["{h32}-us12"], misses: &["{h32}-eu1"] },
];

static RUNS_COMPILED: [OnceLock<Option<Regex>>; RUNS.len()] = [const { OnceLock::new() }; RUNS.len()];

/// A run's pattern, compiled.
pub(super) fn compiled_run(index: usize) -> Option<&'static Regex> {
    let run = RUNS.get(index)?;
    let build = || RegexBuilder::new(run.pattern).unicode(false).build().ok();
    RUNS_COMPILED.get(index)?.get_or_init(build).as_ref()
}

#[cfg(test)]
#[allow(clippy::string_slice)] // of examples in ASCII
pub(super) mod tests {
    use super::*;

    /// Puts an example together: the same text on every run, different at every place.
    pub(crate) fn expand(example: &str) -> String {
        let mut seed = 0x2545_F491_4F6C_DD1Du64;
        let mut next = |letters: &[u8]| {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            char::from(letters[(seed >> 33) as usize % letters.len()])
        };
        let mut out = String::new();
        let mut rest = example;
        while let Some(open) = rest.find('{') {
            out.push_str(&rest[..open]);
            rest = &rest[open..];
            let close = rest.find('}').unwrap_or(0);
            let letters: &[u8] = match rest.get(1..2) {
                Some("a") => b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789",
                Some("h") => b"0123456789abcdef",
                Some("U") => b"ABCDEFGHJKLMNPQRSTUVWXYZ234567",
                Some("d") => b"123456789",
                Some("w") => b"abcdefghijkmnpqrstuvwxyzABCDEFGHJKLMNPQRSTUVWXYZ23456789-_",
                _ => b"",
            };
            match rest.get(2..close).and_then(|n| n.parse::<usize>().ok()).filter(|_| !letters.is_empty()) {
                Some(n) => (0..n).for_each(|_| out.push(next(letters))),
                None => {
                    out.push('{');
                    rest = &rest[1..];
                    continue;
                }
            }
            rest = &rest[close + 1..];
        }
        out + rest
    }

    fn found(text: &str) -> Vec<String> {
        super::super::secrets::find(text.as_bytes(), None)
            .unwrap()
            .into_iter()
            .map(|h| h.id.into_owned())
            .collect()
    }

    /// GINV-41: every example is found under its own name, also in the middle of other text; no near miss is.
    #[test]
    fn examples() {
        let all = SHAPES
            .iter()
            .map(|s| (s.id, s.hits, s.misses))
            .chain(RUNS.iter().map(|r| (r.id, r.hits, r.misses)));
        let mut wrong = Vec::new();
        for (id, hits, misses) in all {
            for hit in hits {
                let text = expand(hit);
                for text in [
                    text.clone(),
                    format!("see\\n{text}\\nthere"),
                    format!("see {text} there"),
                    format!("x: \"{text}\"\n"),
                ] {
                    if found(&text) != [id] {
                        wrong.push(format!("{id}: {text} is {:?}", found(&text)));
                    }
                }
            }
            for miss in misses {
                let text = expand(miss);
                if !found(&text).is_empty() {
                    wrong.push(format!("{id}: near miss {text} is {:?}", found(&text)));
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    #[test]
    fn every_pattern_compiles_and_every_word_can_be_looked_for() {
        for (i, shape) in SHAPES.iter().enumerate() {
            assert!(compiled(i).is_some(), "{}", shape.id);
            assert!(shape.words.iter().all(|w| w.len() >= 3 && *w == w.to_ascii_lowercase()), "{}", shape.id);
            assert!(!shape.hits.is_empty());
        }
        assert!((0..RUNS.len()).all(|i| compiled_run(i).is_some()));
        assert!(SHAPES.iter().any(|s| s.severity == Severity::Medium));
    }
}
