//! Which cores the workers of a live capture get where nobody has chosen them (`--cpus`): those near the network card, to whose
//! memory it writes packets. Where there is no card, or too few such cores, the system chooses.

use crate::capture::nic::numa::cores_near;
use crate::config::{Config, Live};

/// The configuration with cores for its workers, if there are some to be chosen. `usable`: those that this process may use.
pub(super) fn placed(config: &Config, live: &Live, usable: &[usize]) -> Option<Config> {
    if !config.cpus.is_empty() {
        return None;
    }
    let near: Vec<Option<Vec<usize>>> = live.interfaces.iter().map(|name| cores_near(name)).collect();
    let near = near_all(&near, usable)?;
    let cards = live.interfaces.join(" and ");
    let Some(chosen) = choose(config.workers, &near, usable) else {
        tracing::info!(
            "workers run on any core: {} of the {} that may be used are near {cards}; each of {} workers needs one, and the \
             writer another",
            near.len(),
            usable.len(),
            config.workers
        );
        return None;
    };
    tracing::info!(
        "workers run on cores {}, of {} near {cards} (local_cpulist); --cpus takes others",
        listed(chosen),
        listed(&near)
    );
    Some(Config { cpus: chosen.to_vec(), ..config.clone() })
}

/// The cores near all of the interfaces, ascending; `None`: one of them has no card.
fn near_all(near: &[Option<Vec<usize>>], usable: &[usize]) -> Option<Vec<usize>> {
    let near = near.iter().map(Option::as_deref).collect::<Option<Vec<&[usize]>>>()?;
    let mut cores: Vec<usize> = usable.to_vec();
    cores.retain(|core| near.iter().all(|near| near.contains(core)));
    cores.sort_unstable();
    Some(cores)
}

/// The last of them: the system's own work, and most cards' interrupts, begin with the first. Something is left for the writer.
fn choose<'n>(workers: usize, near: &'n [usize], usable: &[usize]) -> Option<&'n [usize]> {
    let first = near.len().checked_sub(workers)?;
    (usable.len() > workers).then(|| &near[first..])
}

fn listed(cores: &[usize]) -> String {
    cores.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_are_near_that_are_so_to_every_card_and_may_be_used() {
        let near = |cards: &[Option<&[usize]>]| {
            let cards: Vec<Option<Vec<usize>>> = cards.iter().map(|card| card.map(<[usize]>::to_vec)).collect();
            near_all(&cards, &[3, 2, 1, 0, 9])
        };
        assert_eq!(near(&[Some(&[0, 1, 2, 3, 4])]), Some(vec![0, 1, 2, 3]));
        assert_eq!(near(&[Some(&[0, 1, 2]), Some(&[1, 2, 9])]), Some(vec![1, 2]));
        assert_eq!(near(&[Some(&[4, 5])]), Some(vec![]));
        assert_eq!((near(&[None]), near(&[Some(&[0]), None])), (None, None));
    }

    #[test]
    fn the_last_are_chosen_if_there_are_enough_and_another_for_the_writer() {
        let all = [0, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(choose(2, &[4, 5, 6, 7], &all), Some(&[6, 7][..]));
        assert_eq!(choose(4, &[4, 5, 6, 7], &all), Some(&[4, 5, 6, 7][..]));
        assert_eq!((choose(5, &[4, 5, 6, 7], &all), choose(1, &[], &all)), (None, None));
        assert_eq!((choose(8, &all, &all), choose(1, &[0], &[0])), (None, None));
    }
}
