//! Whose packets a connection takes for its own.

use crate::connection::Connection;
use crate::connection::facts::Facts;
use crate::decode::seq::Seq;
use crate::decode::{Flags, Segment};
use crate::flow::key::{FlowKey, Ipv4Ends, Keyed};
use crate::units::{Address, Direction, Endpoint, Timestamp};

fn end(last: u8, port: u16) -> Endpoint {
    Endpoint { address: Address::from_ipv4([10, 0, 0, last]), port }
}

/// Of a connection with this key that begins with a SYN of the client, or of whom its ports say that it is the server.
fn opened(key: &FlowKey, direction: Direction) -> Connection {
    let segment =
        Segment { seq: Seq(7), ack: Seq(0), flags: Flags::SYN, window: 1000, payload: &[], wire_payload_len: 0 };
    Connection::open(&segment, direction, Timestamp(1), key, [0; 2], true).unwrap()
}

/// The same as if it were plain.
fn plain(key: &FlowKey) -> Connection {
    let mut connection = opened(key, Direction::Request);
    connection.facts.set(Facts::PLAIN);
    connection
}

#[test]
fn a_connection_is_between_the_ends_of_its_key_whichever_of_them_began_it() {
    let key = FlowKey { client: end(1, 6380), server: end(9, 6379), ..FlowKey::default() };
    let ends = Ipv4Ends::of(&key.client, &key.server).unwrap();
    let reversed = Ipv4Ends::of(&key.server, &key.client).unwrap();
    for direction in [Direction::Request, Direction::Reply] {
        let connection = opened(&key, direction);
        assert_eq!(connection.ends(), (&key.client, &key.server));
        assert!(!connection.is_usual_between(ends) && !connection.is_usual_between(reversed), "{direction:?}");
    }
    assert!(plain(&key).is_usual_between(ends) && !plain(&key).is_usual_between(reversed));
}

#[test]
fn addresses_of_ipv6_are_none_of_ipv4_though_they_end_alike() {
    let key = FlowKey { client: end(1, 40_001), server: end(9, 6379), ..FlowKey::default() };
    let ends = Ipv4Ends::of(&key.client, &key.server).unwrap();
    let mut other = key;
    other.client.address.0[0] = 0x20;
    assert_eq!(Ipv4Ends::of(&other.client, &other.server), None);
    assert!(plain(&key).is_usual_between(ends) && !plain(&other).is_usual_between(ends));
}
