//! The TOML file of `--config`: the same keys as the options, found faulty with the line and the key at fault.

use std::path::{Path, PathBuf};

use serde::de::{Deserialize, Deserializer, Visitor};
use toml::de::DeTable;

use super::Options;

/// Why a configuration file can't be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It can't be read.
    #[error("the configuration file {path} can't be read: {source}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no TOML.
    #[error("{path}, line {line}: this is no TOML: {message}")]
    Syntax {
        /// Which.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// What the parser says.
        message: String,
    },
    /// A key that is no option.
    #[error("{path}, line {line}: there is no option `{key}`; the nearest one is `{nearest}`")]
    UnknownKey {
        /// Which.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// What stands there.
        key: String,
        /// The option whose name is most like it.
        nearest: &'static str,
    },
    /// A value that its option does not take.
    #[error("{path}, line {line}: `{key}`: {message}")]
    Value {
        /// Which.
        path: PathBuf,
        /// 1-based.
        line: usize,
        /// The option.
        key: String,
        /// What is wrong.
        message: String,
    },
}

/// Reads a configuration file.
pub fn read(path: &Path) -> Result<Options, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    parse(path, &text)
}

/// Reads the text of a configuration file; `path` is only for messages.
pub fn parse(path: &Path, text: &str) -> Result<Options, FileError> {
    let path = || path.to_owned();
    let at_line = |span: Option<std::ops::Range<usize>>| line(text, span.map_or(0, |span| span.start));
    let table = DeTable::parse(text).map_err(|error| FileError::Syntax {
        path: path(),
        line: at_line(error.span()),
        message: error.message().to_owned(),
    })?;
    let known = keys();
    // In the order of the file: the first fault is the one that is told.
    let mut entries: Vec<_> = table.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    if let Some((key, _)) = entries.iter().find(|(key, _)| !known.contains(&key.get_ref().as_ref())) {
        let (line, key) = (at_line(Some(key.span())), key.get_ref().to_string());
        return Err(FileError::UnknownKey { path: path(), line, nearest: nearest(&key, known), key });
    }
    toml::from_str(text).map_err(|error| {
        let start = error.span().map_or(0, |span| span.start);
        let key = entries.iter().rev().find(|(key, _)| key.span().start <= start);
        FileError::Value {
            path: path(),
            line: line(text, start),
            key: key.map(|(key, _)| key.get_ref().to_string()).unwrap_or_default(),
            message: error.message().to_owned(),
        }
    })
}

/// The line, from 1, on which the byte lies.
fn line(text: &str, byte: usize) -> usize {
    1 + text.bytes().take(byte).filter(|&byte| byte == b'\n').count()
}

fn nearest(key: &str, known: &'static [&'static str]) -> &'static str {
    let likeness = |known: &&&str| strsim::jaro_winkler(key, known);
    known.iter().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).copied().unwrap_or_default()
}

/// The keys of [`Options`], as serde knows them.
pub(super) fn keys() -> &'static [&'static str] {
    let mut names = Names(&[]);
    // The deserializer has no values to give, only the struct's field names to learn; its refusal is no failure.
    let _ = Options::deserialize(&mut names);
    names.0
}

/// A deserializer that notes a struct's field names.
struct Names(&'static [&'static str]);

impl<'de> Deserializer<'de> for &mut Names {
    type Error = serde::de::value::Error;

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0 = fields;
        self.deserialize_any(visitor)
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(serde::de::Error::custom("names only"))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::values::{List, Nanoseconds, Output, PortRange, Several, SinkSpec};

    fn parsed(text: &str) -> Result<Options, String> {
        parse(Path::new("tap.toml"), text).map_err(|error| error.to_string())
    }

    #[test]
    fn keys_are_the_names_of_the_options() {
        assert!(keys().contains(&"slower-than") && keys().contains(&"hist-log"), "{:?}", keys());
        assert!(keys().iter().all(|key| !key.contains('_')), "{:?}", keys());
    }

    #[test]
    fn values_stand_as_text_as_numbers_or_as_arrays() {
        let options = parsed("port = 6380\ntimeout = '5s'\nsink = 'jsonl:-'\nworkers = 3\nerrors = true").unwrap();
        assert_eq!(options.port, Some(List(vec![PortRange(6380..=6380)])));
        assert_eq!(options.timeout, Some(Nanoseconds(5_000_000_000)));
        assert_eq!(options.sink, Some(Several(vec![SinkSpec::Jsonl(Output::Stdout)])));
        assert_eq!((options.workers, options.errors), (Some(3), Some(true)));
        let options = parsed("port = [6380, '7000-7001']\nsink = ['jsonl:a', 'jsonl:b,c']").unwrap();
        assert_eq!(options.port, Some(List(vec![PortRange(6380..=6380), PortRange(7000..=7001)])));
        assert_eq!(options.sink.map(|sinks| sinks.0.len()), Some(2), "a comma does not end a path");
        assert_eq!(parsed("").unwrap(), Options::default());
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_one() {
        assert_eq!(
            parsed("port = 6379\n\n# comment\nslower_then = '5ms'").unwrap_err(),
            "tap.toml, line 4: there is no option `slower_then`; the nearest one is `slower-than`"
        );
        assert_eq!(
            parsed("[read]\nport = 1").unwrap_err(),
            "tap.toml, line 1: there is no option `read`; the nearest one is `reorder-time`",
            "there are no sections"
        );
    }

    #[test]
    fn the_first_unknown_key_of_the_file_is_told() {
        let error = parsed("zport = 1\naport = 2").unwrap_err();
        assert!(error.contains("line 1") && error.contains("`zport`"), "{error}");
    }

    #[test]
    fn a_wrong_value_is_told_with_its_line_and_key() {
        assert_eq!(
            parsed("port = 6379\ntimeout = 'soon'").unwrap_err(),
            "tap.toml, line 2: `timeout`: `soon` is no duration; write a number with its unit, such as 30s, 50ms or 1h30m"
        );
        let error = parsed("client = ['10.0.0.0/8',\n'here']").unwrap_err();
        assert!(error.contains("`client`: `here` is no network"), "{error}");
        let error = parsed("workers = 'many'").unwrap_err();
        assert!(error.starts_with("tap.toml, line 1: `workers`: "), "{error}");
        let error = parsed("workers = -1").unwrap_err();
        assert!(error.starts_with("tap.toml, line 1: `workers`: "), "{error}");
        let error = parsed("port = 'all'").unwrap_err();
        assert!(error.contains("`all` is no port"), "{error}");
        assert_eq!(parsed("port = 'any'").unwrap().port, Some(List(vec![PortRange(0..=u16::MAX)])));
    }

    #[test]
    fn what_is_no_toml_is_told_with_its_line() {
        let error = parsed("port = 6379\nport 6380").unwrap_err();
        assert!(error.starts_with("tap.toml, line 2: this is no TOML: "), "{error}");
        let error = parsed("port = 1\nport = 2").unwrap_err();
        assert!(error.starts_with("tap.toml, line 2: "), "{error}");
    }

    #[test]
    fn the_example_of_the_readme_is_taken() {
        let (_, example) = include_str!("../../README.md").split_once("```toml\n").unwrap();
        let options = parsed(example.split_once("```").unwrap().0).unwrap();
        assert_eq!(options.port.map(|List(ports)| ports.len()), Some(2));
    }

    #[test]
    fn a_missing_file_is_told() {
        let error = read(Path::new("/nonexistent/tap.toml")).unwrap_err().to_string();
        assert!(error.starts_with("the configuration file /nonexistent/tap.toml can't be read: "), "{error}");
    }
}
