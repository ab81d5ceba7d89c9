//! Partial sight: one direction alone, beginnings and ends that the capture does not have, hours of silence.

use super::diagram::{Played, play, play_with};
use crate::counters::Counter;
use crate::redis::pairing::Resync;

/// Connections of which only the client's side was seen, only the server's; bytes of requests and of replies that the
/// acknowledgements tell of.
fn one_sided(played: &Played) -> [u64; 4] {
    [Counter::OneSidedClient, Counter::OneSidedServer, Counter::OneSidedRequestBytes, Counter::OneSidedReplyBytes]
        .map(|counter| played.count(counter))
}

fn gaps(played: &Played) -> [u64; 3] {
    [Counter::Gaps, Counter::GapBytesMirror, Counter::GapBytesNetwork].map(|counter| played.count(counter))
}

// Row 58.

#[test]
fn row_58_of_the_clients_side_alone_requests_are_one_sided_and_acknowledgements_tell_the_replies_bytes() {
    // 7 and 8 bytes.
    let rest = "C GET a | s $1 | C GET b | s $22 | C ACK";
    let played = play(&format!("C SYN | s SYN | {rest}"));
    assert_eq!(played.told, ["GET a => one_sided", "GET b => one_sided"]);
    assert!(played.latencies_ms.is_empty());
    assert_eq!((one_sided(&played), gaps(&played)), ([1, 0, 0, 15], [0; 3]), "a side never seen is no gap");
    // The SYN-ACK was missed, but the handshake's ACK tells where replies begin.
    let played = play(&format!("C SYN | s SYN | C ACK | {rest}"));
    assert_eq!((one_sided(&played), gaps(&played)), ([1, 0, 0, 15], [0; 3]));
    let played = play(&format!("c SYN | s SYN | {rest}"));
    assert_eq!(played.told, ["GET a => one_sided", "GET b => one_sided"]);
    assert_eq!((one_sided(&played), gaps(&played)), ([1, 0, 0, 15], [0; 3]));
}

#[test]
fn row_58_what_was_acknowledged_before_the_capture_counts_for_nothing() {
    let played = play("c SYN | s SYN | c GET a | s $before | C GET b | s $22 | C GET c | s $1");
    assert_eq!(played.told, ["GET b => one_sided", "GET c => one_sided"]);
    assert_eq!(one_sided(&played), [1, 0, 0, 8], "the last reply was not acknowledged");
}

#[test]
fn row_58_of_the_servers_side_alone_acknowledgements_tell_the_requests_bytes() {
    // 20 bytes each.
    let rest = "c GET a | S $1 | wait 1s | c GET b | S $2 | wait 1s | S ACK";
    for start in ["c SYN | S SYN", "c SYN | s SYN"] {
        let played = play(&format!("{start} | {rest}"));
        assert!(played.told.is_empty(), "{:?}", played.told);
        let seen_first = if start.ends_with("S SYN") { 40 } else { 20 };
        assert_eq!(one_sided(&played), [0, 1, seen_first, 0], "{start}");
        assert_eq!(gaps(&played), [0; 3], "{start}");
        assert_eq!(played.count(Counter::RepliesPaired), 0);
    }
}

#[test]
fn row_58_a_side_that_shows_itself_late_was_lost_until_then() {
    let played = play("c SYN | S SYN | c GET a | S $1 | wait 1s | S ACK | C GET b | S $2");
    assert_eq!(one_sided(&played), [0; 4]);
    assert_eq!(gaps(&played), [1, 20, 0]);
    assert_eq!(played.told.len(), 1);
    let played = play("C SYN | s SYN | C GET a | s $1 | C GET b | S $2 | wait 1s | C ACK");
    assert_eq!(one_sided(&played), [0; 4]);
    assert_eq!(gaps(&played), [1, 7, 0]);
}

#[test]
fn row_58_a_handshake_without_data_is_of_no_side() {
    for diagram in ["C SYN", "C SYN | C ACK | C RST", "S SYN"] {
        assert_eq!(one_sided(&play(diagram)), [0; 4], "{diagram}");
    }
}

