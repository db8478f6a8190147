//! What servers list, and what of it a person accepted.

use super::common::*;
use countersign_core::cleanse::Clean;
use countersign_core::digest::Digest;
use countersign_core::trust::Listed;
use countersign_gate::servers::Launch;

fn list(texts: &[(&str, &str)]) -> Vec<Listed> {
    texts
        .iter()
        .map(|(name, text)| Listed {
            name: (*name).to_owned(),
            digest: Digest::of("test-tool", &[text.as_bytes()]),
            text: (*text).to_owned(),
            span: 0..0,
        })
        .collect()
}

/// P-29: what a person accepts is what the server shows now. Something it showed in between is pinned by nobody.
#[tokio::test]
async fn what_was_shown_in_between_is_not_accepted() {
    let world = World::new().await;
    let gate = world.gate();
    let launch = Launch { name: "odd".to_owned(), text: "typed".to_owned(), typed: true };
    let first = list(&[("echo", "one"), ("count", "one")]);
    assert!(!gate.listed(&launch, &first).await.unwrap().quarantined);
    let other = list(&[("echo", "two"), ("count", "one"), ("more", "one")]);
    assert!(gate.listed(&launch, &other).await.unwrap().quarantined);
    // It goes back: still nobody's, until a person says so.
    assert!(gate.listed(&launch, &first).await.unwrap().quarantined);
    assert!(gate.accept_drift("odd", &ana(), Some(&Clean::fixed("looked at it"))).await.unwrap());
    let surface = gate.listed(&launch, &first).await.unwrap();
    assert!(!surface.quarantined && surface.hidden.is_empty());
    let added =
        gate.listed(&launch, &list(&[("echo", "one"), ("count", "one"), ("more", "one")])).await.unwrap();
    assert!(!added.quarantined && added.hidden.contains("more"), "it was never accepted");
    assert!(gate.listed(&launch, &other).await.unwrap().quarantined);
}
