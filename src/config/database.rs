//! `jpom.db.url` in both its forms: `mysql://…` and the JDBC addresses of a Jpom installation.

use std::path::PathBuf;

use url::Url;

use super::source::{Found, Problem, Source};

type Result<T> = std::result::Result<T, Problem>;

/// How far the database's TLS certificate is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tls {
    Off,
    /// Encrypted, but whoever answers is believed.
    Unverified,
    /// The certificate must come from a known authority.
    Authority,
    /// … and be made out to the host in the address.
    Full,
}

/// Where the shared database is and who we are there.
#[derive(Clone)]
pub struct Database {
    pub host: String,
    pub port: u16,
    /// Further nodes of the same database, host and port, in the order in which they are tried.
    pub others: Vec<(String, u16)>,
    /// A unix socket instead of host and port.
    pub socket: Option<String>,
    pub name: String,
    pub user: String,
    pub password: String,
    pub tls: Tls,
    /// A PEM file with the authority to believe besides the usual ones.
    pub authority: Option<PathBuf>,
}

impl Database {
    /// Hosts and ports of all its nodes.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, u16)> {
        let others = self.others.iter().map(|(host, port)| (host.as_str(), *port));
        std::iter::once((self.host.as_str(), self.port)).chain(others)
    }
}

/// Never prints the password.
impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Database").field(&self.to_string()).finish()
    }
}

/// `user@host:port/name`, with all nodes, for messages.
impl std::fmt::Display for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.socket {
            Some(socket) => write!(f, "{}@{socket}/{}", self.user, self.name),
            None => {
                let nodes: Vec<String> = self.nodes().map(|(host, port)| format!("{host}:{port}")).collect();
                write!(f, "{}@{}/{}", self.user, nodes.join(","), self.name)
            }
        }
    }
}

/// The database the settings name, or none when `jpom.db.url` is empty.
pub(super) fn read(source: &Source) -> Result<Option<Database>> {
    let Some(found) = source.get("jpom.db.url") else {
        return Ok(None);
    };
    let value = |key: &str| source.get(key).map(|found| found.value);
    let mut database = parse(&found)?;
    if let Some(user) = value("jpom.db.user-name") {
        database.user = user;
    }
    if let Some(password) = value("jpom.db.user-pwd") {
        database.password = password;
    }
    if database.user.is_empty() {
        return Err(Found {
            key: "jpom.db.user-name".into(),
            value: String::new(),
            place: found.place,
        }
        .wrong("config.allowed.db_user"));
    }
    Ok(Some(database))
}

fn parse(found: &Found) -> Result<Database> {
    let wrong = || found.wrong("config.allowed.db_url");
    let address = found.value.strip_prefix("jdbc:").unwrap_or(&found.value);
    if address.starts_with("h2:") || address.starts_with("postgresql:") {
        return Err(found.wrong("config.allowed.db_kind"));
    }
    let (address, others) = split_nodes(address).ok_or_else(wrong)?;
    let url = Url::parse(&address).map_err(|_| wrong())?;
    let name = url.path().trim_start_matches('/');
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_-$".contains(&b);
    let known_name = (1..=64).contains(&name.len()) && name.bytes().all(plain);
    if !matches!(url.scheme(), "mysql" | "mariadb") || !known_name {
        return Err(wrong());
    }
    let option = |names: &[&str]| {
        url.query_pairs()
            .find(|(key, _)| names.contains(&key.as_ref()))
            .map(|(_, value)| value.into_owned())
    };
    let decode = |text: &str| percent_decode(text).ok_or_else(wrong);
    Ok(Database {
        host: url.host_str().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned(),
        port: url.port().unwrap_or(3306),
        others,
        socket: option(&["socket", "localSocket"]),
        name: name.to_owned(),
        user: decode(url.username())?,
        password: decode(url.password().unwrap_or_default())?,
        tls: tls(option(&["sslMode", "ssl-mode"]), option(&["useSSL"])).ok_or_else(wrong)?,
        authority: option(&["serverSslCert", "sslCa"]).map(PathBuf::from),
    })
}

/// An address with its first node only, and the others; the JDBC drivers' words for how to choose among them are dropped.
fn split_nodes(address: &str) -> Option<(String, Vec<(String, u16)>)> {
    let (scheme, rest) = address.split_once("//")?;
    let scheme = ["sequential:", "loadbalance:", "replication:"]
        .iter()
        .fold(scheme.to_owned(), |scheme, word| scheme.replace(word, ""));
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, nodes) = match authority.rsplit_once('@') {
        Some((user, nodes)) => (format!("{user}@"), nodes),
        None => (String::new(), authority),
    };
    let mut nodes = nodes.split(',');
    let first = nodes.next()?;
    let parse = |node: &str| {
        let url = Url::parse(&format!("mysql://{node}")).ok()?;
        let is_bare = url.username().is_empty() && url.path().trim_matches('/').is_empty();
        let host = url.host_str().filter(|host| is_bare && !host.is_empty())?;
        Some((host.trim_matches(['[', ']']).to_owned(), url.port().unwrap_or(3306)))
    };
    let others: Option<Vec<_>> = nodes.map(parse).collect();
    Some((format!("{scheme}//{user}{first}{path}"), others?))
}

