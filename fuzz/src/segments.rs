//! A little program of segments on up to three connections, with their times, through a whole worker: what is sent, lost,
//! repeated, out of order or broken is decided by single bytes, so that the fuzzer goes deep. The laws of the summary hold,
//! the records tell what the counters tell (`common::drive`), and all pools are empty at the end (the worker's own
//! assertions).

use resptap::capture::{Frame, LinkType};
use resptap::counters::Counter;
use resptap::redis::pairing::Resync;
use resptap::units::Timestamp;

use super::common::drive::{Options, run_frames};
use super::common::packet::{ACK, EPOCH, FIN, MILLISECOND, PSH, Packet, RST, SECOND, SYN};
use super::decode::LINKS;
use super::input::Input;

/// What clients say.
pub const REQUESTS: [&[u8]; 48] = [
    b"*1\r\n$4\r\nPING\r\n",
    b"*2\r\n$3\r\nGET\r\n$3\r\nk:1\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$40\r\n*1\r\n$4\r\nPING\r\n$3\r\nabc\r\n+OK\r\n0123456789\r\n",
    b"PING\r\n",
    b"set k \"a b\"\n",
    b"\r\n",
    b"*0\r\n",
    b"*-1\r\n",
    b"*1\r\n$5\r\nMULTI\r\n",
    b"*1\r\n$4\r\nEXEC\r\n",
    b"*1\r\n$7\r\nDISCARD\r\n",
    b"*2\r\n$5\r\nWATCH\r\n$1\r\nk\r\n",
    b"*2\r\n$9\r\nSUBSCRIBE\r\n$1\r\nc\r\n",
    b"*3\r\n$10\r\nPSUBSCRIBE\r\n$2\r\na*\r\n$1\r\nb\r\n",
    b"*1\r\n$11\r\nUNSUBSCRIBE\r\n",
    b"*1\r\n$12\r\nPUNSUBSCRIBE\r\n",
    b"*2\r\n$10\r\nSSUBSCRIBE\r\n$1\r\ns\r\n",
    b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$3\r\nOFF\r\n",
    b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$4\r\nSKIP\r\n",
    b"*3\r\n$6\r\nCLIENT\r\n$5\r\nREPLY\r\n$2\r\nON\r\n",
    b"*2\r\n$5\r\nHELLO\r\n$1\r\n3\r\n",
    b"*7\r\n$5\r\nHELLO\r\n$1\r\n3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$1\r\np\r\n$7\r\nSETNAME\r\n$1\r\nn\r\n",
    b"*2\r\n$5\r\nHELLO\r\n$1\r\n2\r\n",
    b"*1\r\n$5\r\nRESET\r\n",
    b"*1\r\n$4\r\nQUIT\r\n",
    b"*1\r\n$7\r\nMONITOR\r\n",
    b"*3\r\n$5\r\nPSYNC\r\n$1\r\n?\r\n$2\r\n-1\r\n",
    b"*3\r\n$5\r\nPSYNC\r\n$40\r\n0123456789012345678901234567890123456789\r\n$3\r\n100\r\n",
    b"*1\r\n$4\r\nSYNC\r\n",
    b"*3\r\n$8\r\nREPLCONF\r\n$3\r\nACK\r\n$3\r\n100\r\n",
    b"*3\r\n$8\r\nREPLCONF\r\n$14\r\nlistening-port\r\n$4\r\n6380\r\n",
    b"*3\r\n$5\r\nBLPOP\r\n$1\r\nk\r\n$1\r\n0\r\n",
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n3\r\n",
    b"*3\r\n$4\r\nAUTH\r\n$1\r\nu\r\n$6\r\nsecret\r\n",
    b"*3\r\n$6\r\nCLIENT\r\n$7\r\nSETNAME\r\n$5\r\nsvc-a\r\n",
    b"*4\r\n$6\r\nCLIENT\r\n$7\r\nSETINFO\r\n$8\r\nLIB-NAME\r\n$2\r\npy\r\n",
    b"*4\r\n$4\r\nEVAL\r\n$8\r\nreturn 1\r\n$1\r\n1\r\n$1\r\nk\r\n",
    b"*4\r\n$4\r\nMSET\r\n$1\r\na\r\n$1\r\n1\r\n$1\r\nb\r\n",
    b"*2\r\n$7\r\nUNKNOWN\r\n$1\r\nx\r\n",
    b"*2\r\n$3\r\nGET\r\n$100000\r\n",
    b"*2147483647\r\n$1\r\na\r\n",
    b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1099511627776\r\n",
    b"POST / HTTP/1.1\r\n",
    b"*1\r\n:4\r\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"*4\r\n$6\r\nXREAD\r\n",
    b"*6\r\n$5\r\nXREAD\r\n$5\r\nBLOCK\r\n$1\r\n0\r\n$7\r\nSTREAMS\r\n$1\r\ns\r\n$1\r\n$\r\n",
];

