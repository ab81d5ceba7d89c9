//! On cards that are none.

use std::cell::RefCell;
use std::rc::Rc;

use tempfile::TempDir;

use super::super::rss::Transform;
use super::*;

/// A card that takes some settings.
#[derive(Clone, Debug, Default)]
struct Fake {
    rss: Rc<RefCell<Option<Rss>>>,
    /// The errors that it answers a transform and another key with.
    refuses_transform: Option<i32>,
    refuses_key: Option<i32>,
    /// It says that it takes them, and does not.
    only_seems_to: bool,
    is_gone: bool,
}

impl Card for Fake {
    fn rss(&self) -> io::Result<Option<Rss>> {
        if self.is_gone { Err(io::Error::from_raw_os_error(libc::ENODEV)) } else { Ok(self.rss.borrow().clone()) }
    }

    fn set_rss(&self, rss: &Rss) -> io::Result<()> {
        let is_other_key = self.rss.borrow().as_ref().is_some_and(|now| now.key != rss.key);
        let refused = if rss.transform == Transform::default() { None } else { self.refuses_transform };
        if let Some(error) = refused.or(if is_other_key { self.refuses_key } else { None }) {
            return Err(io::Error::from_raw_os_error(error));
        }
        if !self.only_seems_to {
            *self.rss.borrow_mut() = Some(rss.clone());
        }
        Ok(())
    }
}

fn usual() -> Rss {
    Rss { function: 1, key: (0..40).collect(), table: vec![0, 1, 2, 3], ..Rss::default() }
}

fn card() -> Fake {
    Fake { rss: Rc::new(RefCell::new(Some(usual()))), ..Fake::default() }
}

fn now(card: &Fake) -> Rss {
    card.rss.borrow().clone().unwrap()
}

fn place(folder: &TempDir) -> Place {
    Place::within(&folder.path().join("resptap"), 7, "eth1", "02:00:00:00:00:01")
}

/// As if the program had been killed: the lock is gone, the settings are not.
fn kill(mut held: Held<Fake>) {
    held.is_over = true;
}

#[test]
fn the_best_way_that_the_card_has_is_in_force_until_the_end() {
    let refuses = Some(libc::EOPNOTSUPP);
    for (card, expected) in
        [(card(), Symmetry::Transform), (Fake { refuses_transform: refuses, ..card() }, Symmetry::Key)]
    {
        let folder = tempfile::tempdir().unwrap();
        let place = place(&folder);
        let symmetric = place.make_symmetric(card.clone()).unwrap();
        assert_eq!((symmetric.symmetry, now(&card).symmetry()), (expected, expected));
        assert!(place.path.exists());
        symmetric.held.unwrap().put_back().unwrap();
        assert_eq!(now(&card), usual());
        assert!(!place.path.exists());
        // Dropped, too, as where an error ends the capture.
        drop(place.make_symmetric(card.clone()).unwrap());
        assert_eq!(now(&card), usual());
    }
}

#[test]
fn what_is_symmetric_already_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let symmetric = Rss { key: [0x6d, 0x5a].repeat(20), ..usual() };
    let card = Fake { rss: Rc::new(RefCell::new(Some(symmetric.clone()))), ..Fake::default() };
    let made = place(&folder).make_symmetric(card.clone()).unwrap();
    assert!(made.held.is_none() && made.symmetry == Symmetry::Key);
    assert_eq!(now(&card), symmetric);
    assert!(!folder.path().join("resptap").exists());
}

#[test]
fn a_killed_captures_settings_are_put_back_later() {
    let folder = tempfile::tempdir().unwrap();
    let (place, card) = (place(&folder), card());
    assert_eq!(place.restore(&card).unwrap(), Left::Nothing);
    kill(place.make_symmetric(card.clone()).unwrap().held.unwrap());
    assert_ne!(now(&card), usual());
    let us = std::process::id();
    assert_eq!(place.left(), Some(us));
    assert_eq!(place.restore(&card).unwrap(), Left::PutBack(us));
    assert_eq!(now(&card), usual());
    assert_eq!((place.left(), place.restore(&card).unwrap()), (None, Left::Nothing));
}

