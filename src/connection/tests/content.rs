//! What looks like messages and is the content of one, of which the beginning was hidden.

use crate::redis::pairing::Resync;

use super::diagram::{play, play_with};
use super::told_after_waits;

#[test]
fn what_follows_the_hidden_beginning_of_a_string_may_be_its_content() {
    // Of a client of which nothing is known, `$2` may be in the string that answers `a`.
    let played = play("C SYN | S SYN | C GET a | s $1 | C GET b | S $2 | wait 1s | C GET c | S $3");
    assert_eq!(played.told, ["GET a => lost", "GET b => lost", "GET c => lost"]);
}

#[test]
fn the_rest_of_a_reply_whose_beginning_was_lost_is_not_taken_for_a_reply() {
    // Each element of the array begins a segment and looks like a reply; the client waits for all of it.
    let played = play("C SYN | S SYN | C LRANGE a 0 ; GET b | s [*3_] | S $x | S $y | S $z | S $2 | wait 1s | C ACK");
    assert_eq!(played.told, ["LRANGE a 0 => lost", "GET b => lost"]);
    let told = told_after_waits("C LRANGE a 0 | s [*3_] | S $x | S $y | S $z | wait 1s | C GET b | S $2");
    assert_eq!(told, ["LRANGE a 0 => lost", "GET b => resynced counted 2"]);
}

#[test]
fn what_is_hidden_of_a_string_whose_beginning_was_hidden_holds_no_reply() {
    // The content looks like replies, and more of it is hidden.
    let replies = "s [$25_] | S [$3_GET_] | s [$1_x_$3_] | S [GET_] | S [_] | S :2 | S :3 | wait 1s | C ACK";
    for requests in ["C GET a ; INCR b ; INCR c", "C GET a ; INCR b ; INCR c ; INCR d"] {
        let diagram = format!("C SYN | S SYN | {requests} | {replies}");
        let told = play_with(|options| options.resync = Resync::Strict, &diagram).told;
        assert!(told.iter().all(|told| told.ends_with("lost")), "{told:?}");
    }
}

#[test]
fn a_length_in_the_content_of_a_string_may_lead_beyond_its_end() {
    let told = |content: &str, others: &str| {
        let begin = "C GET a ; SET z v | s [$11_] | S [$-1_]";
        told_after_waits(&format!("{begin} | S {content} | S +OK | C SMEMBERS b | {others}"))
    };
    let lost = |count: usize| {
        ["GET a", "SET z v", "SMEMBERS b", "INCR c", "GET d"][..count].iter().map(|who| format!("{who} => lost"))
    };
    let but = |count: usize, last: &str| lost(count).chain([last.to_owned()]).collect::<Vec<_>>();
    let of_b = "S [*2_$1_x_*1_:1_]";
    // Up to behind the head of an array; then its elements look like replies, the last one like that to `b`. The length of an array,
    // or of a push, whose last element is the reply to `b`.
    let others = format!("{of_b} | C INCR c | S :3");
    for content in ["[$10_a_]", "[*3_:0_]", "[>3_:0_]"] {
        assert_eq!(told(content, &others), but(3, "INCR c => resynced eliminated 3"), "{content}");
    }
    // One that goes on, where it is hidden how.
    let others = format!("{of_b} | C INCR c | S :3 | C GET d | s $4 | C INCR e | S :5 | C SMEMBERS f | S [*1_$1_y_]");
    for content in ["[*6_:0_]", "[>6_:0_]"] {
        assert_eq!(told(content, &others)[..6], but(5, "INCR e => resynced eliminated 5"), "{content}");
    }
}

#[test]
fn a_string_counts_as_a_reply_that_has_no_line_in_it_beyond_whose_end_it_could_lead() {
    let others = "INCR c ; SET d v ; GET e ; INCR f ; INCR g ; SET h v ; GET i ; SET j v ; INCR k ; GET l";
    for (of_b, told_of_b) in [("$2", "resynced eliminated 2"), ("[$3__2_]", "lost")] {
        let replies = format!("s [$-1_] | S {of_b} | S :3 +OK $5 :6 :7 +OK $9 +OK :11 $12");
        let diagram = format!("C SYN | S SYN | C GET a ; GET b ; {others} | {replies}");
        let told = play_with(|options| options.resync = Resync::Strict, &diagram).told;
        assert_eq!(told[1], format!("GET b => {told_of_b}"));
        assert_eq!(told[2..4], ["INCR c => resynced eliminated 3", "SET d v => resynced eliminated OK"], "{of_b}");
    }
}

