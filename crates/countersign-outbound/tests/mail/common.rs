//! What the tests stand on.

use async_trait::async_trait;
use countersign_core::approval::scope::Scope;
use countersign_core::call::{CallParts, Door, Session, ToolCall};
use countersign_core::cleanse::Known;
use countersign_core::digest::MacKey;
use countersign_core::ids::CallId;
use countersign_core::json::{Bounds, Json};
use countersign_core::mail::answer::End;
use countersign_core::mail::rules::{MailRules, Said};
use countersign_core::mail::sends::Sends;
use countersign_core::principal::{Client, Principal};
use countersign_core::rulebook::Rulebook;
use countersign_core::rulebook::settings::{RuleSettings, StandingAllow};
use countersign_core::secret::{Secret, SecretRef};
use countersign_core::vault::binding::{Binding, HostPattern, Placement};
use countersign_core::vault::seal::{Kek, KeyFrom as Wrapped};
use countersign_gate::gate::{Answered, Book, Capture, Decision, Gate, Given, Patience, Performed, Silent};
use countersign_gate::seams::{Clock, Keeper, Store};
use countersign_outbound::http::{Http, Resolve, Waits};
use countersign_outbound::mail::key::KeyFrom;
use countersign_outbound::mail::{Carrier, Mail, MailSetup};
use countersign_outbound::vault::{KeyError, Keys, Vault};
use countersign_store::{SqliteStore, StoreOptions};
use countersign_testkit::fakes::FakeClock;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

/// With characters that every encoding writes otherwise.
pub(crate) const KEY: &str = "re_c4n4ry+s3cr3t/value=&<99>\"x\\y";
pub(crate) const NAME: &str = "resend_api_key";

struct FixedKey;

impl Keys for FixedKey {
    fn open(&self, _: &Wrapped) -> Result<Kek, KeyError> {
        Ok(Kek::of_key(&Secret::new([9; 32])))
    }
    fn create(&self) -> Result<(Wrapped, Kek), KeyError> {
        Ok((Wrapped::File, Kek::of_key(&Secret::new([9; 32]))))
    }
}

/// Every name is this machine.
pub(crate) struct Here;

#[async_trait]
impl Resolve for Here {
    async fn resolve(&self, _: &str) -> std::io::Result<Vec<IpAddr>> {
        Ok(vec!["127.0.0.1".parse().unwrap()])
    }
}

pub(crate) fn said() -> Said {
    let text = |t: &str| Some(t.to_owned());
    Said {
        owner: text("owner@example.com"),
        agent_name: text("cody"),
        domain: text("agents.example.com"),
        recipients: text("a@x.org, b@x.org, reject@x.org, later@x.org, busy@x.org, lost@x.org, hang@x.org"),
        purposes: vec!["report".to_owned()],
        ..Said::default()
    }
}

pub(crate) struct World {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) store: SqliteStore,
    pub(crate) vault: Arc<Vault>,
    pub(crate) clock: Arc<FakeClock>,
    pub(crate) rules: MailRules,
    pub(crate) sends: Arc<Sends>,
    pub(crate) waits: Waits,
    pub(crate) ca: Option<String>,
    pub(crate) dry_run: bool,
    pub(crate) asked: bool,
    calls: std::sync::atomic::AtomicU64,
}

pub(crate) async fn store(folder: &Path) -> SqliteStore {
    let mut options = StoreOptions::new(folder.join("state"), folder.join("HALT"));
    options.engine = "test".to_owned();
    SqliteStore::open(options).await.unwrap()
}

impl World {
    pub(crate) async fn new() -> World {
        let dir = tempfile::tempdir().unwrap();
        let world = World::at(dir, 1).await;
        world.vault.set(&name(), &secret(KEY), Some(&Binding::default()), false).await.unwrap();
        world
    }

    pub(crate) async fn at(dir: tempfile::TempDir, seed: u64) -> World {
        let clock = FakeClock::flowing(seed);
        let store = store(dir.path()).await;
        let keeper: Arc<dyn Keeper> = Arc::new(store.clone());
        let vault = Arc::new(Vault::new(keeper, Arc::new(FixedKey), clock.clone()));
        let rules = MailRules::of(&said()).unwrap().unwrap();
        World {
            dir,
            store,
            vault,
            clock,
            rules,
            sends: Arc::default(),
            waits: Waits::default(),
            ca: None,
            dry_run: false,
            asked: false,
            calls: std::sync::atomic::AtomicU64::new(0),
        }
    }

    pub(crate) fn with(&mut self, change: impl FnOnce(&mut Said)) {
        let mut all = said();
        change(&mut all);
        self.rules = MailRules::of(&all).unwrap().unwrap();
    }

    /// Binds the key to an authority.
    pub(crate) async fn bind(&self, authority: &str, placement: Placement) {
        let binding = Binding {
            hosts: vec![HostPattern::parse(authority).unwrap()],
            allow_private: vec!["127.0.0.1/32".parse().unwrap()],
            placements: vec![placement],
            ..Binding::default()
        };
        self.vault.bind(&name(), &binding).await.unwrap();
    }

