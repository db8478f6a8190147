//! The user's things: rows of the vault and how its secrets were used. Everything is sealed before it comes here.

use super::SqliteStore;
use super::batch::{self, Answer, Verb};
use super::fault::{Outcome, unreadable};
use super::tx::Tx;
use async_trait::async_trait;
use countersign_core::digest::Digest;
use countersign_core::event::Draft;
use countersign_core::ledger::SecretView;
use countersign_core::secret::SecretRef;
use countersign_core::time::Timestamp;
use countersign_core::token::Token;
use countersign_core::vault::binding::Binding;
use countersign_core::vault::seal::{NONCE, Row as Version};
use countersign_gate::seams::{Begun, Keeper, StoreError, VaultRows};
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

/// The time is the log's if that is later.
const NOW: &str = "
SELECT max(coalesce(?1, CAST(round(unixepoch('subsec') * 1000) AS INTEGER)), at) FROM log_head WHERE tenant = 'default'";

/// How long a mail's key is kept, in milliseconds: keys hold their day, so an older one never comes again.
const MAIL_MS: i64 = 7 * 86_400_000;

/// How long a use counts against the rate, and an echo towards quarantine, in milliseconds.
const USE_MS: i64 = 60_000;
const ECHO_MS: i64 = 600_000;

/// One statement, so that header and rows are of one instant; the time is the log's if that is later.
const VAULT: &str = "
SELECT max(coalesce(?1, CAST(round(unixepoch('subsec') * 1000) AS INTEGER)), h.at) AS now, m.header, s.*
FROM log_head h LEFT JOIN vault_meta m ON m.vault = 'default' LEFT JOIN secrets s ON 1
WHERE h.tenant = 'default' ORDER BY s.name, s.version";

fn version(row: &SqliteRow) -> Outcome<Version> {
    let nonce: Vec<u8> = row.try_get("nonce")?;
    Ok(Version {
        name: row.try_get("name")?,
        version: u64::try_from(row.try_get::<i64, _>("version")?).map_err(|_| unreadable("version"))?,
        rotation_id: row.try_get("rotation_id")?,
        binding: row.try_get("binding")?,
        set_at: Timestamp(row.try_get("set_at")?),
        retired_at: row.try_get::<Option<i64>, _>("retired_at")?.map(Timestamp),
        nonce: <[u8; NONCE]>::try_from(nonce).map_err(|_| unreadable("nonce"))?,
        sealed: row.try_get("sealed")?,
    })
}

pub(super) async fn vault(conn: &mut SqliteConnection, clock: Option<i64>) -> Outcome<VaultRows> {
    let rows = sqlx::query(VAULT).bind(clock).fetch_all(conn).await?;
    let first = rows.first().ok_or_else(|| unreadable("log head"))?;
    let (now, header) = (Timestamp(first.try_get("now")?), first.try_get("header")?);
    let mut found = Vec::new();
    for row in &rows {
        if row.try_get::<Option<String>, _>("name")?.is_some() {
            found.push(version(row)?);
        }
    }
    Ok(VaultRows { now, header, rows: found })
}

pub(super) async fn secret(conn: &mut SqliteConnection, name: &SecretRef) -> Outcome<SecretView> {
    let row = sqlx::query(
        "SELECT (SELECT binding FROM secrets WHERE name = ?1 AND retired_at IS NULL) AS binding,
                EXISTS (SELECT 1 FROM secret_quarantine WHERE name = ?1) AS held",
    )
    .bind(name.as_str())
    .fetch_one(conn)
    .await?;
    let binding: Option<String> = row.try_get("binding")?;
    // What cannot be read binds to nothing, and so is asked about.
    let binding = binding.map(|text| Binding::read(&text).unwrap_or_default());
    Ok(SecretView { binding, quarantined: row.try_get::<i64, _>("held")? != 0 })
}

