//! PROTOCOL section 1, row by row, and random values against an obviously correct parser, cut at random.

use super::parser::{BulkEnd, FramingLost, Kind, Parser, Step, UNKNOWN_LENGTH, Visitor, begun_bulk, bulk, scalar};
use crate::limits::RESP_DEPTH_MAX;
use proptest::prelude::*;

/// Writes down what it is told, one value a line, and wants `wants` bytes of each.
struct Log<const REQUESTS: bool> {
    wants: usize,
    values: Vec<(usize, Kind, u64, Vec<u8>)>,
    ended: Vec<usize>,
    missing: usize,
}

impl<const REQUESTS: bool> Log<REQUESTS> {
    fn new(wants: usize) -> Self {
        Log { wants, values: Vec::new(), ended: Vec::new(), missing: 0 }
    }

    fn texts(&self) -> Vec<&str> {
        self.values.iter().map(|value| std::str::from_utf8(&value.3).unwrap()).collect()
    }

    fn kinds(&self) -> Vec<Kind> {
        self.values.iter().map(|value| value.1).collect()
    }
}

impl<const REQUESTS: bool> Visitor for Log<REQUESTS> {
    const REQUESTS: bool = REQUESTS;

    fn begin(&mut self, depth: usize, kind: Kind, length: u64) -> usize {
        self.values.push((depth, kind, length, Vec::new()));
        self.wants
    }

    fn bytes(&mut self, chunk: &[u8]) {
        self.values.last_mut().unwrap().3.extend_from_slice(chunk);
    }

    fn missing(&mut self) {
        self.missing += 1;
    }

    fn end(&mut self, depth: usize) {
        self.ended.push(depth);
    }
}

/// All messages of `input`, fed in pieces of `piece` bytes; the kind of step that ended each.
fn feed<const REQUESTS: bool>(input: &[u8], piece: usize, wants: usize) -> (Log<REQUESTS>, Vec<Step>, Parser) {
    let (mut parser, mut log, mut steps) = (Parser::default(), Log::new(wants), Vec::new());
    for piece in input.chunks(piece) {
        let mut rest = piece;
        while !rest.is_empty() {
            let (consumed, step) = parser.feed(rest, &mut log);
            assert!(consumed > 0 || step == Step::Malformed);
            rest = &rest[consumed..];
            if step != Step::More {
                steps.push(step);
            }
            if step == Step::Malformed {
                return (log, steps, parser);
            }
        }
    }
    (log, steps, parser)
}

#[track_caller]
fn replies(input: &str) -> Log<false> {
    let whole = feed::<false>(input.as_bytes(), usize::MAX >> 1, 1000);
    let bytewise = feed::<false>(input.as_bytes(), 1, 1000);
    assert_eq!((&whole.0.values, &whole.0.ended, &whole.1), (&bytewise.0.values, &bytewise.0.ended, &bytewise.1));
    assert!(whole.2.is_idle(), "a message is unfinished");
    whole.0
}

#[track_caller]
fn requests(input: &str) -> (Vec<Vec<String>>, Vec<Step>) {
    let whole = feed::<true>(input.as_bytes(), usize::MAX >> 1, 1000);
    let bytewise = feed::<true>(input.as_bytes(), 1, 1000);
    assert_eq!((&whole.0.values, &whole.1), (&bytewise.0.values, &bytewise.1));
    let mut commands = Vec::new();
    for (depth, kind, _, text) in whole.0.values {
        match (depth, kind) {
            (0, Kind::Array) => commands.push(Vec::new()),
            (1, Kind::Bulk) => commands.last_mut().unwrap().push(String::from_utf8(text).unwrap()),
            other => panic!("{other:?} in a request"),
        }
    }
    (commands, whole.1)
}

fn malformed<const REQUESTS: bool>(input: &str) -> bool {
    feed::<REQUESTS>(input.as_bytes(), 1, 1000).1.last() == Some(&Step::Malformed)
}

