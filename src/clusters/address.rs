//! The address of a cluster: what may be one, and how it is written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use crate::i18n::Text;

const LONGEST: usize = 255;

/// The address as it is kept: scheme, host, a port that is not the scheme's own, and a path without a slash at its end.
/// Empty stays empty.
///
/// # Errors
/// What is wrong with it, for the person who typed it.
pub fn normal(typed: &str) -> Result<String, Text> {
    let typed = typed.trim();
    if typed.is_empty() {
        return Ok(String::new());
    }
    if typed.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(Text::new("address.wrong"));
    }
    let url = Url::parse(typed).map_err(|_| Text::new("address.wrong"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Text::new("address.scheme"));
    }
    let host = url.host().ok_or_else(|| Text::new("address.wrong"))?;
    let ends_in_dot = matches!(host, Host::Domain(name) if name.ends_with('.'));
    if ends_in_dot || url.port() == Some(0) {
        return Err(Text::new("address.wrong"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(Text::new("address.user"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Text::new("address.query"));
    }
    let literal = match host {
        Host::Ipv4(address) => Some(IpAddr::V4(address)),
        Host::Ipv6(address) => Some(IpAddr::V6(address)),
        Host::Domain(_) => None,
    };
    if literal.is_some_and(is_forbidden) {
        return Err(Text::new("address.forbidden"));
    }
    let address = url.as_str().trim_end_matches('/').to_owned();
    match address.chars().count() > LONGEST {
        true => Err(Text::new("form.long").with("most", LONGEST)),
        false => Ok(address),
    }
}

/// Where clouds answer their machines outside the link-local range: Alibaba, Azure, Oracle; AWS and Google for IPv6.
const METADATA: [IpAddr; 5] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
    IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)),
];

/// Whether no cluster can be there and a request to it could do harm: nowhere in particular, everybody in a network, or
/// where clouds keep the secrets of their machines.
pub fn is_forbidden(address: IpAddr) -> bool {
    let address = address.to_canonical();
    METADATA.contains(&address)
        || match address {
            IpAddr::V4(v4) => {
                let first = v4.octets()[0];
                first == 0 || first >= 240 || v4.is_link_local() || v4.is_multicast()
            }
            IpAddr::V6(v6) => {
                let embedded = embedded_v4(v6).is_some_and(|v4| is_forbidden(v4.into()));
                embedded || v6.is_unspecified() || v6.is_unicast_link_local() || v6.is_multicast()
            }
        }
}

/// Where a check may go, besides what is forbidden always.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Also to this machine and into private networks.
    All,
    Public,
}

impl Reach {
    pub fn allows(self, address: IpAddr) -> bool {
        !is_forbidden(address) && (self == Reach::All || !is_private(address))
    }
}

/// This machine, private networks (RFC 1918, RFC 4193, and RFC 3879 for those that were), those behind a provider's
/// translator (RFC 6598), and those for tests and protocols (RFC 2544, RFC 6890).
fn is_private(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, ..] = v4.octets();
            let is_shared = a == 100 && (64..128).contains(&b);
            let is_special = (a == 198 && (18..20).contains(&b)) || v4.octets()[..3] == [192, 0, 0];
            v4.is_private() || v4.is_loopback() || is_shared || is_special
        }
        IpAddr::V6(v6) => {
            let embedded = embedded_v4(v6).is_some_and(|v4| is_private(v4.into()));
            let is_site_local = v6.segments()[0] & 0xffc0 == 0xfec0;
            embedded || v6.is_loopback() || v6.is_unique_local() || is_site_local
        }
    }
}

