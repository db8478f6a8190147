//! Standing allows: the one thing `approve --always` writes, into the user's own file and nowhere else.

use crate::places::{Places, make_folder, replace};
use anyhow::Context as _;
use countersign_core::approval::scope::Scope;
use std::path::PathBuf;
use toml_edit::{ArrayOfTables, DocumentMut, Item, Table, value};

/// Adds one `[[allow]]` entry for a project, comments and order of the file kept. The file is locked meanwhile, so
/// that two answers at once both stay.
pub fn add(places: &Places, project: &str, scope: &Scope, until: Option<&str>) -> anyhow::Result<PathBuf> {
    make_folder(&places.config)?;
    let path = places.config.join("config.toml");
    let lock = std::fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .open(places.config.join(".lock"))
        .context("cannot lock the user configuration")?;
    lock.lock().context("cannot lock the user configuration")?;
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => "version = 1\n".to_owned(),
        Err(e) => return Err(e).with_context(|| format!("cannot read {}", path.display())),
    };
    let mut document: DocumentMut =
        text.parse().with_context(|| format!("{} is not TOML; nothing was written", path.display()))?;
    let (kind, pattern) = match scope {
        Scope::ToolType(v) => ("tool", v),
        Scope::BashPattern(v) => ("bash_pattern", v),
        Scope::WritePath(v) => ("write_path", v),
        Scope::Rule(v) => ("rule", v),
        Scope::Secret(v) => ("secret", v),
        Scope::Memory(v) => ("memory", v),
        Scope::ThisCall | Scope::AllSession | Scope::ToolGroup(_) => {
            anyhow::bail!("`{scope}` cannot be a standing allow")
        }
    };
    let mut entry = Table::new();
    entry.insert("project", value(project));
    entry.insert(kind, value(pattern.as_str()));
    if let Some(until) = until {
        entry.insert("until", value(until));
    }
    let list = document.entry("allow").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
    match list.as_array_of_tables_mut() {
        Some(tables) => tables.push(entry),
        None => anyhow::bail!("`allow` in {} is no list of tables; nothing was written", path.display()),
    }
    let written = document.to_string();
    // What we write must read back as meant, or nothing is written.
    let file = path.display().to_string();
    let said = super::said::read(&file, &written, super::said::LayerName::User);
    let kept =
        said.map_err(|p| anyhow::anyhow!("{}", p.first().map(|p| p.to_string()).unwrap_or_default()))?;
    let last = kept.allow.last().context("the entry did not read back")?;
    if last.kind != kind || last.value != *pattern || last.project.as_deref() != Some(project) {
        anyhow::bail!("the entry did not read back as meant; nothing was written");
    }
    replace(&path, written.as_bytes())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_keep_the_rest_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        make_folder(&places.config).unwrap();
        std::fs::write(
            places.config.join("config.toml"),
            "# mine\nversion = 1\n\n[approvals]\ntimeout_s = 60 # short\n",
        )
        .unwrap();
        let hostile = Scope::exact_command("git push \"a\"\n[[allow]]\ntool = 'x' \\ \u{1b}");
        add(&places, "p", &hostile, None).unwrap();
        let path = add(&places, "p", &Scope::Rule("r".into()), Some("2030-01-01T00:00:00Z")).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.starts_with("# mine\nversion = 1\n\n[approvals]\ntimeout_s = 60 # short\n"));
        let said = super::super::said::read("x", &text, super::super::said::LayerName::User).unwrap();
        assert_eq!(said.allow.len(), 2);
        assert_eq!(Scope::parse_standing(&said.allow[0].kind, &said.allow[0].value).unwrap(), hostile);
    }

    #[test]
    fn a_broken_file_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let places = Places::below(folder.path());
        make_folder(&places.config).unwrap();
        let path = places.config.join("config.toml");
        std::fs::write(&path, "version = \n").unwrap();
        assert!(add(&places, "p", &Scope::Rule("r".into()), None).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "version = \n");
    }
}
