//! A page of a program in a real browser: how tests drive it.
//!
//! Where it was not built there is nothing to try out, unless `SLUICEGATE_TEST_PAGE=required` demands it. With
//! `SLUICEGATE_TEST_SHOTS=FOLDER` the pictures of the book are written there.

use std::{net::SocketAddr, path::Path, sync::Arc};

use base64::Engine as _;
use serde_json::{Value, json};
use sluicegate_page::Program;

use crate::browser::Browser;

/// What the scripts below are written in.
const WORDS: &str = r#"
    const [done] = [...arguments].slice(-1);
    const given = arguments[0];
    const seen = (it) => it && it.getClientRects().length > 0 && getComputedStyle(it).visibility === "visible";
    const all = (selector) => [...document.querySelectorAll(selector)].filter(seen);
    const text = (selector) => all(selector).map((it) => it.innerText).join("\n");
    const button = (name) => all("button").find((it) => (it.getAttribute("aria-label") ?? it.textContent) === name);
    const press = (name) => button(name).click();
    const inputs = (name) => all(`[name="${name}"]`);
    const fill = (name, value) => {
        const input = inputs(name)[0];
        input.value = value;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        input.dispatchEvent(new Event("change", { bubbles: true }));
    };
    const submit = (name) => inputs(name)[0].form.requestSubmit();
    const key = (name) => all(".tall-plot")[0].dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true, cancelable: true }));
    const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
    const until = async (what, find) => {
        for (const begun = Date.now(); Date.now() - begun < 60000; await pause(20)) {
            const found = find();
            if (found) return found;
        }
        throw new Error("waited in vain for " + what + ", the page says: " + document.body.innerText);
    };
"#;

/// Whether the program has a page; said aloud where it has none.
pub(crate) fn is_there(program: Program) -> bool {
    if program.has_page() {
        return true;
    }
    let demanded = std::env::var_os("SLUICEGATE_TEST_PAGE").is_some();
    assert!(!demanded, "the page was not built: run scripts/page.sh");
    eprintln!("the page was not built: nothing was tested");
    false
}

/// A page that is open in a browser.
#[derive(Clone)]
pub(crate) struct Page {
    pub(crate) browser: Arc<Browser>,
    base: String,
}

impl Page {
    async fn start(program: Program, addr: SocketAddr) -> Option<Self> {
        if !is_there(program) {
            return None;
        }
        let browser = Browser::start(&[]).await?;
        // Longer than anything is waited for.
        browser.post("timeouts", json!({"script": 70_000})).await;
        Some(Self {
            browser: Arc::new(browser),
            base: format!("http://{addr}/"),
        })
    }

    /// Opens a view, anew.
    pub(crate) async fn open(&self, view: &str) {
        for url in ["about:blank".to_owned(), format!("{}#{view}", self.base)] {
            self.browser.post("url", json!({"url": url})).await;
        }
    }

    /// Runs a script that may wait, and returns what it returns.
    pub(crate) async fn run(&self, script: &str, given: Value) -> Value {
        let script = format!(
            "{WORDS}(async () => {{ {script} }})().then((it) => done({{it}}), (error) => done({{failure: String(error)}}));"
        );
        let answer = self.browser.async_script(&script, json!([given])).await;
        assert_eq!(answer["failure"], Value::Null, "{script}");
        answer["it"].clone()
    }

    /// Waits until an expression is true of the page.
    pub(crate) async fn until(&self, what: &str, condition: &str) {
        let script = format!("return Boolean(await until(given, () => {condition}))");
        self.run(&script, json!(what)).await;
    }

    pub(crate) async fn text(&self, selector: &str) -> String {
        let text = self.run("return text(given)", json!(selector)).await;
        text.as_str().expect("a text").to_owned()
    }

    /// Tells the browser something that only its own tools can.
    pub(crate) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        let body = json!({"cmd": command, "params": parameters});
        self.browser.post("goog/cdp/execute", body).await
    }

    async fn scheme(&self, scheme: &str) {
        let features = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.devtools("Emulation.setEmulatedMedia", json!({"features": features}))
            .await;
    }

    async fn size(&self, width: u32, height: u32) {
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size)
            .await;
    }

    /// Asserts that axe finds nothing to object to, in both schemes, and that nothing is wider than the page, narrow and wide.
    pub(crate) async fn is_accessible(&self, view: &str) {
        let axe = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("../service/page/node_modules/axe-core/axe.min.js");
        let axe = std::fs::read_to_string(axe).expect("axe-core of npm: run scripts/page.sh");
        self.browser.script(&axe).await;
        for (width, height) in [(1400, 1000), (360, 740)] {
            self.size(width, height).await;
            for scheme in ["light", "dark"] {
                self.scheme(scheme).await;
                let script = "await pause(200); const found = await axe.run(document, {resultTypes: ['violations']}); \
                     return found.violations.map((it) => [it.impact, it.id, it.nodes[0].html, it.nodes[0].failureSummary]);";
                let found = self.run(script, Value::Null).await;
                assert_eq!(found, json!([]), "{view}, {width} px, {scheme}");
            }
            let wide = "return [document.documentElement.scrollWidth, innerWidth]";
            let wide = self.run(wide, Value::Null).await;
            assert!(
                wide[0].as_u64() <= wide[1].as_u64(),
                "{view}: {wide} at {width} px"
            );
        }
        self.size(1400, 1000).await;
        self.scheme("light").await;
    }

    /// A picture for the book, where it is asked for.
    pub(crate) async fn picture(&self, name: &str, scheme: &str, (width, height): (u32, u32)) {
        let Some(folder) = std::env::var_os("SLUICEGATE_TEST_SHOTS") else {
            return;
        };
        self.size(width, height).await;
        self.scheme(scheme).await;
        self.run("await pause(600)", Value::Null).await;
        let shot = self
            .devtools("Page.captureScreenshot", json!({"format": "png"}))
            .await;
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(shot["data"].as_str().expect("a picture"));
        let path = Path::new(&folder).join(format!("page-{name}.png"));
        std::fs::write(path, bytes.expect("base64")).expect("written");
        self.size(1400, 1000).await;
        self.scheme("light").await;
    }

    /// Asserts that everything the page has loaded came from the service, and that nothing was refused or went wrong in it.
    pub(crate) async fn has_kept_to_itself(&self) {
        let script = "return performance.getEntriesByType('resource').map((it) => it.name).filter((it) => !it.startsWith(location.origin))";
        assert_eq!(self.browser.script(script).await, json!([]));
    }

    async fn end(self) {
        if let Some(browser) = Arc::into_inner(self.browser) {
            browser.end().await;
        }
    }
}

/// Does something with a page, and ends its browser however that ends.
pub(crate) async fn with_page<F>(program: Program, addr: SocketAddr, act: impl FnOnce(Page) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(page) = Page::start(program, addr).await else {
        return;
    };
    let acted = tokio::spawn(act(page.clone())).await;
    page.end().await;
    if let Err(error) = acted {
        std::panic::resume_unwind(error.into_panic());
    }
}
