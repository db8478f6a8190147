//! How often mail ended how: the counter behind `countersign_email_send_total` (email.md 12).

use super::answer::End;
use super::rules::MailRules;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

/// Name of the metric.
pub const METRIC: &str = "countersign_email_send_total";

/// The counter. All ends are there from the beginning, so that a rate can be made of the first one.
pub struct Sends(Mutex<BTreeMap<(End, String), u64>>);

impl Default for Sends {
    fn default() -> Sends {
        Sends(Mutex::new(End::ALL.into_iter().map(|end| ((end, "unspecified".to_owned()), 0)).collect()))
    }
}

impl Sends {
    /// Counts one attempt. What an agent calls its purpose is a label only where configuration lists it.
    pub fn add(&self, end: End, purpose: Option<&str>, rules: Option<&MailRules>) {
        let label = match rules {
            Some(rules) => rules.label(purpose),
            None => "unspecified",
        };
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = all.entry((end, label.to_owned())).or_default();
        *count = count.saturating_add(1);
    }

    /// How often mail ended so, whatever it was for.
    pub fn count(&self, end: End) -> u64 {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|((of, _), _)| *of == end).map(|(_, n)| n).sum()
    }

    /// The counter in the text format 0.0.4.
    pub fn text(&self) -> String {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut out = format!("# HELP {METRIC} Attempts to send mail.\n# TYPE {METRIC} counter\n");
        for ((end, label), count) in all.iter() {
            let _ = writeln!(out, "{METRIC}{{outcome=\"{}\",purpose=\"{label}\"}} {count}", end.as_str());
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::rules::Said;

    /// EINV-16, EINV-25: eight series from the beginning, one more for each attempt, labels of a closed list only.
    #[test]
    fn series_are_there_from_the_beginning() {
        let sends = Sends::default();
        for end in End::ALL {
            let line = format!("{METRIC}{{outcome=\"{}\",purpose=\"unspecified\"}} 0\n", end.as_str());
            assert!(sends.text().contains(&line), "{line}");
        }
        let text = |t: &str| Some(t.to_owned());
        let said = Said {
            owner: text("a@x.org"),
            agent_name: text("cody"),
            domain: text("x.org"),
            purposes: vec!["report".into()],
            ..Said::default()
        };
        let rules = MailRules::of(&said).unwrap().unwrap();
        for n in 0..200 {
            sends.add(End::Ok, Some(&format!("p{n}")), Some(&rules));
        }
        sends.add(End::Ok, Some("report"), Some(&rules));
        sends.add(End::Ok, Some("a\"} 1\n"), Some(&rules));
        assert_eq!(sends.count(End::Ok), 202);
        let text = sends.text();
        for line in ["purpose=\"other\"} 200", "purpose=\"report\"} 1", "purpose=\"unknown\"} 1"] {
            assert!(text.contains(line), "{text}");
        }
        assert_eq!(text.lines().count(), 2 + 8 + 3);
    }
}
