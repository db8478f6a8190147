//! A person's notes: rows, and how much of them agents read (memory.md 2, 6).
//!
//! Names are looked up exactly and kept apart without their case. A read and its count are one transaction. Whatever
//! changes a note is one statement, so an old value stays until the new one is there.

use super::SqliteStore;
use super::batch::{self, Answer, Verb};
use super::fault::{Outcome, unreadable};
use super::tx::Tx;
use async_trait::async_trait;
use countersign_core::event::Draft;
use countersign_core::names;
use countersign_core::notes::{
    ARCHIVED, BEYOND_BYTES, KEPT_TURNS, MAX_VALUE_BYTES, TURN_BYTES, TURN_PAUSE_MS, WINDOW_BYTES, WINDOW_MS,
    check_store, fold,
};
use countersign_gate::seams::{NoteChange, NoteError, Notes, Recall, Recalled, StoreError};
use sqlx::Row;
use sqlx::sqlite::SqliteConnection;

/// What came of a change: the name, or why not.
pub(super) type Noted = Result<String, NoteError>;

fn limit(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn size(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

pub(super) async fn recall(tx: &mut Tx<'_>, what: &Recall) -> Outcome<Recalled> {
    let most = what.max_bytes.saturating_add(BEYOND_BYTES);
    let row = sqlx::query(
        "SELECT substr(m.value, 1, ?3) AS bytes, length(m.value) AS length
         FROM memory m JOIN memory_stores s ON s.id = m.store
         WHERE s.name = ?1 AND s.archived = 0 AND m.key = ?2",
    )
    .bind(&what.store)
    .bind(&what.key)
    .bind(limit(most))
    .fetch_optional(&mut *tx.conn)
    .await?;
    let Some(row) = row else { return Ok(Recalled::Missing) };
    let bytes: Vec<u8> = row.try_get("bytes")?;
    let longer = row.try_get::<i64, _>("length")? > limit(bytes.len());
    let charge = u64::try_from(bytes.len().min(what.max_bytes)).unwrap_or(u64::MAX);
    Ok(match count(tx, &what.principal, charge).await? {
        true => Recalled::Read { bytes, longer },
        false => Recalled::Exceeded,
    })
}

/// Counts what a principal reads. `false`, and nothing counted, where it would be too much.
async fn count(tx: &mut Tx<'_>, principal: &str, charge: u64) -> Outcome<bool> {
    let now = tx.now.0;
    // A clock that was set back must neither open a turn early nor keep one open for ever.
    sqlx::query(
        "UPDATE memory_turns SET last_at = min(last_at, ?2), began_at = min(began_at, ?2)
         WHERE principal = ?1 AND last_at > ?2",
    )
    .bind(principal)
    .bind(now)
    .execute(&mut *tx.conn)
    .await?;
    let rows = sqlx::query(
        "SELECT id, began_at, last_at, bytes FROM memory_turns WHERE principal = ?1 ORDER BY id DESC LIMIT ?2",
    )
    .bind(principal)
    .bind(KEPT_TURNS)
    .fetch_all(&mut *tx.conn)
    .await?;
    let mut window = 0u64;
    let mut turn: Option<(i64, u64)> = None;
    for (place, row) in rows.iter().enumerate() {
        let (began, last): (i64, i64) = (row.try_get("began_at")?, row.try_get("last_at")?);
        let bytes = size(row.try_get("bytes")?);
        // A turn that reaches into the time counts with all of it.
        if last > now - WINDOW_MS {
            window = window.saturating_add(bytes);
        }
        if place == 0 && now - last <= TURN_PAUSE_MS && now - began < WINDOW_MS {
            turn = Some((row.try_get("id")?, bytes));
        }
    }
    let (id, used) = match turn {
        Some(there) => there,
        None => {
            let id = sqlx::query(
                "INSERT INTO memory_turns (principal, began_at, last_at, bytes) VALUES (?1, ?2, ?2, 0)",
            )
            .bind(principal)
            .bind(now)
            .execute(&mut *tx.conn)
            .await?
            .last_insert_rowid();
            (id, 0)
        }
    };
    let fits = used.saturating_add(charge) <= TURN_BYTES && window.saturating_add(charge) <= WINDOW_BYTES;
    let add = if fits { i64::try_from(charge).unwrap_or(i64::MAX) } else { 0 };
    sqlx::query("UPDATE memory_turns SET last_at = ?2, bytes = bytes + ?3 WHERE id = ?1")
        .bind(id)
        .bind(now)
        .bind(add)
        .execute(&mut *tx.conn)
        .await?;
    sqlx::query(
        "DELETE FROM memory_turns WHERE principal = ?1 AND id NOT IN
         (SELECT id FROM memory_turns WHERE principal = ?1 ORDER BY id DESC LIMIT ?2)",
    )
    .bind(principal)
    .bind(KEPT_TURNS)
    .execute(&mut *tx.conn)
    .await?;
    Ok(fits)
}

/// A store by its folded name: id, name, whether it was set aside.
async fn find(tx: &mut Tx<'_>, folded: &str) -> Outcome<Option<(i64, String, bool)>> {
    let row = sqlx::query("SELECT id, name, archived FROM memory_stores WHERE folded = ?1")
        .bind(folded)
        .fetch_optional(&mut *tx.conn)
        .await?;
    row.map(|row| Ok((row.try_get("id")?, row.try_get("name")?, row.try_get::<i64, _>("archived")? != 0)))
        .transpose()
}

/// The store of exactly this name.
async fn exactly(tx: &mut Tx<'_>, name: &str) -> Outcome<Result<(i64, bool), NoteError>> {
    Ok(match find(tx, &fold(name)).await? {
        Some((id, there, archived)) if there == name => Ok((id, archived)),
        Some((_, there, _)) => Err(NoteError::OtherCase(there)),
        None => Err(NoteError::Missing(format!("store `{name}`"))),
    })
}

/// Takes the value of a result, or ends the verb with its refusal.
macro_rules! allowed {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refusal) => return Ok(Err(refusal)),
        }
    };
}

