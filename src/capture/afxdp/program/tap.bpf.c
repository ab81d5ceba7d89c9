// SPDX-License-Identifier: Apache-2.0 OR MIT
/*
 * Which frames go to resptap's sockets (AF_XDP), decided where the driver receives them.
 *
 * Kept are segments of TCP of the observed ports, as deep in VLANs, MPLS and tunnels as src/decode looks for them, and all
 * fragments, of which only the first has ports and which belong together. What this program does not decide, it keeps:
 * src/decode decides again, and counts. The rest is passed to the host, or dropped. Each frame is counted once, by its queue and
 * by what became of it. Before a frame that is kept stands when it was received.
 *
 * A queue has a socket for each worker. A frame goes to that of the worker who owns its connection, by a hash of the innermost
 * addresses and ports that is the same for both directions: src/capture/spread.rs has it, too. So both meet there whatever queues
 * the card has put them on. Fragments go to the first worker, who puts them together.
 *
 * A worker who has too much to do leaves connections out, by the same hash: of its socket, those whose part is below a number that
 * it sets. Their frames are dropped: like those that are kept they are not the host's.
 *
 * The usual frame, TCP in IPv4 in untagged Ethernet, is read in place; headers of all others are copied out, which also reaches
 * those beyond a frame's first buffer and keeps the verifier's work small.
 *
 * scripts/xdp-program compiles it; the object is in the repository.
 */
#include <linux/bpf.h>

#define SEC(name) __attribute__((section(name), used))
#define __uint(name, value) int (*name)[value]
#define __type(name, value) typeof(value) *name

static void *(*bpf_map_lookup_elem)(void *map, const void *key) = (void *)BPF_FUNC_map_lookup_elem;
static __u64 (*bpf_ktime_get_ns)(void) = (void *)BPF_FUNC_ktime_get_ns;
static long (*bpf_redirect_map)(void *map, __u64 key, __u64 flags) = (void *)BPF_FUNC_redirect_map;
static long (*bpf_xdp_adjust_meta)(struct xdp_md *frame, int delta) = (void *)BPF_FUNC_xdp_adjust_meta;
static long (*bpf_xdp_load_bytes)(struct xdp_md *frame, __u32 at, void *to, __u32 length) = (void *)BPF_FUNC_xdp_load_bytes;

/* What becomes of a frame: program.rs has the same. */
enum verdict {
	KEPT,
	KEPT_FRAGMENT,
	KEPT_UNDECIDED,
	OTHER_NOT_IP,
	OTHER_NOT_TCP,
	OTHER_PORT,
	OTHER_BROKEN,
	/* It was to be kept, but its queue has no socket. */
	LOST_NO_SOCKET,
	/* Not instead of the others: it was kept without a time. */
	UNSTAMPED,
	/* It is of a connection that is left out. */
	OTHER_SHED,
	VERDICTS,
};

/* Set when the program is loaded: what is done with those that are not kept, XDP_PASS or XDP_DROP; sockets of a queue; what makes
 * hashes unpredictable from outside. */
const volatile __u32 others = XDP_PASS;
const volatile __u32 workers = 1;
const volatile __u64 secret = 0;

/* A bit for each observed port. */
struct port_set {
	__u8 bits[8192];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct port_set);
} ports SEC(".maps");

/* The workers' sockets for each queue; the loader says how many. */
struct {
	__uint(type, BPF_MAP_TYPE_XSKMAP);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* For each socket, the part below which connections are left out. The loader says how many; the workers write them in memory. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} shed SEC(".maps");

/* VERDICTS for each queue; the loader says how many. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, VERDICTS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

/* Stands before a frame that is kept. `check` tells it from what else may be there. */
struct stamp {
	__u64 at_ns;
	__u64 check;
};

/* What a header is: an ethertype, or one of these. Protocols of IPv4 and IPv6 are added to theirs. */
enum header {
	ETHERNET = 0x10000,
	BEHIND_LABELS,
	IPV4_PROTOCOL = 0x20000,
	IPV6_PROTOCOL = 0x30000,
};

/* Headers that are looked behind: the deepest that src/decode looks into are fewer, but for the deepest of all at once. */
#define HEADERS_MAX 40

/* Parts are numbered by a byte. */
#define LAST_PART 255

static __always_inline __u16 be16(const __u8 *bytes)
{
	return bytes[0] << 8 | bytes[1];
}

static __always_inline __u64 be32(const __u8 *bytes)
{
	return (__u64)be16(bytes) << 16 | be16(bytes + 2);
}

