//! What metrics are answered with: the text format 0.0.4 of as many registries as there are (email.md 12).

use crate::metadata::{Asked, Body, Told};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Something that tells its metrics.
pub type Registry<'a> = &'a (dyn Fn() -> String + Sync);

/// One answer of all registries, in order, with one line end between two. One that breaks is left out and counted.
pub fn answer(registries: &[Registry<'_>]) -> Told {
    if registries.is_empty() {
        return Told::fixed(503, "no metrics\n");
    }
    let mut broken = 0;
    let mut all: Vec<String> = Vec::new();
    for registry in registries {
        match catch_unwind(AssertUnwindSafe(registry)) {
            Ok(text) => all.push(text.trim_end_matches('\n').to_owned()),
            Err(_) => broken += 1,
        }
    }
    if broken > 0 {
        all.push(format!(
            "# TYPE countersign_metric_skipped_total counter\ncountersign_metric_skipped_total{{reason=\"broken\"}} {broken}"
        ));
    }
    Told {
        status: 200,
        headers: vec![
            ("content-type", "text/plain; version=0.0.4; charset=utf-8".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ],
        body: Body::Text(all.join("\n") + "\n"),
    }
}

/// Answers a listener that has nothing but metrics.
pub fn scraped(asked: &Asked, registries: &[Registry<'_>]) -> Told {
    match (asked.method.as_str(), asked.target.as_str()) {
        ("GET", "/metrics") => answer(registries),
        ("GET", "/healthz") => Told::fixed(200, "ok\n"),
        _ => Told::fixed(404, "not found\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(told: &Told) -> &str {
        match &told.body {
            Body::Text(text) => text,
            Body::Value(_) => panic!("a value"),
        }
    }

    /// EINV-17.
    #[test]
    fn registries_stand_one_after_the_other() {
        let (one, two) = (|| "# TYPE a counter\na 1\n".to_owned(), || "# TYPE b counter\nb 2\n".to_owned());
        let told = answer(&[&one, &two]);
        assert_eq!(text(&told), "# TYPE a counter\na 1\n# TYPE b counter\nb 2\n");
        assert!(told.headers.contains(&("cache-control", "no-store".to_owned())));
        assert!(told.headers.iter().any(|(_, value)| value.starts_with("text/plain; version=0.0.4")));
        let none = answer(&[]);
        assert_eq!(none.status, 503);
        assert!(
            none.headers
                .iter()
                .any(|(name, value)| *name == "content-type" && value.starts_with("text/plain"))
        );
        let broken = answer(&[&(|| -> String { panic!("broken") }), &two]);
        assert!(
            broken.status == 200 && text(&broken).starts_with("# TYPE b counter\nb 2\n"),
            "{}",
            text(&broken)
        );
        assert!(text(&broken).contains("{reason=\"broken\"} 1"));
    }
}
