//! The values that options take, as they are written on the command line and in the file: one type each, read by `FromStr`.
//!
//! Every type also reads itself from TOML, from the same text; a number may stand there as a number, a list as an array.

use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor, value::SeqAccessDeserializer};

use crate::capture::fault::Faults;
use crate::capture::{Others, Way};
use crate::redis::arguments::Payload;
use crate::redis::pairing::Resync;

/// Largest core number that is believed: more cores than any kernel is built for.
const CPU_MAX: usize = 65_535;

/// Why a text is not the value that it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// See the message.
    #[error("`{0}` is no duration; write a number with its unit, such as 30s, 50ms or 1h30m")]
    Duration(String),
    /// See the message.
    #[error("`{0}` is longer than the 584 years that 64 bits of nanoseconds hold")]
    DurationTooLong(String),
    /// See the message.
    #[error("`{0}` is no size; write bytes, or a number with its unit, such as 512MiB, 1GiB or 1GB")]
    Size(String),
    /// See the message.
    #[error("`{0}` is no port; write numbers from 1 to 65535 and ranges of them, such as 6379,7000-7005, or any")]
    Port(String),
    /// See the message.
    #[error("`{0}` is no core; write numbers from 0 and ranges of them, such as 2-7,1")]
    Cpu(String),
    /// See the message.
    #[error("`{0}` is no sample; write 1/N, such as 1/10 for every tenth connection")]
    Sample(String),
    /// See the message.
    #[error("`{0}` is no sink; there is jsonl:PATH, a file of JSON lines, and jsonl:- for standard output")]
    Sink(String),
    /// See the message.
    #[error("`{0}` is no name of an interface; those of this machine are shown by: ip link")]
    Interface(String),
    /// See the message.
    #[error("`{0}` is not one of auto, zero-copy, copy, generic, af-packet")]
    Mode(String),
    /// See the message.
    #[error("`{0}` is not one of pass, drop")]
    Others(String),
    /// See the message.
    #[error("`{0}` is not one of adaptive, busy")]
    Poll(String),
    /// See the message.
    #[error("`{0}` is not one of keep, symmetric")]
    Rss(String),
    /// See the message.
    #[error("`{0}` is no network; write an address or a network in CIDR form, such as 10.0.0.7 or 10.0.0.0/8")]
    Network(String),
    /// See the message.
    #[error("`{0}` is no command; write its name, such as GET, or both words of a subcommand, such as CLIENT SETNAME")]
    Command(String),
    /// See the message.
    #[error("`{0}` is not one of none, keys, full")]
    Payload(String),
    /// See the message.
    #[error("`{0}` is not one of strict, assume, trust")]
    Resync(String),
    /// See the message.
    #[error("`{0}` is no separator; write one ASCII character, such as : or /")]
    Separator(String),
    /// See the message.
    #[error("`-` is no file here; write a path")]
    NoFile,
    /// See the message.
    #[error("nothing stands between two commas, or at all")]
    Empty,
}

/// A length of time in nanoseconds: `30s`, `50ms`, `1h 30m`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Nanoseconds(pub u64);

impl FromStr for Nanoseconds {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let duration = humantime::parse_duration(text).map_err(|_| ValueError::Duration(text.to_owned()))?;
        let nanoseconds = u64::try_from(duration.as_nanos());
        nanoseconds.map(Nanoseconds).map_err(|_| ValueError::DurationTooLong(text.to_owned()))
    }
}

/// An amount of memory in bytes: `1GiB` (2³⁰), `1GB` (10⁹), `1048576`; `1G` is 1GiB, as in most tools.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Size(pub u64);

impl FromStr for Size {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let wrong = || ValueError::Size(text.to_owned());
        let unit_at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(unit_at);
        let factor: u64 = match unit.trim_start().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "t" | "tib" => 1 << 40,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            "tb" => 1_000_000_000_000,
            _ => return Err(wrong()),
        };
        number.parse().ok().and_then(|number: u64| number.checked_mul(factor)).map(Size).ok_or_else(wrong)
    }
}

impl fmt::Display for Size {
    /// In the largest unit that divides it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (shift, unit) in [(30, "GiB"), (20, "MiB"), (10, "KiB")] {
            if self.0 != 0 && self.0.trailing_zeros() >= shift {
                return write!(f, "{}{unit}", self.0 >> shift);
            }
        }
        write!(f, "{} bytes", self.0)
    }
}

/// A port, a range of ports, or `any`: that is all of them, and 0, which nobody can name otherwise.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PortRange(pub RangeInclusive<u16>);

impl FromStr for PortRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "any" {
            return Ok(PortRange(0..=u16::MAX));
        }
        let range = range(text).filter(|range| *range.start() >= 1);
        range.map(PortRange).ok_or_else(|| ValueError::Port(text.to_owned()))
    }
}

