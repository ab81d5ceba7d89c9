//! How network cards spread packets over their queues during a capture: as they do, or changed for it (`--rss symmetric`) and put
//! back at its end.

use crate::capture::interface::queues;
use crate::capture::nic::ethtool::Ethtool;
use crate::capture::nic::kept::{Held, Left, Place, RssError};
use crate::capture::nic::rss::{Rss, Symmetry};
use crate::config::values::RssWish;

/// What holds during a capture.
#[derive(Debug, Default)]
pub(super) struct Spread {
    /// Of each interface whose driver tells: whether both directions of a connection come to one queue.
    symmetries: Vec<(String, Symmetry)>,
    held: Vec<Held<Ethtool>>,
}

/// Puts back what captures that were killed have left behind on these interfaces.
pub(super) fn put_back_left(interfaces: &[String]) {
    for name in interfaces {
        let restored = Ethtool::of(name).map(|card| Place::of(name).restore(&card));
        match restored {
            Ok(Ok(Left::PutBack(pid))) => tracing::warn!(
                "{name}: put back how packets were spread over its queues before a capture that was killed (process {pid})"
            ),
            // The capture can be had all the same.
            Ok(Err(error)) => tracing::warn!("{error}"),
            Ok(Ok(Left::Nothing | Left::OfAnother | Left::InUse(_))) | Err(_) => {}
        }
    }
}

impl Spread {
    /// Has it as it is wished. Cards forget it when an XDP program is attached, so that must have been done.
    pub(super) fn arrange(interfaces: &[String], wish: RssWish) -> Result<Spread, RssError> {
        let mut spread = Spread::default();
        for name in interfaces {
            let failed = |source| RssError::Card { name: name.clone(), what: "asking its driver", source };
            let card = Ethtool::of(name).map_err(failed)?;
            let symmetry = match wish {
                _ if queues(name) == 1 => Some(Symmetry::OneQueue),
                RssWish::Keep => card.rss().ok().flatten().as_ref().map(Rss::symmetry),
                RssWish::Symmetric => {
                    let symmetric = Place::of(name).make_symmetric(card)?;
                    tracing::info!(
                        "{name}: both directions of a connection come to one queue ({})",
                        symmetric.symmetry.name()
                    );
                    spread.held.extend(symmetric.held);
                    Some(symmetric.symmetry)
                }
            };
            spread.symmetries.extend(symmetry.map(|symmetry| (name.clone(), symmetry)));
        }
        Ok(spread)
    }

    /// What is in force, in a few words.
    pub(super) fn name(&self, interface: &str) -> Option<&'static str> {
        self.symmetries.iter().find(|(name, _)| name == interface).map(|(_, symmetry)| symmetry.name())
    }

    /// Whether a card was changed.
    pub(super) fn has_changed(&self) -> bool {
        !self.held.is_empty()
    }

    /// Puts back what was before. Answers what went wrong.
    pub(super) fn end(self) -> Vec<String> {
        self.held.into_iter().filter_map(|held| held.put_back().err()).map(|error| error.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_queue_needs_no_arranging() {
        put_back_left(&["lo".to_owned(), "no-such-if".to_owned()]);
        for wish in [RssWish::Keep, RssWish::Symmetric] {
            let spread = Spread::arrange(&["lo".to_owned()], wish).unwrap();
            assert_eq!(spread.name("lo"), Some("one queue"));
            assert!(spread.end().is_empty());
        }
    }

    #[test]
    fn what_is_known_is_known_of_its_interface() {
        let symmetries = vec![("a".to_owned(), Symmetry::Key), ("b".to_owned(), Symmetry::None)];
        let spread = Spread { symmetries, ..Spread::default() };
        assert_eq!(
            ["a", "b", "c"].map(|name| spread.name(name)),
            [Some("a symmetric key"), Some("not symmetric"), None]
        );
    }
}