pub(super) async fn change(tx: &mut Tx<'_>, change: &NoteChange) -> Outcome<Noted> {
    let (done, what) = match change {
        NoteChange::Set { store, key, value, replace } => {
            (set(tx, store, key, value, *replace).await?, "a note was written")
        }
        NoteChange::Remove { store, key } => (remove(tx, store, key).await?, "a note was removed"),
        NoteChange::RemoveStore(store) => (remove_store(tx, store).await?, "a store of notes was removed"),
        NoteChange::Archive(store) => (archive(tx, store).await?, "a store of notes was set aside"),
        NoteChange::Restore(store) => (restore(tx, store).await?, "a store of notes was brought back"),
    };
    if let Ok(name) = &done {
        tx.append(&Draft::note(&format!("{what}: {name}")))?;
    }
    Ok(done)
}

async fn set(tx: &mut Tx<'_>, store: &str, key: &str, value: &[u8], replace: bool) -> Outcome<Noted> {
    if value.len() > MAX_VALUE_BYTES {
        return Ok(Err(NoteError::TooLarge(value.len())));
    }
    if let Err(fault) = names::check(key) {
        return Ok(Err(NoteError::Name(key.to_owned(), fault.to_string())));
    }
    let place = fold(store);
    let id = match find(tx, &place).await? {
        Some((id, there, false)) if there == store => id,
        Some((_, there, false)) => return Ok(Err(NoteError::OtherCase(there))),
        Some((_, there, true)) => return Ok(Err(NoteError::Exists(format!("store `{there}`, set aside,")))),
        None => {
            if let Err(fault) = check_store(store) {
                return Ok(Err(NoteError::Name(store.to_owned(), fault.to_string())));
            }
            sqlx::query("INSERT INTO memory_stores (name, folded) VALUES (?1, ?2)")
                .bind(store)
                .bind(&place)
                .execute(&mut *tx.conn)
                .await?
                .last_insert_rowid()
        }
    };
    let folded = fold(key);
    let there: Option<String> = sqlx::query_scalar("SELECT key FROM memory WHERE store = ?1 AND folded = ?2")
        .bind(id)
        .bind(&folded)
        .fetch_optional(&mut *tx.conn)
        .await?;
    match there {
        Some(there) if there != key => return Ok(Err(NoteError::OtherCase(format!("{store}/{there}")))),
        Some(_) if !replace => return Ok(Err(NoteError::Exists(format!("note `{store}/{key}`")))),
        _ => {}
    }
    sqlx::query(
        "INSERT INTO memory (store, folded, key, set_at, value) VALUES (?1, ?2, ?3, ?4, ?5)
         ON CONFLICT (store, folded) DO UPDATE SET set_at = ?4, value = ?5",
    )
    .bind(id)
    .bind(&folded)
    .bind(key)
    .bind(tx.now.0)
    .bind(value)
    .execute(&mut *tx.conn)
    .await?;
    Ok(Ok(format!("{store}/{key}")))
}

async fn remove(tx: &mut Tx<'_>, store: &str, key: &str) -> Outcome<Noted> {
    let (id, _) = allowed!(exactly(tx, store).await?);
    let done = sqlx::query("DELETE FROM memory WHERE store = ?1 AND key = ?2")
        .bind(id)
        .bind(key)
        .execute(&mut *tx.conn)
        .await?;
    Ok(match done.rows_affected() {
        0 => Err(NoteError::Missing(format!("note `{store}/{key}`"))),
        _ => Ok(format!("{store}/{key}")),
    })
}

async fn remove_store(tx: &mut Tx<'_>, store: &str) -> Outcome<Noted> {
    let (id, _) = allowed!(exactly(tx, store).await?);
    for sql in ["DELETE FROM memory WHERE store = ?1", "DELETE FROM memory_stores WHERE id = ?1"] {
        sqlx::query(sql).bind(id).execute(&mut *tx.conn).await?;
    }
    Ok(Ok(store.to_owned()))
}

