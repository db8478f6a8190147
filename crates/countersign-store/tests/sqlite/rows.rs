//! What the database refuses by itself, whatever the code above does.

use super::common::*;
use countersign_core::approval::Wait;
use countersign_core::approval::scope::Scope;
use countersign_core::call::Door;
use countersign_core::digest::Digest;
use countersign_core::event::Draft;
use countersign_core::ledger::{AgentProcess, CallKey, CallRow, Change, Op};
use countersign_core::task::TaskStatus;
use countersign_gate::seams::{CommitError, Gateway, HookKey, Pin, PinChange, PinKind, Store};
use countersign_store::SqliteStore;

/// INV-43: every edge that is not in the table, from and to every state.
#[tokio::test]
async fn illegal_task_edges_are_refused() {
    let place = Place::new();
    place.store().await.close().await;
    let mut raw = place.raw().await;
    let mut n = 0;
    for from in TaskStatus::ALL {
        for to in TaskStatus::ALL {
            n += 1;
            sqlx::query(
                "INSERT INTO tasks (task_id, kind, client, session_id, owner, status, status_since, started_at, last_seen, gate_cap)
                 VALUES (?1, 'background', 'other', ?1, 'human:ana', ?2, 0, 0, 0, 50)",
            )
            .bind(format!("T{n}"))
            .bind(from.as_str())
            .execute(&mut raw)
            .await
            .unwrap();
            let moved = sqlx::query("UPDATE tasks SET status = ?2 WHERE task_id = ?1")
                .bind(format!("T{n}"))
                .bind(to.as_str())
                .execute(&mut raw)
                .await;
            assert_eq!(moved.is_ok(), from.targets().contains(&to), "{from:?} -> {to:?}");
        }
    }
}

#[tokio::test]
async fn rows_that_ended_stay_as_they_are() {
    let place = Place::new();
    let store = place.store().await;
    let key = key("s", "x");
    let id = ask(&store, &key, Wait::Hold, 60).await;
    store.decide(yes(id, Scope::AllSession)).await.unwrap();
    let ledger = store.ledger(&key).await.unwrap();
    let single = ledger.grants.iter().find(|g| g.scope == Scope::ThisCall).unwrap().grant_id;
    store.commit(change(&key, &ledger, vec![permit_with(&key, Some(single), Some(id))])).await.unwrap();
    store.end_session(&session("s")).await.unwrap();
    let mut raw = place.raw().await;
    for refused in [
        "UPDATE log SET body = '{}' WHERE seq = 1",
        "DELETE FROM log WHERE seq = 1",
        "DELETE FROM log_head",
        "UPDATE log_head SET seq = seq - 1",
        "UPDATE approvals SET status = 'PENDING', decided_at = NULL, scope = NULL",
        "UPDATE approvals SET status = 'DENIED', scope = NULL",
        "UPDATE grants SET redeemed_at = NULL WHERE redeemed_at IS NOT NULL",
        "UPDATE grants SET redeemed_at = 5 WHERE redeemed_at IS NOT NULL",
        "UPDATE grants SET ended_at = NULL WHERE ended_at IS NOT NULL",
        "UPDATE calls SET outcome = 'ok'",
        "UPDATE tasks SET status = 'RUNNING'",
        "UPDATE approvals SET severity = 'urgent'",
    ] {
        let done = sqlx::raw_sql(refused).execute(&mut raw).await;
        assert!(done.is_err(), "{refused}");
    }
    assert_sound(&store).await;
}

#[tokio::test]
async fn pins_rulebooks_and_agents() {
    let place = Place::new();
    let mut options = place.options();
    options.boot = Some("boot-1".into());
    let store = SqliteStore::open(options).await.unwrap();
    let key = key("s", "x");
    allow(&store, &key).await.unwrap();
    let ledger = store.ledger(&key).await.unwrap();
    assert!(!ledger.rulebook_known);
    let agent = |pid, boot: &str| AgentProcess { pid, started: 77, boot: boot.into() };
    let known = |engine: &str| Op::RulebookValidated { digest: key.rulebook_digest, engine: engine.into() };
    let ops = vec![known("older"), Op::Agent(agent(1, "boot-0")), Op::Agent(agent(2, "boot-1"))];
    store.commit(Change { ops: ops.clone(), ..Change::default() }).await.unwrap();
    assert!(!store.ledger(&key).await.unwrap().rulebook_known, "another engine's word");
    store.commit(Change { ops: vec![known("cedar-test")], ..Change::default() }).await.unwrap();
    store.commit(Change { ops, ..Change::default() }).await.unwrap();
    let again = store.ledger(&key).await.unwrap();
    assert!(again.rulebook_known);
    assert_eq!(again.version, ledger.version, "a validated rulebook guards nothing");
    assert_eq!(store.agents().await.unwrap(), [agent(2, "boot-1")]);

    let pin = Pin { digest: Digest::of("pin", &[b"1"]), text: "a = 1\n".into() };
    assert_eq!(store.pin(PinKind::Project, "project").await.unwrap(), None);
    let pinned = PinChange { kind: PinKind::Project, name: "project".into(), pin: Some(pin.clone()) };
    store.set_pins(vec![pinned], vec![Draft::note("pinned")]).await.unwrap();
    assert_eq!(store.pin(PinKind::Project, "project").await.unwrap(), Some(pin.clone()));
    let failed = store.commit(change(&key, &again, vec![permit(&key)])).await;
    assert!(failed.is_err(), "a pin that changed is guarded");
}

