//! A worker of a live capture: it processes the frames that come to it, passes others' on to these over the mesh, and takes what
//! they pass on.

use crate::clock;
use crate::limits::MESH_LAG_NS;
use crate::ring::{Closed, pause};
use crate::steering::mesh::Mesh;
use crate::units::Timestamp;
use crate::worker::{Batch, WorkerReport};

use super::consumer::{Alone, Consumer};

/// A worker, in this thread.
pub(super) struct Member {
    alone: Alone,
    /// `None`: it is the only worker.
    mesh: Option<Mesh>,
    /// For how long what is passed on is held, in nanoseconds.
    hold_ns: u64,
}

impl Member {
    /// `lag_ns`: how much later than its time a frame may come to any of the workers.
    pub(super) fn new(alone: Alone, mesh: Option<Mesh>, lag_ns: u64) -> Member {
        Member { alone, mesh, hold_ns: lag_ns + MESH_LAG_NS }
    }

    /// Whether others have passed something on to it.
    pub(super) fn has_received(&self) -> bool {
        self.mesh.as_ref().is_some_and(Mesh::has_received)
    }

    /// From `now` on connections of the parts below this one are left out, and no others.
    pub(super) fn leave_out(&mut self, below: usize, now: Timestamp) {
        self.alone.leave_out(below, now);
    }

    /// Frames have come.
    pub(super) fn frames(&mut self, frames: &Batch<'_>) -> Result<(), Closed> {
        let Some(mesh) = &mut self.mesh else { return self.alone.frames(frames, None) };
        let own: Batch<'_> = frames.iter().filter(|frame| !mesh.takes(frame)).copied().collect();
        mesh.flush();
        self.alone.frames(&own, None)
    }

    /// Takes what others have passed on, when nothing earlier can come; answers whether anything has come.
    pub(super) fn receive(&mut self) -> Result<bool, Closed> {
        let Some(mesh) = &mut self.mesh else { return Ok(false) };
        let any = mesh.gather();
        mesh.flush();
        if mesh.holds() {
            let now = clock::now();
            self.take_up_to(Timestamp(now.0.saturating_sub(self.hold_ns)))?;
        }
        Ok(any)
    }

    fn take_up_to(&mut self, horizon: Timestamp) -> Result<(), Closed> {
        let Some(mesh) = &mut self.mesh else { return Ok(()) };
        loop {
            let due = mesh.due(horizon);
            if due.is_empty() {
                return Ok(());
            }
            self.alone.frames(&due, None)?;
        }
    }

    /// Nothing comes at the moment; all that comes is of `at` or later, but for what is passed on.
    pub(super) fn idle(&mut self, at: Timestamp) -> Result<(), Closed> {
        let is_merging = self.mesh.as_ref().is_some_and(Mesh::is_merging);
        self.alone.idle(if is_merging { Timestamp(at.0.saturating_sub(self.hold_ns)) } else { at })
    }

    /// The capture has ended, at `last`. Waits for the other workers to pass on the last that they have. `None`: the worker had
    /// panicked.
    pub(super) fn finish(mut self, last: Timestamp) -> Option<WorkerReport> {
        if self.mesh.as_ref().is_some_and(Mesh::outlasts_others) {
            self.receive_all();
        }
        if let Some(mesh) = &mut self.mesh {
            mesh.close();
        }
        self.receive_all();
        // One that has failed loses it.
        let _ = self.take_up_to(Timestamp(u64::MAX));
        let mut report = self.alone.finish(last)?;
        if let Some(mesh) = self.mesh {
            report.counters.merge(mesh.counters());
            report.memory_peak += mesh.memory();
        }
        Some(report)
    }

    /// Takes what others pass on until nothing comes any more.
    fn receive_all(&mut self) {
        let mut waited = 0;
        while self.mesh.as_ref().is_some_and(|mesh| !mesh.is_over()) {
            match self.receive() {
                Ok(false) => pause(&mut waited),
                Ok(true) | Err(Closed) => waited = 0,
            }
        }
    }
}
