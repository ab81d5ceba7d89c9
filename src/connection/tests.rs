//! Connections as little packet diagrams.
//!
//! Each line is a packet, a millisecond after the one before: `C GET a` (client), `S $1 x` (server); in lower case it happened,
//! but the capture missed it. Of servers `+text`, `-text`, `:number` and `$text` are replies, several of which go into one
//! packet; a client's words are a request, `;` puts another one behind it. Text in brackets is bytes as they are, of which the
//! capture did not keep what stands behind a `/`. A sign
//! behind the side changes the packet: `C~30` is seen 30 ms later than sent, `S-` acknowledges nothing new, `C0` offers no
//! window, `C!` is the side's last. `COPY` repeats a side's last data as it was, `AGAIN` what was missed last with a new
//! acknowledgement. `again` and `soon` begin other connections between the same ends (numbers far away, and a little ahead). `wait 3s` is
//! silence.

mod content;
mod diagram;
mod ends;
mod sight;

use diagram::{play, play_with};

use crate::counters::Counter;
use crate::redis::pairing::Resync;

#[test]
fn requests_and_replies_pair_in_order() {
    let played = play("C SYN | S SYN | C GET a ; GET b | S $1 | C ECHO c | S $2 $c | C FIN | S FIN");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2", "ECHO c => exact c"]);
}

#[test]
fn replies_that_come_together_are_of_requests_that_were_sent_with_more_or_less_knowledge() {
    // What the client had received is another for each request that goes by itself; what both ways know of that is compared.
    let own = "| C GET a ; GET b ; GET c | S $1 | C GET d | C GET e ; GET f";
    let played = play(&format!("C SYN | S SYN {own} | S $2 $3 $4 $5 | C GET g | S $6 $7 {own} | S $2 $3 $4 $5 $6"));
    let order: String = played.told.iter().map(|told| &told["GET ".len()..]).collect();
    let paired = |request: char, reply: u8| format!("{request} => exact {reply}");
    let expected = "abcdefg".chars().zip(1..).chain("abcdef".chars().zip(1..));
    assert_eq!(order, expected.map(|(request, reply)| paired(request, reply)).collect::<String>());
    // Some that are not simple are among those behind.
    let long = "k".repeat(40);
    for several in ["GET b", "GET b ; GET x", "GET b ; GET x ; GET y"] {
        let requests = format!("{several} ; GET {long} ; GET z ; MGET a b ; GET c");
        let count = requests.split(';').count();
        let played = play(&format!("C SYN | S SYN | C GET a | S $1 | C {requests} | S{}", " $2".repeat(count)));
        assert_eq!(played.told.len(), 1 + count);
    }
}

#[test]
fn a_client_that_is_never_answered_is_given_up_while_others_still_find_room() {
    // There is room for about 2,000 requests.
    let given_up = |requests: usize| {
        let played = play(&format!("C SYN | S SYN{}", " | C GET a".repeat(requests)));
        played.count(Counter::EvictedRequests)
    };
    assert_eq!((given_up(1600), given_up(2250)), (0, 1));
    // However many of them come in one segment.
    let many = format!(" | C GET a{}", " ; GET a".repeat(49));
    for requests in (1600..=2250).step_by(50) {
        let played = play(&format!("C SYN | S SYN | C GET a | S $1{}", many.repeat(requests / 50)));
        assert_eq!(played.count(Counter::EvictedRequests), given_up(requests), "{requests}");
    }
}

#[test]
fn what_few_connections_have_takes_a_place_only_while_there_is_any_of_it() {
    let transaction = "C MULTI | S +OK | C SET a 1 | S +QUEUED | C EXEC | S [*1_+OK_]";
    let subscribed = |count: u8| {
        format!(
            "C SUBSCRIBE a | S [*3_$9_subscribe_$1_a_:1_] | C UNSUBSCRIBE a | S [*3_$11_unsubscribe_$1_a_:{count}_]"
        )
    };
    for (diagram, asides) in [
        ("C GET a | S $1".to_owned(), "..".to_owned()),
        (transaction.to_owned(), "...xx.".to_owned()),
        ("C MULTI ; SET a 1 ; GET b ; DISCARD | S +OK +QUEUED +QUEUED | S +OK".to_owned(), ".x.".to_owned()),
        (subscribed(0), ".xx.".to_owned()),
        (subscribed(1), ".xxx".to_owned()),
        ("C SUBSCRIBE a | S [*3_$9_subscribe_$1_a_:1_] | C RESET | S +RESET".to_owned(), ".xx.".to_owned()),
        ("C REPLCONF rdb-channel 1 | S +OK | C RESET | S +RESET".to_owned(), "xxx.".to_owned()),
        ("C REPLCONF ip-address a | S +OK".to_owned(), "x.".to_owned()),
        ("C GET a | C STRAY-SYN | S $1".to_owned(), ".xx".to_owned()),
    ] {
        let played = play(&format!("C SYN | S SYN | {diagram}"));
        assert_eq!(played.asides, format!("..{asides}"), "{diagram}");
    }
}

