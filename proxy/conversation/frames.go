package conversation

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
)

// The opcodes of RFC 6455.
const (
	opContinues = 0
	opText      = 1
	opBinary    = 2
	opClose     = 8
	opPong      = 10
)

// errBinary says that a message is none of text.
var errBinary = errors.New("it is binary")

// frames reads one direction of a WebSocket (RFC 6455, with RFC 7692) from a copy of its bytes. It answers nothing and holds up
// nothing; what breaks the rules it no longer understands, whatever the other side makes of it.
type frames struct {
	budget *budget
	client bool // they are those of the client, which are masked
	deflate
	said func(doc []byte) // takes a message of text, until it returns
	lost func(error)      // notes that a message is not heard
	over bool             // a close has come
	head [14]byte         // of the frame
	have int              // bytes in head
	op   byte             // of the message in progress; 0 for none
	zip  bool             // it is compressed
	skip error            // why nobody wants it
	body []byte           // of it, so far
	left uint64           // of the payload of the frame
	at   int              // in the mask
	kept bool             // the payload is of the message
	fin  bool             // the frame is the last one of the message
}

// feed takes in bytes. An error is for good: what follows cannot be understood.
func (f *frames) feed(p []byte) error {
	for len(p) > 0 && !f.over {
		if f.left == 0 {
			n := copy(f.head[f.have:f.need()], p)
			f.have, p = f.have+n, p[n:]
			if f.have < f.need() {
				continue
			}
			if err := f.begin(); err != nil {
				return err
			}
		}
		part := p[:min(uint64(len(p)), f.left)]
		p, f.left = p[len(part):], f.left-uint64(len(part))
		if err := f.take(part); err != nil {
			return err
		}
		if f.left == 0 {
			if err := f.end(); err != nil {
				return err
			}
		}
	}
	return nil
}

// need returns how long the head of the frame is, as far as it is known.
func (f *frames) need() int {
	if f.have < 2 {
		return 2
	}
	n := 2
	switch f.head[1] & 0x7f {
	case 126:
		n += 2
	case 127:
		n += 8
	}
	if f.head[1]&0x80 != 0 {
		n += 4
	}
	return n
}

// begin reads the head of a frame.
func (f *frames) begin() error {
	op, first := f.head[0]&0x0f, f.head[0]&0x40 != 0
	f.fin, f.at, f.kept = f.head[0]&0x80 != 0, 0, false
	switch n := f.head[1] & 0x7f; n {
	case 126:
		f.left = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		f.left = binary.BigEndian.Uint64(f.head[2:])
	default:
		f.left = uint64(n)
	}
	control := op >= opClose
	switch {
	case f.head[0]&0x30 != 0 || first && (!f.on || op == opContinues || control):
		return errors.New("a frame has a bit that nobody has agreed on")
	case op > opBinary && !control || op > opPong:
		return fmt.Errorf("a frame has the opcode %d", op)
	case f.head[1]&0x80 != 0 != f.client:
		return errors.New("a frame is masked by the server, or not by the client")
	case f.left >= 1<<63:
		return errors.New("a frame has a length below zero")
	case control && (!f.fin || f.left > 125):
		return errors.New("a frame of control is long, or in pieces")
	case !control && (op == opContinues) != (f.op != 0):
		return errors.New("a message begins within another, or goes on and never began")
	}
	if f.over = op == opClose; control {
		return nil
	}
	f.kept = true
	if op != opContinues {
		f.op, f.zip, f.skip = op, first, nil
		if op == opBinary {
			f.skip = errBinary
		}
	}
	return nil
}

