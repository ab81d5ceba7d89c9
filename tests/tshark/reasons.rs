//! Why tshark and resptap may tell different requests: each reason is held against the bytes and frames at hand.

use super::dissection::Dissected;
use super::truth::{Request, Segment, Sightings, Truth};

/// Where the two differ.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Difference<'a> {
    /// Only resptap tells a request.
    OnlyResptap(&'a Request),
    /// Only tshark does; here resptap last knew for certain where a request of the connection begins.
    OnlyTshark(&'a Request, usize),
    /// Nobody sent what tshark tells.
    NoRequest(&'a Dissected),
}

/// What both looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scene<'a> {
    pub(crate) truth: &'a Truth,
    pub(crate) sightings: &'a Sightings,
    /// tshark was to put segments in order.
    pub(crate) reorders: bool,
}

const INLINE: &str = "an inline command: tshark dissects none";
const BARE_LF: &str = "the line before ends with LF alone: tshark takes two bytes for its end";
const BETWEEN_WORDS: &str = "a segment ends between two arguments: tshark takes the array for whole";
const WORDS_MISSING: &str = "bytes of it are missing: tshark gives it up, resptap knows it by its beginning";
const CUT_OFF: &str = "it spans segments, one of which is cut off: tshark puts those together with none";
const WAITS: &str = "a segment before it is lost: tshark, told to reorder, waits for that for ever";
const SEEKS: &str = "bytes before it are missing: resptap is not yet certain again of where requests begin";
const CONTENT: &str = "bytes before it are missing: tshark takes the content of a value for a request";

pub(crate) const ALL: [&str; 8] = [INLINE, BARE_LF, BETWEEN_WORDS, WORDS_MISSING, CUT_OFF, WAITS, SEEKS, CONTENT];

impl Scene<'_> {
    /// The reason of a difference; `None`: there is none.
    pub(crate) fn reason(&self, difference: Difference<'_>) -> Option<&'static str> {
        match difference {
            Difference::OnlyResptap(request) => self.why_not_tshark(request),
            Difference::OnlyTshark(request, from) => {
                (!self.sightings.has_all(request.port, from, request.begin)).then_some(SEEKS)
            }
            Difference::NoRequest(dissected) => self.why_made_up(dissected),
        }
    }

    fn why_not_tshark(&self, request: &Request) -> Option<&'static str> {
        let Request { port, begin, end, is_inline, .. } = *request;
        let bytes = self.truth.bytes(port);
        let segments = self.sightings.segments(port);
        let ends_within = |segment: &Segment| request.word_ends.contains(&segment.to) && segment.to < end;
        let is_part = |segment: &&Segment| segment.from < end && segment.to > begin;
        let is_whole_in = |segment: &Segment| segment.from <= begin && end <= segment.to;
        let reasons = [
            (INLINE, is_inline),
            (WORDS_MISSING, !self.sightings.has_all(port, begin, end)),
            (BARE_LF, bytes[..begin].ends_with(b"\n") && !bytes[..begin].ends_with(b"\r\n")),
            (BETWEEN_WORDS, segments.iter().any(ends_within)),
            (CUT_OFF, segments.iter().filter(is_part).any(|segment| segment.is_cut && !is_whole_in(segment))),
            (WAITS, self.reorders && !self.sightings.has_all(port, 0, begin)),
        ];
        reasons.into_iter().find(|(_, holds)| *holds).map(|(reason, _)| reason)
    }

    fn why_made_up(&self, dissected: &Dissected) -> Option<&'static str> {
        let &Dissected { port, ref words, .. } = dissected;
        let parts = words.iter().map(|word| [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat());
        let text = [format!("*{}\r\n", words.len()).into_bytes(), parts.collect::<Vec<_>>().concat()].concat();
        let bytes = self.truth.bytes(port);
        let is_content = self.truth.of_port(port).any(|request| {
            let within = &bytes[request.begin + 1..request.end];
            within.windows(text.len()).any(|window| window == text) && !self.sightings.has_all(port, 0, request.end)
        });
        is_content.then_some(CONTENT)
    }
}