#[test]
fn the_end_of_a_value_that_looks_like_a_request_does_not_take_the_reply_to_all_of_it() {
    let open = "C SYN | S SYN | C GET a | S $1";
    let value = "c [*3_$3_SET_$1_k_$29_] | C [*3_$3_SET_$1_x_$3_abc_] | C [_] | S +OK";
    let others = "C GET b | S $2 | C INCR c | S :3 | C SMEMBERS d | S [*1_$1_x_] | C INCR e | S :5 | C GET f | S $6 \
         | C SET g | S +OK | C INCR h | S :8";
    let expect_lost = |told: &[String]| {
        let told = told.iter().find(|told| told.starts_with("SET x")).map(String::as_str);
        assert_eq!(told, Some("SET x abc => lost"));
    };
    let is_lost = |told: &String| told.ends_with("lost");
    // What is behind the value is believed by the kinds of its replies.
    let told = play_with(|options| options.resync = Resync::Strict, &format!("{open} | {value} | {others}")).told;
    expect_lost(&told);
    assert_eq!(told.iter().filter(|told| is_lost(told)).count(), 1, "{told:?}");
    // Where nothing was hidden an empty line is nothing.
    let told = play("C SYN | S SYN | C GET a | C [_] | C GET b | S $1 $2").told;
    assert_eq!(told, ["GET a => exact 1", "GET b => exact 2"]);
    // The last line of it that looks like an inline command is no better than the empty line that ends it.
    let line = "c GET h | c [*3_$3_SET_$1_k_$27_] | S $h | C [*2_$4_ECHO_$1_x_] | C [PING x_] | S +OK";
    let told =
        play_with(|options| options.resync = Resync::Strict, &format!("{open} | {line} | {others} | {others}")).told;
    assert!(told[1..3].iter().all(is_lost) && !is_lost(&told[told.len() - 1]), "{told:?}");
    // A hidden reply does not make it more believable.
    let hidden = format!("{open} | {value} | C INCR i | s :7 | C INCR j | S :8 | wait 1s | C ACK");
    let told = play_with(|options| options.resync = Resync::Strict, &hidden).told;
    assert!(told[1..].iter().all(is_lost), "{told:?}");
    // Of one that has always waited, and where silence is all that is known.
    let told = told_after_waits(&format!("{value} | {others} | {others}"));
    expect_lost(&told);
    assert!(!is_lost(&told[told.len() - 1]), "{told:?}");
    for begin in ["C SYN | S SYN | C GET a | C GET b | s $1 | S $2 | C ACK", "C GET a | S $1 | C ACK"] {
        let told = play(&format!("{begin} | {value} | C ACK | wait 3s | C GET c | S $3")).told;
        expect_lost(&told);
        assert_eq!(told.last().map(String::as_str), Some("GET c => resynced silence 3"), "{told:?}");
    }
    // Nor does a later one in the middle, by any assumption.
    let value = "C [*3_$3_SET_$1_w_$1_a_] | C [*3_$3_SET_$1_x_$3_abc_] | C [_] | S +OK";
    let told = play(&format!("{value} | C ACK | wait 3s | C GET c | S $3")).told;
    assert_eq!(told, ["SET w a => lost", "SET x abc => lost", "GET c => resynced silence 3"]);
    // Nor if a reply to another one that was hidden came meanwhile.
    let hidden =
        "c SET h v | c [*3_$3_SET_$1_k_$56_] | C [*3_$3_SET_$1_w_$1_a_] | S +OK | C [*3_$3_SET_$1_x_$3_abc_] | C [_]";
    let told = play(&format!("{open} | {hidden} | S +OK | C ACK | wait 3s | C GET c | S $3")).told;
    assert_eq!(told[1..], ["SET w a => lost", "SET x abc => lost", "GET c => resynced silence 3"]);
    // In no order that comes again.
    let exchanges = ["C INCR b | S :1", "C SET c v | S +OK", "C SMEMBERS d | S [*1_$1_x_]", "C GET f | S $6"];
    let mixed: Vec<&str> = (0..80).map(|n: usize| exchanges[n * n * n % 101 * 7 % 4]).collect();
    let told = play(&format!("{value} | {}", mixed.join(" | "))).told;
    expect_lost(&told);
    assert!(told.iter().filter(|told| told.contains("window")).count() > 60, "{told:?}");
}

#[test]
fn a_length_in_a_value_that_looks_like_a_request_may_lead_beyond_its_end() {
    let others = "C INCR c | S :3 | C SMEMBERS d | S [*1_$1_x_] | C INCR e | S :5 | C GET f | S $6 | C SET g v | S +OK \
         | C INCR h | S :8 | C SMEMBERS i | S [*1_$1_y_] | C INCR j | S :10 | C GET k | S $11";
    // What is in the value is no request.
    let is_right = |told: &String| told.ends_with("lost") || !told.starts_with("SET x") && !told.starts_with("GET z");
    // Over the end of the value, and all of `b` but its end; over that of `b`, too, and most of another.
    for (length, beneath) in [("23", "C GET b | S $2"), ("43", "C GET b | S $2 | C GET b | S $2")] {
        for cut in
            [&["*3_$3_SET_$1_x_$LL_abc_"][..], &["*3_$3_SET_$1_x_$LL_a", "bc_"], &["*3_$3_SET_$1_x_$LL_abc", "_"]]
        {
            let value: Vec<String> = cut.iter().map(|part| format!("C [{}]", part.replace("LL", length))).collect();
            let head = "C SYN | S SYN | C GET a | S $1 | c [*3_$3_SET_$1_k_$48_] | C [*2_$3_GET_$1_z_]";
            let diagram = format!("{head} | {} | S +OK | {beneath} | {others}", value.join(" | "));
            let told = play_with(|options| options.resync = Resync::Strict, &diagram).told;
            assert!(told.iter().all(is_right), "{diagram}: {told:?}");
        }
    }
    // Some of it is hidden.
    let head = "C SYN | S SYN | C GET a | S $1 | c [*3_$3_SET_$1_k_$48_] | C [*2_$3_GET_$1_z_] | C [*3_$3_SET_$1_x_$43_abc_] | S +OK";
    let diagram = format!("{head} | c GET b | S $2 | C GET b | S $2 | {others}");
    let told = play_with(|options| options.resync = Resync::Strict, &diagram).told;
    assert!(told.iter().all(is_right), "{told:?}");
}

#[test]
fn silence_does_not_end_with_what_may_be_the_rest_of_something() {
    for rest in ["[PING_]", "[$1_b_]", "[*2_$3_GET_$1_b_*2_]"] {
        let played = play(&format!("C GET a | S $1 | C ACK | wait 3s | C {rest} | S $2 | C GET c | S $3"));
        assert!(played.told.iter().all(|told| told.ends_with("lost")), "{rest}: {:?}", played.told);
    }
}
