//! axe-core: looks for what keeps people from using a page.

use serde_json::Value;

use super::browse::Browser;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.keyledger/bin/axe-4.14.1.min.js");

const RUN: &str = "const done = arguments[arguments.length - 1];
axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then(
    found => done({violations: found.violations.map(v => ({id: v.id, impact: v.impact, help: v.help,
        where: v.nodes.map(n => n.target.join(' ') + ': ' + n.failureSummary)})), passes: found.passes.length}),
    error => done({failed: String(error)}));";

impl Browser {
    /// Panics with what axe-core finds that is serious or critical, wherever on the page it is.
    pub async fn is_usable_by_everybody(&self, page: &str) {
        let script = std::fs::read_to_string(SCRIPT)
            .unwrap_or_else(|error| panic!("this test needs axe-core: run `tools/setup` ({SCRIPT}: {error})"));
        self.run(&script).await;
        let found = self.client.execute_async(RUN, vec![]).await.unwrap();
        assert!(
            found["passes"].as_u64() > Some(0),
            "axe-core looked at nothing on {page}: {found}"
        );
        let serious: Vec<&Value> = found["violations"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|violation| violation["impact"] == "serious" || violation["impact"] == "critical")
            .collect();
        assert!(serious.is_empty(), "{page}, {}: {serious:#?}", self.view.name());
    }
}