#[test]
fn row_1_type_bytes_inside_a_bulk_at_a_segment_start_are_payload() {
    let (mut parser, mut log) = (Parser::default(), Log::<false>::new(100));
    assert_eq!(parser.feed(b"$23\r\n0123", &mut log), (9, Step::More));
    for segment in [&b"-free=0"[..], b"$3\r\n", b"*2\r\n", b"+OK\r"] {
        assert_eq!(parser.feed(segment, &mut log), (segment.len(), Step::More));
    }
    assert_eq!(parser.feed(b"\r\n", &mut log), (2, Step::Value));
    assert_eq!(log.texts(), ["0123-free=0$3\r\n*2\r\n+OK\r"]);
}

#[test]
fn row_2_any_cut_gives_the_same() {
    let (commands, steps) = requests(
        "*12\r\n$3\r\nDEL\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n$1\r\nd\r\n$1\r\ne\r\n$1\r\nf\r\n$1\r\ng\r\n$1\r\nh\r\n$1\r\ni\r\n$1\r\nj\r\n$1\r\nk\r\n",
    );
    assert_eq!((commands[0].len(), steps), (12, vec![Step::Value]));
    let (mut parser, mut log) = (Parser::default(), Log::<true>::new(100));
    for piece in ["*1", "2\r", "\n$3\r\nD"] {
        assert_eq!(parser.feed(piece.as_bytes(), &mut log), (piece.len(), Step::More));
    }
    assert_eq!(log.values[0], (0, Kind::Array, 12, vec![]));
}

#[test]
fn row_3_a_512_mb_bulk_is_counted_not_read() {
    let (mut parser, mut log) = (Parser::default(), Log::<false>::new(4));
    let size = 512u64 << 20;
    parser.feed(format!("${size}\r\nfirst").as_bytes(), &mut log);
    assert_eq!(parser.skip(size - 6, &mut log), Ok(Step::More));
    assert_eq!(parser.feed(b"x\r\n", &mut log), (3, Step::Value));
    assert_eq!(log.texts(), ["firs"]);
    assert_eq!(log.missing, 0, "all that was wanted was there");
    assert!(std::mem::size_of::<Parser>() <= 352);
}

#[test]
fn row_4_empty_lines_and_empty_multibulks_are_no_commands() {
    let (commands, steps) = requests("\r\n\n*0\r\n*-1\r\n  \t \r\n*1\r\n$4\r\nPING\r\n");
    assert_eq!(commands, [["PING"]]);
    assert_eq!(steps, [Step::Empty, Step::Empty, Step::Empty, Step::Empty, Step::Empty, Step::Value]);
}

#[test]
fn row_5_inline_commands_are_split_as_servers_do() {
    let lines: [(&str, &[&str]); 9] = [
        ("PING\n", &["PING"]),
        ("SET k \"a b\\x41\"\r\n", &["SET", "k", "a bA"]),
        ("  set\tk  'it\\'s' \r\n", &["set", "k", "it's"]),
        ("echo \"\\n\\r\\t\\b\\a\\\"\\q\"\n", &["echo", "\n\r\t\u{8}\u{7}\"q"]),
        ("echo \"\" ''\n", &["echo", "", ""]),
        ("echo \"\\xzz\\x4\"\n", &["echo", "xzzx4"]),
        ("echo a\"b c\"\n", &["echo", "ab c"]),
        ("echo 'a\\\\n'\n", &["echo", "a\\\\n"]),
        ("echo '\\\\''\n", &["echo", "\\'"]),
    ];
    for (line, words) in lines {
        let (commands, steps) = requests(line);
        assert_eq!((commands, steps), (vec![words.iter().map(|word| (*word).to_owned()).collect()], vec![Step::Value]));
    }
    for line in ["echo \"a\n", "echo 'a\n", "echo \"a\"b\n", "echo 'a'b\n"] {
        assert!(malformed::<true>(line), "{line}");
    }
    assert!(malformed::<true>(&"x".repeat(65 * 1024)));
    let (commands, _) = requests("GET a\r\n*2\r\n$3\r\nGET\r\n$1\r\nb\r\nGET c\n");
    assert_eq!(commands, [["GET", "a"], ["GET", "b"], ["GET", "c"]]);
}