/// What servers say.
pub const REPLIES: [&[u8]; 48] = [
    b"+OK\r\n",
    b"+PONG\r\n",
    b":1\r\n",
    b"$5\r\nvalue\r\n",
    b"$-1\r\n",
    b"*-1\r\n",
    b"_\r\n",
    b"*0\r\n",
    b"*2\r\n$1\r\na\r\n:1\r\n",
    b"+QUEUED\r\n",
    b"*1\r\n+OK\r\n",
    b"*2\r\n+OK\r\n-ERR x\r\n",
    b"-ERR unknown command\r\n",
    b"-EXECABORT Transaction discarded\r\n",
    b"-MOVED 3999 127.0.0.1:6381\r\n",
    b"-NOAUTH Authentication required.\r\n",
    b"!5\r\nERR x\r\n",
    b"%1\r\n+a\r\n:1\r\n",
    b"~1\r\n+a\r\n",
    b">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
    b">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n",
    b">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n",
    b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n",
    b"*3\r\n$10\r\npsubscribe\r\n$2\r\na*\r\n:2\r\n",
    b"*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n",
    b"*3\r\n$12\r\npunsubscribe\r\n$2\r\na*\r\n:0\r\n",
    b"*3\r\n$10\r\nssubscribe\r\n$1\r\ns\r\n:1\r\n",
    b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n",
    b"*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$1\r\nc\r\n$1\r\nm\r\n",
    b"*2\r\n$4\r\npong\r\n$0\r\n\r\n",
    b"|1\r\n+ttl\r\n:5\r\n+OK\r\n",
    b"=7\r\ntxt:abc\r\n",
    b",3.14\r\n",
    b"#t\r\n",
    b"(12345678901234567890\r\n",
    b"$?\r\n;2\r\nab\r\n;0\r\n",
    b"*?\r\n:1\r\n.\r\n",
    b"+FULLRESYNC 0123456789012345678901234567890123456789 100\r\n",
    b"+CONTINUE\r\n",
    b"$10\r\nREDIS0011x",
    b"$EOF:0123456789012345678901234567890123456789\r\nREDIS0011",
    b"0123456789012345678901234567890123456789",
    b"\n",
    b"+1700000000.000000 [0 127.0.0.1:1] \"PING\"\r\n",
    b"+RESET\r\n",
    b"$100000\r\n",
    b"*1000\r\n",
    b"HTTP/1.1 400 Bad Request\r\n",
];

/// How much time passes before a segment, in nanoseconds.
const STEPS: [u64; 8] =
    [1000, 200_000, 5 * MILLISECOND, 60 * MILLISECOND, SECOND, 3 * SECOND, 40 * SECOND, 4000 * SECOND];

/// What a run goes by.
pub fn options(how: u8) -> Options {
    Options {
        resync: if how & 1 == 0 { Resync::Assume } else { Resync::Strict },
        timeout_ns: [30 * SECOND, SECOND, MILLISECOND, 100 * MILLISECOND][usize::from(how >> 1 & 3)],
        payload_bytes: [0, 256, 1, 16 * 1024][usize::from(how >> 3 & 3)],
        reorder_packets: [128, 3, 0, 20][usize::from(how >> 5 & 3)],
        ..Options::default()
    }
}

/// The program as it runs.
struct Program {
    now: u64,
    /// Next sequence number of each connection's two sides, the client's first.
    next: [[u32; 2]; 3],
    packets: Vec<Packet>,
    frames: Vec<(u64, LinkType, u32, Vec<u8>)>,
}

/// What the run goes by (1), then instructions.
pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let options = options(input.byte());
    let mut program = Program {
        now: EPOCH,
        // One wraps soon; one has an IPv6 client.
        next: [[1000, 5000], [u32::MAX - 100, u32::MAX - 50], [7, 1 << 31]],
        packets: Vec::new(),
        frames: Vec::new(),
    };
    // A segment costs about two bytes, and is worth little behind some hundreds.
    while !input.is_empty() && program.frames.len() < 400 {
        program.step(&mut input);
    }
    let frames: Vec<Frame<'_>> = program
        .frames
        .iter()
        .map(|(at, link, wire_len, bytes)| Frame { bytes, wire_len: *wire_len, at: Timestamp(*at), link: *link })
        .collect();
    let outcomes = run_frames(&frames, options);
    assert_eq!(outcomes.counters[Counter::FramesSeen], frames.len() as u64);
}

