package wire

import "unicode/utf8"

// str reads a string and returns what is between its quotes.
func (s *scanner) str() (span, *Error) {
	s.pos++
	x := span{from: s.pos}
	for {
		s.pos = plainEnd(s.data, s.pos)
		if s.pos == len(s.data) {
			return x, s.syntax("string without end")
		}
		switch c := s.data[s.pos]; {
		case c == '"':
			x.to = s.pos
			s.pos++
			return x, nil
		case c == '\\':
			x.escaped = true
			if err := s.escape(); err != nil {
				return x, err
			}
		case c < 0x20:
			return x, s.syntax("control character in a string")
		default:
			r, n := utf8.DecodeRuneInString(s.data[s.pos:])
			if r == utf8.RuneError && n == 1 {
				return x, s.syntax("not UTF-8")
			}
			s.pos += n
		}
	}
}

// plainEnd returns where the bytes end that stand for themselves in a string, and alone: from a space up to ~, but not " and
// not \. It looks at eight at a time; texts are long.
func plainEnd(s string, pos int) int {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for ; pos+8 <= len(s); pos += 8 {
		b := s[pos : pos+8]
		x := uint64(b[0]) | uint64(b[1])<<8 | uint64(b[2])<<16 | uint64(b[3])<<24 | uint64(b[4])<<32 | uint64(b[5])<<40 | uint64(b[6])<<48 | uint64(b[7])<<56
		quote, slash := x^'"'*ones, x^'\\'*ones
		// A byte less than n borrows from its top bit when n is taken away, as long as that bit was not set.
		if (x|(x-' '*ones)|(quote-ones)|(slash-ones))&tops != 0 {
			break
		}
	}
	for pos < len(s) && s[pos] >= ' ' && s[pos] < utf8.RuneSelf && s[pos] != '"' && s[pos] != '\\' {
		pos++
	}
	return pos
}

func (s *scanner) escape() *Error {
	if s.pos+1 >= len(s.data) {
		return s.syntax("string without end")
	}
	switch s.data[s.pos+1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.pos += 2
		return nil
	case 'u':
		if s.pos+6 <= len(s.data) && isHex(s.data[s.pos+2:s.pos+6]) {
			s.pos += 6
			return nil
		}
	}
	return s.syntax("no such escape")
}

func (s *scanner) number() *Error {
	from := s.pos
	s.take('-')
	switch {
	case s.take('0'):
	case !s.digits():
		return s.syntax("no number")
	}
	if s.take('.') && !s.digits() {
		return s.syntax("no number")
	}
	exponent := s.pos
	if s.pos < len(s.data) && s.data[s.pos]|0x20 == 'e' {
		s.pos++
		if !s.take('+') {
			s.take('-')
		}
		exponent = s.pos
		if !s.digits() {
			return s.syntax("no number")
		}
	}
	if s.pos-from > maxNumber || tooLarge(s.data[exponent:s.pos]) {
		s.doubt("number %s, which parsers round or refuse", clip(s.data[from:s.pos]))
	}
	return nil
}

func (s *scanner) digits() bool {
	from := s.pos
	for s.pos < len(s.data) && '0' <= s.data[s.pos] && s.data[s.pos] <= '9' {
		s.pos++
	}
	return s.pos > from
}

// tooLarge reports whether the digits of an exponent are beyond 300.
func tooLarge(digits string) bool {
	n := 0
	for _, d := range []byte(digits) {
		if n = 10*n + int(d-'0'); n > 300 {
			return true
		}
	}
	return false
}
