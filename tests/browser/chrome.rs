//! A headless Chromium of its own for each journey, driven through chromedriver.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Visitor;

const AXE: &str = include_str!("axe-4.14.1.min.js");
/// Refreshes come every few seconds, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Look {
    Desktop,
    Phone,
    NoScript,
}

pub(crate) struct Browser {
    client: Client,
    driver: Child,
    _profile: TempDir,
}

/// The driver goes with the journey, and its Chromium with it.
impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// A driver and its port; none when the port that it chose for IPv4 was taken for IPv6, at which it ends.
fn driver() -> Option<(Child, u16)> {
    let mut driver = Command::new("chromedriver")
        .arg("--port=0")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(driver.stdout.take().unwrap())
        .lines()
        .map_while(Result::ok);
    let port = said.find_map(|line| {
        line.split_once("successfully on port ")?
            .1
            .trim_end_matches('.')
            .parse()
            .ok()
    });
    match port {
        Some(port) => Some((driver, port)),
        None => {
            driver.wait().unwrap();
            None
        }
    }
}

impl Browser {
    pub(crate) async fn start(look: Look) -> Browser {
        let (driver, port) = (0..5).find_map(|_| driver()).unwrap();
        let profile = TempDir::new().unwrap();
        let mut args: Vec<String> = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--disable-dev-shm-usage",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            // Colours are judged at rest, not halfway through a transition.
            "--force-prefers-reduced-motion",
            // A host name that browsers do not trust as they trust loopback, although it leads there.
            "--host-resolver-rules=MAP muster.test 127.0.0.1",
            "--accept-lang=en",
            "--window-size=1440,900",
        ]
        .map(str::to_owned)
        .to_vec();
        args.push(format!("--user-data-dir={}", profile.path().display()));
        let mut options = json!({ "args": args, "prefs": { "intl.accept_languages": "en" } });
        match look {
            Look::Desktop => {}
            Look::Phone => {
                options["mobileEmulation"] =
                    json!({ "deviceMetrics": { "width": 360, "height": 800, "pixelRatio": 1.0 } });
            }
            Look::NoScript => options["prefs"]["profile.managed_default_content_settings.javascript"] = json!(2),
        }
        let Value::Object(capabilities) = json!({ "goog:chromeOptions": options }) else {
            unreachable!()
        };
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .unwrap();
        Browser {
            client,
            driver,
            _profile: profile,
        }
    }

    pub(crate) async fn goto(&self, address: &str) {
        self.client.goto(address).await.unwrap();
    }

    /// Brings a session along, as if the person had signed in.
    pub(crate) async fn arrive_as(&self, address: &str, visitor: &Visitor) {
        self.goto(&format!("{address}/healthz")).await;
        self.run(&format!("document.cookie = 'muster_s_test={}; path=/'", visitor.token))
            .await;
    }

    pub(crate) async fn run(&self, script: &str) -> Value {
        self.client.execute(script, Vec::new()).await.unwrap()
    }

    /// Asks the page until it says true. A script that fails meanwhile (the page is being replaced) is asked again.
    pub(crate) async fn until(&self, script: &str) {
        let end = Instant::now() + PATIENCE;
        while self.client.execute(script, Vec::new()).await.unwrap_or_default() != true {
            assert!(Instant::now() < end, "never true: {script}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub(crate) async fn click(&self, selector: &str) {
        self.client
            .wait()
            .at_most(PATIENCE)
            .for_element(Locator::Css(selector))
            .await
            .unwrap()
            .click()
            .await
            .unwrap();
    }

    pub(crate) async fn type_into(&self, selector: &str, keys: &str) {
        self.client
            .find(Locator::Css(selector))
            .await
            .unwrap()
            .send_keys(keys)
            .await
            .unwrap();
    }

    /// Waits until the page has such an element.
    pub(crate) async fn has(&self, selector: &str) {
        let wait = self.client.wait().at_most(PATIENCE);
        wait.for_element(Locator::Css(selector)).await.unwrap();
    }

    pub(crate) async fn address_contains(&self, part: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.client.current_url().await.unwrap().as_str().contains(part) {
            assert!(Instant::now() < end, "the address never contained {part}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The serious and critical findings of axe, one a line; empty for none.
    pub(crate) async fn axe(&self) -> String {
        self.client.execute(AXE, Vec::new()).await.unwrap();
        let script = "const done = arguments[0]; axe.run().then(found => done(found.violations \
            .filter(one => ['serious', 'critical'].includes(one.impact)) \
            .map(one => one.id + ': ' + one.nodes.map(node => node.html.slice(0, 200) + ' ' + node.failureSummary).join(' | ')) \
            .join('\\n')), error => done('axe failed: ' + error))";
        self.client
            .execute_async(script, Vec::new())
            .await
            .unwrap()
            .as_str()
            .unwrap()
            .to_owned()
    }

    pub(crate) async fn close(self) {
        self.client.clone().close().await.unwrap();
    }
}