/// A core or a range of cores.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuRange(pub RangeInclusive<usize>);

impl FromStr for CpuRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let range = range(text).filter(|range| *range.end() <= CPU_MAX);
        range.map(CpuRange).ok_or_else(|| ValueError::Cpu(text.to_owned()))
    }
}

/// `5`, `5-7`; `None` if that is no number or the range is empty.
fn range<T: FromStr + PartialOrd + Copy>(text: &str) -> Option<RangeInclusive<T>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some(first..=last)
}

/// One connection in so many: `1/10`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sample(pub u32);

impl FromStr for Sample {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let one_in = text.strip_prefix("1/").and_then(|one_in| one_in.parse().ok()).filter(|&one_in| one_in >= 1);
        one_in.map(Sample).ok_or_else(|| ValueError::Sample(text.to_owned()))
    }
}

/// What ends a prefix of a key: one ASCII character.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Separator(pub u8);

impl FromStr for Separator {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.as_bytes() {
            [byte] => Ok(Separator(*byte)),
            _ => Err(ValueError::Separator(text.to_owned())),
        }
    }
}

/// Where something is written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Standard output, written `-`.
    Stdout,
    /// A file.
    File(PathBuf),
}

impl FromStr for Output {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "" => Err(ValueError::Empty),
            "-" => Ok(Output::Stdout),
            path => Ok(Output::File(path.into())),
        }
    }
}

/// A file; `-` is none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilePath(pub PathBuf);

impl FromStr for FilePath {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text.parse()? {
            Output::Stdout => Err(ValueError::NoFile),
            Output::File(path) => Ok(FilePath(path)),
        }
    }
}

/// Where transactions go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SinkSpec {
    /// JSON Lines.
    Jsonl(Output),
}

impl FromStr for SinkSpec {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let target = text.strip_prefix("jsonl:").and_then(|target| target.parse().ok());
        target.map(SinkSpec::Jsonl).ok_or_else(|| ValueError::Sink(text.to_owned()))
    }
}

/// A network; an address is the network of itself alone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Network(pub IpNet);

impl FromStr for Network {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let network = text.parse::<IpNet>().ok().or_else(|| Some(text.parse::<std::net::IpAddr>().ok()?.into()));
        network.map(Network).ok_or_else(|| ValueError::Network(text.to_owned()))
    }
}

/// The name of a network interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interface(pub String);

impl FromStr for Interface {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        // As the kernel takes them.
        let is_name = (1..=15).contains(&text.len()) && !text.contains(|c: char| c == '/' || c.is_whitespace());
        if is_name { Ok(Interface(text.to_owned())) } else { Err(ValueError::Interface(text.to_owned())) }
    }
}

/// By which of the kernel's ways an interface is captured; `auto`: by the best one that it has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode(pub Option<Way>);

impl FromStr for Mode {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text == "auto" {
            return Ok(Mode(None));
        }
        let way = Way::ALL.into_iter().find(|way| way.name() == text);
        way.map(|way| Mode(Some(way))).ok_or_else(|| ValueError::Mode(text.to_owned()))
    }
}

impl FromStr for Others {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "pass" => Ok(Others::Pass),
            "drop" => Ok(Others::Drop),
            _ => Err(ValueError::Others(text.to_owned())),
        }
    }
}

/// What is done about how a network card spreads packets over its queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum RssWish {
    /// Nothing.
    #[default]
    Keep,
    /// Both directions of a connection are brought to one queue, until the capture ends.
    Symmetric,
}

impl FromStr for RssWish {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "keep" => Ok(RssWish::Keep),
            "symmetric" => Ok(RssWish::Symmetric),
            _ => Err(ValueError::Rss(text.to_owned())),
        }
    }
}

/// Whether threads of a live capture wait for packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Poll {
    /// They sleep while nothing comes.
    #[default]
    Adaptive,
    /// They look all the time.
    Busy,
}

impl FromStr for Poll {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "adaptive" => Ok(Poll::Adaptive),
            "busy" => Ok(Poll::Busy),
            _ => Err(ValueError::Poll(text.to_owned())),
        }
    }
}

/// A command's name in upper case, its words one space apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandName(pub String);

impl FromStr for CommandName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let words: Vec<String> = text.split_whitespace().map(str::to_ascii_uppercase).collect();
        if !(1..=2).contains(&words.len()) {
            return Err(ValueError::Command(text.to_owned()));
        }
        Ok(CommandName(words.join(" ")))
    }
}

impl FromStr for Payload {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "none" => Ok(Payload::None),
            "keys" => Ok(Payload::Keys),
            "full" => Ok(Payload::Full),
            _ => Err(ValueError::Payload(text.to_owned())),
        }
    }
}