static __always_inline __u64 be64(const __u8 *bytes)
{
	return be32(bytes) << 32 | be32(bytes + 4);
}

/* One of the two steps of src/capture/spread.rs that are done to each half of an address, and to its port. */
static __always_inline __u64 mix(__u64 sum, __u64 word)
{
	sum = (sum ^ word) * 0x9e3779b97f4a7c15ull;
	return sum ^ sum >> 32;
}

static __always_inline __u64 endpoint(__u64 high, __u64 low, __u16 port)
{
	return mix(mix(mix(secret, high), low), port);
}

static __always_inline __u64 between(__u64 one, __u64 other)
{
	return mix(one + other, secret);
}

static __always_inline __u64 endpoint4(const __u8 *address, __u16 port)
{
	return endpoint(0, 0xffff00000000ull | be32(address), port);
}

static __always_inline __u64 endpoint6(const __u8 *address, __u16 port)
{
	return endpoint(be64(address), be64(address + 8), port);
}

/* A verdict; of a frame that is kept also the worker to whom it goes, and the part that its connection is in, by its hash. */
static __always_inline __u64 divided(__u32 verdict, __u64 hash)
{
	return (hash >> 32) * workers >> 32 << 32 | (hash >> 24 & 0xff) << 16 | verdict;
}

/* Where no connection is known: of the first worker, and of the last part, which is never left out. */
static __always_inline __u64 undivided(__u32 verdict)
{
	return LAST_PART << 16 | verdict;
}

static __always_inline int is_known_ethertype(__u16 type)
{
	return type == 0x0800 || type == 0x86dd || type == 0x8100 || type == 0x88a8 || type == 0x9100 || type == 0x8847 ||
	       type == 0x8848;
}

static __always_inline int is_in(const struct port_set *set, __u32 port)
{
	/* The verifier must see a bound that the compiler knows already, and would leave out. */
	__asm__ volatile("" : "+r"(port));
	port &= 0xffff;
	return set->bits[port >> 3] >> (port & 7) & 1;
}

static __always_inline __u32 by_ports(__u16 source, __u16 destination)
{
	__u32 only = 0;
	struct port_set *set = bpf_map_lookup_elem(&ports, &only);

	if (!set)
		return KEPT_UNDECIDED;
	return is_in(set, source) || is_in(set, destination) ? KEPT : OTHER_PORT;
}

/* GRE (RFC 2784, RFC 2890) and ERSPAN (draft-foschiano-erspan-03): answers what is behind their headers, 0 for nothing. */
static __always_inline __u32 behind_gre(struct xdp_md *frame, __u32 *at)
{
	__u8 bytes[12];
	__u16 flags, protocol;

	if (bpf_xdp_load_bytes(frame, *at, bytes, 4))
		return 0;
	flags = be16(bytes);
	protocol = be16(bytes + 2);
	if (flags & 0x4007) /* source routes, versions */
		return 0;
	*at += 4 + (flags & 0x8000 ? 4 : 0) + (flags & 0x2000 ? 4 : 0) + (flags & 0x1000 ? 4 : 0);
	switch (protocol) {
	case 0x6558:
		return ETHERNET;
	case 0x88be:
		*at += flags & 0x1000 ? 8 : 0;
		return ETHERNET;
	case 0x22eb:
		if (bpf_xdp_load_bytes(frame, *at, bytes, 12))
			return 0;
		*at += 12 + (bytes[11] & 1 ? 8 : 0);
		switch (bytes[10] >> 2 & 0x1f) {
		case 0:
			return ETHERNET;
		case 2:
			return 0x0800;
		}
		return 0;
	}
	return protocol;
}

/* VXLAN (RFC 7348) and Geneve (RFC 8926) in UDP: as `behind_gre`. */
static __always_inline __u32 behind_udp(struct xdp_md *frame, __u32 *at)
{
	__u8 bytes[12];

	if (bpf_xdp_load_bytes(frame, *at, bytes, 12))
		return 0;
	switch (be16(bytes + 2)) {
	case 4789:
	case 8472:
		*at += 16;
		return bytes[8] & 0x08 ? ETHERNET : 0;
	case 6081:
		*at += 16 + (bytes[8] & 0x3f) * 4;
		if (bytes[8] >> 6)
			return 0;
		return be16(bytes + 10) == 0x6558 ? ETHERNET : be16(bytes + 10);
	}
	return 0;
}

