//! Processes behind the ends of connections, as the writer sees them: asked for when a connection is first seen, remembered
//! from then on.
//!
//! The questions are answered by [`Helper::run`] in a thread of its own, through bounded channels in both directions. A batch
//! of records waits at most [`WAIT_MAX`] for the first answer on its connections; if that was not enough, no batch waits
//! until the helper has caught up, and its records go without. Where nobody was found the question is asked again after a
//! pause that grows, if the connection still has records; so an end that has vanished costs nothing.
//!
//! Memory is bounded by `limits`: of more connections than that the ones without records are forgotten first.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::time::Duration;

use crate::clock::Stopwatch;
use crate::limits::{PROCESS_ASKS_MAX, PROCESS_CONNECTIONS_MAX};
use crate::record::transaction::{Introduction, RecordBatch};
use crate::units::Endpoint;

use super::owners::{Owners, OwnersError};

/// How long a batch of records waits for processes, at most.
pub const WAIT_MAX: Duration = Duration::from_millis(50);
/// How long an answer that leaves something open stands at first; ten times as long each time.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// And at last.
const ASK_AGAIN_MAX: Duration = Duration::from_mins(1);

/// A process.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Process {
    /// Its name, as the kernel has it: at most 15 bytes, any.
    pub name: Vec<u8>,
    /// Its number, in the namespace in which we are.
    pub pid: u32,
}

/// The processes at the client's and the server's end.
pub(super) type Ends = [Option<Arc<Process>>; 2];

/// An answer.
#[derive(Debug)]
pub(super) struct Answer {
    connection: u64,
    ends: Ends,
    /// An end is of this host, and its process was not found.
    is_open: bool,
}

/// What is known of a connection.
#[derive(Debug)]
struct Known {
    client: Endpoint,
    ends: Ends,
    asks: u32,
    /// The first answer has come.
    is_answered: bool,
    /// When the question is to be asked again.
    again: Option<Duration>,
}

/// The writer's side.
#[derive(Debug)]
pub struct Processes {
    asks: SyncSender<Vec<Introduction>>,
    answers: Receiver<Vec<Answer>>,
    /// Connections by number. When it is half of what may be remembered it becomes `older`, whose connections come back when
    /// they have records.
    recent: HashMap<u64, Known>,
    older: HashMap<u64, Known>,
    clock: Stopwatch,
    /// Questions without an answer.
    outstanding: usize,
    /// The helper has kept up: it is worth waiting for.
    keeps_up: bool,
    has_ended: bool,
    version: u64,
}

/// The answering side.
#[derive(Debug)]
pub struct Helper {
    owners: Owners,
    asks: Receiver<Vec<Introduction>>,
    answers: SyncSender<Vec<Answer>>,
}

/// Both sides. Fails where the kernel does not tell whose sockets there are.
pub fn start() -> Result<(Processes, Helper), OwnersError> {
    let owners = Owners::open()?;
    let (asks_in, asks_out) = sync_channel(PROCESS_ASKS_MAX);
    let (answers_in, answers_out) = sync_channel(PROCESS_ASKS_MAX);
    let helper = Helper { owners, asks: asks_out, answers: answers_in };
    Ok((Processes::new(asks_in, answers_out), helper))
}

impl Helper {
    /// Answers until nobody asks any more.
    pub fn run(mut self) {
        while let Ok(first) = self.asks.recv() {
            // What has come meanwhile is answered by the same look through the processes.
            let asks: Vec<_> = std::iter::once(first).chain(self.asks.try_iter()).collect();
            let connections: Vec<Introduction> = asks.iter().flatten().copied().collect();
            let watch = Stopwatch::start();
            let mut found = self.owners.of(&connections).into_iter();
            for ask in asks {
                let answer = ask.iter().zip(found.by_ref()).map(|(ask, (ends, is_open))| Answer {
                    connection: ask.connection,
                    ends,
                    is_open,
                });
                if self.answers.send(answer.collect()).is_err() {
                    return;
                }
            }
            // However busy the host: this thread takes at most a quarter of a core.
            std::thread::sleep(watch.elapsed() * 3);
        }
    }
}

impl Processes {
    fn new(asks: SyncSender<Vec<Introduction>>, answers: Receiver<Vec<Answer>>) -> Processes {
        Processes {
            asks,
            answers,
            recent: HashMap::new(),
            older: HashMap::new(),
            clock: Stopwatch::start(),
            outstanding: 0,
            keeps_up: true,
            has_ended: false,
            version: 0,
        }
    }