#[test]
fn row_6_elements_of_a_clients_multibulk_must_be_bulk_strings() {
    for input in ["*1\r\n:4\r\nPING\r\n", "*1\r\n+PING\r\n", "*1\r\n*1\r\n$4\r\nPING\r\n", "*1\r\n$-1\r\n", "*x\r\n"] {
        assert!(malformed::<true>(input), "{input}");
    }
    let (log, steps, _) = feed::<true>(b"*1\r\n$4\r\nPING\r\n*1\r\n:4\r\n", 3, 100);
    assert_eq!(steps, [Step::Value, Step::Malformed]);
    assert_eq!(log.texts()[1], "PING");
}

#[test]
fn row_7_http_is_an_inline_command_like_any_other() {
    assert_eq!(requests("POST / HTTP/1.1\r\n").0, [["POST", "/", "HTTP/1.1"]]);
    assert_eq!(requests("Host: x\r\n").0, [["Host:", "x"]]);
}

#[test]
fn row_8_three_nulls_are_one() {
    assert_eq!(replies("$-1\r\n*-1\r\n_\r\n").kinds(), [Kind::Null; 3]);
    assert!(malformed::<false>("$-2\r\n"));
    assert!(malformed::<false>("%-1\r\n"));
}

#[test]
fn row_9_attributes_are_left_out_at_any_depth() {
    let plain = replies("*2\r\n$1\r\na\r\n:1\r\n");
    let with = replies(
        "|1\r\n+ttl\r\n:1\r\n*2\r\n|2\r\n+a\r\n|1\r\n+x\r\n+y\r\n*1\r\n:5\r\n+b\r\n_\r\n$1\r\na\r\n|1\r\n+k\r\n|0\r\n+v\r\n:1\r\n",
    );
    assert_eq!((plain.values, plain.ended), (with.values, with.ended));
}

#[test]
fn row_10_streamed_strings_and_aggregates() {
    let log = replies("$?\r\n;4\r\nHell\r\n;5\r\no wor\r\n;1\r\nd\r\n;0\r\n");
    assert_eq!(log.values, [(0, Kind::Bulk, UNKNOWN_LENGTH, b"Hello word".to_vec())]);
    let log = replies("*?\r\n:1\r\n%?\r\n+a\r\n:2\r\n.\r\n~?\r\n.\r\n*0\r\n.\r\n");
    assert_eq!(
        log.kinds(),
        [Kind::Array, Kind::Integer, Kind::Map, Kind::Simple, Kind::Integer, Kind::Set, Kind::Array]
    );
    assert_eq!(log.ended, [1, 2, 2, 1, 1, 1, 0]);
    assert!(malformed::<false>(".\r\n"));
    assert!(malformed::<false>("*1\r\n.\r\n"));
}

#[test]
fn a_length_is_at_most_one_question_mark() {
    for input in ["*??\r\n:1\r\n.\r\n", "$??\r\n;0\r\n", "*?1\r\n", "*-?\r\n", "*1?\r\n"] {
        assert!(malformed::<false>(input), "{input}");
    }
}

#[test]
fn row_11_a_verbatim_strings_length_includes_its_prefix() {
    let log = replies("=29\r\ntxt:This is a verbatim\nstring\r\n");
    assert_eq!(log.values, [(0, Kind::Verbatim, 29, b"txt:This is a verbatim\nstring".to_vec())]);
}

#[test]
fn row_12_numbers_and_both_errors() {
    let log = replies(",inf\r\n,-inf\r\n,nan\r\n,3.141\r\n(1234567999999999999999999999999999999\r\n#t\r\n");
    let double = Kind::Double;
    assert_eq!(log.kinds(), [double, double, double, double, Kind::BigNumber, Kind::Boolean]);
    let log = replies("!21\r\nSYNTAX invalid syntax\r\n-ERR x\r\n");
    assert_eq!((log.kinds(), log.texts()), (vec![Kind::Error; 2], vec!["SYNTAX invalid syntax", "ERR x"]));
}