impl Program {
    /// An instruction: connection (2 bits), side (1), what (5), then its operands.
    fn step(&mut self, input: &mut Input<'_>) {
        let instruction = input.byte();
        let connection = usize::from(instruction & 3) % 3;
        let from_client = instruction & 4 == 0;
        let side = usize::from(!from_client);
        let mut packet = Packet {
            at: 0,
            connection: connection as u32,
            port: 40_000 + connection as u16 + 4,
            from_client,
            seq: self.next[connection][side],
            ack: self.next[connection][1 - side],
            flags: ACK,
            window: 500,
            payload: Vec::new(),
            offset: 0,
            snap: usize::MAX,
        };
        match instruction >> 3 {
            // Data, whole: some messages.
            0..=11 => {
                let count = 1 + usize::from(instruction >> 3) % 3;
                packet.payload = (0..count).flat_map(|_| message(from_client, input.byte())).copied().collect();
                packet.flags |= PSH;
            }
            // The beginning of a message, and its rest in another segment.
            12 | 13 => {
                let message = message(from_client, input.byte());
                let at = usize::from(input.byte()) % message.len();
                packet.payload = message[..at].to_vec();
                self.send(&packet);
                packet.seq = packet.seq.wrapping_add(at as u32);
                packet.payload = message[at..].to_vec();
            }
            // Any bytes.
            14 => {
                let length = usize::from(input.byte());
                packet.payload = input.take(length).to_vec();
            }
            // Many bytes of a value.
            15 => packet.payload = vec![b'v'; 16 * usize::from(input.byte())],
            // The tap misses what is sent.
            16 | 17 => {
                let missed = message(from_client, input.byte()).len() as u32;
                self.next[connection][side] = self.next[connection][side].wrapping_add(missed);
                return;
            }
            18 => {
                let missed = u32::from(input.short());
                self.next[connection][side] = self.next[connection][side].wrapping_add(missed);
                return;
            }
            // An earlier packet again, as it was or with the newest acknowledgement.
            19 | 20 => {
                let back = usize::from(input.byte());
                let Some(again) = self.packets.len().checked_sub(1 + back % 16).map(|at| self.packets[at].clone())
                else {
                    return;
                };
                packet = if instruction >> 3 == 19 { again } else { Packet { ack: packet.ack, ..again } };
                return self.emit(&packet);
            }
            // Ahead of what is sent next, or behind.
            21 => {
                packet.payload = message(from_client, input.byte()).to_vec();
                packet.seq = packet.seq.wrapping_add_signed(i32::from(input.byte().cast_signed()));
                return self.emit(&packet);
            }
            // A handshake's packets, at other numbers or the same.
            22 => {
                packet.flags = if from_client { SYN } else { SYN | ACK };
                let ahead = [0, 0, 1, 100_000, 1 << 30, 1 << 31][usize::from(input.byte()) % 6];
                self.next[connection][side] = packet.seq.wrapping_add(ahead);
                packet.seq = self.next[connection][side].wrapping_sub(1);
            }
            23 => packet.flags |= FIN,
            24 => packet.flags = [RST, RST | ACK][usize::from(input.byte()) % 2],
            // An acknowledgement: of all, of less, of more.
            25 => packet.ack = packet.ack.wrapping_add_signed(i32::from(input.byte().cast_signed())),
            26 => packet.window = 0,
            // Cut off by the capture.
            27 => {
                packet.payload = message(from_client, input.byte()).to_vec();
                packet.snap = 54 + usize::from(input.byte()) % 80;
            }
            // Any flags and numbers.
            28 => {
                packet.flags = input.byte();
                packet.seq = input.word();
                packet.payload = message(from_client, input.byte()).to_vec();
                return self.emit(&packet);
            }
            // Time goes on, or back, without a packet.
            29 => {
                self.now = self.now.saturating_add(STEPS[usize::from(input.byte()) % 8]);
                return;
            }
            30 => {
                self.now = self.now.saturating_sub(STEPS[usize::from(input.byte()) % 8]);
                return;
            }
            // A packet with bytes that are changed.
            _ => {
                packet.payload = message(from_client, input.byte()).to_vec();
                let mut frame = packet.frame();
                for _ in 0..1 + input.byte() % 3 {
                    let at = usize::from(input.byte()) % frame.len();
                    frame[at] = input.byte();
                }
                let link = LINKS[usize::from(input.byte() / 32) % LINKS.len()];
                self.frames.push((self.now, link, frame.len() as u32, frame));
                return;
            }
        }
        self.send(&packet);
    }

    /// Sends what is next on its side.
    fn send(&mut self, packet: &Packet) {
        let length = packet.payload.len() as u32 + u32::from(packet.flags & FIN != 0);
        let next = &mut self.next[packet.connection as usize][usize::from(!packet.from_client)];
        if packet.flags & SYN == 0 {
            *next = packet.seq.wrapping_add(length);
        }
        self.emit(packet);
    }

    fn emit(&mut self, packet: &Packet) {
        self.now = self.now.saturating_add(STEPS[0]);
        let frame = packet.frame();
        let captured = frame.len().min(packet.snap);
        self.frames.push((self.now, LinkType::Ethernet, frame.len() as u32, frame[..captured].to_vec()));
        self.packets.push(packet.clone());
    }
}

fn message(from_client: bool, which: u8) -> &'static [u8] {
    if from_client {
        REQUESTS[usize::from(which) % REQUESTS.len()]
    } else {
        REPLIES[usize::from(which) % REPLIES.len()]
    }
}