#[test]
fn row_58_acknowledgements_are_counted_over_the_end_of_the_number_space_and_strays_are_not() {
    for isn in [u32::MAX - 100, u32::MAX - 78, u32::MAX - 80, 7] {
        let played = play_with(
            |options| options.isn = isn,
            "c SYN | s SYN | C GET a | s $1 | C GET b | s $22 | C GET c | s $333 | C ACK",
        );
        assert_eq!(one_sided(&played), [1, 0, 0, 24], "{isn}");
    }
    // It acknowledges what nobody sent.
    let played = play("c SYN | s SYN | C GET a | s $1 | C GET b | C STRAY-ACK | s $22 | C ACK");
    assert_eq!(one_sided(&played), [1, 0, 0, 15]);
}

#[test]
fn one_sided_requests_that_have_expired_leave_the_pairing_open() {
    let played = play("C SYN | s SYN | C GET a | wait 31s | C GET b | S $1 | S $2 | C GET c | S $3");
    assert_eq!(played.told, ["GET a => one_sided", "GET b => lost", "GET c => lost"]);
}

#[test]
fn row_65_of_one_side_alone_a_new_connection_between_the_same_ends_ends_the_old_one() {
    let played = play("C SYN | s SYN | C GET a | s $1 | C ACK | again | C SYN | s SYN | C GET b | s $22 | C ACK");
    assert_eq!(played.told, ["GET a => one_sided", "GET b => one_sided"]);
    assert_eq!(one_sided(&played), [2, 0, 0, 15]);
    assert_eq!(played.count(Counter::ClosedReused), 1);
}

// A start in the middle.

#[test]
fn a_start_inside_a_value_that_looks_like_requests_pairs_none_of_it() {
    let missed = "c SYN | s SYN | c [*3_$3_SET_$1_a_$60_]";
    // Seen first: whole requests, pushed, and after them the rest of the value.
    let played =
        play(&format!("{missed} | C [*1_$4_PING_*2_$3_GET_$1_x_] | C [0123456789012345] | S +OK | C GET b | S $2"));
    let pairs: Vec<_> = played.told.iter().filter(|told| !told.ends_with("lost")).collect();
    assert!(pairs.is_empty(), "{pairs:?}");
}

#[test]
fn a_start_inside_a_reply_that_looks_like_replies_pairs_none_of_it() {
    // The capture begins with whole replies, pushed, which are content of a value; its rest follows, and then true replies.
    let diagram = "c SYN | s SYN | c GET a ; GET b | s [$40_] | C GET c ; GET d | S [$3_foo_$3_bar_] \
                   | S [0123456789012345678901_] | S $2 $3 $4 | C GET e | S $5";
    for resync in [Resync::Strict, Resync::Assume] {
        let played = play_with(|options| options.resync = resync, diagram);
        let is_wrong = |told: &&String| told.ends_with(" foo") || told.ends_with(" bar");
        assert_eq!(played.told.iter().find(is_wrong), None, "{:?}", played.told);
        assert_eq!(played.told.len(), 3, "{:?}", played.told);
    }
}

#[test]
fn what_looks_like_a_request_is_not_proved_to_be_one_by_how_its_client_waited_for_others() {
    // A serial client's value holds a request, which a packet of its own shows whole; what came before it in the packet is lost.
    let habit = "C GET a | S $1 | ".repeat(20);
    let value = "C [*3_$5_LPUSH_] | c [$12_kkkkkkkkkkkk_$23_] | C [*2_$4_ECHO_$3_foo_] | C [_] | S -WRONGTYPE";
    let behind =
        "C HGETALL h | S *0 | C GET b | S $2 | C LPUSH l v | S -WRONGTYPE | C SMEMBERS s | S *0 | C INCR n | S :1";
    for resync in [Resync::Strict, Resync::Assume] {
        let diagram = format!("C SYN | S SYN | {habit} {value} | {behind}");
        let played = play_with(|options| options.resync = resync, &diagram);
        let echo: Vec<_> = played.told.iter().filter(|told| told.starts_with("ECHO")).collect();
        assert_eq!(echo, ["ECHO foo => lost"], "{:?}", played.told);
    }
}