#[test]
fn row_13_nesting_is_bounded_and_nothing_is_allocated_by_a_declared_count() {
    let nested = |depth: usize| format!("{}:1\r\n", "*1\r\n".repeat(depth));
    assert_eq!(replies(&nested(RESP_DEPTH_MAX)).values.len(), RESP_DEPTH_MAX + 1);
    assert!(malformed::<false>(&nested(RESP_DEPTH_MAX + 1)));
    let log = feed::<false>(b"*2147483647\r\n%2147483647\r\n:1\r\n", 5, 10);
    assert_eq!(log.1, []);
    assert_eq!(log.0.values.len(), 3);
    assert!(malformed::<false>("*2147483648\r\n"));
    assert!(malformed::<false>("$9999999999999999\r\n"));
    assert!(malformed::<false>("$9999999999999999999999\r\n"));
}

#[test]
fn row_18_a_push_among_the_elements_is_none_of_them() {
    let log = replies("*3\r\n+PONG\r\n>3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nm\r\n:1\r\n+PONG\r\n");
    assert_eq!(log.values.iter().filter(|value| value.0 == 1 && value.1 != Kind::Push).count(), 3);
    assert_eq!(
        replies(">2\r\n+a\r\n>0\r\n>1\r\n:1\r\n+b\r\n+OK\r\n").ended.iter().filter(|&&depth| depth == 0).count(),
        2
    );
}

#[test]
fn a_lone_cr_belongs_to_its_line() {
    assert_eq!(replies("+a\rb\r\r\n").texts(), ["a\rb\r"]);
}

#[test]
fn missing_bytes_inside_a_string_cost_nothing_but_themselves() {
    let message = b"*2\r\n$10\r\n0123456789\r\n:1\r\n";
    let crlf_end = 4 + 5 + 12;
    for from in 9..crlf_end {
        for to in from + 1..=crlf_end {
            let (mut parser, mut log) = (Parser::default(), Log::<false>::new(100));
            assert_eq!(parser.feed(&message[..from], &mut log).1, Step::More);
            assert_eq!(parser.skip((to - from) as u64, &mut log), Ok(Step::More), "{from}..{to}");
            assert_eq!(parser.feed(&message[to..], &mut log), (message.len() - to, Step::Value), "{from}..{to}");
            assert_eq!(log.missing, usize::from(from < crlf_end - 2));
        }
        let (mut parser, mut log) = (Parser::default(), Log::<false>::new(100));
        parser.feed(&message[..from], &mut log);
        assert_eq!(
            parser.skip((crlf_end - from + 1) as u64, &mut log),
            Err(FramingLost { rest: (crlf_end - from) as u64 })
        );
        assert!(parser.is_idle());
    }
    let (mut parser, mut log) = (Parser::default(), Log::<false>::new(0));
    parser.feed(b"$5\r\nab", &mut log);
    assert_eq!(parser.skip(5, &mut log), Ok(Step::Value));
    assert!(parser.is_idle());
    parser.feed(b"+O", &mut log);
    assert_eq!(parser.skip(1, &mut log), Err(FramingLost { rest: 0 }));
}

#[test]
fn a_request_that_is_cut_off_tells_how_much_of_it_is_still_to_come_at_the_least() {
    let message = b"*4\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n$0\r\n\r\n";
    let [begins, value, last, lies] = [4, 24, 31, 35];
    for (from, rest) in
        [(2, 0), (begins, 24), (begins + 1, 18), (value, 13), (value + 2, 11), (last - 1, 7), (last, 6), (lies, 2)]
    {
        let (mut parser, mut log) = (Parser::default(), Log::<true>::new(0));
        assert_eq!(parser.feed(&message[..from], &mut log).1, Step::More);
        assert_eq!(parser.skip(100, &mut log), Err(FramingLost { rest }), "cut off at {from}");
    }
}