/// Gives a store another name.
async fn rename(tx: &mut Tx<'_>, id: i64, name: &str, archived: bool) -> Outcome<()> {
    sqlx::query("UPDATE memory_stores SET name = ?2, folded = ?3, archived = ?4 WHERE id = ?1")
        .bind(id)
        .bind(name)
        .bind(fold(name))
        .bind(i64::from(archived))
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

async fn archive(tx: &mut Tx<'_>, store: &str) -> Outcome<Noted> {
    let (id, archived) = allowed!(exactly(tx, store).await?);
    if archived {
        return Ok(Err(NoteError::Missing(format!("store `{store}` that is not set aside already"))));
    }
    let mut name = format!("{store}{ARCHIVED}");
    let mut number = 1u32;
    while find(tx, &fold(&name)).await?.is_some() {
        number = number.saturating_add(1);
        name = format!("{store}{ARCHIVED}.{number}");
    }
    rename(tx, id, &name, true).await?;
    Ok(Ok(name))
}

/// The name that a store had, and which of those with it this was, if its name is one of a store that was set aside.
fn former(name: &str) -> Option<(&str, u32)> {
    if let Some(store) = name.strip_suffix(ARCHIVED) {
        return Some((store, 1));
    }
    let (rest, number) = name.rsplit_once('.')?;
    Some((rest.strip_suffix(ARCHIVED)?, number.parse().ok()?))
}

async fn restore(tx: &mut Tx<'_>, store: &str) -> Outcome<Noted> {
    let rows =
        sqlx::query("SELECT id, name FROM memory_stores WHERE archived = 1").fetch_all(&mut *tx.conn).await?;
    let mut best: Option<(u32, i64, String)> = None;
    for row in &rows {
        let (id, name): (i64, String) = (row.try_get("id")?, row.try_get("name")?);
        let Some((had, number)) = former(&name) else { continue };
        let number = if name == store { u32::MAX } else { number };
        if (name == store || had == store) && best.as_ref().is_none_or(|(n, ..)| *n < number) {
            best = Some((number, id, had.to_owned()));
        }
    }
    let Some((_, id, name)) = best else {
        return Ok(Err(NoteError::Missing(format!("store `{store}` that was set aside"))));
    };
    if let Some((_, there, _)) = find(tx, &fold(&name)).await? {
        return Ok(Err(NoteError::Exists(format!("store `{there}`"))));
    }
    rename(tx, id, &name, false).await?;
    Ok(Ok(name))
}

async fn stores(conn: &mut SqliteConnection, archived: bool, after: &str, most: u32) -> Outcome<Vec<String>> {
    Ok(sqlx::query_scalar(
        "SELECT name FROM memory_stores WHERE archived = ?1 AND name > ?2 ORDER BY name LIMIT ?3",
    )
    .bind(i64::from(archived))
    .bind(after)
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?)
}

async fn keys(
    conn: &mut SqliteConnection,
    store: &str,
    archived: bool,
    after: &str,
    most: u32,
) -> Outcome<Option<Vec<(String, u64)>>> {
    let id: Option<i64> =
        sqlx::query_scalar("SELECT id FROM memory_stores WHERE name = ?1 AND archived <= ?2")
            .bind(store)
            .bind(i64::from(archived))
            .fetch_optional(&mut *conn)
            .await?;
    let Some(id) = id else { return Ok(None) };
    let rows = sqlx::query(
        "SELECT key, length(value) AS bytes FROM memory WHERE store = ?1 AND key > ?2 ORDER BY key LIMIT ?3",
    )
    .bind(id)
    .bind(after)
    .bind(i64::from(most))
    .fetch_all(conn)
    .await?;
    let one = |row: &sqlx::sqlite::SqliteRow| Ok((row.try_get("key")?, size(row.try_get("bytes")?)));
    rows.iter().map(one).collect::<Outcome<Vec<_>>>().map(Some)
}

async fn value(conn: &mut SqliteConnection, store: &str, key: &str) -> Outcome<Option<Vec<u8>>> {
    Ok(sqlx::query_scalar(
        "SELECT m.value FROM memory m JOIN memory_stores s ON s.id = m.store WHERE s.name = ?1 AND m.key = ?2",
    )
    .bind(store)
    .bind(key)
    .fetch_optional(conn)
    .await?)
}

#[async_trait]
impl Notes for SqliteStore {
    async fn note_stores(&self, archived: bool, after: &str, limit: u32) -> Result<Vec<String>, StoreError> {
        Ok(read!(self, |conn, _options| stores(conn, archived, after, limit).await)?)
    }

    async fn note_keys(
        &self,
        store: &str,
        archived: bool,
        after: &str,
        limit: u32,
    ) -> Result<Option<Vec<(String, u64)>>, StoreError> {
        Ok(read!(self, |conn, _options| keys(conn, store, archived, after, limit).await)?)
    }

    async fn note_value(&self, store: &str, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(read!(self, |conn, _options| value(conn, store, key).await)?)
    }

    async fn recall(&self, what: &Recall) -> Result<Recalled, StoreError> {
        Ok(write!(self, Verb::Recall(what.clone()), Recalled)?)
    }

    async fn change_notes(&self, change: NoteChange) -> Result<String, NoteError> {
        let noted: Result<Noted, StoreError> =
            write!(self, Verb::Notes(change), Noted).map_err(StoreError::from);
        noted?
    }
}
