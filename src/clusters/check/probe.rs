//! One look at an address: who answers there. Only what was judged is connected to, and no redirect is followed.

use std::error::Error as StdError;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::Value as Json;

use crate::clusters::address::Reach;
use crate::i18n::{Text, detail};
use crate::install::is_install_id;

const LIMIT: Duration = Duration::from_secs(5);
const LONGEST_BODY: usize = 64 * 1024;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The cluster itself.
    Fine,
    /// Another cluster.
    Other,
    /// A Jpom server.
    Jpom,
    /// Something else.
    NotMuster,
    Unreachable,
    Tls,
    /// The name leads to where no cluster can be.
    Forbidden,
    /// There is no address.
    None,
}

impl Outcome {
    const ALL: [Outcome; 8] = [
        Outcome::Fine,
        Outcome::Other,
        Outcome::Jpom,
        Outcome::NotMuster,
        Outcome::Unreachable,
        Outcome::Tls,
        Outcome::Forbidden,
        Outcome::None,
    ];

    /// The word in the database.
    pub fn code(self) -> &'static str {
        match self {
            Outcome::Fine => "ok",
            Outcome::Other => "other",
            Outcome::Jpom => "jpom",
            Outcome::NotMuster => "not_muster",
            Outcome::Unreachable => "unreachable",
            Outcome::Tls => "tls",
            Outcome::Forbidden => "forbidden",
            Outcome::None => "none",
        }
    }

    pub fn parse(code: &str) -> Option<Outcome> {
        Outcome::ALL.into_iter().find(|one| one.code() == code)
    }

    pub fn name(self) -> Text {
        Text::new(match self {
            Outcome::Fine => "check.ok",
            Outcome::Other => "check.other",
            Outcome::Jpom => "check.jpom",
            Outcome::NotMuster => "check.not_muster",
            Outcome::Unreachable => "check.unreachable",
            Outcome::Tls => "check.tls",
            Outcome::Forbidden => "check.forbidden",
            Outcome::None => "clusters.no_address",
        })
    }

    pub fn colour(self) -> &'static str {
        match self {
            Outcome::Fine => "green",
            Outcome::None => "secondary",
            _ => "red",
        }
    }
}

crate::db::word!(Outcome);

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The install id of whoever answered.
    pub answered_id: String,
    /// For the person who has to mend it.
    pub detail: String,
}

impl Verdict {
    pub fn of(outcome: Outcome) -> Verdict {
        Verdict {
            outcome,
            answered_id: String::new(),
            detail: String::new(),
        }
    }

    fn because(outcome: Outcome, said: impl fmt::Display) -> Verdict {
        Verdict {
            detail: detail(said),
            ..Verdict::of(outcome)
        }
    }
}

/// Asks `<address>/identity`, at most five seconds long.
pub async fn judge(address: &str, expected: &str, reach: Reach) -> Verdict {
    if literal(address).is_some_and(|address| !reach.allows(address)) {
        return Verdict::of(Outcome::Forbidden);
    }
    let answer = match json(&format!("{address}/identity"), reach).await {
        Ok(answer) => answer,
        Err(verdict) => return verdict,
    };
    match answer {
        Ok(told) if told["product"] == "Muster" => who(&told, expected),
        // Jpom knows no such address, or answers everything with its page.
        other => match json(&format!("{address}/check-system"), reach).await {
            Ok(Ok(told)) if told["code"] == 200 && told["data"].get("routerBase").is_some() => {
                Verdict::of(Outcome::Jpom)
            }
            _ => Verdict::because(Outcome::NotMuster, other.err().unwrap_or_default()),
        },
    }
}

/// What a server of ours says of itself.
fn who(told: &Json, expected: &str) -> Verdict {
    match told["installId"].as_str() {
        Some(id) if id == expected => Verdict::of(Outcome::Fine),
        Some(id) if is_install_id(id) => Verdict {
            answered_id: id.to_owned(),
            ..Verdict::of(Outcome::Other)
        },
        _ => Verdict::of(Outcome::NotMuster),
    }
}

/// The address itself when it is a number and no name has to be resolved.
pub(crate) fn literal(address: &str) -> Option<IpAddr> {
    let url = url::Url::parse(address).ok()?;
    match url.host()? {
        url::Host::Ipv4(address) => Some(address.into()),
        url::Host::Ipv6(address) => Some(address.into()),
        url::Host::Domain(_) => None,
    }
}

/// The JSON of an answer, or in words what it is instead; no answer at all is a verdict.
async fn json(address: &str, reach: Reach) -> Result<Result<Json, String>, Verdict> {
    let client = client(reach).map_err(|cause| Verdict::because(Outcome::Unreachable, cause))?;
    let answer = client.get(address).send().await.map_err(|error| failed(&error))?;
    if !answer.status().is_success() {
        return Ok(Err(format!("HTTP {}", answer.status().as_u16())));
    }
    let body = body(answer).await?;
    Ok(serde_json::from_slice(&body).map_err(|_| "no JSON".to_owned()))
}