#[derive(Clone, Debug)]
enum Value {
    Line(u8, String),
    String(u8, Vec<u8>),
    Streamed(Vec<Vec<u8>>),
    Null(&'static str),
    Aggregate(u8, Vec<Value>),
    StreamedAggregate(u8, Vec<Value>),
    WithAttribute(Vec<Value>, Box<Value>),
}

impl Value {
    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Value::Line(kind, text) => out.extend([&[*kind][..], text.as_bytes(), b"\r\n"].concat()),
            Value::String(kind, text) => {
                out.extend([&[*kind][..], text.len().to_string().as_bytes(), b"\r\n", text, b"\r\n"].concat());
            }
            Value::Streamed(chunks) => {
                out.extend_from_slice(b"$?\r\n");
                for chunk in chunks.iter().filter(|chunk| !chunk.is_empty()) {
                    out.extend([b";", chunk.len().to_string().as_bytes(), b"\r\n", chunk, b"\r\n"].concat());
                }
                out.extend_from_slice(b";0\r\n");
            }
            Value::Null(text) => out.extend_from_slice(text.as_bytes()),
            Value::Aggregate(kind, values) => {
                let count = if *kind == b'%' { values.len() / 2 } else { values.len() };
                out.extend([&[*kind][..], count.to_string().as_bytes(), b"\r\n"].concat());
                let kept = if *kind == b'%' { count * 2 } else { count };
                values[..kept].iter().for_each(|value| value.encode(out));
            }
            Value::StreamedAggregate(kind, values) => {
                out.extend([&[*kind][..], b"?\r\n"].concat());
                for value in values {
                    value.encode(out);
                }
                out.extend_from_slice(b".\r\n");
            }
            Value::WithAttribute(pairs, value) => {
                out.extend([b"|", (pairs.len() / 2).to_string().as_bytes(), b"\r\n"].concat());
                pairs[..pairs.len() / 2 * 2].iter().for_each(|value| value.encode(out));
                value.encode(out);
            }
        }
    }

    /// What a visitor must be told, by recursion over the value itself.
    fn expect(&self, depth: usize, values: &mut Vec<(usize, Kind, u64, Vec<u8>)>, ended: &mut Vec<usize>) {
        let kind_of = |byte| match byte {
            b'+' => Kind::Simple,
            b'-' | b'!' => Kind::Error,
            b':' => Kind::Integer,
            b',' => Kind::Double,
            b'(' => Kind::BigNumber,
            b'$' => Kind::Bulk,
            b'=' => Kind::Verbatim,
            b'*' => Kind::Array,
            b'%' => Kind::Map,
            _ => Kind::Set,
        };
        match self {
            Value::Line(kind, text) => values.push((depth, kind_of(*kind), UNKNOWN_LENGTH, text.as_bytes().to_vec())),
            Value::String(kind, text) => values.push((depth, kind_of(*kind), text.len() as u64, text.clone())),
            Value::Streamed(chunks) => values.push((depth, Kind::Bulk, UNKNOWN_LENGTH, chunks.concat())),
            Value::Null(text) => {
                values.push((depth, Kind::Null, if *text == "_\r\n" { UNKNOWN_LENGTH } else { 0 }, vec![]));
            }
            Value::Aggregate(kind, elements) | Value::StreamedAggregate(kind, elements) => {
                let streamed = matches!(self, Value::StreamedAggregate(..));
                let kept = if *kind == b'%' && !streamed { elements.len() / 2 * 2 } else { elements.len() };
                values.push((depth, kind_of(*kind), if streamed { UNKNOWN_LENGTH } else { kept as u64 }, vec![]));
                elements[..kept].iter().for_each(|value| value.expect(depth + 1, values, ended));
            }
            Value::WithAttribute(_, value) => return value.expect(depth, values, ended),
        }
        ended.push(depth);
    }
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        (prop::sample::select(b"+-:,(".to_vec()), "[ -~]{0,20}").prop_map(|(kind, text)| Value::Line(kind, text)),
        (prop::sample::select(b"$=!".to_vec()), prop::collection::vec(any::<u8>(), 0..30))
            .prop_map(|(kind, text)| Value::String(kind, text)),
        prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 0..4).prop_map(Value::Streamed),
        prop::sample::select(vec!["$-1\r\n", "*-1\r\n", "_\r\n"]).prop_map(Value::Null),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        let many = prop::collection::vec(inner.clone(), 0..6);
        prop_oneof![
            (prop::sample::select(b"*%~".to_vec()), many.clone()).prop_map(|(kind, v)| Value::Aggregate(kind, v)),
            (prop::sample::select(b"*~".to_vec()), many.clone())
                .prop_map(|(kind, v)| Value::StreamedAggregate(kind, v)),
            (many, inner).prop_map(|(pairs, value)| Value::WithAttribute(pairs, Box::new(value))),
        ]
    })
}