/* What is behind MPLS labels, where nothing says it (RFC 4928, section 3; RFC 4385; RFC 4448): as `behind_gre`. */
static __always_inline __u32 behind_labels(struct xdp_md *frame, __u32 *at)
{
	__u8 bytes[2];

	if (bpf_xdp_load_bytes(frame, *at, bytes, 1))
		return 0;
	switch (bytes[0] >> 4) {
	case 4:
	case 6:
		return 0x0800;
	case 0:
		if (!bpf_xdp_load_bytes(frame, *at + 16, bytes, 2) && is_known_ethertype(be16(bytes))) {
			*at += 4;
			return ETHERNET;
		}
	}
	if (!bpf_xdp_load_bytes(frame, *at + 12, bytes, 2) && is_known_ethertype(be16(bytes)))
		return ETHERNET;
	return 0;
}

/* The hash of a packet, from its IP header, with these ports: without addresses that of the first worker, and the last part. */
static __always_inline __u64 hash_of(struct xdp_md *frame, __u32 ip_at, __u32 is_ipv6, __u16 source, __u16 destination)
{
	__u8 ends[32];

	if (is_ipv6) {
		if (bpf_xdp_load_bytes(frame, ip_at + 8, ends, 32))
			return 0xffffffff;
		return between(endpoint6(ends, source), endpoint6(ends + 16, destination));
	}
	if (bpf_xdp_load_bytes(frame, ip_at + 12, ends, 8))
		return 0xffffffff;
	return between(endpoint4(ends, source), endpoint4(ends + 4, destination));
}

/* Looks behind one header after the other. */
static __attribute__((noinline)) __u64 by_headers(struct xdp_md *frame, __u32 divides)
{
	__u8 bytes[20];
	__u32 at = 0, ip_at = 0, is_ipv6 = 0, next = ETHERNET, verdict;

	for (int passed = 0; passed < HEADERS_MAX; passed++) {
		switch (next) {
		case ETHERNET:
			if (bpf_xdp_load_bytes(frame, at + 12, bytes, 2))
				return undivided(OTHER_BROKEN);
			at += 14;
			next = be16(bytes);
			break;
		case 0x8100:
		case 0x88a8:
		case 0x9100:
			if (bpf_xdp_load_bytes(frame, at + 2, bytes, 2))
				return undivided(OTHER_BROKEN);
			at += 4;
			next = be16(bytes);
			break;
		case 0x8847:
		case 0x8848:
			if (bpf_xdp_load_bytes(frame, at + 2, bytes, 1))
				return undivided(OTHER_BROKEN);
			at += 4;
			if (bytes[0] & 1)
				next = BEHIND_LABELS;
			break;
		case BEHIND_LABELS:
			next = behind_labels(frame, &at);
			if (!next)
				return undivided(OTHER_NOT_IP);
			break;
		case 0x0800:
		case 0x86dd:
			if (bpf_xdp_load_bytes(frame, at, bytes, 20))
				return undivided(OTHER_BROKEN);
			ip_at = at;
			is_ipv6 = bytes[0] >> 4 == 6;
			switch (bytes[0] >> 4) {
			case 4:
				if (be16(bytes + 6) & 0x3fff)
					return undivided(KEPT_FRAGMENT);
				if ((bytes[0] & 0x0f) < 5)
					return undivided(OTHER_BROKEN);
				at += (bytes[0] & 0x0f) * 4;
				next = IPV4_PROTOCOL + bytes[9];
				break;
			case 6:
				at += 40;
				next = IPV6_PROTOCOL + bytes[6];
				break;
			default:
				return undivided(OTHER_BROKEN);
			}
			break;
		case IPV6_PROTOCOL + 44: /* fragment */
			if (bpf_xdp_load_bytes(frame, at, bytes, 8))
				return undivided(OTHER_BROKEN);
			if (be16(bytes + 2) & 0xfff9)
				return undivided(KEPT_FRAGMENT);
			at += 8;
			next = IPV6_PROTOCOL + bytes[0];
			break;
		case IPV6_PROTOCOL + 51: /* authentication */
			if (bpf_xdp_load_bytes(frame, at, bytes, 2))
				return undivided(OTHER_BROKEN);
			at += (bytes[1] + 2) * 4;
			next = IPV6_PROTOCOL + bytes[0];
			break;
		case IPV6_PROTOCOL + 0: /* hop-by-hop, routing, destination options, mobility, host identity, shim */
		case IPV6_PROTOCOL + 43:
		case IPV6_PROTOCOL + 60:
		case IPV6_PROTOCOL + 135:
		case IPV6_PROTOCOL + 139:
		case IPV6_PROTOCOL + 140:
			if (bpf_xdp_load_bytes(frame, at, bytes, 2))
				return undivided(OTHER_BROKEN);
			at += (bytes[1] + 1) * 8;
			next = IPV6_PROTOCOL + bytes[0];
			break;
		case IPV4_PROTOCOL + 6: /* TCP */
		case IPV6_PROTOCOL + 6:
			if (bpf_xdp_load_bytes(frame, at, bytes, 4))
				return undivided(OTHER_BROKEN);
			verdict = by_ports(be16(bytes), be16(bytes + 2));
			if (verdict > KEPT_UNDECIDED || !divides)
				return undivided(verdict);
			return divided(verdict, hash_of(frame, ip_at, is_ipv6, be16(bytes), be16(bytes + 2)));
		case IPV4_PROTOCOL + 17: /* UDP */
		case IPV6_PROTOCOL + 17:
			next = behind_udp(frame, &at);
			if (!next)
				return undivided(OTHER_NOT_TCP);
			break;
		case IPV4_PROTOCOL + 47: /* GRE */
		case IPV6_PROTOCOL + 47:
			next = behind_gre(frame, &at);
			if (!next)
				return undivided(OTHER_NOT_TCP);
			break;
		case IPV4_PROTOCOL + 4: /* IP in IP */
		case IPV6_PROTOCOL + 4:
		case IPV4_PROTOCOL + 41:
		case IPV6_PROTOCOL + 41:
			next = 0x0800;
			break;
		case IPV4_PROTOCOL + 137: /* MPLS */
		case IPV6_PROTOCOL + 137:
			next = 0x8847;
			break;
		default:
			return undivided(next < ETHERNET ? OTHER_NOT_IP : OTHER_NOT_TCP);
		}
	}
	return undivided(KEPT_UNDECIDED);
}