#[test]
fn a_capture_that_runs_keeps_its_settings() {
    let folder = tempfile::tempdir().unwrap();
    let (place, card) = (place(&folder), card());
    let held = place.make_symmetric(card.clone()).unwrap().held;
    let us = std::process::id();
    assert_eq!((place.left(), place.restore(&card).unwrap()), (None, Left::InUse(us)));
    *card.rss.borrow_mut() = Some(usual());
    let error = place.make_symmetric(card.clone()).unwrap_err().to_string();
    assert!(error.contains("held by another resptap") && error.contains(&us.to_string()), "{error}");
    drop(held);
    assert!(place.make_symmetric(card).is_ok());
}

#[test]
fn another_card_of_the_same_name_does_not_get_them() {
    let folder = tempfile::tempdir().unwrap();
    kill(place(&folder).make_symmetric(card()).unwrap().held.unwrap());
    let other = Place { address: "02:00:00:00:00:02".to_owned(), ..place(&folder) };
    let another = card();
    another.rss.borrow_mut().as_mut().unwrap().table = vec![0, 1];
    assert_eq!(other.left(), None);
    assert_eq!(other.restore(&another).unwrap(), Left::OfAnother);
    assert_eq!(now(&another).table, [0, 1]);
    assert_eq!(other.restore(&another).unwrap(), Left::Nothing);
}

#[test]
fn a_file_that_was_not_written_to_its_end_stands_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (place, card) = (place(&folder), card());
    kill(place.make_symmetric(card.clone()).unwrap().held.unwrap());
    let text = fs::read(&place.path).unwrap();
    fs::write(&place.path, &text[..text.len() - 1]).unwrap();
    let before = now(&card);
    assert_eq!(place.restore(&card).unwrap(), Left::Nothing);
    assert_eq!(now(&card), before);
    assert!(!place.path.exists());
}

#[test]
fn a_card_that_can_not_is_as_it_was_and_the_reasons_are_told() {
    let (refuses, folder) = (Some(libc::EOPNOTSUPP), tempfile::tempdir().unwrap());
    let place = place(&folder);
    let cases = [
        (Fake { refuses_transform: refuses, refuses_key: refuses, ..card() }, "symmetric key was refused"),
        (Fake { only_seems_to: true, ..card() }, "symmetric-xor was taken, but is not in force"),
        (Fake { refuses_transform: Some(libc::EPERM), ..card() }, "CAP_NET_ADMIN"),
        (Fake::default(), "does not tell"),
    ];
    for (card, expected) in cases {
        let before = card.rss.borrow().clone();
        let error = place.make_symmetric(card.clone()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert_eq!(*card.rss.borrow(), before);
        assert!(!place.path.exists());
    }
}

#[test]
fn what_can_not_be_put_back_now_can_be_later() {
    let folder = tempfile::tempdir().unwrap();
    let (place, mut card) = (place(&folder), card());
    kill(place.make_symmetric(card.clone()).unwrap().held.unwrap());
    card.only_seems_to = true;
    let error = place.restore(&card).unwrap_err().to_string();
    assert!(error.contains("putting back") && error.contains("not in force"), "{error}");
    card.only_seems_to = false;
    assert!(matches!(place.restore(&card), Ok(Left::PutBack(_))));
}

#[test]
fn an_interface_that_is_gone_has_nothing_to_be_put_back() {
    let folder = tempfile::tempdir().unwrap();
    let place = place(&folder);
    kill(place.make_symmetric(card()).unwrap().held.unwrap());
    assert!(matches!(place.restore(&Fake { is_gone: true, ..card() }), Ok(Left::PutBack(_))));
    assert!(!place.path.exists());
}