async fn body(mut answer: Response) -> Result<Vec<u8>, Verdict> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|error| failed(&error))? {
        body.extend_from_slice(&piece);
        if body.len() > LONGEST_BODY {
            return Err(Verdict::because(Outcome::NotMuster, "> 64 KiB"));
        }
    }
    Ok(body)
}

pub(crate) fn failed(error: &reqwest::Error) -> Verdict {
    let mut cause: &(dyn StdError + 'static) = error;
    loop {
        if cause.is::<Forbidden>() {
            return Verdict::of(Outcome::Forbidden);
        }
        if let Some(tls) = cause.downcast_ref::<tokio_rustls::rustls::Error>() {
            return Verdict::because(Outcome::Tls, tls);
        }
        match below(cause) {
            Some(next) => cause = next,
            None => break,
        }
    }
    match error.is_timeout() {
        true => Verdict::because(Outcome::Unreachable, "5 s"),
        false => Verdict::because(Outcome::Unreachable, cause),
    }
}

/// The cause of an error; one of input and output hides what it was made of.
pub fn below<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a (dyn StdError + 'static)> {
    let made_of = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    match made_of {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

/// One for all looks of a reach. The certificates are those the system trusts.
pub(crate) fn client(reach: Reach) -> Result<&'static Client, String> {
    static CLIENTS: [OnceLock<Result<Client, String>>; 2] = [const { OnceLock::new() }; 2];
    let [all, public] = &CLIENTS;
    let made = match reach {
        Reach::All => all,
        Reach::Public => public,
    };
    let made = made.get_or_init(|| {
        // Another one may be there already; any will do.
        let _ = tokio_rustls::rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .timeout(LIMIT)
            .redirect(Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .user_agent(concat!("muster/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Judging(reach))
            .build();
        client.map_err(|error| error.to_string())
    });
    made.as_ref().map_err(Clone::clone)
}

/// Resolves names, and hands on only addresses where a cluster can be. What it returns is what is connected to, so a name
/// that leads elsewhere a moment later gains nothing.
#[derive(Debug)]
struct Judging(Reach);

#[derive(Debug)]
struct Forbidden;

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name leads to an address where no cluster can be")
    }
}

impl StdError for Forbidden {}

impl Resolve for Judging {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0;
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            let judged = allowed(found, reach)?;
            Ok(Box::new(judged.into_iter()) as Addrs)
        })
    }
}

fn allowed(found: Vec<SocketAddr>, reach: Reach) -> Result<Vec<SocketAddr>, Forbidden> {
    match found.iter().all(|address| reach.allows(address.ip())) {
        true => Ok(found),
        false => Err(Forbidden),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::odd;

    #[test]
    fn one_forbidden_address_of_a_name_is_enough() {
        let good: SocketAddr = "10.0.0.1:0".parse().unwrap();
        let bad: SocketAddr = "169.254.169.254:0".parse().unwrap();
        assert!(allowed(vec![good], Reach::All).is_ok());
        assert!(allowed(vec![good], Reach::Public).is_err());
        assert!(allowed(vec![good, bad], Reach::All).is_err());
    }

    #[tokio::test]
    async fn an_address_that_is_a_number_needs_no_name() {
        for (address, reach) in [
            ("http://169.254.169.254", Reach::All),
            ("http://[::ffff:169.254.169.254]:80", Reach::All),
            ("http://127.0.0.1:9", Reach::Public),
            ("http://localhost:9", Reach::Public),
        ] {
            assert_eq!(judge(address, "", reach).await.outcome, Outcome::Forbidden, "{address}");
        }
    }

    const OWN: &str = "91c653b3e17c4021b486416e33d014c8";
    const SAMPLES: [&str; 4] = [
        r#"{"product":"Muster","version":"0.1.0","installId":"91c653b3e17c4021b486416e33d014c8","clusterId":"EAST"}"#,
        r#"{"installId":"00000000000000000000000000000000","product":"Muster"}"#,
        r#"{"code":200,"data":{"routerBase":""}}"#,
        "[]",
    ];

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn an_answer_is_ours_only_with_our_id_and_no_other_id_is_kept_than_a_good_one(answer in odd::bytes(&SAMPLES)) {
            let Ok(told) = serde_json::from_slice::<Json>(&answer) else { return Ok(()) };
            let verdict = who(&told, OWN);
            prop_assert_eq!(verdict.outcome == Outcome::Fine, told["installId"] == OWN);
            prop_assert_eq!(verdict.outcome == Outcome::Other, is_install_id(&verdict.answered_id));
            prop_assert!(verdict.answered_id.is_empty() || verdict.answered_id != OWN);
        }
    }
}