proptest! {
    #[test]
    fn random_values_cut_at_random_are_told_as_they_are(messages in prop::collection::vec(value(), 1..5), pieces in prop::collection::vec(1usize..40, 1..20)) {
        let (mut bytes, mut values, mut ended) = (Vec::new(), Vec::new(), Vec::new());
        for message in &messages {
            message.encode(&mut bytes);
            message.expect(0, &mut values, &mut ended);
        }
        let (mut parser, mut log, mut complete) = (Parser::default(), Log::<false>::new(usize::MAX), 0);
        let (mut rest, mut sizes) = (&bytes[..], pieces.iter().cycle());
        while !rest.is_empty() {
            let (mut piece, after) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            rest = after;
            while !piece.is_empty() {
                let (consumed, step) = parser.feed(piece, &mut log);
                prop_assert!(step != Step::Malformed);
                complete += usize::from(step == Step::Value);
                piece = &piece[consumed..];
                // A parser that takes up from another goes on as that one would.
                let mut other = Parser::default();
                other.resume_from(&parser);
                parser = other;
            }
        }
        prop_assert_eq!(complete, messages.len());
        prop_assert_eq!(&log.values, &values);
        prop_assert_eq!(&log.ended, &ended);
    }

    #[test]
    fn any_bytes_end_somehow_and_cuts_change_nothing(bytes in prop::collection::vec(prop_oneof![any::<u8>(), prop::sample::select(b"*$+-:%~>|=!_#,(.;?0123\r\n".to_vec())], 0..300), piece in 1usize..20) {
        let whole = feed::<false>(&bytes, bytes.len().max(1), 50);
        let cut = feed::<false>(&bytes, piece, 50);
        prop_assert_eq!((whole.0.values, whole.0.ended, whole.1), (cut.0.values, cut.0.ended, cut.1));
        let whole = feed::<true>(&bytes, bytes.len().max(1), 50);
        let cut = feed::<true>(&bytes, piece, 50);
        prop_assert_eq!((whole.0.values, whole.0.ended, whole.1), (cut.0.values, cut.0.ended, cut.1));
    }
}

#[test]
fn strings_of_any_length_are_read_whole_as_in_pieces() {
    for length in (0..1200).chain([9_999, 10_000, 123_456]) {
        let input = format!("*2\r\n${length}\r\n{}\r\n+{}\r\n", "v".repeat(length), "l".repeat(length.min(50)));
        let (whole, steps, _) = feed::<false>(input.as_bytes(), input.len(), usize::MAX);
        assert_eq!((steps, whole.values[1].3.len()), (vec![Step::Value], length));
        for piece in [1, 2, 3, 7, 64] {
            let (pieces, steps, _) = feed::<false>(input.as_bytes(), piece, usize::MAX);
            assert_eq!(
                (pieces.values, pieces.ended),
                (whole.values.clone(), whole.ended.clone()),
                "{length} by {piece}"
            );
            assert_eq!(steps, [Step::Value]);
        }
    }
}