/* `divides`: worker and part are asked for. */
static __always_inline __u64 decide(struct xdp_md *frame, __u32 divides)
{
	const __u8 *bytes = (void *)(long)frame->data;
	__u16 source, destination;
	__u32 verdict;

	if ((void *)(bytes + 38) > (void *)(long)frame->data_end || be16(bytes + 12) != 0x0800 || bytes[14] != 0x45 ||
	    be16(bytes + 20) & 0x3fff || bytes[23] != 6)
		return by_headers(frame, divides);
	source = be16(bytes + 34);
	destination = be16(bytes + 36);
	verdict = by_ports(source, destination);
	if (verdict > KEPT_UNDECIDED || !divides)
		return undivided(verdict);
	return divided(verdict, between(endpoint4(bytes + 26, source), endpoint4(bytes + 30, destination)));
}

static __always_inline void count(struct xdp_md *frame, __u32 verdict)
{
	__u32 key = frame->rx_queue_index * VERDICTS + verdict;
	__u64 *value = bpf_map_lookup_elem(&counts, &key);

	if (value)
		(*value)++;
}

/* The part below which a socket's connections are left out. */
static __always_inline __u64 shed_below(__u32 socket)
{
	volatile __u64 *below = bpf_map_lookup_elem(&shed, &socket);

	return below ? *below : 0;
}

SEC("xdp.frags")
int resptap_tap(struct xdp_md *frame)
{
	__u32 socket = frame->rx_queue_index * workers;
	/* Where there is one worker, and nothing is left out, nobody needs the hash. */
	__u64 decision = decide(frame, workers > 1 || shed_below(socket) > 0);
	__u32 verdict = decision & 0xffff, part = (__u32)decision >> 16;
	struct stamp *stamp;
	int action;

	socket += decision >> 32;
	if (verdict > KEPT_UNDECIDED) {
		count(frame, verdict);
		return others;
	}
	if (part < shed_below(socket)) {
		count(frame, OTHER_SHED);
		return XDP_DROP;
	}
	if (!bpf_xdp_adjust_meta(frame, -(int)sizeof(*stamp))) {
		stamp = (void *)(long)frame->data_meta;
		if ((void *)(stamp + 1) <= (void *)(long)frame->data) {
			stamp->at_ns = bpf_ktime_get_ns();
			stamp->check = ~stamp->at_ns;
		}
	} else {
		count(frame, UNSTAMPED);
	}
	action = bpf_redirect_map(&sockets, socket, others);
	count(frame, action == XDP_REDIRECT ? verdict : LOST_NO_SOCKET);
	return action;
}

char _license[] SEC("license") = "Apache-2.0 OR MIT";
