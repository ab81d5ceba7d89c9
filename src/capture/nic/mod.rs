//! What Linux tells of a network interface that matters for capturing it, and the one setting that resptap changes if it is asked
//! to: how a card spreads packets over its queues.
//!
//! Everything is asked anew each time, and only asked: nothing is attached, bound or changed to find out. What a driver or an older
//! kernel does not tell is [`None`].

pub mod drops;
pub mod ethtool;
pub mod host;
pub mod kept;
pub mod numa;
pub mod rss;
pub mod xdp;

use std::fs;
use std::path::{Path, PathBuf};

use super::interface::use_of;
use ethtool::{Channels, Ethtool, Offloads, Size};
use rss::Rss;
use xdp::XdpFeatures;

/// What is known of an interface.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Facts {
    /// Its name.
    pub name: String,
    /// The driver's name and version.
    pub driver: Option<(String, String)>,
    /// Whether it was set up.
    pub is_up: bool,
    /// Whether its cable has a signal; not told of one that is down.
    pub carrier: Option<bool>,
    /// Its link layer (`ARPHRD_…`).
    pub hardware: u16,
    /// What the host uses it for; `None`: nothing, as that of a mirror port.
    pub in_use: Option<String>,
    /// Longest packet that it receives, in bytes, without the Ethernet header.
    pub mtu: u32,
    /// The NUMA node that the card is at.
    pub node: Option<usize>,
    /// Receive queues.
    pub queues: usize,
    /// How many there could be.
    pub channels: Option<Channels>,
    /// Packets for which each has room.
    pub rings: Option<Size>,
    /// What is done to packets.
    pub offloads: Option<Offloads>,
    /// How packets are spread over the queues.
    pub rss: Option<Rss>,
    /// What the driver can.
    pub xdp: Option<XdpFeatures>,
    /// The card's interrupts, each with the cores that it goes to.
    pub interrupts: Vec<(u32, Vec<usize>)>,
}

impl Facts {
    /// Of an interface of this network namespace, if there is one of this name.
    pub fn of(name: &str) -> Option<Facts> {
        // Not a path to somewhere else.
        if name.contains('/') || name.starts_with('.') {
            return None;
        }
        let folder = Path::new("/sys/class/net").join(name);
        let text = |attribute: &str| fs::read_to_string(folder.join(attribute)).ok();
        let number = |attribute: &str| text(attribute)?.trim().parse::<i64>().ok();
        let index = i32::try_from(number("ifindex")?).ok()?;
        let ethtool = Ethtool::of(name).ok()?;
        let flags = text("flags").and_then(|flags| u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).ok());
        Some(Facts {
            name: name.to_owned(),
            driver: ethtool.driver().ok().flatten(),
            is_up: flags.is_some_and(|flags| flags & 1 != 0),
            carrier: number("carrier").map(|carrier| carrier == 1),
            hardware: number("type").and_then(|kind| u16::try_from(kind).ok()).unwrap_or_default(),
            in_use: use_of(name),
            mtu: number("mtu").and_then(|mtu| u32::try_from(mtu).ok()).unwrap_or_default(),
            // -1 where there is one node only.
            node: numa::of_device(&folder, "numa_node").and_then(|node| node.trim().parse().ok()),
            queues: host::numbered(&folder.join("queues"), "rx-").len().max(1),
            channels: ethtool.channels().ok().flatten(),
            rings: ethtool.rings().ok().flatten(),
            offloads: ethtool.offloads().ok().flatten(),
            rss: ethtool.rss().ok().flatten(),
            xdp: xdp::features(index).ok(),
            interrupts: interrupts(&folder),
        })
    }
}

/// The interrupts of a card's device, or of the device around it, as virtio's are.
fn interrupts(folder: &Path) -> Vec<(u32, Vec<usize>)> {
    let of = |device: PathBuf| host::numbered(&device.join("msi_irqs"), "");
    let own = of(folder.join("device"));
    let all = if own.is_empty() { of(folder.join("device/..")) } else { own };
    all.into_iter().filter_map(|(number, _)| Some((number, cores_of(Path::new("/proc/irq"), number)?))).collect()
}

/// The cores that an interrupt goes to; `None`: nobody has asked for it.
fn cores_of(folder: &Path, interrupt: u32) -> Option<Vec<usize>> {
    let folder = folder.join(interrupt.to_string());
    let read = |file: &str| fs::read_to_string(folder.join(file)).map(|text| host::list(&text)).ok();
    let effective = read("effective_affinity_list").or_else(|| read("smp_affinity_list"))?;
    (!effective.is_empty()).then_some(effective)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_known_and_what_is_not_there_is_not() {
        let facts = Facts::of("lo").unwrap();
        assert_eq!((facts.hardware, facts.queues, facts.rss), (libc::ARPHRD_LOOPBACK, 1, None));
        assert!(facts.mtu >= 1500 && facts.interrupts.is_empty());
        for name in ["no-such-if", "", "../net/lo", ".."] {
            assert_eq!(Facts::of(name), None, "{name}");
        }
    }

    #[test]
    fn an_interrupt_goes_to_the_cores_that_it_really_goes_to() {
        let folder = tempfile::tempdir().unwrap();
        for (number, effective, wanted) in [(5, Some("2\n"), "0-3\n"), (6, None, "0-1\n"), (7, Some("\n"), "0-3\n")] {
            let interrupt = folder.path().join(number.to_string());
            fs::create_dir(&interrupt).unwrap();
            fs::write(interrupt.join("smp_affinity_list"), wanted).unwrap();
            if let Some(effective) = effective {
                fs::write(interrupt.join("effective_affinity_list"), effective).unwrap();
            }
        }
        assert_eq!(cores_of(folder.path(), 5), Some(vec![2]));
        assert_eq!(cores_of(folder.path(), 6), Some(vec![0, 1]));
        assert_eq!((cores_of(folder.path(), 7), cores_of(folder.path(), 8)), (None, None));
    }
}
