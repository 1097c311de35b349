//! Networks of IP addresses, in the notation of RFC 4632: `10.1.0.0/16`, `fd00::/8`, or one address alone.

use std::{fmt, net::IpAddr, str::FromStr};

/// Addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// A text is not a network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no network: write 10.1.0.0/16, fd00::/8 or an address")]
pub struct ParseNetworkError(String);

impl Network {
    /// True for an address in it. An IPv4 address mapped into IPv6 counts as what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => {
                let apart = u128::from(ours.to_bits() ^ theirs.to_bits());
                agree(apart, 32, self.prefix_bits)
            }
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => {
                agree(ours.to_bits() ^ theirs.to_bits(), 128, self.prefix_bits)
            }
            _ => false,
        }
    }
}

/// True when the first bits of two addresses do not differ.
fn agree(difference: u128, bits: u8, prefix_bits: u8) -> bool {
    difference.checked_shr(u32::from(bits.saturating_sub(prefix_bits))).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let refused = || ParseNetworkError(text.to_owned());
        let (address, prefix) =
            text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.trim().parse().map_err(|_| refused())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits =
            prefix.map_or(Ok(bits), |prefix| prefix.trim().parse::<u8>().map_err(|_| refused()))?;
        if prefix_bits > bits {
            return Err(refused());
        }
        Ok(Self { address, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_the_networks_they_begin_like() {
        for (network, address, inside) in [
            ("10.1.0.0/16", "10.1.255.255", true),
            ("10.1.0.0/16", "10.2.0.0", false),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.4", false),
            ("0.0.0.0/0", "255.255.255.255", true),
            ("0.0.0.0/0", "::1", false),
            ("10.0.0.0/8", "::ffff:10.9.9.9", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::/0", "::1", true),
            ("::1", "::1", true),
        ] {
            let parsed: Network = network.parse().expect("a network");
            assert_eq!(
                parsed.contains(address.parse().expect("an address")),
                inside,
                "{address} in {network}"
            );
        }
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.1", "10.1.0.0/33", "::/129", "10.1.0.0/-1", "CT_1", "10.1.0.0/16/8", "/8"] {
            assert!(text.parse::<Network>().is_err(), "{text:?}");
        }
    }
}
