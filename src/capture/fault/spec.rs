//! Which faults, and how often, as they are written: `loss=1%,reorder=5%:8,seed=7`.

use std::fmt;
use std::str::FromStr;

use crate::limits::FAULT_REORDER_FRAMES_MAX;

/// How far a frame is delayed if nothing is said, in frames.
const REORDER_FRAMES: u32 = 8;
/// All that there is, for messages.
const ITEMS: &str =
    "loss=P%, client-loss=P%, server-loss=P%, duplicate=P%, reorder=P%[:FRAMES], truncate=P%, flip=P%, seed=N";

/// Which faults, and how often: probabilities from 0 to 1 of each frame.
#[derive(Clone, PartialEq, Debug)]
pub struct Faults {
    /// A frame of no observed connection is lost.
    pub loss: f64,
    /// A frame from a client is lost.
    pub client_loss: f64,
    /// A frame from a server is lost.
    pub server_loss: f64,
    /// A frame comes twice.
    pub duplicate: f64,
    /// A frame comes later than it should.
    pub reorder: f64,
    /// By so many frames at most, from 1.
    pub reorder_frames: u32,
    /// A frame is cut off somewhere.
    pub truncate: f64,
    /// A bit of a frame is changed.
    pub flip: f64,
    /// What chance begins with.
    pub seed: u64,
    /// As it was written.
    text: String,
}

/// Why a text does not say which faults.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FaultSpecError {
    /// An item's name is not known.
    #[error("`{0}` is no fault; there are {ITEMS}")]
    Unknown(String),
    /// Its share of frames is none.
    #[error("`{0}`: the share of frames must be a percentage from 0% to 100%, such as 1% or 0.05%")]
    Share(String),
    /// Its distance is none.
    #[error(
        "`{0}`: behind the colon must stand by how many frames one is late at most, from 1 to {FAULT_REORDER_FRAMES_MAX}, such as reorder=5%:8"
    )]
    Frames(String),
    /// The seed is none.
    #[error("`{0}`: the seed must be a whole number from 0 to 18446744073709551615")]
    Seed(String),
    /// An item is given twice.
    #[error("`{0}` is given twice")]
    Twice(String),
    /// There is nothing.
    #[error("no fault is given; there are {ITEMS}, separated by commas")]
    Empty,
}

impl FromStr for Faults {
    type Err = FaultSpecError;

    fn from_str(text: &str) -> Result<Faults, FaultSpecError> {
        if text.trim().is_empty() {
            return Err(FaultSpecError::Empty);
        }
        let mut faults = Faults {
            loss: 0.0,
            client_loss: 0.0,
            server_loss: 0.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_frames: REORDER_FRAMES,
            truncate: 0.0,
            flip: 0.0,
            seed: 1,
            text: text.to_owned(),
        };
        let (mut client_loss, mut server_loss) = (None, None);
        let mut seen: Vec<&str> = Vec::new();
        for item in text.split(',').map(str::trim) {
            let (name, value) = item.split_once('=').ok_or_else(|| FaultSpecError::Unknown(item.to_owned()))?;
            if seen.contains(&name) {
                return Err(FaultSpecError::Twice(name.to_owned()));
            }
            seen.push(name);
            let share = || share(value).ok_or_else(|| FaultSpecError::Share(item.to_owned()));
            match name {
                "loss" => faults.loss = share()?,
                "client-loss" => client_loss = Some(share()?),
                "server-loss" => server_loss = Some(share()?),
                "duplicate" => faults.duplicate = share()?,
                "reorder" => (faults.reorder, faults.reorder_frames) = reorder(item, value)?,
                "truncate" => faults.truncate = share()?,
                "flip" => faults.flip = share()?,
                "seed" => faults.seed = value.parse().map_err(|_| FaultSpecError::Seed(item.to_owned()))?,
                _ => return Err(FaultSpecError::Unknown(item.to_owned())),
            }
        }
        faults.client_loss = client_loss.unwrap_or(faults.loss);
        faults.server_loss = server_loss.unwrap_or(faults.loss);
        Ok(faults)
    }
}

impl fmt::Display for Faults {
    /// As it was written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A percentage as a probability.
fn share(text: &str) -> Option<f64> {
    let number = text.strip_suffix('%')?;
    let is_plain = number.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    number.parse().ok().filter(|percent: &f64| is_plain && *percent <= 100.0).map(|percent| percent / 100.0)
}

/// `5%:8`, or `5%` for the usual distance.
fn reorder(item: &str, value: &str) -> Result<(f64, u32), FaultSpecError> {
    let (percent, frames) = value.split_once(':').map_or((value, None), |(percent, frames)| (percent, Some(frames)));
    let share = share(percent).ok_or_else(|| FaultSpecError::Share(item.to_owned()))?;
    let frames = frames.map_or(Some(REORDER_FRAMES), |frames| frames.parse().ok());
    let frames = frames.filter(|frames| (1..=FAULT_REORDER_FRAMES_MAX).contains(frames));
    Ok((share, frames.ok_or_else(|| FaultSpecError::Frames(item.to_owned()))?))
}
