//! In which VLAN and tunnel a segment was: what `--key-by-vlan` tells connections apart by.

/// The VLANs and the tunnel that are nearest to a segment.
///
/// A tunnel begins anew with VLANs: those outside of it are of the way that it took, not of the network that the segment
/// belongs to. Of tunnels within tunnels, the innermost one that has a number counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub struct Tags {
    /// The VLAN, of several tags the outermost one's; 0: none.
    pub vlan: u16,
    /// Of several tags the innermost one's; 0: none.
    pub inner_vlan: u16,
    /// The tunnel.
    pub tunnel: Tunnel,
}

/// A tunnel, by the number that its format has for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum Tunnel {
    /// None, or none with a number.
    #[default]
    None,
    /// The label nearest to the packet.
    Mpls(u32),
    /// The VXLAN network identifier.
    Vxlan(u32),
    /// The virtual network identifier.
    Geneve(u32),
    /// The key.
    Gre(u32),
    /// The session.
    Erspan(u16),
}

impl Tags {
    /// A tunnel's header follows: the VLANs so far are not the segment's.
    #[inline]
    pub(super) fn enter_tunnel(&mut self) {
        (self.vlan, self.inner_vlan) = (0, 0);
    }
}