impl FromStr for Resync {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "strict" => Ok(Resync::Strict),
            "assume" => Ok(Resync::Assume),
            "trust" => Ok(Resync::Trust),
            _ => Err(ValueError::Resync(text.to_owned())),
        }
    }
}

/// A list: items with commas between them, or an array in TOML.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct List<T>(pub Vec<T>);

impl<T: FromStr> FromStr for List<T>
where
    ValueError: From<T::Err>,
{
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let items = text.split(',').map(|item| match item.trim() {
            "" => Err(ValueError::Empty),
            item => Ok(item.parse()?),
        });
        items.collect::<Result<_, _>>().map(List)
    }
}

impl From<Infallible> for ValueError {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// What may be given several times: an array in TOML, or one alone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Several<T>(pub Vec<T>);

macro_rules! deserialize_from_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(FromText(PhantomData))
            }
        }
    )*};
}

deserialize_from_text!(
    Nanoseconds,
    Size,
    PortRange,
    CpuRange,
    Sample,
    Separator,
    Output,
    FilePath,
    SinkSpec,
    Network,
    Interface,
    Mode,
    Poll,
    RssWish,
    CommandName
);

/// [`Payload`], read from text.
pub fn payload<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Payload>, D::Error> {
    deserializer.deserialize_any(FromText(PhantomData)).map(Some)
}

/// [`Resync`], read from text.
pub fn resync<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Resync>, D::Error> {
    deserializer.deserialize_any(FromText(PhantomData)).map(Some)
}

/// [`Others`], read from text.
pub fn others<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Others>, D::Error> {
    deserializer.deserialize_any(FromText(PhantomData)).map(Some)
}

/// [`Faults`], read from text.
pub fn faults<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Faults>, D::Error> {
    deserializer.deserialize_any(FromText(PhantomData)).map(Some)
}

/// Reads a value from a text or a whole number.
struct FromText<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for FromText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a whole number")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

impl<'de, T: Deserialize<'de> + FromStr> Deserialize<'de> for List<T>
where
    ValueError: From<T::Err>,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let split = |text: &str| text.parse().map(|List(items)| items);
        deserializer.deserialize_any(TextOrArray(split, PhantomData)).map(List)
    }
}

impl<'de, T: Deserialize<'de> + FromStr<Err = ValueError>> Deserialize<'de> for Several<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let one = |text: &str| text.parse().map(|item| vec![item]);
        deserializer.deserialize_any(TextOrArray(one, PhantomData)).map(Several)
    }
}

/// Reads items from an array, or from a text (or number) by a function.
struct TextOrArray<F, T>(F, PhantomData<T>);

