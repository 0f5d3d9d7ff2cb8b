package expr

import "unicode/utf8"

// says reports whether the key of an object says something, as values do. The name of a field does not; what is no name that
// the tool declares may be a value in the place of one: {"DE89370400440532013000": 5}. Where nobody declares names, what
// looks like one is taken for one.
func (c *Call) says(key string) bool {
	if len(c.fields) > 0 {
		return !c.fields[key]
	}
	digits := 0
	for _, r := range key {
		switch {
		case '0' <= r && r <= '9':
			digits++
		case r >= utf8.RuneSelf, r != '_' && r != '-' && r != '$' && (r|0x20 < 'a' || r|0x20 > 'z'):
			return true
		}
	}
	return digits > 3
}
