package wire

import "strings"

// Check reports why data is not one JSON document that every parser reads alike: the grammar of RFC 8259, no key twice, UTF-8,
// and the limits of a message. It is for documents that are no messages of the protocol. The error is an *Error.
func Check(data []byte) error {
	s := scanner{raw: data, data: view(data), side: FromServer, keys: make([]span, 0, 16), path: make([]span, 0, 8)}
	if refused := s.document(); refused != nil {
		return refused
	}
	return nil
}

func (s *scanner) document() *Error {
	if len(s.data) > MaxSize {
		return refuse(CodeInvalidRequest, "", "document of %d bytes is longer than %d", len(s.data), MaxSize)
	}
	if strings.HasPrefix(s.data, "\xEF\xBB\xBF") {
		return refuse(CodeParse, "", "byte order mark: send plain UTF-8")
	}
	s.space()
	if err := s.value(elsewhere); err != nil {
		return err
	}
	if s.space(); s.pos < len(s.data) {
		return s.syntax("something after the end of the document")
	}
	return s.doubts
}