    /// For tests: nobody answers, but the process at the server's end of a transaction's connection is known.
    #[cfg(test)]
    pub(crate) fn knowing(transaction: &crate::record::transaction::Transaction, process: Process) -> Processes {
        let mut processes = Processes::new(sync_channel(1).0, sync_channel(1).1);
        let ends = [None, Some(Arc::new(process))];
        let known = Known { client: transaction.conversation.client, ends, asks: 1, is_answered: true, again: None };
        processes.recent.insert(transaction.conversation.id, known);
        processes.version = 1;
        processes
    }

    /// Another number whenever an answer may be another than before.
    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// The process at an end of a connection, if it is known.
    pub(super) fn of(&self, connection: u64, end: Endpoint) -> Option<&Process> {
        let known = self.recent.get(&connection).or_else(|| self.older.get(&connection))?;
        let [client, server] = &known.ends;
        if known.client == end { client.as_deref() } else { server.as_deref() }
    }

    /// Asks for the connections of a batch that are not known yet, and waits a little for the answers that its records need.
    pub(super) fn prepare(&mut self, batch: &RecordBatch) {
        self.collect();
        if self.has_ended {
            return;
        }
        let now = self.clock.elapsed();
        let mut asks = Vec::new();
        let mut is_needed = false;
        for introduction in &batch.introduced {
            self.look_up(*introduction, now, &mut asks);
        }
        let mut last = None;
        for transaction in &batch.transactions {
            let connection = transaction.conversation.id;
            if last.replace(connection) != Some(connection) {
                let (client, server) = (transaction.conversation.client, transaction.conversation.server);
                is_needed |= self.look_up(Introduction { connection, client, server }, now, &mut asks);
            }
        }
        self.ask(asks);
        if is_needed && self.keeps_up {
            self.wait();
        }
    }

    /// Adds the connection to what is to be asked, if it is. Whether its first answer is still to come.
    fn look_up(&mut self, introduction: Introduction, now: Duration, asks: &mut Vec<Introduction>) -> bool {
        let Introduction { connection, client, .. } = introduction;
        if !self.recent.contains_key(&connection) {
            if self.recent.len() >= PROCESS_CONNECTIONS_MAX / 2 {
                self.older = std::mem::take(&mut self.recent);
            }
            let unknown = || Known { client, ends: Ends::default(), asks: 0, is_answered: false, again: Some(now) };
            let known = self.older.remove(&connection).unwrap_or_else(unknown);
            self.recent.insert(connection, known);
        }
        let Some(known) = self.recent.get_mut(&connection) else { return false };
        if known.again.is_some_and(|again| again <= now) {
            known.asks += 1;
            known.again = None;
            asks.push(introduction);
        }
        !known.is_answered
    }

    fn ask(&mut self, asks: Vec<Introduction>) {
        if asks.is_empty() {
            return;
        }
        // As many answers as questions may be under way, so that neither side ever waits for the other to take one.
        let sent =
            if self.outstanding < PROCESS_ASKS_MAX { self.asks.try_send(asks) } else { Err(TrySendError::Full(asks)) };
        match sent {
            Ok(()) => self.outstanding += 1,
            Err(TrySendError::Full(asks)) => {
                // Asked again when the connection has its next record.
                let now = self.clock.elapsed();
                for ask in asks {
                    if let Some(known) = self.recent.get_mut(&ask.connection) {
                        known.again = Some(now);
                    }
                }
            }
            Err(TrySendError::Disconnected(_)) => self.end(),
        }
    }

    /// Takes the answers that are there.
    fn collect(&mut self) {
        while self.outstanding > 0 {
            match self.answers.try_recv() {
                Ok(answers) => self.learn(answers, self.clock.elapsed()),
                Err(TryRecvError::Empty) => return,
                Err(TryRecvError::Disconnected) => return self.end(),
            }
        }
    }

    fn wait(&mut self) {
        let watch = Stopwatch::start();
        while self.outstanding > 0 {
            let Ok(answers) = self.answers.recv_timeout(WAIT_MAX.saturating_sub(watch.elapsed())) else {
                self.keeps_up = false;
                return;
            };
            self.learn(answers, self.clock.elapsed());
        }
    }