#[test]
fn the_reply_to_a_subscription_is_all_of_its_confirmations() {
    let first = "[*3_$9_subscribe_$1_a_:1_]";
    let played = play(&format!("C SYN | S SYN | C SUBSCRIBE a b | S {first} | wait 3s | S [*3_$9_subscribe_$1_b_:2_]"));
    let [[_, bytes, t3, t4]] = played.replies[..] else { panic!("{:?}", played.replies) };
    assert_eq!((bytes, (t4 - t3) / 1_000_000_000), (2 * 30, 3));
}

// Row 25.

#[test]
fn row_25_a_reply_after_the_timeout_pairs_with_its_own_request_and_is_late() {
    let played = play("C SYN | S SYN | C GET a | wait 31s | C GET b | S $1 | S $2");
    assert_eq!(played.told, ["GET a => timed_out", "GET a => exact late 1", "GET b => exact 2"]);
    assert_eq!(played.count(Counter::RequestsLate), 1);
}

#[test]
fn row_25_the_clock_of_a_request_starts_when_it_reaches_the_head() {
    let played = play("C SYN | S SYN | C GET a ; GET b | wait 20s | S $1 | wait 20s | S $2");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2"]);
    let played = play("C SYN | S SYN | C BLPOP a 0 ; GET b | wait 100s | S +1 | wait 20s | S $2");
    assert_eq!(played.told, ["BLPOP a 0 => exact blocking 1", "GET b => exact 2"]);
}

#[test]
fn row_25_what_timed_out_is_told_once_when_the_capture_ends() {
    let played = play("C SYN | S SYN | C GET a | wait 31s | C GET b");
    assert_eq!(played.told, ["GET a => timed_out", "GET b => unanswered capture_end"]);
}

// Rows 27 and 29.

#[test]
fn row_27_a_server_that_speaks_first_answers_nobody() {
    let played = play("C SYN | S SYN | S -ERR_max | S FIN");
    assert!(played.told.is_empty());
    assert_eq!(played.count(Counter::UnsolicitedNoRequest), 1);
    // The request crosses it on the way: the server has not received it.
    let played = play("C SYN | S SYN | C PING | S- -ERR_max | S FIN");
    assert_eq!(played.told, ["PING => lost"]);
}

#[test]
fn row_29_requests_that_a_closing_connection_leaves_behind_are_unanswered() {
    let played = play("C SYN | S SYN | C GET a ; SHUTDOWN | S $1 | S FIN");
    assert_eq!(played.told, ["GET a => exact 1", "SHUTDOWN => unanswered fin"]);
    let played = play("C SYN | S SYN | C GET a | C RST");
    assert_eq!(played.told, ["GET a => unanswered rst"]);
    let played = play("C SYN | S SYN | C GET a | C FIN | S $1 | S FIN");
    assert_eq!(played.told, ["GET a => exact 1"], "a client that has closed its side may yet be answered");
}

// Rows 59 to 62; row 58 and more of partial sight: sight.rs.

#[test]
fn row_59_bytes_that_the_peer_acknowledged_were_lost_by_the_mirror_others_by_the_network() {
    let played = play("C SYN | S SYN | C GET a | s $1 | C GET b | S $2 | wait 1s | C GET c");
    assert_eq!((played.count(Counter::GapBytesMirror), played.count(Counter::GapBytesNetwork)), (7, 0));
    let played = play("C SYN | S SYN | C GET a | s $1 | S $2 | wait 1s | S $3");
    assert_eq!((played.count(Counter::GapBytesMirror), played.count(Counter::GapBytesNetwork)), (0, 7));
}

#[test]
fn row_62_what_is_cut_off_inside_a_string_is_stepped_over() {
    let played =
        play("C SYN | S SYN | C [*3_$3_SET_$1_k_$9_12/3456789_] | S +OK | C GET a | S [$5_/12345_] | C GET b | S $2");
    assert_eq!(played.told, ["SET k 12 => exact gap OK", "GET a => exact gap ", "GET b => exact 2"]);
}

#[test]
fn row_62_a_request_that_is_cut_off_and_answered_hides_no_other_if_there_is_no_room_for_one() {
    let after = "C GET a | S $1 | C ECHO b | S $b";
    let play = |cut: &str| play(&format!("C SYN | S SYN | C PING | S +PONG | {cut} | {after}"));
    let told = ["GET a => exact 1", "ECHO b => exact b"];
    // The value's end, and two arguments of two bytes: less than eight bytes more than two empty ones.
    let played = play("C [*5_$3_SET_$1_k_$1_/v_$2_EX_$2_60_] | S +OK");
    assert_eq!(played.told[1..], ["SET k ? => exact gap OK", told[0], told[1]]);
    // One more is hidden, and answered after the next was sent.
    let played = play("C [*5_$3_SET_$1_k_$1_/v_$2_EX_$2_60_*2_$3_GET_$1_x_] | S +OK | C GET b | S $x");
    assert!(!played.told.contains(&"GET b => exact x".to_owned()), "{:?}", played.told);
    // The server was told to be silent: that nothing came back says nothing.
    let silent = "C [*3_$6_CLIENT_$5_REPLY_$4_SKIP_*5_$3_SET_$1_k_$1_/v_$2_EX_$2_60_]";
    let played = play(silent);
    assert!(!played.told.contains(&told[0].to_owned()), "{:?}", played.told);
}

