//! The progress of a run, on standard error if that is a terminal: of `resptap read` bytes, packets per second and time left,
//! of `resptap capture` a line that is written over.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

const BAR: &str = "{bytes:>10} of {total_bytes} [{wide_bar}] {packets}, {eta} left";
const SPINNER: &str = "{spinner} {bytes} {packets}, {elapsed}";

/// A progress bar, or a spinner where the end is unknown. Updating it is cheap; it is drawn at most 20 times a second.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    packets: Arc<AtomicU64>,
}

impl Progress {
    /// Shows that of `total_bytes` nothing is done yet. `None`: how much there is to do is not known (standard input).
    pub fn new(total_bytes: Option<u64>) -> Progress {
        // Where standard error is no terminal, the library draws nothing.
        Progress::on(ProgressDrawTarget::stderr(), total_bytes)
    }

    fn on(target: ProgressDrawTarget, total_bytes: Option<u64>) -> Progress {
        let packets = Arc::new(AtomicU64::new(0));
        let shown = Arc::clone(&packets);
        let style = ProgressStyle::with_template(if total_bytes.is_some() { BAR } else { SPINNER })
            .expect("the templates are checked by a test")
            .with_key("packets", move |state: &ProgressState, out: &mut dyn Write| {
                // Writing into the library's string does not fail.
                let _ = out.write_str(&rate(shown.load(Ordering::Relaxed), state.elapsed().as_secs_f64()));
            });
        Progress { bar: ProgressBar::with_draw_target(total_bytes, target).with_style(style), packets }
    }

    /// Shows what is done so far.
    pub fn update(&self, bytes: u64, packets: u64) {
        self.packets.store(packets, Ordering::Relaxed);
        self.bar.set_position(bytes);
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

/// A line that stays where it is.
#[derive(Debug)]
pub struct Line(ProgressBar);

impl Line {
    /// An empty one.
    pub fn new() -> Line {
        Line::on(ProgressDrawTarget::stderr())
    }

    fn on(target: ProgressDrawTarget) -> Line {
        let style = ProgressStyle::with_template("{spinner} {msg}").expect("the template is checked by a test");
        Line(ProgressBar::with_draw_target(None, target).with_style(style))
    }

    /// Shows a text. `false`: nobody sees it, as standard error is no terminal.
    pub fn show(&self, text: &str) -> bool {
        self.0.set_message(text.to_owned());
        self.0.tick();
        !self.0.is_hidden()
    }

    /// Takes the line away.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Default for Line {
    fn default() -> Line {
        Line::new()
    }
}

fn rate(packets: u64, seconds: f64) -> String {
    let per_second = if seconds > 0.0 { packets as f64 / seconds } else { 0.0 };
    #[expect(clippy::cast_sign_loss, reason = "a count by a time is not negative")]
    let per_second = HumanCount(per_second as u64);
    format!("{} packets, {per_second}/s", HumanCount(packets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use indicatif::InMemoryTerm;

    fn drawn(total_bytes: Option<u64>) -> (InMemoryTerm, Progress) {
        let terminal = InMemoryTerm::new(10, 100);
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255);
        let progress = Progress::on(target, total_bytes);
        progress.update(1 << 20, 1_234);
        progress.bar.force_draw();
        (terminal, progress)
    }

    #[test]
    fn a_bar_shows_bytes_packets_and_the_time_left() {
        let (terminal, progress) = drawn(Some(2 << 20));
        let shown = terminal.contents();
        assert!(shown.contains("1.00 MiB of 2.00 MiB"), "{shown}");
        assert!(shown.contains("1,234 packets, ") && shown.contains("/s") && shown.contains("left"), "{shown}");
        progress.finish();
        assert_eq!(terminal.contents(), "");
    }

    #[test]
    fn without_a_total_there_is_a_spinner() {
        let (terminal, _progress) = drawn(None);
        let shown = terminal.contents();
        assert!(shown.contains("1.00 MiB") && shown.contains("1,234 packets") && !shown.contains("left"), "{shown}");
    }

    #[test]
    fn a_line_is_written_over_and_taken_away() {
        let terminal = InMemoryTerm::new(10, 100);
        let line = Line::on(ProgressDrawTarget::term_like_with_hz(Box::new(terminal.clone()), 255));
        for text in ["1 s: first", "2 s: second"] {
            assert!(line.show(text));
            line.0.force_draw();
        }
        assert!(terminal.contents().ends_with(" 2 s: second") && !terminal.contents().contains("first"));
        line.finish();
        assert_eq!(terminal.contents(), "");
        assert!(!Line::on(ProgressDrawTarget::hidden()).show("unseen"));
    }

    #[test]
    fn the_rate_is_over_the_whole_time() {
        assert_eq!(rate(3_000_000, 2.0), "3,000,000 packets, 1,500,000/s");
        assert_eq!(rate(5, 0.0), "5 packets, 0/s");
    }
}