#[test]
fn by_habit_a_request_that_was_missed_has_been_answered_too() {
    // From the missed one on its client no longer waits: each reply comes when the next request has been sent.
    let habit = "C GET a | S $0 | ".repeat(40);
    let on: String = (1..12).map(|n| format!("C GET {n} | S ${} | ", n - 1)).collect();
    let played = play(&format!("C SYN | S SYN | {habit} c GET missed | {on} C GET 12"));
    let is_wrong = |told: &&String| told.starts_with("GET ") && told.contains("habit");
    assert_eq!(played.told.iter().find(is_wrong), None, "{:?}", played.told);
}

#[test]
fn what_follows_a_push_that_was_cut_off_may_be_the_rest_of_it() {
    for resync in [Resync::Strict, Resync::Assume] {
        // One element of the push comes in a packet of its own, together with the reply.
        let diagram = "C SYN | S SYN | C HELLO 3 | S [%0_] | C GET a | S [>2_$10_invalidate_*1/_] | S [$3_foo_$1_x_]";
        let played = play_with(|options| options.resync = resync, diagram);
        assert_eq!(played.told, ["HELLO ? => exact []", "GET a => lost"]);
    }
}

// Silence, and the end.

#[test]
fn a_connection_that_was_silent_for_hours_goes_on_as_one_that_was_there_before() {
    let played = play("C SYN | S SYN | C GET a | S $1 | wait 7200s | C GET b | S $2");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => lost"], "what the hours hid is not known");
    assert_eq!(played.count(Counter::ClosedIdle), 1);
    assert_eq!(played.count(Counter::ConnectionsMidstream), 1);
}

#[test]
fn a_silence_shorter_than_the_idle_timeout_hides_nothing() {
    let played = play("C SYN | S SYN | C GET a | S $1 | wait 3500s | C GET b | S $2");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2"]);
}

#[test]
fn whoever_waits_for_data_or_listens_may_be_silent_for_days() {
    let played = play("C SYN | S SYN | C BLPOP a 0 | wait 200000s | S $1 | C GET b | S $2");
    assert_eq!(played.told, ["BLPOP a 0 => exact blocking 1", "GET b => exact 2"]);
    let confirmation = "[*3_$9_subscribe_$1_a_:1_]";
    let message = "[*3_$7_message_$1_a_$1_m_]";
    let played = play(&format!("C SYN | S SYN | C SUBSCRIBE a | S {confirmation} | wait 200000s | S {message}"));
    assert_eq!(played.count(Counter::UnsolicitedPush), 1);
    assert_eq!((played.count(Counter::ClosedIdle), played.count(Counter::ConnectionsMidstream)), (0, 0));
}

#[test]
fn what_waits_when_the_capture_ends_is_unanswered_and_half_a_request_is_none() {
    let played = play("C SYN | S SYN | C GET a ; GET b | S $1 | C [*2_$3_GET_$5_ab]");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => unanswered capture_end"]);
    // Half a reply answers nothing.
    let played = play("C SYN | S SYN | C GET a | S [$10_01234]");
    assert_eq!(played.told, ["GET a => unanswered capture_end"]);
    let played = play("C SYN | S SYN | C GET a | wait 31s | C ACK | wait 31s | C ACK");
    assert_eq!(played.told, ["GET a => timed_out"]);
}

#[test]
fn a_reply_that_was_acknowledged_but_not_seen_when_the_capture_ends_is_lost() {
    let played = play("C SYN | S SYN | C GET a | S $1 | C GET b | s $2 | C ACK");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => lost"]);
    assert_eq!(gaps(&played), [1, 7, 0]);
}
