//! axe-core: looks for what keeps people from using a page. And the browser's own word on what moved while it loaded.

use serde_json::Value;

use super::browse::Browser;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/.keyledger/bin/axe-4.14.1.min.js");

const RUN: &str = "const done = arguments[arguments.length - 1];
axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']}).then(
    found => done({violations: found.violations.map(v => ({id: v.id, impact: v.impact, help: v.help,
        where: v.nodes.map(n => n.target.join(' ') + ': ' + n.failureSummary)})), passes: found.passes.length}),
    error => done({failed: String(error)}));";

/// What moved since the page began, as browsers score it, and not for something that a person did.
const SHIFTED: &str = "const done = arguments[arguments.length - 1];
const shifts = [];
const watch = new PerformanceObserver(list => shifts.push(...list.getEntries()));
watch.observe({type: 'layout-shift', buffered: true});
setTimeout(() => {
    shifts.push(...watch.takeRecords());
    const score = shifts.filter(s => !s.hadRecentInput).reduce((sum, s) => sum + s.value, 0);
    done(PerformanceObserver.supportedEntryTypes.includes('layout-shift') ? Math.round(score * 10000) : null);
}, 100);";

impl Browser {
    /// Panics if anything moved by itself while the page loaded; a score of 0.001 is no more than a hair.
    pub async fn stands_still(&self, page: &str) {
        let shifted = self.client.execute_async(SHIFTED, vec![]).await.unwrap();
        let shifted = shifted.as_u64().expect("a browser that scores layout shifts");
        assert!(
            shifted <= 10,
            "{page}, {}: moved by {shifted} in 10,000",
            self.view.name()
        );
    }

    /// Panics with what axe-core finds that is serious or critical, wherever on the page it is.
    pub async fn is_usable_by_everybody(&self, page: &str) {
        self.stands_still(page).await;
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