#[test]
fn row_62_the_content_of_an_argument_that_was_cut_off_is_no_request() {
    // The second value begins with the second segment, and looks like a request.
    let whole = "C SYN | S SYN | C PING | S +PONG | C [*5_$4_MSET_$1_a_$1_/1_$1_b_$20_] | C [*2_$3_GET_$1_x__] | C GET a | S +OK $1";
    let told = play(whole).told;
    assert_eq!(told[..2], ["PING => exact PONG", "MSET a ? => exact gap OK"]);
    assert!(told[2..].iter().all(|told| told.ends_with("lost")), "{told:?}");
}

#[test]
fn row_61_keep_alives_and_closed_windows_are_no_data() {
    let played = play("C SYN | S SYN | C GET a | S $1 | wait 9s | C KEEP | S ACK | C0 ACK | wait 9s | C GET b | S $2");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2"]);
    assert_eq!((played.count(Counter::KeepAlives), played.count(Counter::Retransmitted)), (1, 0));
}

#[test]
fn row_61_sequence_numbers_wrap_in_the_middle_of_messages() {
    for isn in [u32::MAX - 40, u32::MAX - 25, u32::MAX - 3, u32::MAX] {
        let diagram = "C SYN | S SYN | C GET a | S $1 | C [*2_$3_GE] | C [T_$1_b_] | S [$1] | S [_2_] | C GET c | S $3";
        let played = play_with(|options| options.isn = isn, diagram);
        assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2", "GET c => exact 3"]);
    }
}

#[test]
fn row_61_a_reset_outside_the_window_ends_nothing() {
    let played = play("C SYN | S SYN | C GET a | S STRAY-RST | S $1 | C GET b | S $2");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2"]);
    assert_eq!(played.count(Counter::OutOfWindow), 1);
}

#[test]
fn a_retransmission_is_flagged_and_changes_nothing() {
    let played = play("C SYN | S SYN | C GET a | C COPY | S $1 | S COPY | C GET b | S $2");
    assert_eq!(played.told, ["GET a => exact retransmit 1", "GET b => exact 2"]);
    assert_eq!(played.count(Counter::Retransmitted), 2);
}

#[test]
fn row_62_bytes_missing_inside_a_bulk_cost_only_a_flag() {
    let set = "[*3_$3_SET_$1_a_$10_01234]";
    let played =
        play(&format!("C SYN | S SYN | C {set} | c [567] | C [89_] | S +OK | C GET b | S $2 | wait 1s | C ACK"));
    assert_eq!(played.told, ["SET a 01234 => exact gap OK", "GET b => exact 2"]);
    let played = play("C SYN | S SYN | C GET a | S [$10_01234] | s [567] | S [89_] | wait 1s | C GET b | S $2");
    assert_eq!(played.told, ["GET a => exact gap 01234", "GET b => exact 2"]);
}

// Rows 64 to 68.

#[test]
fn row_64_a_reply_to_what_its_server_has_not_received_pairs_with_nothing() {
    let played = play("C SYN | S SYN | C GET a | S- $1 | C GET b | S $2");
    assert_eq!(played.told, ["GET a => lost", "GET b => lost"]);
    assert_eq!(played.count(Counter::Contradictions), 1);
    // Nor on a connection on which all was usual so far.
    let usual = "C SYN | S SYN | C GET x | S $8 | C GET y | S $9";
    let played = play(&format!("{usual} | C GET a | S- $1 | C GET b | S $2"));
    assert_eq!(played.told[2..], ["GET a => lost", "GET b => lost"]);
    assert_eq!(played.count(Counter::Contradictions), 1);
}

#[test]
fn what_is_hidden_behind_what_had_waited_is_hidden_to_the_segment_that_ends_the_waiting() {
    let usual = "C SYN | S SYN | C GET x | S $8 | C GET y | S $9";
    // Of a SET's value the middle is missing; behind its end comes a whole request, and one that was cut off.
    let hole = "C [*3_$3_SET_$1_k_$30_aaaaaaaaaa] | c [bbbbbbbbbb] | C [cccccccccc_*2_$3_GET_$1_a_/*2_$3_GET_$1_h_]";
    let played = play(&format!("{usual} | {hole} | wait 1s | S +OK $1 $7 | C GET b | S $2"));
    assert_eq!(played.told.len(), 5, "{:?}", played.told);
    assert!(played.told[2].ends_with("=> exact gap OK"), "{:?}", played.told);
    assert_eq!(played.told[3], "GET a => exact 1");
    assert!(!played.told[4].contains("exact"), "{:?}", played.told);
}

