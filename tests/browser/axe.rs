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
    const own = shifts.filter(s => !s.hadRecentInput && s.startTime > (window.picturedAt ?? -1));
    const score = own.reduce((sum, s) => sum + s.value, 0);
    const name = (node) => node?.nodeType === 1 ? node.outerHTML.slice(0, 80) : node?.textContent;
    const rect = (r) => [r.x, r.y, r.width, r.height].map(Math.round).join(' ');
    const moved = own.flatMap(s => [...s.sources].map(
        m => `at ${Math.round(s.startTime)} ms ${name(m.node)}: ${rect(m.previousRect)} -> ${rect(m.currentRect)}`));
    const scored = PerformanceObserver.supportedEntryTypes.includes('layout-shift');
    done({score: scored ? Math.round(score * 10000) : null, moved});
}, 100);";

/// A picture of the whole page lays it out anew, and once more afterwards: what moves with that did not move by itself.
const PICTURED: &str = "const done = arguments[arguments.length - 1];
requestAnimationFrame(() => requestAnimationFrame(() => { window.picturedAt = performance.now(); done(null); }));";

impl Browser {
    /// What can be checked of how a page looks, and then a picture for somebody to look at.
    pub async fn look(&self, page: &str) {
        assert!(!self.scrolls_sideways().await, "{page}, {}", self.view.name());
        // Where scripts are off, axe-core is one of them.
        if self.view.scripts {
            self.is_usable_by_everybody(page).await;
        }
        self.picture(page).await;
        if self.view.scripts {
            self.client.execute_async(PICTURED, vec![]).await.unwrap();
        }
    }

    /// Panics if anything moved by itself while the page loaded; a score of 0.001 is no more than a hair.
    pub async fn stands_still(&self, page: &str) {
        let shifted = self.client.execute_async(SHIFTED, vec![]).await.unwrap();
        let score = shifted["score"].as_u64().expect("a browser that scores layout shifts");
        assert!(
            score <= 10,
            "{page}, {}: moved by {score} in 10,000: {:#}",
            self.view.name(),
            shifted["moved"]
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