pub(super) async fn set_vault(
    tx: &mut Tx<'_>,
    was: Option<&str>,
    now: &VaultRows,
    record: &Draft,
) -> Outcome<bool> {
    let there: Option<String> = sqlx::query_scalar("SELECT header FROM vault_meta WHERE vault = 'default'")
        .fetch_optional(&mut *tx.conn)
        .await?;
    if there.as_deref() != was {
        return Ok(false);
    }
    let before = sqlx::query("SELECT * FROM secrets").fetch_all(&mut *tx.conn).await?;
    let before = before.iter().map(version).collect::<Outcome<Vec<_>>>()?;
    for old in before.iter().filter(|old| !now.rows.contains(old)) {
        sqlx::query("DELETE FROM secrets WHERE name = ?1 AND version = ?2")
            .bind(&old.name)
            .bind(signed(old.version))
            .execute(&mut *tx.conn)
            .await?;
        // Whoever changed the value that is in use has looked at it; old ones go by themselves.
        if old.retired_at.is_some() {
            continue;
        }
        sqlx::query("DELETE FROM secret_quarantine WHERE name = ?1")
            .bind(&old.name)
            .execute(&mut *tx.conn)
            .await?;
        sqlx::query("DELETE FROM secret_marks WHERE name = ?1 AND kind = 'echo'")
            .bind(&old.name)
            .execute(&mut *tx.conn)
            .await?;
    }
    for new in now.rows.iter().filter(|new| !before.contains(new)) {
        sqlx::query(
            "INSERT INTO secrets (name, version, rotation_id, binding, set_at, retired_at, nonce, sealed)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        )
        .bind(&new.name)
        .bind(signed(new.version))
        .bind(&new.rotation_id)
        .bind(&new.binding)
        .bind(new.set_at.0)
        .bind(new.retired_at.map(|at| at.0))
        .bind(new.nonce.as_slice())
        .bind(&new.sealed)
        .execute(&mut *tx.conn)
        .await?;
    }
    sqlx::query(
        "INSERT INTO vault_meta (vault, header) VALUES ('default', ?1) ON CONFLICT DO UPDATE SET header = ?1",
    )
    .bind(&now.header)
    .execute(&mut *tx.conn)
    .await?;
    tx.append(record)?;
    Ok(true)
}

fn signed(version: u64) -> i64 {
    i64::try_from(version).unwrap_or(i64::MAX)
}

async fn marks(tx: &mut Tx<'_>, name: &str, kind: &str, principal: &str, since_ms: i64) -> Outcome<u32> {
    sqlx::query("DELETE FROM secret_marks WHERE at <= ?1")
        .bind(tx.now.0 - ECHO_MS)
        .execute(&mut *tx.conn)
        .await?;
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM secret_marks WHERE name = ?1 AND kind = ?2 AND principal = ?3 AND at > ?4",
    )
    .bind(name)
    .bind(kind)
    .bind(principal)
    .bind(tx.now.0 - since_ms)
    .fetch_one(&mut *tx.conn)
    .await?;
    Ok(u32::try_from(count).unwrap_or(u32::MAX))
}

async fn mark(tx: &mut Tx<'_>, name: &str, kind: &str, principal: &str) -> Outcome<()> {
    sqlx::query("INSERT INTO secret_marks (name, kind, principal, at) VALUES (?1, ?2, ?3, ?4)")
        .bind(name)
        .bind(kind)
        .bind(principal)
        .bind(tx.now.0)
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

pub(super) async fn used(tx: &mut Tx<'_>, name: &str, principal: &str, per_minute: u32) -> Outcome<bool> {
    if marks(tx, name, "use", principal, USE_MS).await? >= per_minute {
        return Ok(false);
    }
    mark(tx, name, "use", principal).await?;
    Ok(true)
}

pub(super) async fn echoed(tx: &mut Tx<'_>, name: &str, after: u32) -> Outcome<bool> {
    let before = marks(tx, name, "echo", "", ECHO_MS).await?;
    mark(tx, name, "echo", "").await?;
    if before.saturating_add(1) < after {
        return Ok(false);
    }
    let done = sqlx::query("INSERT OR IGNORE INTO secret_quarantine (name, at) VALUES (?1, ?2)")
        .bind(name)
        .bind(tx.now.0)
        .execute(&mut *tx.conn)
        .await?;
    Ok(done.rows_affected() == 1)
}

async fn tokens(conn: &mut SqliteConnection, clock: Option<i64>) -> Outcome<(Timestamp, Vec<Token>)> {
    let now: i64 = sqlx::query_scalar(NOW).bind(clock).fetch_one(&mut *conn).await?;
    let rows = sqlx::query("SELECT * FROM tokens ORDER BY id").fetch_all(conn).await?;
    let token = |row: &SqliteRow| -> Outcome<Token> {
        let hash: String = row.try_get("hash")?;
        let capabilities: String = row.try_get("capabilities")?;
        Ok(Token {
            id: row.try_get("id")?,
            hash: Digest::parse(&hash).ok_or_else(|| unreadable("token"))?,
            capabilities: capabilities.split_whitespace().map(str::to_owned).collect(),
            created_at: Timestamp(row.try_get("created_at")?),
            expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp),
            revoked_at: row.try_get::<Option<i64>, _>("revoked_at")?.map(Timestamp),
        })
    };
    Ok((Timestamp(now), rows.iter().map(token).collect::<Outcome<_>>()?))
}