#[test]
fn row_65_a_stray_syn_does_not_end_a_living_connection() {
    let played = play("C SYN | S SYN | C GET a | C STRAY-SYN | S $1 | C GET b | S $2");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2"]);
    assert_eq!(played.count(Counter::ConnectionsOpened), 1);
    // Also if it seems to have said where one of its own segments begins, which may come again.
    for segments in ["C GET xy | C GET b | S $1 | S $2", "C~20 GET xy | C GET b | wait 1s | S $1 | S $2"] {
        let played = play(&format!("C SYN | S SYN | C GET a | S $0 | C STRAY-SYN-AHEAD | {segments}"));
        assert_eq!(played.told, ["GET a => exact 0", "GET xy => exact 1", "GET b => exact 2"]);
        assert_eq!(played.count(Counter::ConnectionsOpened), 1);
    }
}

#[test]
fn row_65_after_an_rst_out_of_nowhere_a_stray_syn_begins_nothing_in_what_goes_on() {
    let played = play("C SYN | S SYN | C GET a | S $0 | C RST | C STRAY-SYN-AHEAD | C GET xy | C GET b | S $1 | S $2");
    assert_eq!(played.told, ["GET a => exact 0"]);
    assert_eq!(played.count(Counter::ConnectionsOpened), 1);
    // A new connection whose numbers go on from there does.
    for (syn_ack, last, begun) in [("S SYN", "GET b => exact 2", [2, 0]), ("s SYN", "GET b => lost", [1, 1])] {
        assert_eq!(begun_again("C RST", syn_ack), (["GET a => exact 1", last].map(String::from).to_vec(), begun));
    }
}

/// What is told of a connection that ends like this and another one whose numbers go on from there, and how many began, and were
/// found.
fn begun_again(end: &str, syn_ack: &str) -> (Vec<String>, [u64; 2]) {
    let played = play(&format!("C SYN | S SYN | C GET a | S $1 | {end} | soon | C SYN | {syn_ack} | C GET b | S $2"));
    let begun = [Counter::ConnectionsOpened, Counter::ConnectionsMidstream].map(|begun| played.count(begun));
    (played.told, begun)
}

#[test]
fn row_65_after_a_fin_a_syn_begins_another_connection_whatever_its_numbers() {
    for end in ["C FIN | S FIN", "S FIN | C FIN", "S FIN"] {
        for syn_ack in ["S SYN", "s SYN"] {
            let (told, begun) = begun_again(end, syn_ack);
            assert_eq!(
                (&told[..], begun),
                (&["GET a => exact 1", "GET b => exact 2"].map(String::from)[..], [2, 0]),
                "{end} {syn_ack}"
            );
        }
    }
}

#[test]
fn row_65_a_late_copy_of_its_own_syn_begins_no_connection() {
    // Nor with a copy of its first request behind it, which would be told twice.
    let played = play("C SYN | S SYN | C GET a | C SYN-COPY | C COPY | S $1 | C COPY | C GET b | S $2");
    assert_eq!(played.told, ["GET a => exact retransmit 1", "GET b => exact 2"]);
    assert_eq!(played.count(Counter::ConnectionsOpened), 1);
}

#[test]
fn row_65_a_new_connection_between_the_same_ends_ends_the_old_one() {
    let played = play("C SYN | S SYN | C GET a | again | C SYN | S SYN | C GET b | S $2");
    assert_eq!(played.told, ["GET a => unanswered reused", "GET b => exact 2"]);
    let played = play("C SYN | S SYN | C GET a | S $1 | C FIN | S FIN | again | C SYN | S SYN | C GET b | S $2");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2"]);
    // Its SYN-ACK was missed: data that continues at the SYN proves it, what was its beginning can't be told any more.
    let played = play("C SYN | S SYN | C GET a | again | C SYN | s SYN | C GET b | S $2");
    assert_eq!(played.told, ["GET a => unanswered reused", "GET b => lost"]);
    // All of its beginning was missed: its numbers tell.
    let played = play("C SYN | S SYN | C GET a | again | c SYN | s SYN | C GET b | S $2");
    assert_eq!(played.told, ["GET a => unanswered reused", "GET b => lost"]);
}

#[test]
fn a_syn_at_which_no_data_continues_begins_nothing() {
    // A stray SYN where a connection was known no more, a little ahead of what its client really sends.
    let played = play("C STRAY-SYN-AHEAD | C GET a ; GET b | S $1 $2 | C GET c | S $3");
    assert!(played.told.iter().all(|told| told.ends_with("lost")), "{:?}", played.told);
}

#[test]
fn replies_that_begin_nowhere_known_are_not_counted() {
    // Neither SYN-ACK nor handshake ACK, and the second reply comes first.
    let played = play("C SYN | s SYN | C~9 GET a | S~12 $1 | C~9 GET b | S $2 | wait 1s | C GET c | S $3");
    assert_eq!(played.told, ["GET a => lost", "GET b => lost", "GET c => lost"]);
    // What the client acknowledges with its second request is not where replies begin.
    let played = play("C SYN | s SYN | C~9 GET a | S~12 $1 | C GET b | S $2 | wait 1s | C GET c | S $3");
    assert!(played.told.iter().all(|told| !told.contains("exact")), "{:?}", played.told);
}