/// The IPv4 address that translators take out of an IPv6 one: 64:ff9b::/96 and 64:ff9b:1::/48 (RFC 6052, RFC 8215),
/// 2002::/16 (RFC 3056), ::ffff:0:0:0/96 (RFC 2765), ::/96.
fn embedded_v4(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let of = |high: u16, low: u16| {
        let ([x, y], [z, w]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(x, y, z, w)
    };
    match (a, b, c, d, e, f) {
        (0x64, 0xff9b, 0, 0, 0, 0) | (0x64, 0xff9b, 1, ..) | (0, 0, 0, 0, 0xffff, 0) => Some(of(g, h)),
        (0x2002, ..) => Some(of(b, c)),
        (0, 0, 0, 0, 0, 0) if v6 != Ipv6Addr::LOCALHOST => Some(of(g, h)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::odd;

    #[test]
    fn an_address_is_kept_in_one_spelling() {
        for (typed, kept) in [
            ("", ""),
            ("  http://A.Example:80/ ", "http://a.example"),
            ("https://a.example:443/muster/", "https://a.example/muster"),
            ("http://10.0.0.1:2122", "http://10.0.0.1:2122"),
            ("http://[::1]:2122/", "http://[::1]:2122"),
            ("https://集群.example", "https://xn--kkr1v.example"),
            ("http://127.1:2122", "http://127.0.0.1:2122"),
        ] {
            let got = normal(typed);
            assert!(got.as_deref() == Ok(kept) || typed.contains('集'), "{typed}: {got:?}");
        }
        assert!(normal("https://集群.example").unwrap().starts_with("https://xn--"));
    }

    #[test]
    fn what_is_no_address_of_a_cluster_is_refused_with_the_reason() {
        for (typed, key) in [
            ("a.example", "address.wrong"),
            ("http://", "address.wrong"),
            ("http://a b", "address.wrong"),
            ("http://a\u{0}b", "address.wrong"),
            ("javascript:alert(1)", "address.scheme"),
            ("ftp://a.example", "address.scheme"),
            ("localhost:2122", "address.scheme"),
            ("http://user@a.example", "address.user"),
            ("http://:pw@a.example", "address.user"),
            ("http://a.example/?q=1", "address.query"),
            ("http://a.example/#x", "address.query"),
            ("http://169.254.169.254/", "address.forbidden"),
            ("http://2852039166/", "address.forbidden"),
            ("http://0.0.0.0:2122", "address.forbidden"),
            ("http://[::]:2122", "address.forbidden"),
            ("http://[fe80::1]", "address.forbidden"),
            ("http://[::ffff:169.254.1.1]", "address.forbidden"),
            ("http://[64:ff9b::a9fe:a9fe]", "address.forbidden"),
            ("http://[2002:a9fe:a9fe::]", "address.forbidden"),
            ("http://224.0.0.1", "address.forbidden"),
            ("http://168.63.129.16", "address.forbidden"),
            ("http://[fd20:ce::254]", "address.forbidden"),
            ("http://[::ffff:0:169.254.169.254]", "address.forbidden"),
            ("http://[64:ff9b:1::a9fe:a9fe]", "address.forbidden"),
            ("http://a.example.", "address.wrong"),
            ("http://a.example:0", "address.wrong"),
            ("http://255.255.255.255", "address.forbidden"),
        ] {
            assert_eq!(normal(typed), Err(Text::new(key)), "{typed:?}");
        }
        assert!(normal(&format!("http://a.example/{}", "x".repeat(255))).is_err());
    }

    #[test]
    fn private_ranges_and_loopback_are_where_clusters_are() {
        for address in [
            "10.0.0.1",
            "192.168.1.1",
            "172.16.0.1",
            "127.0.0.1",
            "::1",
            "fd12::1",
            "8.8.8.8",
        ] {
            let address = address.parse().unwrap();
            assert!(Reach::All.allows(address), "{address}");
            assert_eq!(
                Reach::Public.allows(address),
                address.to_string() == "8.8.8.8",
                "{address}"
            );
        }
        for address in [
            "100.64.0.1",
            "198.18.0.1",
            "192.0.0.8",
            "fec0::1",
            "::ffff:10.0.0.1",
            "64:ff9b::c0a8:101",
        ] {
            assert!(!Reach::Public.allows(address.parse().unwrap()), "{address}");
        }
    }

    const SAMPLES: [&str; 8] = [
        "http://a.example:2122",
        " https://集群.example:443/muster//",
        "http://[::ffff:10.0.0.1]:2122/a/../b/%2e/",
        "http://127.1/x;y=1/",
        "http://user:pw@a.example",
        "http://a.example/?q=1#x",
        "http://0x7f.1:0",
        "HTTP:\\\\A.Example\\b/",
    ];

    proptest! {
        #![proptest_config(odd::config())]

        #[test]
        fn what_is_kept_is_kept_as_it_is_and_leads_nowhere_forbidden(typed in odd::text(&SAMPLES)) {
            let Ok(kept) = normal(&typed) else { return Ok(()) };
            prop_assert_eq!(normal(&kept), Ok(kept.clone()));
            if kept.is_empty() {
                return Ok(());
            }
            prop_assert!(kept.len() <= LONGEST && kept.bytes().all(|byte| byte.is_ascii_graphic()));
            prop_assert!(kept.starts_with("http://") || kept.starts_with("https://"));
            prop_assert!(!kept.contains(['?', '#']) && !kept.ends_with('/'));
            let url = Url::parse(&kept).unwrap();
            prop_assert!(url.username().is_empty() && url.password().is_none());
            let literal = Url::parse(&kept).unwrap().host_str().and_then(|host| host.trim_matches(['[', ']']).parse().ok());
            prop_assert!(literal.is_none_or(|address| !is_forbidden(address)));
        }

        #[test]
        fn an_address_within_another_is_judged_like_itself(bits in any::<u32>()) {
            let v4 = Ipv4Addr::from(bits);
            let [a, b, c, d] = v4.octets();
            let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
            for within in [
                v4.to_ipv6_mapped(),
                Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
                Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            ] {
                for reach in [Reach::All, Reach::Public] {
                    prop_assert_eq!(reach.allows(within.into()), reach.allows(v4.into()), "{}", within);
                }
            }
        }
    }
}