pub(super) async fn add_token(tx: &mut Tx<'_>, token: &Token, record: &Draft) -> Outcome<()> {
    sqlx::query(
        "INSERT INTO tokens (id, hash, capabilities, created_at, expires_at) VALUES (?1, ?2, ?3, ?4, ?5)",
    )
    .bind(&token.id)
    .bind(token.hash.to_string())
    .bind(token.capabilities.join(" "))
    .bind(tx.now.0)
    .bind(token.expires_at.map(|at| at.0))
    .execute(&mut *tx.conn)
    .await?;
    tx.append(record)?;
    Ok(())
}

pub(super) async fn revoke_token(tx: &mut Tx<'_>, id: &str, record: &Draft) -> Outcome<bool> {
    let done = sqlx::query("UPDATE tokens SET revoked_at = ?2 WHERE id = ?1 AND revoked_at IS NULL")
        .bind(id)
        .bind(tx.now.0)
        .execute(&mut *tx.conn)
        .await?;
    if done.rows_affected() == 0 {
        return Ok(false);
    }
    tx.append(record)?;
    Ok(true)
}

pub(super) async fn mail_begins(tx: &mut Tx<'_>, key: &str, payload: &str) -> Outcome<Begun> {
    sqlx::query("DELETE FROM mails WHERE at < ?1").bind(tx.now.0 - MAIL_MS).execute(&mut *tx.conn).await?;
    let there: Option<(String, String)> = sqlx::query_as("SELECT payload, state FROM mails WHERE key = ?1")
        .bind(key)
        .fetch_optional(&mut *tx.conn)
        .await?;
    let found = match there.as_ref().map(|(payload, state)| (payload.as_str(), state.as_str())) {
        None | Some((_, "failed")) => Begun::Taken,
        Some((other, "sent")) if other != payload => Begun::Other,
        Some((_, "sent")) => Begun::Sent,
        Some(_) => Begun::Open,
    };
    if found == Begun::Taken {
        sqlx::query(
            "INSERT INTO mails (key, payload, state, at) VALUES (?1, ?2, 'sending', ?3)
             ON CONFLICT DO UPDATE SET payload = ?2, state = 'sending', at = ?3",
        )
        .bind(key)
        .bind(payload)
        .bind(tx.now.0)
        .execute(&mut *tx.conn)
        .await?;
    }
    Ok(found)
}

pub(super) async fn mail_ended(tx: &mut Tx<'_>, key: &str, sent: bool) -> Outcome<()> {
    sqlx::query("UPDATE mails SET state = ?2 WHERE key = ?1 AND state = 'sending'")
        .bind(key)
        .bind(if sent { "sent" } else { "failed" })
        .execute(&mut *tx.conn)
        .await?;
    Ok(())
}

#[async_trait]
impl Keeper for SqliteStore {
    async fn vault(&self) -> Result<VaultRows, StoreError> {
        Ok(read!(self, |conn, options| vault(conn, options.clock_ms()).await)?)
    }

    async fn set_vault(&self, was: Option<&str>, now: VaultRows, record: Draft) -> Result<bool, StoreError> {
        let verb = Verb::SetVault(was.map(str::to_owned), Box::new(now), record);
        Ok(write!(self, verb, Flag)?)
    }

    async fn secret(&self, name: &SecretRef) -> Result<SecretView, StoreError> {
        Ok(read!(self, |conn, _options| secret(conn, name).await)?)
    }

    async fn secret_used(
        &self,
        name: &SecretRef,
        principal: &str,
        per_minute: u32,
    ) -> Result<bool, StoreError> {
        let verb = Verb::SecretUsed(name.as_str().to_owned(), principal.to_owned(), per_minute);
        Ok(write!(self, verb, Flag)?)
    }

    async fn tokens(&self) -> Result<(Timestamp, Vec<Token>), StoreError> {
        Ok(read!(self, |conn, options| tokens(conn, options.clock_ms()).await)?)
    }

    async fn add_token(&self, token: Token, record: Draft) -> Result<(), StoreError> {
        batch::submit(&self.inner, Verb::AddToken(Box::new(token), record)).await?;
        Ok(())
    }

    async fn revoke_token(&self, id: &str, record: Draft) -> Result<bool, StoreError> {
        Ok(write!(self, Verb::RevokeToken(id.to_owned(), record), Flag)?)
    }

    async fn mail_begins(&self, key: &str, payload: &str) -> Result<Begun, StoreError> {
        Ok(write!(self, Verb::MailBegins(key.to_owned(), payload.to_owned()), Begun)?)
    }

    async fn mail_ended(&self, key: &str, sent: bool) -> Result<(), StoreError> {
        batch::submit(&self.inner, Verb::MailEnded(key.to_owned(), sent)).await?;
        Ok(())
    }

    async fn secret_echoed(&self, name: &SecretRef, after: u32) -> Result<bool, StoreError> {
        Ok(write!(self, Verb::SecretEchoed(name.as_str().to_owned(), after), Flag)?)
    }
}
