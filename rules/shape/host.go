package shape

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Host is a host in its one canonical form: an address, or a lower-case ASCII name without a trailing dot.
//
// All spellings that resolvers and the WHATWG URL standard take for an IPv4 address are read as one: "2130706433",
// "0x7f.1", "0177.0.0.1" and "[::ffff:7f00:1]" are 127.0.0.1.
type Host struct {
	name string
	addr netip.Addr
}

// toASCII maps names as browsers and resolvers do (UTS #46): full-width digits and dots become plain ones.
var toASCII = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// ParseHost reads a host name or address, in brackets or not, with a port or without. What different programs would
// read differently (control characters, white space, percent signs, malformed numbers) is an error.
func ParseHost(s string) (Host, error) {
	bad := func(why string) (Host, error) { return Host{}, fmt.Errorf("host %.60q: %s", s, why) }
	if s == "" {
		return bad("is empty")
	}
	for _, r := range s {
		if r <= ' ' || r == 0x7f || strings.ContainsRune(`\/?#@%<>^|`, r) && !isZone(s) {
			return bad("has a character that no host has")
		}
	}
	bare := s
	if i := strings.LastIndexByte(s, ']'); strings.HasPrefix(s, "[") && i > 0 {
		bare = s[1:i]
		if rest := s[i+1:]; rest != "" && !isPort(rest) {
			return bad("has something after the bracket that is no port")
		}
		if !strings.Contains(bare, ":") {
			return bad("has brackets around what is no IPv6 address")
		}
	} else if strings.Count(s, ":") == 1 {
		host, port, _ := strings.Cut(s, ":")
		if !isPort(":" + port) {
			return bad("has something after the colon that is no port")
		}
		bare = host
	}
	if strings.Contains(bare, ":") {
		addr, err := netip.ParseAddr(bare)
		if err != nil {
			return bad("is no IPv6 address")
		}
		return Host{addr: embedded(addr.WithZone(""))}, nil
	}
	name, err := toASCII.ToASCII(bare)
	if err != nil {
		return bad("is no domain name")
	}
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	labels := strings.Split(name, ".")
	if isNumeric(labels[len(labels)-1]) {
		addr, ok := parseIPv4(labels)
		if !ok {
			return bad("ends in a number but is no IPv4 address")
		}
		return Host{addr: addr}, nil
	}
	for _, label := range labels {
		if !isLabel(label) {
			return bad("is no domain name")
		}
	}
	if len(name) > 253 {
		return bad("is longer than a domain name can be")
	}
	return Host{name: name}, nil
}

// String returns the canonical form; IPv6 addresses have no brackets.
func (h Host) String() string {
	if h.addr.IsValid() {
		return h.addr.String()
	}
	return h.name
}

// IsAddr reports whether h is an address and not a name.
func (h Host) IsAddr() bool { return h.addr.IsValid() }

// Private reports whether h is not on the public internet: an address that IANA's special-purpose registries do not
// call globally reachable, or a name that is resolved locally (a single label, localhost, local, internal, lan,
// home.arpa). A public name can still resolve to a private address; rules do not resolve names.
func (h Host) Private() bool {
	if !h.addr.IsValid() {
		return !strings.Contains(h.name, ".") || h.under("localhost", "local", "internal", "lan", "home.arpa")
	}
	for _, p := range special {
		if p.Contains(h.addr) {
			return true
		}
	}
	return false
}

// Loopback reports whether h is this machine, by address or as localhost.
func (h Host) Loopback() bool {
	if h.addr.IsValid() {
		return h.addr.IsLoopback()
	}
	return h.under("localhost")
}

// LinkLocal reports whether h is a link-local address, where clouds keep their metadata service (169.254.169.254).
func (h Host) LinkLocal() bool { return h.addr.IsValid() && h.addr.IsLinkLocalUnicast() }

