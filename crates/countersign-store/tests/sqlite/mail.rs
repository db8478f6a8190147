//! The mails of a day, the keys of mails that went out, and tokens.

use super::common::*;
use countersign_core::call::Door;
use countersign_core::code::Code;
use countersign_core::digest::Digest;
use countersign_core::event::Draft;
use countersign_core::ids::CallId;
use countersign_core::ledger::{CallKey, CallOutcome, Op, Outcome};
use countersign_core::token::{SECRETS, Token, hash};
use countersign_gate::seams::{Begun, CallRef, CommitError, Keeper, Store};
use countersign_store::SqliteStore;

/// 2026-11-25T23:59:00Z.
const EVENING: i64 = 1_795_651_140_000;

fn mail(what: &str) -> CallKey {
    CallKey { tool: "send_email".into(), mails: true, counted: false, ..key("s", what) }
}

async fn sends(store: &SqliteStore, what: &str, most: u32, door: Door) -> Result<CallId, CommitError> {
    let key = mail(what);
    let ledger = store.ledger(&key).await.unwrap();
    let mut row = call_row(&key);
    row.door = door;
    let id = row.call_id;
    let permit = Op::Permit {
        call: Box::new(row),
        per_minute: 0,
        concurrent: 0,
        spend: None,
        resume: None,
        joins: None,
    };
    let done = store.commit(change(&key, &ledger, vec![Op::Mails { most }, permit])).await?;
    assert_eq!(done.mails_today, Some(ledger.mails_today + 1));
    Ok(id)
}

async fn ends(store: &SqliteStore, id: CallId, outcome: CallOutcome) {
    let ended = Outcome {
        outcome,
        code: None,
        duration_ms: None,
        bytes: 0,
        redactions: Vec::new(),
        injection: None,
        records: Vec::new(),
    };
    store.observe(&CallRef::Id(id), ended).await.unwrap().unwrap();
}

async fn today(store: &SqliteStore) -> u32 {
    store.ledger(&mail("x")).await.unwrap().mails_today
}

/// EINV-6, DECISIONS row 18: what runs, went out or may have gone out is a mail of its UTC day; what certainly failed and
/// what a hook let pass is none. A call that asks for no count gets none.
#[tokio::test]
async fn mails_of_a_day_are_counted_rows() {
    let place = Place::new();
    let (store, hand) = place.timed(EVENING).await;
    let ids = [
        sends(&store, "a", 9, Door::Mcp).await.unwrap(),
        sends(&store, "b", 9, Door::Mcp).await.unwrap(),
        sends(&store, "c", 9, Door::Mcp).await.unwrap(),
        sends(&store, "d", 9, Door::Mcp).await.unwrap(),
    ];
    sends(&store, "hook", 9, Door::Hook).await.unwrap();
    assert_eq!(today(&store).await, 4);
    for (id, outcome, left) in [
        (ids[0], CallOutcome::Ok, 4),
        (ids[1], CallOutcome::Error, 3),
        (ids[2], CallOutcome::Unknown, 3),
        (ids[3], CallOutcome::Withheld, 3),
    ] {
        ends(&store, id, outcome).await;
        assert_eq!(today(&store).await, left, "{outcome:?}");
    }
    let over = sends(&store, "e", 3, Door::Mcp).await;
    assert_eq!(over.err(), Some(CommitError::Limit(Code::RateLimitedLocal)));
    assert_eq!(today(&store).await, 3, "nothing was written");
    assert_eq!(store.ledger(&CallKey { mails: false, ..mail("x") }).await.unwrap().mails_today, 0);
    hand.forward_s(59);
    assert_eq!(today(&store).await, 3);
    hand.forward_s(1);
    assert_eq!(today(&store).await, 0, "a new day");
    sends(&store, "f", 1, Door::Mcp).await.unwrap();
    assert_sound(&store).await;
}

/// P-21: a key is taken once, by one of many, and let go only by who knows that nothing went out.
#[tokio::test]
async fn a_mails_key_is_taken_once() {
    let place = Place::new();
    let (store, hand) = place.timed(EVENING).await;
    let key = "0".repeat(32);
    let mut options = place.options();
    options.clock = Some(hand.clock());
    let other = SqliteStore::open(options).await.unwrap();
    let (one, two) = tokio::join!(store.mail_begins(&key, "p"), other.mail_begins(&key, "p"));
    let mut both = [one.unwrap(), two.unwrap()];
    both.sort_by_key(|begun| *begun != Begun::Taken);
    assert_eq!(both, [Begun::Taken, Begun::Open]);
    assert_eq!(store.mail_begins(&key, "another").await.unwrap(), Begun::Open);
    store.mail_ended(&key, false).await.unwrap();
    assert_eq!(store.mail_begins(&key, "p").await.unwrap(), Begun::Taken);
    store.mail_ended(&key, true).await.unwrap();
    assert_eq!(store.mail_begins(&key, "p").await.unwrap(), Begun::Sent);
    assert_eq!(store.mail_begins(&key, "another").await.unwrap(), Begun::Other);
    store.mail_ended(&key, false).await.unwrap();
    assert_eq!(store.mail_begins(&key, "p").await.unwrap(), Begun::Sent, "what went out stays so");
    hand.forward_s(8 * 86_400);
    assert_eq!(store.mail_begins(&key, "p").await.unwrap(), Begun::Taken, "forgotten after a week");
}

/// Tokens are kept as digests, begin and end with a record.
#[tokio::test]
async fn tokens_begin_and_end() {
    let place = Place::new();
    let (store, _) = place.timed(EVENING).await;
    let token = |id: &str, value: &[u8]| Token {
        id: id.into(),
        hash: hash(value),
        capabilities: vec![SECRETS.into(), "metrics".into()],
        created_at: countersign_core::time::Timestamp(0),
        expires_at: None,
        revoked_at: None,
    };
    store.add_token(token("a", b"1"), Draft::note("made")).await.unwrap();
    assert!(store.add_token(token("b", b"1"), Draft::note("made")).await.is_err(), "one value, one token");
    let (now, all) = store.tokens().await.unwrap();
    assert_eq!((now.0, all.len(), all[0].created_at.0), (EVENING, 1, EVENING));
    assert_eq!(all[0].hash, Digest::of_bytes("countersign-token-v1", b"1"));
    assert!(store.revoke_token("a", Draft::note("ended")).await.unwrap());
    assert!(!store.revoke_token("a", Draft::note("ended")).await.unwrap());
    assert_eq!(store.tokens().await.unwrap().1[0].revoked_at.map(|t| t.0), Some(EVENING));
    assert_eq!(count(&events(&store).await, "log.note"), 2);
    assert_sound(&store).await;
}
