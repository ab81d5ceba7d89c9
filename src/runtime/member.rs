//! A worker of a live capture: it processes the frames that come to it, passes others' on to these over the mesh, and takes what
//! they pass on.

use crate::ring::Closed;
use crate::steering::mesh::Mesh;
use crate::units::Timestamp;
use crate::worker::{Batch, WorkerReport};

use super::consumer::{Alone, Consumer};

/// A worker, in this thread.
pub(super) struct Member {
    alone: Alone,
    /// `None`: it is the only worker.
    mesh: Option<Mesh>,
}

impl Member {
    pub(super) fn new(alone: Alone, mesh: Option<Mesh>) -> Member {
        Member { alone, mesh }
    }

    /// Whether others may pass something on to it.
    pub(super) fn has_others(&self) -> bool {
        self.mesh.is_some()
    }

    /// Frames have come.
    pub(super) fn frames(&mut self, frames: &Batch<'_>) -> Result<(), Closed> {
        let Some(mesh) = &mut self.mesh else { return self.alone.frames(frames, None) };
        let own: Batch<'_> = frames.iter().filter(|frame| !mesh.takes(frame)).copied().collect();
        mesh.flush();
        self.alone.frames(&own, None)
    }

    /// Takes what others have passed on; answers whether there was anything.
    pub(super) fn receive(&mut self) -> Result<bool, Closed> {
        let Some(mesh) = &mut self.mesh else { return Ok(false) };
        let mut any = false;
        while let Some((from, parcel)) = mesh.take() {
            self.alone.parcel(&parcel)?;
            mesh.give_back(from, parcel);
            any = true;
        }
        Ok(any)
    }

    /// Nothing comes at the moment; all that comes is of `at` or later.
    pub(super) fn idle(&mut self, at: Timestamp) -> Result<(), Closed> {
        self.alone.idle(at)
    }

    /// The capture has ended, at `last`. Waits for the other workers to pass on the last that they have. `None`: the worker had
    /// panicked.
    pub(super) fn finish(mut self, last: Timestamp) -> Option<WorkerReport> {
        let Some(mut mesh) = self.mesh.take() else { return self.alone.finish(last) };
        mesh.close();
        while let Some((from, parcel)) = mesh.last() {
            // One that has failed takes what comes all the same, and loses it.
            let _ = self.alone.parcel(&parcel);
            mesh.give_back(from, parcel);
        }
        let mut report = self.alone.finish(last)?;
        report.counters.merge(mesh.counters());
        report.memory_peak += mesh.memory();
        Some(report)
    }
}