// Within reports whether h is scope or inside it: a prefix such as "10.0.0.0/8", an address, or a domain, which
// includes its subdomains. A name is never within a prefix, nor an address within a domain.
func (h Host) Within(scope string) (bool, error) {
	if strings.Contains(scope, "/") {
		p, err := netip.ParsePrefix(scope)
		if err != nil {
			return false, fmt.Errorf("%q is no prefix such as 10.0.0.0/8", scope)
		}
		return h.addr.IsValid() && p.Masked().Contains(h.addr), nil
	}
	other, err := ParseHost(scope)
	if err != nil {
		return false, err
	}
	if h.addr.IsValid() || other.addr.IsValid() {
		return h.addr.IsValid() && h.addr == other.addr, nil
	}
	return h.under(other.name), nil
}

// under reports whether h's name is one of the domains or below it.
func (h Host) under(domains ...string) bool {
	for _, d := range domains {
		if h.name == d || strings.HasSuffix(h.name, "."+d) {
			return true
		}
	}
	return false
}

// special lists what IANA's IPv4 and IPv6 special-purpose address registries (and multicast) mark as not globally
// reachable.
var special = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
	"::/127", "64:ff9b:1::/48", "100::/64", "100:0:0:1::/64", "2001::/23", "2001:db8::/32", "3fff::/20", "5f00::/16", "fc00::/7", "fe80::/9", "ff00::/8",
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

// embedded returns the IPv4 address that an IPv6 address stands for, if it does: mapped (::ffff:0:0/96), compatible
// (::/96), NAT64 (64:ff9b::/96) and 6to4 (2002::/16).
func embedded(a netip.Addr) netip.Addr {
	if a = a.Unmap(); a.Is4() {
		return a
	}
	b := a.As16()
	v4 := func(at int) netip.Addr { return netip.AddrFrom4([4]byte(b[at : at+4])) }
	switch {
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a):
		return v4(12)
	case netip.MustParsePrefix("2002::/16").Contains(a):
		return v4(2)
	case netip.MustParsePrefix("::/96").Contains(a) && !netip.MustParsePrefix("::/127").Contains(a):
		return v4(12)
	}
	return a
}

// parseIPv4 reads one to four numbers, each decimal, octal (leading 0) or hexadecimal (leading 0x); the last one fills
// the bytes that are left (WHATWG URL, "IPv4 parser"; inet_aton).
func parseIPv4(parts []string) (netip.Addr, bool) {
	if len(parts) > 4 {
		return netip.Addr{}, false
	}
	var addr uint64
	for i, part := range parts {
		n, ok := parseNumber(part)
		last := i == len(parts)-1
		limit := uint64(256)
		if last {
			limit = 1 << (8 * (4 - i))
		}
		if !ok || n >= limit {
			return netip.Addr{}, false
		}
		if last {
			addr |= n
		} else {
			addr |= n << (8 * (3 - i))
		}
	}
	return netip.AddrFrom4([4]byte{byte(addr >> 24), byte(addr >> 16), byte(addr >> 8), byte(addr)}), true
}

func parseNumber(s string) (uint64, bool) {
	base := 10
	switch {
	case strings.HasPrefix(s, "0x"):
		s, base = s[2:], 16
		if s == "" {
			return 0, true
		}
	case len(s) > 1 && s[0] == '0':
		s, base = s[1:], 8
	}
	n, err := strconv.ParseUint(s, base, 33)
	return n, err == nil && !strings.ContainsAny(s, "+-_")
}

// isNumeric reports whether a last label makes the whole host an IPv4 address.
func isNumeric(label string) bool {
	if rest, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(rest, "0123456789abcdef") == ""
	}
	return label != "" && strings.Trim(label, "0123456789") == ""
}

func isLabel(s string) bool {
	return s != "" && len(s) <= 63 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_") == ""
}

func isPort(s string) bool {
	n, err := strconv.ParseUint(strings.TrimPrefix(s, ":"), 10, 16)
	return strings.HasPrefix(s, ":") && err == nil && n > 0
}

// isZone reports whether the percent sign in s introduces an IPv6 zone: "fe80::1%eth0".
func isZone(s string) bool {
	addr, _, ok := strings.Cut(strings.Trim(s, "[]"), "%")
	return ok && strings.Count(addr, ":") > 1 && !strings.ContainsAny(s, `\/?#@`)
}