/// What guards and what does not: an unrelated call, a count or a record moves nobody.
#[tokio::test]
async fn the_version_is_about_its_own_rows() {
    let place = Place::new();
    let (store, hand) = place.timed(NOON).await;
    let x = key("s", "x");
    allow(&store, &x).await.unwrap();
    let before = store.ledger(&x).await.unwrap().version;
    for i in 0..5 {
        allow(&store, &key("s", &format!("other {i}"))).await.unwrap();
        store.note(Draft::note("n")).await.unwrap();
        ask(&store, &key("s", &format!("asked {i}")), Wait::Hold, 60).await;
        ask(&store, &key("elsewhere", &format!("e{i}")), Wait::Park, 60).await;
    }
    hand.forward_s(5);
    assert_eq!(store.ledger(&x).await.unwrap().version, before);
    let id = ask(&store, &x, Wait::Hold, 60).await;
    let asked = store.ledger(&x).await.unwrap().version;
    assert_ne!(asked, before);
    store.decide(yes(id, Scope::ThisCall)).await.unwrap();
    let granted = store.ledger(&x).await.unwrap().version;
    assert_ne!(granted, asked);
    hand.forward_s(600);
    assert_ne!(store.ledger(&x).await.unwrap().version, granted, "a grant that expired is no longer there");
}

#[tokio::test]
async fn paths_come_back_resolved() {
    let place = Place::new();
    let store = place.store().await;
    let root = place.dir.path().canonicalize().unwrap();
    std::os::unix::fs::symlink(root.join("project"), root.join("link")).unwrap();
    let mut k = key("s", "x");
    k.paths = vec![root.join("link/new").to_str().unwrap().into(), "relative".into()];
    let resolved = store.ledger(&k).await.unwrap().resolved;
    assert_eq!(resolved[0].real.as_deref(), root.join("project/new").to_str());
    assert_eq!((resolved[1].real.as_deref(), resolved[1].asked.as_str()), (None, "relative"));
}

/// A hook's decision is taken up once, by this very call, and both are one call to the limits. A killed gateway's calls
/// end as unknown.
#[tokio::test]
async fn a_hooks_decision_is_taken_up_once() {
    let place = Place::new();
    let store = place.store().await;
    let hook_key = key("s", "x");
    let ledger = store.ledger(&hook_key).await.unwrap();
    let Op::Permit { call: hook, .. } = permit(&hook_key) else { panic!() };
    let op = Op::Permit {
        call: hook.clone(),
        per_minute: 0,
        concurrent: 0,
        spend: None,
        resume: None,
        joins: None,
    };
    store.commit(change(&hook_key, &ledger, vec![op])).await.unwrap();
    let host = hook.host.clone().unwrap();
    let asked = HookKey {
        client: host.session.client,
        tool_use_id: host.tool_use_id.clone(),
        tool: hook.tool.clone(),
        args_digest: hook.args_digest,
    };
    let (found, principal) = store.hooked(&asked).await.unwrap().unwrap();
    assert_eq!((found, principal.as_str()), (hook.call_id, hook.principal.as_str()));
    let other = HookKey { args_digest: key("s", "y").args_digest, ..asked.clone() };
    assert!(store.hooked(&other).await.unwrap().is_none(), "other arguments are another call");
    let take = || {
        let mut key = key("gateway", "x");
        key.joins = Some(hook.call_id);
        key
    };
    let (one, two) = (take(), take());
    let (first, second) = (store.ledger(&one).await.unwrap(), store.ledger(&two).await.unwrap());
    assert!(first.joined && second.joined);
    let joining = |key: &CallKey| Op::Permit {
        call: Box::new(CallRow { door: Door::Mcp, ..call_row(key) }),
        per_minute: 1,
        concurrent: 1,
        spend: None,
        resume: None,
        joins: Some(hook.call_id),
    };
    // A limit of one does not stand between a hook and its own call.
    store.commit(change(&one, &first, vec![joining(&one)])).await.unwrap();
    let again = store.commit(change(&two, &second, vec![joining(&two)])).await;
    assert!(matches!(again, Err(CommitError::Moved)), "{again:?}");
    assert!(!store.ledger(&two).await.unwrap().joined && store.hooked(&asked).await.unwrap().is_none());
    let gateway = Gateway {
        session: session("gateway"),
        process: AgentProcess { pid: 1, started: 2, boot: "b".into() },
    };
    let ops = vec![Op::Gateway(gateway.process.clone(), gateway.session.clone())];
    store.commit(Change { ops, ..Change::default() }).await.unwrap();
    assert_eq!(store.gateways().await.unwrap(), std::slice::from_ref(&gateway));
    assert_eq!(store.lose_gateway(&gateway).await.unwrap(), 1);
    assert!(store.gateways().await.unwrap().is_empty());
    assert_eq!(store.lose_gateway(&gateway).await.unwrap(), 0, "a call ends once");
}
