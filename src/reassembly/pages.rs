//! The worker's pool of pages for out-of-order data, and the lists that connections keep in them.

use crate::limits::PAGE_BYTES;
use crate::pool::{NONE, Pool};
use crate::units::{Offset, Timestamp};

/// What is known of the segment that brought some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Meta {
    /// When it was seen.
    pub at: Timestamp,
    /// What it acknowledged of the other direction.
    pub ack: Offset,
    /// It had the push flag, and these are its last bytes.
    pub push: bool,
    /// What follows it, or an acknowledgement of it, was seen before: it may have been sent before, acknowledging less.
    pub late: bool,
}

/// A stretch of a stream: bytes, then bytes that the capture cut off, or a FIN.
#[derive(Debug)]
pub struct Page {
    /// Position of its first byte.
    pub from: Offset,
    /// Its segment.
    pub meta: Meta,
    /// Bytes behind the captured ones that the capture cut off.
    pub cut: u32,
    /// It is a FIN.
    pub fin: bool,
    length: u16,
    next: u32,
    bytes: [u8; PAGE_BYTES],
}

impl Page {
    fn empty() -> Page {
        Page {
            from: Offset(0),
            meta: Meta::default(),
            cut: 0,
            fin: false,
            length: 0,
            next: NONE,
            bytes: [0; PAGE_BYTES],
        }
    }

    /// The captured bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    /// Position behind it.
    pub fn end(&self) -> Offset {
        self.from.plus(u64::from(self.length) + u64::from(self.cut) + u64::from(self.fin))
    }
}

/// One stream's stored pages, in order, disjoint.
#[derive(Clone, Copy, Debug)]
struct List {
    head: u32,
    /// When the oldest of them was seen.
    since: Timestamp,
    /// Packets of the connection since.
    packets: u32,
    /// Bytes stored.
    bytes: u64,
    /// Pages that they are in.
    pages: u32,
}

/// The pool is empty, or the stream holds as much as one may: so many bytes, and no more pages than are left for others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

/// A piece of a stream that is to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Piece<'a> {
    /// Position of its first byte.
    pub from: Offset,
    /// Captured bytes.
    pub bytes: &'a [u8],
    /// Bytes behind them that the capture cut off.
    pub cut: u32,
    /// A FIN follows.
    pub fin: bool,
    /// Its segment.
    pub meta: Meta,
}

/// Pages and lists of one worker.
#[derive(Debug)]
pub struct Pages {
    pages: Pool<Page>,
    lists: Pool<List>,
}

impl Pages {
    /// Room for `bytes` of pages.
    pub fn new(bytes: u64) -> Pages {
        let pages = crate::limits::items(bytes, size_of::<Page>() + size_of::<List>());
        Pages { pages: Pool::new(pages), lists: Pool::new(pages) }
    }

    /// Bytes of memory that were ever in use.
    pub fn memory(&self) -> u64 {
        u64::from(self.pages.made()) * size_of::<Page>() as u64
            + u64::from(self.lists.made()) * size_of::<List>() as u64
    }

    /// Pages that may yet be used.
    #[inline]
    pub fn left(&self) -> u32 {
        self.pages.left()
    }

    /// Most pages.
    pub fn capacity(&self) -> u32 {
        self.pages.capacity()
    }

    /// Pages of a list.
    pub(super) fn count(&self, list: u32) -> u32 {
        if list == NONE { 0 } else { self.lists.get(list).pages }
    }

    /// Pages in use at the moment.
    pub fn in_use(&self) -> u32 {
        self.pages.in_use() + self.lists.in_use()
    }

    /// Stores what `piece` covers and the list does not. `list` is made if it is [`NONE`]. On [`Full`] some of it may have
    /// been stored.
    pub(super) fn store(&mut self, list: &mut u32, piece: &Piece<'_>, bytes_max: u64) -> Result<(), Full> {
        if *list == NONE {
            let since = piece.meta.at;
            let empty = List { head: NONE, since, packets: 0, bytes: 0, pages: 0 };
            *list = self.lists.take(|| empty).ok_or(Full)?;
            *self.lists.get_mut(*list) = empty;
        }
        let stored = self.fill_holes(*list, piece, bytes_max);
        if self.lists.get(*list).head == NONE {
            self.lists.give_back(*list);
            *list = NONE;
        }
        stored
    }