/// The modes of MySQL's and MariaDB's JDBC drivers. `PREFERRED` would fall back to plain text silently, so it is
/// taken as what the driver then often does: no TLS.
fn tls(mode: Option<String>, use_ssl: Option<String>) -> Option<Tls> {
    let mode = mode.map(|mode| mode.to_ascii_lowercase().replace('-', "_"));
    match mode.as_deref() {
        Some("disabled" | "disable" | "preferred") => Some(Tls::Off),
        Some("required" | "trust") => Some(Tls::Unverified),
        Some("verify_ca") => Some(Tls::Authority),
        Some("verify_identity" | "verify_full") => Some(Tls::Full),
        Some(_) => None,
        None if use_ssl.as_deref() == Some("true") => Some(Tls::Unverified),
        None => Some(Tls::Off),
    }
}

fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digits = [rest.next()?, rest.next()?];
        // The number's own reading would take a sign as well.
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Origin;
    use super::*;
    use crate::i18n::Lang;
    use crate::odd;

    fn parsed(value: &str) -> Result<Database> {
        parse(&Found {
            key: "jpom.db.url".to_owned(),
            value: value.to_owned(),
            place: Origin::Default,
        })
    }

    const SAMPLES: [&str; 8] = [
        "jdbc:mysql://u:s3cret@db.example:3307/jpom?useUnicode=true&useSSL=false&serverTimezone=Asia/Shanghai",
        "jdbc:mariadb:sequential://u:s3cret@a.example:3307,b.example,[::1]:3308/jpom?sslMode=trust",
        "mysql://me:s3cret%40ss@db/jpom?socket=/run/db.sock&sslCa=/ca.pem",
        "mysql://u:s3cret,x@a,b:3307/jpom?password=s3cret",
        "jdbc:h2:file:/jpom/db/Server",
        "mysql://db:3306/jpom",
        "mysql://u:s3cret",
        "jdbc:postgresql:s3cret:/",
    ];

    #[test]
    fn only_hex_digits_stand_behind_a_percent_sign() {
        assert_eq!(percent_decode("a%2B%e4%B8%ad"), Some("a+中".to_owned()));
        for wrong in ["%", "%4", "%+1", "%-1", "% 1", "%zz", "%ff"] {
            assert_eq!(percent_decode(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn whatever_the_address_is_it_is_read_or_refused_by_its_key_without_its_password(value in odd::text(&SAMPLES)) {
            match parsed(&value) {
                Ok(database) => {
                    prop_assert!(!database.host.is_empty() && !database.name.is_empty() && database.name.len() <= 64);
                    prop_assert!(database.nodes().all(|(host, _)| !host.is_empty() && !host.contains([',', '/', '@'])));
                }
                Err(problem) => {
                    let said = problem.text.say(Lang::En);
                    prop_assert!(said.contains("jpom.db.url") && !said.contains("s3cret"), "{}", said);
                }
            }
        }

        #[test]
        fn what_is_written_with_all_its_nodes_is_read(
            nodes in vec(("[a-z][a-z0-9-]{0,10}[a-z0-9]", 1..u16::MAX), 1..6),
            user in odd::junk(),
            password in odd::junk(),
            name in "[A-Za-z0-9_$-]{1,64}",
            is_jdbc in any::<bool>(),
        ) {
            let password = format!("{password}s3cret");
            let coded = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<String>();
            let list: Vec<String> = nodes.iter().map(|(host, port)| format!("{host}:{port}")).collect();
            let scheme = if is_jdbc { "jdbc:mariadb:loadbalance" } else { "mysql" };
            let url = format!("{scheme}://{}:{}@{}/{name}", coded(&user), coded(&password), list.join(","));
            let database = parsed(&url).unwrap();
            prop_assert!(!format!("{database:?}").contains("s3cret"), "{:?}", database);
            let found: Vec<(String, u16)> = database.nodes().map(|(host, port)| (host.to_owned(), port)).collect();
            prop_assert_eq!(found, nodes);
            prop_assert_eq!((&database.user, &database.password, &database.name), (&user, &password, &name));
        }
    }
}