#[test]
fn row_67_time_going_backwards_makes_no_negative_latency() {
    let played = play("C SYN | S SYN | C GET a | back 5s | S $1 | C GET b | wait 9s | S $2");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2"]);
    assert_eq!(played.count(Counter::TimeBackwards), 2);
    assert_eq!(played.latencies_ms, [0, 4_005]);
}

#[test]
fn row_68_an_error_before_the_request_has_ended_answers_it() {
    let played = play("C SYN | S SYN | C [*2_$3_GET_$999_abc] | S -ERR_Protocol | S FIN");
    assert_eq!(played.told, ["GET ? => exact malformed ERR_Protocol"]);
}

#[test]
fn row_68_what_was_assumed_stays_assumed() {
    let played =
        play("C GET a | S $1 | C ACK | wait 3s | C [*2_$3_GET_$1_b_] | S $2 | C [*2_$3_GET_$999_abc] | S -ERR");
    let expected = ["GET a => lost", "GET b => resynced silence 2", "GET ? => resynced silence malformed ERR"];
    assert_eq!(played.told, expected);
}

#[test]
fn row_69_whether_replies_were_silenced_before_the_capture_is_not_assumed() {
    // Since before the capture there have been no replies: the first one is not the first request's.
    let played = play("C GET a | C GET b | S ACK | C CLIENT REPLY ON | S +OK | C GET c | S $3 | C GET d | S $4");
    assert!(played.told.iter().all(|told| !told.contains("exact") && !told.contains("resynced")), "{:?}", played.told);
    // What was assumed after a silence ends with the command that shows that it may have been silence of another kind.
    let silence = "C GET a | S $1 | C ACK | wait 3s";
    let played = play(&format!("{silence} | C GET b | S $2 | C CLIENT REPLY ON | C GET c | S +OK | S $3"));
    assert_eq!(played.told[1], "GET b => resynced silence 2");
    assert!(played.told[2..].iter().all(|told| told.ends_with("lost")), "{:?}", played.told);
    // Where the beginning was seen it is known.
    let played = play("C SYN | S SYN | C CLIENT REPLY OFF | C GET a | C CLIENT REPLY ON | S +OK | C GET c | S $3");
    let expected =
        ["CLIENT REPLY OFF => no_reply", "GET a => no_reply", "CLIENT REPLY ON => exact OK", "GET c => exact 3"];
    assert_eq!(played.told, expected);
}

// What was hidden: PAIRING.

/// A client that has waited for each of its replies.
const WAITS: &str = "C SYN | S SYN | C GET 1 | S $1 | C GET 2 | S $2 | C GET 3 | S $3 | C GET 4 | S $4 | C GET 5 | S $5 \
                     | C GET 6 | S $6 | C GET 7 | S $7 | C GET 8 | S $8 | C GET 9 | S $9";

fn told_after_waits(rest: &str) -> Vec<String> {
    play_with(|options| options.resync = Resync::Strict, &format!("{WAITS} | {rest}")).told.split_off(9)
}

#[test]
fn counted_a_client_goes_on_after_a_lost_reply_that_was_a_single_line() {
    for resync in [Resync::Strict, Resync::Assume] {
        let diagram = "C SYN | S SYN | C INCR a | s :1 | C GET b | S $2 | wait 1s | C GET c | S $3";
        let played = play_with(|options| options.resync = resync, diagram);
        assert_eq!(played.told, ["INCR a => lost", "GET b => resynced counted 2", "GET c => exact 3"]);
        assert_eq!(played.count(Counter::ResyncsCounted), 1);
    }
}

#[test]
fn counted_a_client_that_has_waited_for_its_replies_goes_on_after_any_that_is_lost() {
    let told = told_after_waits("C GET a | s $1 | C GET b | S $2 | wait 1s | C GET c | S $3");
    assert_eq!(told, ["GET a => lost", "GET b => resynced counted 2", "GET c => exact 3"]);
}

#[test]
fn eliminated_the_kinds_of_replies_tell_which_of_several_was_lost() {
    // One or two were lost; the third that comes is none of INCR.
    let played = play_with(
        |options| options.resync = Resync::Strict,
        "C SYN | S SYN | C INCR a ; INCR b ; INCR c ; PING ; INCR e | s [:100_] | S :2 :3 +PONG :5 | wait 1s | C ACK",
    );
    let expected = [
        "INCR a => lost",
        "INCR b => resynced eliminated 2",
        "INCR c => resynced eliminated 3",
        "PING => exact PONG",
        "INCR e => exact 5",
    ];
    assert_eq!(played.told, expected);
    assert_eq!(played.count(Counter::ResyncsEliminated), 1);
}