    /// Walks the list and puts the parts of `piece` that no page covers between its pages.
    fn fill_holes(&mut self, list: u32, piece: &Piece<'_>, bytes_max: u64) -> Result<(), Full> {
        let data_end = piece.from.plus(piece.bytes.len() as u64 + u64::from(piece.cut));
        let end = data_end.plus(u64::from(piece.fin));
        let (mut before, mut current) = (NONE, self.lists.get(list).head);
        let mut at = piece.from;
        while at < end {
            let hole_end = if current == NONE {
                end
            } else {
                let page = self.pages.get(current);
                if page.from <= at {
                    at = at.max(page.end());
                    before = current;
                    current = page.next;
                    continue;
                }
                end.min(page.from)
            };
            while at < hole_end {
                // A stream may hold as many pages as are left for all others.
                let List { bytes, pages, .. } = *self.lists.get(list);
                if bytes >= bytes_max || pages > self.pages.left() {
                    return Err(Full);
                }
                let page = self.pages.take(Page::empty).ok_or(Full)?;
                at = self.write(page, piece, at, hole_end.min(data_end.max(at.plus(1))), data_end);
                self.pages.get_mut(page).meta.late |= current != NONE;
                self.link(list, before, page, current);
                before = page;
            }
        }
        Ok(())
    }

    /// Fills a page with as much of `piece` from `at` to `to` as it holds; answers where it ends.
    fn write(&mut self, page: u32, piece: &Piece<'_>, at: Offset, to: Offset, data_end: Offset) -> Offset {
        let page = self.pages.get_mut(page);
        let from = at.distance_from(piece.from) as usize;
        let captured = piece.bytes.get(from..).unwrap_or_default();
        let length = captured.len().min(PAGE_BYTES).min(to.distance_from(at) as usize);
        page.bytes[..length].copy_from_slice(&captured[..length]);
        page.length = length as u16;
        page.from = at;
        page.fin = at == data_end;
        let is_all = length == captured.len();
        page.cut = if is_all && !page.fin { (to.distance_from(at) - length as u64) as u32 } else { 0 };
        page.meta = piece.meta;
        page.meta.push = piece.meta.push && page.end() >= data_end;
        page.end()
    }

    fn link(&mut self, list: u32, before: u32, page: u32, after: u32) {
        self.pages.get_mut(page).next = after;
        let bytes = u64::from(self.pages.get(page).length);
        let list = self.lists.get_mut(list);
        list.bytes += bytes;
        list.pages += 1;
        if before == NONE {
            list.head = page;
        } else {
            self.pages.get_mut(before).next = page;
        }
    }

    /// The first page of a list.
    pub(super) fn head(&self, list: u32) -> Option<&Page> {
        (list != NONE).then(|| self.pages.get(self.lists.get(list).head))
    }

    /// Takes the first page off the list; it is the caller's until [`Pages::free`].
    pub(super) fn take_head(&mut self, list: &mut u32) -> u32 {
        let entry = self.lists.get_mut(*list);
        let head = entry.head;
        let page = self.pages.get(head);
        entry.head = page.next;
        entry.bytes -= u64::from(page.length);
        entry.pages -= 1;
        if entry.head == NONE {
            self.lists.give_back(*list);
            *list = NONE;
        } else {
            // What is left has been waiting since its own oldest page came.
            let (mut since, mut next) = (Timestamp(u64::MAX), entry.head);
            while next != NONE {
                let page = self.pages.get(next);
                since = since.min(page.meta.at);
                next = page.next;
            }
            let entry = self.lists.get_mut(*list);
            if since > entry.since {
                entry.since = since;
                entry.packets = 0;
            }
        }
        head
    }

    /// A page that the stream gave out.
    pub fn get(&self, page: u32) -> &Page {
        self.pages.get(page)
    }

    /// Gives it back.
    pub fn free(&mut self, page: u32) {
        self.pages.give_back(page);
    }

    /// Gives back a whole list.
    pub(super) fn free_list(&mut self, list: &mut u32) {
        while *list != NONE {
            let page = self.take_head(list);
            self.free(page);
        }
    }

    /// Counts a packet of the connection; answers since when the list waits, and how many packets that is.
    pub(super) fn waiting(&self, list: u32) -> Option<(Timestamp, u32)> {
        (list != NONE).then(|| {
            let list = self.lists.get(list);
            (list.since, list.packets)
        })
    }

    pub(super) fn count_packet(&mut self, list: u32) {
        if list != NONE {
            let list = self.lists.get_mut(list);
            list.packets = list.packets.saturating_add(1);
        }
    }
}