    fn learn(&mut self, answers: Vec<Answer>, now: Duration) {
        self.outstanding -= 1;
        self.keeps_up |= self.outstanding == 0;
        for Answer { connection, ends, is_open } in answers {
            let known = self.recent.get_mut(&connection).or_else(|| self.older.get_mut(&connection));
            let Some(known) = known else { continue };
            known.is_answered = true;
            let pause = if is_open {
                ASK_AGAIN * 10u32.saturating_pow(known.asks.min(4).saturating_sub(1))
            } else {
                ASK_AGAIN_MAX
            };
            let is_complete = ends.iter().all(Option::is_some);
            known.again = (!is_complete).then(|| now + pause.min(ASK_AGAIN_MAX));
            for (end, found) in known.ends.iter_mut().zip(ends) {
                // Who was known stays known when the socket has gone.
                if found.is_some() && *end != found {
                    *end = found;
                    self.version += 1;
                }
            }
        }
    }

    fn end(&mut self) {
        tracing::error!(
            "--processes: the thread that looks for processes has ended, a bug in resptap; records go without"
        );
        (self.has_ended, self.outstanding) = (true, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::transaction::Transaction;
    use crate::units::Address;

    const FOUND: &str = "redis-server";

    fn endpoint(port: u16) -> Endpoint {
        Endpoint { address: Address::from_ipv4([127, 0, 0, 1]), port }
    }

    fn introduction(connection: u64) -> Introduction {
        Introduction { connection, client: endpoint(connection as u16), server: endpoint(6379) }
    }

    /// A batch with a record of each of these connections.
    fn records(connections: impl IntoIterator<Item = u64>) -> RecordBatch {
        let mut batch = RecordBatch::default();
        for connection in connections {
            let Introduction { client, server, .. } = introduction(connection);
            batch.push(Transaction::bare(connection, client, server), &[]);
        }
        batch
    }

    /// The writer's side, and the ends of the channels that the helper has.
    fn sides() -> (Processes, Receiver<Vec<Introduction>>, SyncSender<Vec<Answer>>) {
        let (asks_in, asks_out) = sync_channel(PROCESS_ASKS_MAX);
        let (answers_in, answers_out) = sync_channel(PROCESS_ASKS_MAX);
        (Processes::new(asks_in, answers_out), asks_out, answers_in)
    }

    fn answer(asks: &[Introduction], is_found: bool) -> Vec<Answer> {
        let server = is_found.then(|| Arc::new(Process { name: FOUND.into(), pid: 7 }));
        let answer = |ask: &Introduction| Answer {
            connection: ask.connection,
            ends: [None, server.clone()],
            is_open: !is_found,
        };
        asks.iter().map(answer).collect()
    }

    fn answer_all(asks: &Receiver<Vec<Introduction>>, answers: &SyncSender<Vec<Answer>>) {
        for ask in asks.try_iter() {
            answers.send(answer(&ask, true)).unwrap();
        }
    }

    fn server_of(processes: &Processes, connection: u64) -> Option<&str> {
        let process = processes.of(connection, endpoint(6379))?;
        Some(std::str::from_utf8(&process.name).unwrap())
    }

    #[test]
    fn the_first_records_of_a_connection_wait_for_its_answer() {
        let (mut processes, asks, answers) = sides();
        let helper = std::thread::spawn(move || {
            while let Ok(ask) = asks.recv() {
                std::thread::sleep(Duration::from_millis(5));
                answers.send(answer(&ask, true)).unwrap();
            }
        });
        processes.prepare(&records([1, 1, 2]));
        assert_eq!((server_of(&processes, 1), server_of(&processes, 2)), (Some(FOUND), Some(FOUND)));
        assert_eq!(processes.of(1, endpoint(1)), None, "the client was not found");
        let version = processes.version();
        processes.prepare(&records([1, 2]));
        assert_eq!((processes.version(), processes.outstanding), (version, 0), "what is known is not asked again");
        drop(processes);
        helper.join().unwrap();
    }

    #[test]
    fn a_helper_that_is_slow_is_waited_for_once_until_it_has_caught_up() {
        let (mut processes, asks, answers) = sides();
        let watch = Stopwatch::start();
        processes.prepare(&records([1]));
        assert!(watch.elapsed() >= WAIT_MAX);
        let watch = Stopwatch::start();
        (2..12).for_each(|connection| processes.prepare(&records([connection])));
        assert!(watch.elapsed() < WAIT_MAX, "ten batches went without a wait: {:?}", watch.elapsed());
        assert_eq!(server_of(&processes, 1), None);
        answer_all(&asks, &answers);
        processes.prepare(&records([1]));
        assert_eq!((server_of(&processes, 1), server_of(&processes, 11)), (Some(FOUND), Some(FOUND)));
        assert!(processes.keeps_up);
    }

    #[test]
    fn an_introduction_asks_and_waits_for_nothing() {
        let (mut processes, asks, _answers) = sides();
        let watch = Stopwatch::start();
        let mut batch = RecordBatch::default();
        batch.introduced.push(introduction(1));
        processes.prepare(&batch);
        assert!(watch.elapsed() < WAIT_MAX);
        assert_eq!(asks.try_recv(), Ok(vec![introduction(1)]));
    }

    #[test]
    fn who_was_not_found_is_asked_for_again_after_a_growing_pause_and_only_for_records() {
        let (mut processes, _asks, _answers) = sides();
        let look_up = |processes: &mut Processes, now: Duration| {
            let mut asks = Vec::new();
            processes.look_up(introduction(1), now, &mut asks);
            asks.len()
        };
        let mut now = Duration::ZERO;
        assert_eq!(look_up(&mut processes, now), 1);
        for pause_ms in [100, 1_000, 10_000, 60_000, 60_000] {
            assert_eq!(look_up(&mut processes, now), 0, "asked already");
            processes.outstanding += 1;
            processes.learn(answer(&[introduction(1)], false), now);
            let pause = Duration::from_millis(pause_ms);
            assert_eq!(look_up(&mut processes, now + pause / 2), 0, "{pause_ms} ms: too early");
            now += pause;
            assert_eq!(look_up(&mut processes, now), 1, "{pause_ms} ms");
        }
    }

    #[test]
    fn who_was_known_stays_known_when_the_socket_has_gone() {
        let (mut processes, _asks, _answers) = sides();
        processes.look_up(introduction(1), Duration::ZERO, &mut Vec::new());
        for is_found in [true, false] {
            processes.outstanding += 1;
            processes.learn(answer(&[introduction(1)], is_found), Duration::ZERO);
            assert_eq!(server_of(&processes, 1), Some(FOUND));
        }
        assert_eq!(processes.version(), 1);
    }

    #[test]
    fn a_full_channel_is_no_error_and_the_connection_is_asked_for_later() {
        let (mut processes, asks, answers) = sides();
        processes.keeps_up = false;
        let most = PROCESS_ASKS_MAX as u64;
        (0..most + 3).for_each(|connection| processes.prepare(&records([connection])));
        assert_eq!(processes.outstanding, PROCESS_ASKS_MAX);
        answer_all(&asks, &answers);
        processes.prepare(&RecordBatch::default());
        assert_eq!((server_of(&processes, most - 1), server_of(&processes, most)), (Some(FOUND), None));
        processes.keeps_up = false;
        processes.prepare(&records([most]));
        assert_eq!(asks.try_recv().unwrap(), [introduction(most)]);
    }

    #[test]
    fn of_more_connections_than_are_remembered_the_silent_ones_are_forgotten() {
        let (mut processes, asks, answers) = sides();
        processes.keeps_up = false;
        let half = PROCESS_CONNECTIONS_MAX as u64 / 2;
        for from in (0..3 * half).step_by(1024) {
            processes.keeps_up = false;
            // Connection 0 goes on talking.
            processes.prepare(&records((from..from + 1024).chain([0])));
            answer_all(&asks, &answers);
            processes.prepare(&RecordBatch::default());
            assert!(processes.recent.len() + processes.older.len() <= PROCESS_CONNECTIONS_MAX + 1);
        }
        assert_eq!((server_of(&processes, 0), server_of(&processes, 1)), (Some(FOUND), None));
        assert_eq!(server_of(&processes, 3 * half - 1), Some(FOUND));
    }

    #[test]
    fn a_helper_that_has_ended_is_not_asked_again() {
        let (mut processes, asks, answers) = sides();
        drop((asks, answers));
        processes.prepare(&records([1]));
        assert!(processes.has_ended);
        let watch = Stopwatch::start();
        processes.prepare(&records([2]));
        assert!(watch.elapsed() < WAIT_MAX);
    }

    #[test]
    fn the_helper_finds_this_very_test_at_both_ends() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let end = |socket: std::net::SocketAddr| Endpoint { address: socket.ip().into(), port: socket.port() };
        let (client, server) = (end(client.local_addr().unwrap()), end(client.peer_addr().unwrap()));
        let (mut processes, helper) = start().unwrap();
        let helper = std::thread::spawn(move || helper.run());
        let mut batch = RecordBatch::default();
        batch.push(Transaction::bare(1, client, server), &[]);
        for _ in 0..100 {
            processes.prepare(&batch);
            std::thread::sleep(Duration::from_millis(2));
        }
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        for end in [client, server] {
            let process = processes.of(1, end).unwrap();
            assert_eq!((process.pid, &process.name[..]), (std::process::id(), name.trim_end().as_bytes()));
        }
        drop(processes);
        helper.join().unwrap();
    }
}