#[test]
fn of_several_outstanding_requests_the_other_replies_tell_which_one_was_lost() {
    let told = told_after_waits("C INCR a ; GET b ; GET c | s :1 | S $2 $3 | wait 1s | C GET d | S $4");
    let expected = ["INCR a => lost", "GET b => resynced counted 2", "GET c => exact 3", "GET d => exact 4"];
    assert_eq!(told, expected);
    // Not if there may be one more.
    let told = told_after_waits("C INCR a ; GET b ; GET c | s [:100000_] | S $2 | wait 1s | C GET d | S $4");
    assert_eq!(told, ["INCR a => lost", "GET b => lost", "GET c => lost", "GET d => lost"]);
}

#[test]
fn a_copy_of_a_reply_acknowledges_too_much_to_prove_a_boundary() {
    // What comes again, an element of an array, acknowledges a request that was sent later.
    let array = "s [*2_] | s $x | S $y";
    let played = play(&format!(
        "C SYN | S SYN | C LRANGE a 0 ; GET b | {array} | S $2 | C GET c | S AGAIN | S $3 | wait 1s | C ACK"
    ));
    assert_eq!(played.told, ["LRANGE a 0 => lost", "GET b => lost", "GET c => lost"]);
}

#[test]
fn what_fills_a_hole_may_acknowledge_more_than_when_it_was_first_sent() {
    // The client asks again in the middle of an array; the network loses the element that follows, which is sent again.
    let played =
        play("C SYN | S SYN | C LRANGE a 0 | s [*2_] | C GET c | s- $x | S- $y | S AGAIN | S $3 | wait 1s | C ACK");
    assert_eq!(played.told, ["LRANGE a 0 => lost", "GET c => lost"]);
}

#[test]
fn a_copy_of_a_request_does_not_tell_what_its_client_had_received_at_first() {
    let told = told_after_waits(
        "c LRANGE a 0 | S ACK | s [*2_] | C AGAIN | S $x | S $y | wait 1s | C GET b | S $2 | wait 1s | C ACK",
    );
    assert_eq!(told, ["LRANGE a 0 => lost", "GET b => resynced counted 2"]);
}

#[test]
fn a_lost_request_leaves_those_before_it_their_replies() {
    let played = play("C SYN | S SYN | C GET a | c GET b | C GET c | S $1 $2 $3 | wait 1s | C GET d | S $4");
    assert_eq!(played.told, ["GET a => exact 1", "GET c => lost", "GET d => lost"]);
}

#[test]
fn a_request_whose_command_was_not_seen_may_have_no_reply() {
    // CLIENT REPLY SKIP: the next reply is not its own.
    let played =
        play("C SYN | S SYN | C [*3_$6_CLIENT_] | c [$5_REPLY_$4_SKIP_] | C GET b | C GET c | S $3 | wait 1s | C ACK");
    assert!(played.told.iter().all(|told| told.ends_with("lost")), "{:?}", played.told);
    let played = play(
        "C SYN | S SYN | C [*3_$6_CL] | c [IE] | C [NT_$5_REPLY_$4_SKIP_] | C GET b | C GET c | S $3 | wait 1s | C ACK",
    );
    assert!(played.told.iter().all(|told| told.ends_with("lost")), "{:?}", played.told);
}

#[test]
fn a_change_of_mode_whose_arguments_were_not_seen_may_be_any() {
    // Cut off within the argument, and lost with all that follows.
    for change in ["C [*3_$6_CLIENT_$5_REPLY_$4_] | c [SKIP] | C [_]", "C [*3_$6_CLIENT_$5_REPLY_] | c [$4_SKIP_]"] {
        let played = play(&format!(
            "C SYN | S SYN | {change} | C SET b 1 | C SET c 1 | S +OK | wait 1s | C ACK | C SET d 1 | S +OK"
        ));
        assert!(played.told.iter().all(|told| told.ends_with("lost")), "{change}: {:?}", played.told);
    }
    // How many confirmations it has is not known.
    let played = play(
        "C SYN | S SYN | C [*3_$9_SUBSCRIBE_$1_a_] | c [$1_b_] | C PING | S [*3_$9_subscribe_$1_a_:1_] | S [*3_$9_subscribe_$1_b_:2_] | wait 1s | C ACK",
    );
    assert!(played.told.iter().all(|told| !told.starts_with("PING => exact")), "{:?}", played.told);
}

#[test]
fn silence_mid_stream_is_an_assumption_with_a_name() {
    let diagram = "C GET a | S $1 | C ACK | wait 3s | C GET b | S $2 | C GET c | S $3";
    let expected = ["GET a => lost", "GET b => resynced silence 2", "GET c => resynced silence 3"];
    assert_eq!(play(diagram).told, expected);
    let strict = play_with(|options| options.resync = Resync::Strict, diagram);
    assert_eq!(strict.told, ["GET a => lost", "GET b => lost", "GET c => lost"]);
}

#[test]
fn what_ends_subscriptions_from_before_the_capture_has_nobody_knows_how_many_confirmations() {
    let played =
        play("C GET a | S $1 | C ACK | wait 3s | C GET b | S $2 | C UNSUBSCRIBE | S [*3_$11_unsubscribe_$1_x_:1_]");
    assert_eq!(played.told, ["GET a => lost", "GET b => resynced silence 2", "UNSUBSCRIBE => lost"]);
}