// take takes in a part of a payload.
func (f *frames) take(part []byte) error {
	if !f.kept {
		return nil
	}
	if f.skip == nil && len(f.body)+len(part) > maxDocument {
		f.skip = errLong
	} else if f.skip == nil && !f.grow(len(part)) {
		f.skip = errFull
	}
	if f.skip != nil && f.zip && !f.fresh { // what follows refers to it
		return f.skip
	}
	if f.skip != nil {
		f.drop()
		return nil
	}
	from := len(f.body)
	f.body = append(f.body, part...)
	if f.client {
		mask := f.head[f.need()-4 : f.need()]
		for i := range f.body[from:] {
			f.body[from+i] ^= mask[f.at&3]
			f.at++
		}
	}
	return nil
}

// grow makes room for n more bytes, if there is any.
func (f *frames) grow(n int) bool {
	if len(f.body)+n <= cap(f.body) {
		return true
	}
	size := min(max(2*cap(f.body), len(f.body)+n, 4<<10), maxDocument)
	if !f.budget.take(size) {
		return false
	}
	grown := append(make([]byte, 0, size), f.body...)
	f.budget.give(cap(f.body))
	f.body = grown
	return true
}

// drop gives back the memory of the message.
func (f *frames) drop() {
	f.budget.give(cap(f.body))
	f.body = nil
}

// reuse makes room for the next message.
func (f *frames) reuse() {
	if f.body = f.body[:0]; cap(f.body) > smallMessage {
		f.drop()
	}
}

// smallMessage is the most memory that is kept between messages.
const smallMessage = 16 << 10

// end ends a frame, and the message if that is its last one.
func (f *frames) end() error {
	f.have = 0
	if !f.kept || !f.fin {
		return nil
	}
	f.op = 0
	defer f.reuse()
	switch {
	case f.skip != nil:
		f.lost(f.skip)
	case f.zip:
		doc, release, err := f.inflate(f.budget, f.body)
		defer release()
		if doc == nil {
			return err
		}
		f.said(doc)
	default:
		f.said(f.body)
	}
	return nil
}

// deflate is the compression of one direction (RFC 7692). Its zero value is none.
type deflate struct {
	on     bool
	fresh  bool   // each message stands for itself
	seen   []byte // what messages can refer to
	reader io.Reader
}

// flateWindow is how far a message can refer back.
const flateWindow = 32 << 10

// flateEnd ends a message: with the empty block that is left out on the way, and one that is the last.
const flateEnd = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// inflate undoes the compression of a message. Release gives its memory back, also after an error; then doc is nil.
func (d *deflate) inflate(b *budget, body []byte) (doc []byte, release func(), err error) {
	in := io.MultiReader(bytes.NewReader(body), strings.NewReader(flateEnd))
	if again, ok := d.reader.(flate.Resetter); ok {
		err = again.Reset(in, d.seen)
	} else {
		d.reader = flate.NewReaderDict(in, d.seen)
	}
	if err != nil {
		return nil, func() {}, err
	}
	if doc, release, err = b.read(d.reader, 2<<10); err != nil {
		return nil, release, err
	}
	if !d.fresh {
		d.seen = append(d.seen, doc[max(0, len(doc)-flateWindow):]...)
		d.seen = d.seen[:copy(d.seen, d.seen[max(0, len(d.seen)-flateWindow):])]
	}
	return doc, release, nil
}

// agreed returns how the two directions are compressed, by what the server has agreed to.
func agreed(extensions string) (client, server deflate, err error) {
	if strings.TrimSpace(extensions) == "" {
		return client, server, nil
	}
	name, params, _ := strings.Cut(extensions, ";")
	if strings.TrimSpace(name) != "permessage-deflate" || strings.Contains(params, ",") {
		return client, server, fmt.Errorf("its extension is %.60q", extensions)
	}
	client.on, server.on = true, true
	for p := range strings.SplitSeq(params, ";") {
		switch p, _, _ = strings.Cut(strings.TrimSpace(p), "="); strings.TrimSpace(p) {
		case "client_no_context_takeover":
			client.fresh = true
		case "server_no_context_takeover":
			server.fresh = true
		}
	}
	return client, server, nil
}
