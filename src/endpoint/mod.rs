//! Who is behind an address: names of services from a file, processes of this host.
//!
//! [`Labels`] answers for the sinks, in the writer's thread; nothing here is on a worker's path. Without `--names` and
//! `--processes` it is empty, and a record costs one comparison more.

pub mod names;
pub mod owners;
pub mod process;

use crate::record::transaction::RecordBatch;
use crate::units::Endpoint;

use names::Names;
use process::{Process, Processes};

/// What is known of an end of a connection beside its address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Label<'a> {
    /// The name of its service.
    pub name: Option<&'a str>,
    /// The process that has its socket.
    pub process: Option<&'a Process>,
}

/// Answers who is behind the ends of connections.
#[derive(Debug, Default)]
pub struct Labels {
    names: Names,
    processes: Option<Processes>,
}

impl Labels {
    /// From these sources.
    pub fn new(names: Names, processes: Option<Processes>) -> Labels {
        Labels { names, processes }
    }

    /// Whether no end ever has a label.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty() && self.processes.is_none()
    }

    /// Finds out about the connections of a batch, before its records are written. Waits at most [`process::WAIT_MAX`].
    pub fn prepare(&mut self, batch: &RecordBatch) {
        if let Some(processes) = &mut self.processes {
            processes.prepare(batch);
        }
    }

    /// Another number whenever an answer may be another than before.
    #[inline]
    pub fn version(&self) -> u64 {
        self.processes.as_ref().map_or(0, Processes::version)
    }

    /// What is known of an end of a connection.
    pub fn of(&self, connection: u64, end: Endpoint) -> Label<'_> {
        let process = self.processes.as_ref().and_then(|processes| processes.of(connection, end));
        Label { name: self.names.of(end), process }
    }
}
