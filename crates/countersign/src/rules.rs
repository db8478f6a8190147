//! From files to a rulebook: what `wire` opens a project with, and what `policy` checks and tries without opening one.

use crate::config::{Files, Settings};
use crate::places::Places;
use crate::project::{Layer, Project};
use countersign_core::rulebook::{PolicyText, RuleSet, Rulebook};

/// Every problem that was found, ready to be shown.
pub type Problems = Vec<miette::Report>;

/// What configuration means with this layer as the project's.
pub fn settings(layer: Option<&Layer>, places: &Places, project: &Project) -> Result<Settings, Problems> {
    settings_of(layer, places, project, true)
}

/// The same; a repository that is not `known` gets nothing of what an operator says of the one it claims to be but rules.
pub fn settings_of(
    layer: Option<&Layer>,
    places: &Places,
    project: &Project,
    known: bool,
) -> Result<Settings, Problems> {
    match Files::read(places, layer).map(|files| files.mean(places, project, known)) {
        Ok(Ok(settings)) => Ok(settings),
        Ok(Err(found)) => Err(found.into_iter().map(miette::Report::new).collect()),
        Err(e) => Err(vec![miette::miette!("{e}")]),
    }
}

/// The rulebook of these policies and the operator's, and remarks that stop nothing. Not yet validated against the
/// schema.
pub fn rulebook(
    policy: Vec<(RuleSet, PolicyText)>,
    settings: &Settings,
) -> Result<(Rulebook, Vec<String>), Problems> {
    let policy = [settings.policy.clone(), policy].concat();
    match Rulebook::load(policy, settings.rules.clone()) {
        Ok((book, remarks)) => Ok((book, remarks.iter().map(|w| w.to_string()).collect())),
        Err(found) => Err(found.into_iter().map(miette::Report::new).collect()),
    }
}

/// The same, validated.
pub fn checked(
    policy: Vec<(RuleSet, PolicyText)>,
    settings: &Settings,
) -> Result<(Rulebook, Vec<String>), Problems> {
    let (book, mut warnings) = rulebook(policy, settings)?;
    if let Err(found) = book.validate() {
        return Err(found.into_iter().map(miette::Report::new).collect());
    }
    warnings.extend(settings.warnings.iter().cloned());
    Ok((book, warnings))
}