    pub(crate) fn http(&self) -> Http {
        Http::new(Arc::new(Here), self.ca.as_deref().map(str::as_bytes)).unwrap().waiting(self.waits)
    }

    pub(crate) fn vault_key(&self) -> KeyFrom {
        let keeper: Arc<dyn Keeper> = Arc::new(self.store.clone());
        KeyFrom::Vault { secrets: self.vault.clone(), keeper, name: name(), per_minute: 1_000 }
    }

    pub(crate) fn gate(&self, carrier: Carrier, key: KeyFrom) -> (Gate, Mail) {
        let mut settings = RuleSettings::defaults("/home/ana/shop", &[], None);
        settings.project = "p".to_owned();
        settings.mail = Some(self.rules.clone());
        if !self.asked {
            let scope = Scope::parse_standing("tool", "send_email").unwrap();
            settings.allow.push(StandingAllow { scope, principal: None, until: None });
        }
        let book = Arc::new(Rulebook::load(Vec::new(), settings).unwrap().0);
        let (store, clock): (Arc<dyn Store>, Arc<dyn Clock>) =
            (Arc::new(self.store.clone()), self.clock.clone());
        let keeper: Arc<dyn Keeper> = Arc::new(self.store.clone());
        let gate = Gate::new(
            store,
            clock.clone(),
            Book::InForce(book),
            MacKey::new([7; 32]),
            Capture::Redacted,
            "human:ana".into(),
        )
        .keeping(Arc::clone(&keeper));
        let setup = MailSetup {
            rules: self.rules.clone(),
            carrier,
            key,
            test_mode: true,
            dry_run: self.dry_run,
            project: "p".into(),
        };
        let mail = Mail::new(setup, keeper, self.http(), gate.lately(), clock, Arc::clone(&self.sends));
        (gate, mail)
    }

    pub(crate) fn call(&self, args: &[(&str, Json)]) -> ToolCall {
        let mut all = Json::object([
            ("to", Json::str("owner@example.com")),
            ("subject", Json::str("Daily report")),
            ("text", Json::str("All is well.")),
        ]);
        for (key, value) in args {
            all.set(*key, value.clone());
        }
        self.calls.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        ToolCall::new(CallParts {
            call_id: CallId(self.clock.fresh_id()),
            door: Door::Mcp,
            principal: Principal::Agent { client: Client::ClaudeCode, uid: 1000, agent_type: None },
            session: Session { client: Client::ClaudeCode, id: "s".into() },
            agent_id: None,
            tool_use_id: None,
            tool: "send_email".into(),
            args: all,
            cwd: None,
            joins: None,
            served: None,
        })
        .unwrap()
    }

    pub(crate) async fn send(
        &self,
        (gate, hand): &(Gate, Mail),
        args: &[(&str, Json)],
    ) -> (Answered, Option<Performed>) {
        let patience = Patience { hold_s: Some(0), ..Patience::default() };
        gate.call(&self.call(args), patience, &Silent, hand).await
    }

    /// The answer of a mail that reached the hand, read.
    pub(crate) async fn said(&self, by: &(Gate, Mail), args: &[(&str, Json)]) -> Json {
        let (answered, performed) = self.send(by, args).await;
        match performed.unwrap_or_else(|| panic!("{answered:?}")).result {
            Ok(Given::Text(text)) => Json::parse(text.as_str().as_bytes(), Bounds::default()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    /// Its `error_kind`, or `ok`.
    pub(crate) async fn kind(&self, by: &(Gate, Mail), args: &[(&str, Json)]) -> String {
        let said = self.said(by, args).await;
        said.text("error_kind").unwrap_or("ok").to_owned()
    }

    /// The code of a mail that was refused before a hand saw it.
    pub(crate) async fn refused(&self, by: &(Gate, Mail), args: &[(&str, Json)]) -> String {
        let (answered, performed) = self.send(by, args).await;
        match (&answered.decision, performed) {
            (Decision::Refused { code }, None) => code.as_str().to_owned(),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) async fn log(&self) -> String {
        let rows = self.store.records(0, 10_000).await.unwrap();
        rows.into_iter().map(|row| row.body + "\n").collect()
    }

    /// How often mail ended how so far.
    pub(crate) fn counts(&self) -> Vec<u64> {
        End::ALL.iter().map(|end| self.sends.count(*end)).collect()
    }
}

pub(crate) fn vault_on(keeper: Arc<dyn Keeper>, clock: Arc<FakeClock>) -> Vault {
    Vault::new(keeper, Arc::new(FixedKey), clock)
}

pub(crate) fn name() -> SecretRef {
    SecretRef::parse(NAME).unwrap()
}

pub(crate) fn secret(text: &str) -> Secret<Vec<u8>> {
    Secret::new(text.as_bytes().to_vec())
}

/// No form of the key stands in a text, and none behind an encoding.
pub(crate) fn assert_clean(what: &str, text: &str) {
    let known = Known::new([KEY.as_bytes()]).unwrap();
    assert!(known.scrub(text).is_none(), "{what}: {text}");
    assert!(!known.remains(text.as_bytes()), "{what}: {text}");
}