#[test]
fn silence_is_void_where_something_may_be_outstanding() {
    for (why, diagram) in [
        ("too short", "C GET a | S $1 | C ACK | wait 1s | C GET b | S $2"),
        ("not everything is acknowledged", "C GET a | S $1 | wait 3s | C- GET b | S $2"),
        ("the window is closed", "C GET a | S $1 | C0 ACK | wait 3s | C GET b | S $2"),
        ("it ends with a reply", "C GET a | S $1 | C ACK | wait 3s | S $0 | C GET b | S $2"),
        ("a command may block", "C BLPOP a 0 | S ACK | S +1 | C ACK | wait 3s | C GET b | S $2"),
    ] {
        let played = play(diagram);
        assert_eq!(played.told.last().map(String::as_str), Some("GET b => lost"), "{why}");
    }
}

#[test]
fn silence_is_void_where_something_was_acknowledged_before_it_was_seen() {
    let silence = "C SYN | S SYN | C GET a | s $0 | C ACK | C GET b | C GET c | S $1 | C ACK | wait 3s";
    for (why, end) in [
        ("a lost reply ended it", "s $2 | C GET d | S $3"),
        ("a late reply ended it", "S~20 $2 | C GET d | wait 1s | S $3"),
        ("a late request began in it", "C~3000 GET d | S ACK | wait 4s | S $2 | S $3"),
    ] {
        let played = play(&format!("{silence} | {end}"));
        assert!(played.told.iter().all(|told| told.ends_with("lost")), "{why}: {:?}", played.told);
    }
}

#[test]
fn silence_is_void_while_a_blocking_command_waits_since_before_the_gap() {
    let played = play(
        "C SYN | S SYN | C GET a | S $1 | C BLPOP l 0 | c GET x | C GET y | S ACK | wait 1s | S ACK | wait 3s \
         | C GET b | S +pop | S $x | S $y | S $b",
    );
    let expected = ["GET a => exact 1", "BLPOP l 0 => exact blocking pop", "GET y => lost", "GET b => lost"];
    assert_eq!(played.told, expected);
}

#[test]
fn a_reply_seen_before_its_request_waits_for_it() {
    let played = play("C SYN | S SYN | C~30 GET a | S $1 | wait 1s | C GET b | S $2");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2"]);
    // Not for ever.
    let played = play("C SYN | S SYN | C~90 GET a | S $1 | wait 1s | C GET b | S $2");
    assert_eq!(played.told, ["GET a => lost", "GET b => lost"]);
}

#[test]
fn bytes_out_of_order_wait_for_those_before_them() {
    let played = play("C SYN | S SYN | C~30 GET a | C GET b | S~20 $1 | S $2 | wait 1s | C GET c | S $3");
    assert_eq!(played.told, ["GET a => exact 1", "GET b => exact 2", "GET c => exact 3"]);
}

// Modes in which replies can't be counted.

#[test]
fn a_change_of_mode_that_is_answered_by_something_else_is_lost_with_all_that_follows() {
    for change in ["SUBSCRIBE ch", "PSUBSCRIBE p", "MONITOR"] {
        let played = play(&format!(
            "C SYN | S SYN | C GET a | C {change} | S $1 | S $m | C PING | S +2 | wait 3s | C PING | S +3"
        ));
        assert_eq!(played.told[0], "GET a => exact 1", "{change}");
        assert!(played.told[1..].iter().all(|told| told.ends_with("lost")), "{change}: {:?}", played.told);
        assert_eq!((played.told.len(), played.count(Counter::Contradictions)), (4, 1), "{change}");
    }
}

#[test]
fn latency_is_from_last_byte_to_last_byte() {
    let played = play("C SYN | S SYN | C [*2_$3_GET] | wait 1s | C [_$1_a_] | wait 2s | S [$1] | wait 3s | S [_1_]");
    assert_eq!(played.told, ["GET a => exact 1"]);
    assert_eq!(played.latencies_ms, [5_004]);
}

#[test]
fn a_reply_of_a_kind_that_its_request_never_has_ends_an_assumption() {
    let assumed = "C GET a | S $1 | C ACK | wait 3s | C SET b v";
    let played = play(&format!("{assumed} | S +OK | C GET c | S $3"));
    assert_eq!(played.told[1..], ["SET b v => resynced silence OK", "GET c => resynced silence 3"]);
    let played = play(&format!("{assumed} | S :5 | C GET c | S $3"));
    assert!(played.told.iter().all(|told| !told.contains("resynced")), "{:?}", played.told);
    assert_eq!(played.count(Counter::Contradictions), 1);
}