#[test]
fn a_string_that_begins_and_goes_on_is_begun_at_once_as_by_feeding() {
    let goes_on = |parser: &mut Parser, rest: &[u8]| {
        let mut log = Log::<false>::new(0);
        let told = parser.feed(rest, &mut log);
        (told, log.values.len(), log.ended)
    };
    for length in [1, 9, 10, 999, 1000, 65_536] {
        let whole = [format!("${length}\r\n").as_bytes(), &vec![b'v'; length], b"\r\n:1\r\n"].concat();
        let header = whole.len() - length - 6;
        for cut in (0..header + 3).chain(header + length - 1..header + length + 2) {
            let (here, rest) = whole.split_at(cut);
            let begun = begun_bulk(here);
            let is_within = (header..header + length).contains(&cut);
            assert_eq!(begun, is_within.then_some((length as u64, header)), "{length} {cut}");
            let Some(begun) = begun else { continue };
            // It may have read anything before.
            let mut parser = Parser::default();
            parser.feed(b"|1\r\n+a\r\n:1\r\n*2\r\n$?\r\n;3\r\nab", &mut Log::<false>::new(9));
            parser.begin_bulk(begun, here);
            let mut fed = Parser::default();
            assert_eq!(fed.feed(here, &mut Log::<false>::new(0)), (cut, Step::More));
            assert!(!parser.is_idle());
            assert_eq!(goes_on(&mut parser, rest), goes_on(&mut fed, rest), "{length} {cut}");
        }
    }
    for input in ["", "$", "$1", "$1\r", "$-1\r\n", "$x\r\na", "*1\r\n", "$?\r\n", "$1099511627777\r\na", "$1 \r\n"] {
        assert_eq!(begun_bulk(input.as_bytes()), None, "{input}");
    }
}

#[test]
fn what_is_told_of_a_scalar_at_once_is_what_feeding_tells() {
    let strings = [0, 1, 9, 10, 99, 100, 999, 1000].map(|length| format!("${length}\r\n{}\r\n", "v".repeat(length)));
    let others = ["$-1\r\n", "_\r\n", "+OK\r\n", ":0\r\n", ":-7\r\n", ":123\r\n", ":1234567\r\n", ":-1234567\r\n"];
    for text in strings.into_iter().chain(others.map(str::to_owned)) {
        let behind = format!("{text}:12345\r\n");
        let mut log = Log::<false>::new(0);
        let (consumed, _) = Parser::default().feed(behind.as_bytes(), &mut log);
        assert_eq!(scalar(behind.as_bytes()), Some((log.values[0].1, &behind.as_bytes()[consumed..])), "{text}");
        for cut in 0..text.len() {
            assert_eq!(scalar(&text.as_bytes()[..cut]), None, "{text} cut at {cut}");
        }
    }
}

#[test]
fn a_length_of_other_signs_than_digits_is_none() {
    // What follows the digits in ASCII would be ten.
    for (length, bytes) in [(":", 10), ("1:", 20), (":1", 101), ("11:", 120), ("1:1", 201), (":11", 1011), ("", 0)] {
        let text = format!("${length}\r\n{}\r\n:12345\r\n", "v".repeat(bytes));
        assert_eq!((bulk(text.as_bytes()), scalar(text.as_bytes())), (None, None), "{length}");
    }
}

#[test]
fn only_a_string_of_its_own_of_which_nothing_is_wanted_is_passed_by() {
    for (begin, wants, is_passed) in [
        ("$5\r\nab", 0, true),
        ("$5\r\nab", 5, false),
        ("*1\r\n$5\r\nab", 0, false),
        ("$?\r\n;5\r\nab", 0, false),
        ("|1\r\n$5\r\nab", 0, false),
    ] {
        let mut parser = Parser::default();
        parser.feed(begin.as_bytes(), &mut Log::<false>::new(wants));
        assert_eq!(parser.pass_by(b"cde\r\n:1\r\n"), is_passed.then_some(BulkEnd::At(5)), "{begin}");
    }
}