impl<'de, T, F> Visitor<'de> for TextOrArray<F, T>
where
    T: Deserialize<'de>,
    F: Fn(&str) -> Result<Vec<T>, ValueError>,
{
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a whole number, or an array of them")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
        (self.0)(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Vec<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Vec<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<Vec<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(items))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_carry_their_unit() {
        assert_eq!("30s".parse(), Ok(Nanoseconds(30_000_000_000)));
        assert_eq!("50ms".parse(), Ok(Nanoseconds(50_000_000)));
        assert_eq!("1h".parse(), Ok(Nanoseconds(3_600_000_000_000)));
        assert_eq!("1m 30s".parse(), Ok(Nanoseconds(90_000_000_000)));
        for wrong in ["", "30", "-1s", "soon", "1.2.3s"] {
            assert_eq!(wrong.parse::<Nanoseconds>(), Err(ValueError::Duration(wrong.to_owned())));
        }
        assert!(matches!("1000years".parse::<Nanoseconds>(), Err(ValueError::DurationTooLong(_))));
    }

    #[test]
    fn sizes_tell_binary_from_decimal_units() {
        for (text, bytes) in [("1GiB", 1 << 30), ("512MiB", 512 << 20), ("1GB", 1_000_000_000), ("1048576", 1 << 20)] {
            assert_eq!(text.parse(), Ok(Size(bytes)));
        }
        assert_eq!("2g".parse(), Ok(Size(2 << 30)));
        assert_eq!("3 kb".parse(), Ok(Size(3_000)));
        for wrong in ["", "GiB", "-1", "1.5GiB", "1XB", "99999999999TiB", "1GiBs"] {
            assert_eq!(wrong.parse::<Size>(), Err(ValueError::Size(wrong.to_owned())));
        }
        assert_eq!(Size(16 << 20).to_string(), "16MiB");
        assert_eq!(Size(1_000).to_string(), "1000 bytes");
    }

    #[test]
    fn lists_of_ports_and_cores_hold_numbers_and_ranges() {
        assert_eq!("6379, 7000-7005".parse(), Ok(List(vec![PortRange(6379..=6379), PortRange(7000..=7005)])));
        assert_eq!("2-7,1".parse(), Ok(List(vec![CpuRange(2..=7), CpuRange(1..=1)])));
        assert_eq!("any".parse(), Ok(PortRange(0..=65535)));
        for wrong in ["all", "0", "0-65535", "65536", "7005-7000", "1-", "-5", "6379;6380"] {
            assert_eq!(wrong.parse::<PortRange>(), Err(ValueError::Port(wrong.to_owned())));
        }
        for wrong in ["all", "7-2", "0-99999999999"] {
            assert_eq!(wrong.parse::<CpuRange>(), Err(ValueError::Cpu(wrong.to_owned())));
        }
        for wrong in ["", "6379,", ",6379", "1,,2"] {
            assert_eq!(wrong.parse::<List<PortRange>>(), Err(ValueError::Empty));
        }
    }

    #[test]
    fn a_sample_is_one_in_some() {
        assert_eq!("1/10".parse(), Ok(Sample(10)));
        for wrong in ["1/0", "2/10", "10", "1/", "1/-3", "10%"] {
            assert_eq!(wrong.parse::<Sample>(), Err(ValueError::Sample(wrong.to_owned())));
        }
    }

    #[test]
    fn a_separator_is_one_ascii_character() {
        assert_eq!(":".parse(), Ok(Separator(b':')));
        assert_eq!("/".parse(), Ok(Separator(b'/')));
        for wrong in ["", "::", "é", "→"] {
            assert_eq!(wrong.parse::<Separator>(), Err(ValueError::Separator(wrong.to_owned())));
        }
    }

    #[test]
    fn only_the_sinks_that_exist_are_taken() {
        assert_eq!("jsonl:-".parse(), Ok(SinkSpec::Jsonl(Output::Stdout)));
        assert_eq!("jsonl:out/a,b.jsonl".parse(), Ok(SinkSpec::Jsonl(Output::File("out/a,b.jsonl".into()))));
        for wrong in ["", "jsonl", "jsonl:", "kafka:host/topic", "out.jsonl"] {
            let error = wrong.parse::<SinkSpec>().unwrap_err();
            assert!(error.to_string().contains("there is jsonl:PATH"), "{error}");
        }
    }

    #[test]
    fn a_network_may_be_a_plain_address() {
        assert_eq!("10.0.0.7".parse(), Ok(Network("10.0.0.7/32".parse().unwrap())));
        assert_eq!("2001:db8::/32".parse(), Ok(Network("2001:db8::/32".parse().unwrap())));
        for wrong in ["10.0.0.0/33", "10.0.0", "localhost"] {
            assert_eq!(wrong.parse::<Network>(), Err(ValueError::Network(wrong.to_owned())));
        }
    }

    #[test]
    fn command_names_are_folded_to_upper_case_and_single_spaces() {
        let commands: List<CommandName> = "get,client  setname".parse().unwrap();
        assert_eq!(commands.0.iter().map(|name| name.0.as_str()).collect::<Vec<_>>(), ["GET", "CLIENT SETNAME"]);
        assert!("SET key value".parse::<CommandName>().is_err());
    }

    #[test]
    fn a_dash_is_standard_output_only_where_that_is_meant() {
        assert_eq!("-".parse(), Ok(Output::Stdout));
        assert_eq!("-".parse::<FilePath>(), Err(ValueError::NoFile));
        assert_eq!("a".parse(), Ok(FilePath("a".into())));
        assert_eq!("".parse::<FilePath>(), Err(ValueError::Empty));
    }

    #[test]
    fn names_of_interfaces_are_as_the_kernel_takes_them() {
        assert_eq!("eth0.12".parse(), Ok(Interface("eth0.12".to_owned())));
        for wrong in ["", "a/b", "two words", "longer-than-fifteen"] {
            assert_eq!(wrong.parse::<Interface>(), Err(ValueError::Interface(wrong.to_owned())));
        }
    }

    #[test]
    fn modes_are_named() {
        assert_eq!(["auto", "af-packet"].map(str::parse), [Ok(Mode(None)), Ok(Mode(Some(Way::AfPacket)))]);
        assert_eq!(["zero-copy", "copy"].map(str::parse), [Ok(Mode(Some(Way::ZeroCopy))), Ok(Mode(Some(Way::Copy)))]);
        assert_eq!(["pass", "drop"].map(str::parse), [Ok(Others::Pass), Ok(Others::Drop)]);
        assert_eq!(["adaptive", "busy"].map(str::parse), [Ok(Poll::Adaptive), Ok(Poll::Busy)]);
        assert_eq!(["keep", "symmetric"].map(str::parse), [Ok(RssWish::Keep), Ok(RssWish::Symmetric)]);
        assert_eq!("none".parse::<RssWish>(), Err(ValueError::Rss("none".to_owned())));
        assert_eq!("zero".parse::<Mode>(), Err(ValueError::Mode("zero".to_owned())));
    }
}
