//! Parsers of arguments. An error says what to write. The parsers accept what the types' own parsers accept, within limits.
//! They never compare a value with the settings.

use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::{Bound, RangeBounds};
use std::str::FromStr;
use std::time::Duration;

use uuid::Uuid;

/// A parser of whole numbers in `range`. Callers name the type, since clap compares it with the field's type only at run time.
pub(crate) fn whole_number<T: FromStr + PartialOrd + Display>(
    range: impl RangeBounds<T> + Clone + Send + Sync,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync {
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| match (range.start_bound(), range.end_bound()) {
            (Bound::Included(first), Bound::Included(last)) => format!("write a whole number from {first} to {last}"),
            (Bound::Included(first), _) => format!("write a whole number, {first} or more"),
            _ => "write a whole number".to_owned(),
        })
    }
}

/// Parses a UUID.
pub(crate) fn uuid(text: &str) -> Result<Uuid, &'static str> {
    text.parse().map_err(|_| "write a UUID, as in 6f2d8a4e-0d0c-4f0e-9a3b-0c1d2e3f4a5b")
}

/// Parses a duration.
pub(crate) fn duration(text: &str) -> Result<Duration, &'static str> {
    humantime::parse_duration(text).map_err(|_| "write a number and its unit, as in 60s or 5m")
}

/// Parses an address to listen at; a port alone is one of this machine.
pub(crate) fn listen_address(text: &str) -> Result<SocketAddr, String> {
    let port = text.parse::<u16>().map(|port| (Ipv4Addr::LOCALHOST, port).into());
    port.or_else(|_| text.parse()).map_err(|_| "use a port, or an address and a port as in 127.0.0.1:9464".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_what_to_write() {
        let port = whole_number(1024_u16..=65_475);
        assert_eq!((port("1024"), port("65475")), (Ok(1024), Ok(65_475)));
        for wrong in ["1023", "65476", "70000", "-1", "abc", "2.5", ""] {
            assert_eq!(port(wrong), Err("write a whole number from 1024 to 65475".to_owned()), "{wrong}");
        }
        assert_eq!(whole_number::<u64>(0..)("x"), Err("write a whole number, 0 or more".to_owned()));
        assert!(uuid("6f2d8a4e-0d0c-4f0e-9a3b-0c1d2e3f4a5b").is_ok() && uuid("abc").is_err());
        assert_eq!(duration("5m"), Ok(Duration::from_mins(5)));
        assert!(duration("5").is_err() && duration("soon").is_err());
    }

    #[test]
    fn a_port_alone_is_one_of_this_machine() {
        assert_eq!(listen_address("9464"), Ok(SocketAddr::from(([127, 0, 0, 1], 9464))));
        assert_eq!(listen_address("[::1]:80").map(|address| address.port()), Ok(80));
        assert!(listen_address("localhost").unwrap_err().contains("127.0.0.1:9464"));
    }
}