#[test]
fn a_string_that_is_cut_into_segments_anywhere_is_one_reply_whatever_becomes_of_its_pieces() {
    let text = "$12_abcdefghijkl_";
    let byte = |at: usize| text.char_indices().nth(at).unwrap().0;
    // Bytes of the text, of which a `_` is two: none are sent alone, so that the places differ.
    for first in 1..text.len() {
        for second in first + 1..text.len() {
            let [a, b, c] = [&text[..byte(first)], &text[byte(first)..byte(second)], &text[byte(second)..]];
            let whole = |pieces: &str| {
                play(&format!("C SYN | S SYN | C PING | S +PONG | C GET a ; GET b ; GET c | {pieces} | C GET d | S :4"))
            };
            let played = whole(&format!("S [$1_x_{a}] | S [{b}] | S [{c}$5_three_]"));
            assert_eq!(
                played.told[1..],
                ["GET a => exact x", "GET b => exact abcdefghijkl", "GET c => exact three", "GET d => exact 4"],
                "{a} {b} {c}"
            );
            // Out of order, again, and without the middle.
            let late = whole(&format!("S [$1_x_{a}] | S~5 [{b}] | S [{c}$5_three_]"));
            assert_eq!(late.told.len(), 5, "{a} {b} {c}");
            let again = whole(&format!("S [$1_x_{a}] | S COPY | S [{b}] | S [{c}$5_three_]"));
            assert_eq!(again.told.concat().replace("retransmit ", ""), played.told.concat());
            whole(&format!("S [$1_x_{a}] | s [{b}] | S [{c}$5_three_]"));
            whole(&format!("S [$1_x_{a}] | S [{b}/x] | S [{c}$5_three_]"));
            whole(&format!("S [$1_x_{a}] | S [{b}] | wait 40s | S [{c}$5_three_]"));
            whole(&format!("S [$1_x_{a}] | S [{b}] | S FIN"));
        }
    }
}

// What comes on a connection that has had requests and replies, and nothing unusual.

fn play_on(diagram: &str) -> Vec<String> {
    let mut told = play(&format!("C SYN | S SYN | C PING | S +PONG | {diagram}")).told;
    assert_eq!(told.remove(0), "PING => exact PONG");
    told
}

#[test]
fn row_25_timeouts_are_as_long_on_a_connection_on_which_all_is_as_usual() {
    assert_eq!(
        play_on("C GET a | wait 31s | C GET b | S $1 | S $2"),
        ["GET a => timed_out", "GET a => exact late 1", "GET b => exact 2"]
    );
    assert_eq!(
        play_on("C GET a | wait 20s | C GET b | wait 20s | S $1 | S $2"),
        ["GET a => timed_out", "GET a => exact late 1", "GET b => exact 2"]
    );
    assert_eq!(
        play_on("C GET a ; GET b | wait 20s | S $1 | wait 20s | S $2"),
        ["GET a => exact 1", "GET b => exact 2"]
    );
    // In all they take longer than a connection may be silent.
    let told = play_on(&["C GET a | S $1 | wait 29s"; 130].join(" | "));
    assert!(told.len() == 130 && told.iter().all(|told| told == "GET a => exact 1"), "{told:?}");
}

#[test]
fn time_that_goes_back_behind_the_last_packet_but_not_behind_the_request_counts_as_none() {
    let played = play("C SYN | S SYN | C PING | S +PONG | C GET a | wait 3s | C GET b | back 1s | S $1 $2");
    assert_eq!(played.latencies_ms, [1, 3_002, 0]);
}

#[test]
fn a_string_that_begins_a_segment_and_goes_on_is_shown_and_answers_what_its_first_byte_acknowledged() {
    assert_eq!(
        play_on("C GET a | S [$5_ab] | S [cde_] | C GET b | S $2"),
        ["GET a => exact abcde", "GET b => exact 2"]
    );
    let told = play_on("C GET a | S- [$5_ab] | S [cde_]");
    assert!(told.iter().all(|told| !told.contains("exact")), "{told:?}");
}

#[test]
fn what_is_executed_silently_is_decided_when_it_is_the_first_of_a_usual_connection() {
    let skipped = ["GET a => exact 1", "CLIENT REPLY SKIP => no_reply", "GET b => no_reply", "GET c => exact 3"];
    assert_eq!(play_on("C GET a ; CLIENT REPLY SKIP ; GET b ; GET c | S $1 | S $3"), skipped);
    assert_eq!(play_on("C GET a ; CLIENT REPLY SKIP ; GET b ; GET c | S $1 $3"), skipped);
    assert_eq!(play_on("C GET a ; CLIENT REPLY OFF | S $1"), ["GET a => exact 1", "CLIENT REPLY OFF => no_reply"]);
    assert_eq!(play_on("C GET a ; CLIENT REPLY SKIP ; GET b ; GET c | S [$5_ab] | S [cde_$1_3_]")[1..], skipped[1..]);
}

#[test]
fn a_fin_behind_data_ends_a_stream_as_one_alone_does() {
    let told = |end: &str| play_on(&format!("C GET a | {end} | C GET b"));
    assert_eq!(told("S! $1"), told("S $1 | S FIN"));
    assert_ne!(told("S! $1"), told("S $1"));
}
